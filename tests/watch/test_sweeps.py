"""Sweeps come at their distances, one at a time, and leave the disk in peace in between."""

from hypothesis import given
from hypothesis import strategies as st

from watcherd.watch.sweeps import Sweep, Sweeps

QUICK, FULL = Sweep(root=1, is_full=False), Sweep(root=1, is_full=True)


def one(quick_s: float = 100.0, full_s: float = 1_000.0) -> Sweeps:
    sweeps = Sweeps()
    sweeps.set(1, 0.0, quick_s=quick_s, full_s=full_s)
    return sweeps


def test_quick_sweeps_come_at_their_distance_and_a_full_one_when_it_is_due() -> None:
    sweeps = one()
    begun = []
    for now in range(0, 1_101, 10):
        for sweep in sweeps.due(float(now)):
            begun.append((now, sweep.is_full))
            sweeps.scanned(1, float(now), was_full=sweep.is_full)
    assert begun == [*((now, False) for now in range(100, 1_000, 100)), (1_000, True), (1_100, False)]


def test_no_second_one_begins_while_one_runs_however_long_it_takes() -> None:
    sweeps = one()
    assert sweeps.due(100.0) == [QUICK]
    assert sweeps.due(5_000.0) == []
    assert sweeps.next_deadline() is None
    sweeps.scanned(1, 5_000.0, was_full=False)
    assert sweeps.next_deadline() == 5_100.0
    assert sweeps.due(5_100.0) == [FULL]


def test_a_comparison_that_somebody_else_asked_for_counts() -> None:
    sweeps = one()
    sweeps.scanned(1, 90.0, was_full=True)
    assert sweeps.due(100.0) == []
    assert sweeps.next_deadline() == 190.0


def test_a_full_sweep_that_fails_is_tried_again_and_not_at_once() -> None:
    sweeps = one()
    sweeps.scanned(1, 950.0, was_full=False)
    assert sweeps.due(1_050.0) == [FULL]
    sweeps.scanned(1, 1_050.0, was_full=False)
    assert sweeps.due(1_050.0) == []
    assert sweeps.due(1_150.0) == [FULL]


def test_distances_of_zero_are_never() -> None:
    assert one(0.0, 0.0).next_deadline() is None
    sweeps = one(0.0, 1_000.0)
    assert sweeps.due(999.0) == []
    assert sweeps.due(1_000.0) == [FULL]
    assert one(100.0, 0.0).due(1e9) == [QUICK]


def test_time_that_has_gone_by_counts_when_distances_change() -> None:
    sweeps = one(3_600.0, 0.0)
    sweeps.set(1, 70.0, quick_s=60.0, full_s=0.0)
    assert sweeps.due(70.0) == [QUICK]


def test_a_root_that_is_not_watched_any_more_is_not_swept() -> None:
    sweeps = one()
    sweeps.drop(1)
    sweeps.scanned(1, 50.0, was_full=True)
    assert (sweeps.due(1e9), sweeps.next_deadline()) == ([], None)


@given(
    quick_s=st.sampled_from([0.0, 10.0, 300.0]),
    full_s=st.sampled_from([0.0, 50.0, 1_000.0]),
    steps=st.lists(st.tuples(st.floats(0.0, 400.0), st.booleans()), max_size=40),
)
def test_between_the_end_of_one_and_the_next_the_disk_rests(
    quick_s: float, full_s: float, steps: list[tuple[float, bool]]
) -> None:
    sweeps, now, ended = one(quick_s, full_s), 0.0, 0.0
    least = min((distance for distance in (quick_s, full_s) if distance), default=float("inf"))
    for wait_s, succeeds in steps:
        now += wait_s
        for sweep in sweeps.due(now):
            assert now - ended >= least - 1e-6
            sweeps.scanned(1, now, was_full=sweep.is_full and succeeds)
            ended = now
        deadline = sweeps.next_deadline()
        assert deadline is None or deadline > now
