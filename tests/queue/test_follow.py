"""Moved, gone, back: the decisions alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import stamps
from watcherd.model import Entry, Source, Stamp, State
from watcherd.queue.follow import Brake, BrakePolicy, is_same_file, origin

STAMP = Stamp(1000, 5_123_456_789, 6_000_000_000, 42, 1)
POLICY = BrakePolicy(share=0.2, grace_s=86_400.0, floor=100)
HOUR_S = 3600.0


def done(path: bytes, stamp: Stamp = STAMP, **fields: object) -> Entry:
    entry = Entry(source=Source(1, path), state=State.DONE, stamp=stamp, digest=b"d" * 32)
    return replace(entry, **fields)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------- moved


def test_a_renamed_file_is_known_again_by_inode_size_and_mtime() -> None:
    assert is_same_file(STAMP, STAMP._replace(ctime_ns=9_000_000_000))


def test_a_file_whose_folder_was_renamed_has_its_ctime_still() -> None:
    whole = STAMP._replace(mtime_ns=5_000_000_000)

    assert is_same_file(whole, whole)


def test_a_whole_second_and_another_ctime_may_be_another_file_in_a_reused_inode() -> None:
    whole = STAMP._replace(mtime_ns=5_000_000_000)

    assert not is_same_file(whole, whole._replace(ctime_ns=9_000_000_000))


@given(stamps(), stamps())
def test_other_inode_size_or_mtime_is_never_the_same_file(one: Stamp, other: Stamp) -> None:
    keys = [(stamp.inode, stamp.size_bytes, stamp.mtime_ns) for stamp in (one, other)]

    if is_same_file(one, other):
        assert keys[0] == keys[1]
    if keys[0] != keys[1]:
        assert not is_same_file(one, other)


@pytest.mark.parametrize(
    "known",
    [
        done(b"a", state=State.PENDING),
        done(b"a", state=State.REJECTED),
        done(b"a", digest=None),
        done(b"a", stamp=None),
        done(b"a", STAMP._replace(size_bytes=1001)),
    ],
)
def test_only_a_finished_source_of_this_file_is_an_origin(known: Entry) -> None:
    assert origin(STAMP, [known]) is None
    assert origin(STAMP, [known, done(b"b")]) == done(b"b")


def test_one_that_is_known_to_be_gone_comes_first() -> None:
    gone = done(b"z", gone_at_s=5.0)

    assert origin(STAMP, [done(b"a"), gone, done(b"b")]) == gone
    assert origin(STAMP, [done(b"a"), done(b"b")]) == done(b"a")


# ------------------------------------------------------------------------------------------------------------ the brake


def braked(gone: int, sources: int, policy: BrakePolicy = POLICY) -> bool:
    brake = Brake(policy)
    for _ in range(gone):
        brake.gone(1000.0)
    return brake.holds(1060.0, sources)


@pytest.mark.parametrize(
    ("gone", "sources", "expected"),
    [
        (100, 100, False),  # the floor: a small inbox may be emptied
        (101, 101, True),
        (101, 1000, False),
        (200, 1000, False),
        (201, 1000, True),
    ],
)
def test_the_brake_engages_above_the_share_and_the_floor(gone: int, sources: int, expected: bool) -> None:
    assert braked(gone, sources) is expected


def test_a_share_of_one_never_engages() -> None:
    assert not braked(5000, 5000, replace(POLICY, share=1.0))


@given(st.lists(st.floats(0, 30 * HOUR_S), max_size=300), st.integers(0, 1000))
def test_the_brake_holds_if_and_only_if_too_many_went_within_the_window(times: list[float], sources: int) -> None:
    policy = replace(POLICY, floor=20)
    brake = Brake(policy)
    for at_s in times:
        brake.gone(at_s)
    now_s = 31 * HOUR_S
    surely = sum(at_s >= now_s - policy.window_s for at_s in times)
    perhaps = sum(at_s >= now_s - policy.window_s - 60 for at_s in times)
    limit = max(policy.floor, policy.share * sources)

    holds = brake.holds(now_s, sources)

    if surely > limit:
        assert holds
    if perhaps <= limit:
        assert not holds


@given(st.lists(st.booleans(), max_size=400))
def test_what_came_back_does_not_count(steps: list[bool]) -> None:
    """True: one goes; False: one of those that are gone comes back."""
    brake, gone = Brake(replace(POLICY, floor=10)), 0
    for goes in steps:
        if goes:
            brake.gone(1000.0)
            gone += 1
        elif gone:
            brake.back(1000.0)
            gone -= 1

    assert brake.recently(1000.0) == gone
    assert brake.holds(1000.0, sources=10) is (gone > 10)


def test_it_holds_on_after_the_window_until_the_grace_period_ends() -> None:
    brake = Brake(POLICY)
    for _ in range(150):
        brake.gone(1000.0)

    assert brake.holds(1060.0, 150)
    assert brake.holds(1060.0 + 5 * HOUR_S, 150)
    assert brake.held_until_s == 1060.0 + POLICY.grace_s
    assert not brake.holds(1060.0 + POLICY.grace_s, 150)
    assert not brake.holds(1061.0 + POLICY.grace_s, 150)


def test_a_confirmed_brake_lets_go_and_counts_anew() -> None:
    brake = Brake(POLICY)
    for _ in range(150):
        brake.gone(1000.0)
    assert brake.holds(1060.0, 150)

    brake.release()

    assert not brake.holds(1061.0, 150)
    for _ in range(101):
        brake.gone(1062.0)
    assert brake.holds(1063.0, 101)


def test_a_brake_outlasts_a_restart() -> None:
    brake = Brake(POLICY, held_since_s=1000.0)

    assert brake.holds(2000.0, 5000)
