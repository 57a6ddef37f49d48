"""The mode of a root follows from what is known of its events, and never promises what it cannot hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.settings import ModeWanted
from watcherd.watch.modes import (
    POLL_S,
    STAND_IN_S,
    Choice,
    Evidence,
    Mode,
    Modes,
    SelfTest,
    choose,
    interval_s,
    limit_to_set,
)

WATCHED = Evidence(is_watched=True, folders=5, watches=5, self_test=SelfTest.PASSED)

EVIDENCE = st.builds(
    Evidence,
    network=st.booleans(),
    is_watched=st.booleans(),
    folders=st.integers(0, 4),
    watches=st.integers(0, 4),
    self_test=st.sampled_from(SelfTest),
    trouble=st.sampled_from(["", "no"]),
    links=st.integers(0, 2),
)


@pytest.mark.parametrize(
    ("wanted", "evidence", "mode"),
    [
        (ModeWanted.AUTO, WATCHED, Mode.NATIVE),
        (ModeWanted.AUTO, Evidence(), Mode.SCAN),
        (ModeWanted.AUTO, Evidence(is_watched=True), Mode.NATIVE),  # read-only: not to be tested
        (ModeWanted.AUTO, Evidence(is_watched=True, network=True, self_test=SelfTest.PASSED), Mode.SCAN),
        (ModeWanted.AUTO, Evidence(is_watched=True, self_test=SelfTest.FAILED), Mode.SCAN),
        (ModeWanted.AUTO, Evidence(is_watched=True, folders=9, watches=8), Mode.HYBRID),
        (ModeWanted.NATIVE, Evidence(is_watched=True, network=True), Mode.NATIVE),
        (ModeWanted.NATIVE, Evidence(is_watched=True, self_test=SelfTest.FAILED), Mode.NATIVE),
        (ModeWanted.NATIVE, Evidence(is_watched=True, folders=9, watches=8), Mode.HYBRID),
        (ModeWanted.AUTO, replace(WATCHED, links=1), Mode.HYBRID),
        (ModeWanted.NATIVE, replace(WATCHED, links=1), Mode.HYBRID),
        (ModeWanted.NATIVE, Evidence(trouble="it is a link"), Mode.SCAN),
        (ModeWanted.HYBRID, WATCHED, Mode.HYBRID),
        (ModeWanted.SCAN, WATCHED, Mode.SCAN),
    ],
)
def test_the_mode_fits_the_root(wanted: ModeWanted, evidence: Evidence, mode: Mode) -> None:
    assert choose(wanted, evidence).mode is mode


@given(st.sampled_from(ModeWanted), EVIDENCE)
def test_native_means_that_every_folder_is_watched_and_everything_else_has_a_reason(
    wanted: ModeWanted, evidence: Evidence
) -> None:
    choice = choose(wanted, evidence)
    if choice.mode is Mode.NATIVE:
        assert evidence.is_watched
        assert evidence.unwatched == 0
    assert bool(choice.reason) == (choice.mode is not Mode.NATIVE)


@given(st.sampled_from(Mode), st.sampled_from([0.0, 7.0, 9_999.0]), st.sampled_from([0.0, 30.0, 3_600.0]))
def test_where_events_are_not_enough_sweeps_are_never_off_nor_rarer_than_their_distance(
    mode: Mode, own_s: float, native_s: float
) -> None:
    distance = interval_s(mode, own_s=own_s, native_s=native_s)
    if own_s:
        assert distance == own_s
    elif mode is Mode.NATIVE:
        assert distance == native_s
    else:
        assert 0 < distance <= {Mode.SCAN: POLL_S, Mode.HYBRID: STAND_IN_S}[mode]


@given(st.integers(0, 10_000_000), st.integers(1, 10_000_000))
def test_the_limit_to_set_is_enough_with_a_quarter_to_spare_and_not_absurd(limit: int, missing: int) -> None:
    number = limit_to_set(limit, missing)
    assert (limit + missing) * 5 // 4 <= number <= 3 * (limit + missing)


@given(st.sampled_from(ModeWanted), st.lists(EVIDENCE, max_size=8))
def test_a_mode_is_told_when_it_changes_and_only_then(wanted: ModeWanted, course: list[Evidence]) -> None:
    modes = Modes()
    modes.add(1, wanted)
    told = modes.choice(1)
    for evidence in course:
        news = modes.learn(1, **{name: getattr(evidence, name) for name in Evidence.__slots__})
        assert (news is None) == (choose(wanted, evidence) == told)
        told = news or told
        assert told == modes.choice(1) == choose(wanted, evidence)


def test_a_root_that_is_not_known_yet_promises_nothing() -> None:
    assert Modes().choice(1) == Choice(mode=Mode.SCAN, reason="its watches are not in place yet")
