"""What a quick sweep trusts: folders whose times were old enough when they were seen, and have not changed."""

from hypothesis import given
from hypothesis import strategies as st

from watcherd.watch.foldertimes import NOWHERE, RIPE_NS, FolderTimes, Times

SECOND = 1_000_000_000
OLD = Times(mtime_ns=100 * SECOND, ctime_ns=100 * SECOND, inode=7, device=1)
BESIDE = Times(mtime_ns=90 * SECOND, ctime_ns=90 * SECOND, inode=8, device=1)
"""The times of the folder that derivatives have for themselves."""
NOW = 200 * SECOND


def noted(times: Times = OLD, names: tuple[bytes, ...] = (), now: int = NOW) -> FolderTimes:
    folders = FolderTimes()
    folders.begin(1)
    folders.note(b"d", (times, BESIDE), names, now)
    return folders


@given(st.lists(st.binary(min_size=1, max_size=5).filter(lambda name: b"/" not in name), max_size=5))
def test_an_unchanged_folder_tells_its_sub_folders(names: list[bytes]) -> None:
    assert noted(names=tuple(names)).unchanged(b"d", (OLD, BESIDE)) == names


@given(st.sampled_from(Times._fields), st.integers(1, 2**62))
def test_any_other_time_or_another_folder_is_a_change(field: str, value: int) -> None:
    other = OLD._replace(**{field: value})
    assert noted().unchanged(b"d", (other, BESIDE)) == ([] if other == OLD else None)


@given(st.integers(-2 * RIPE_NS, 2 * RIPE_NS))
def test_times_that_are_young_or_in_the_future_prove_nothing(age_ns: int) -> None:
    young = OLD._replace(mtime_ns=NOW - age_ns)
    for times in ((young, BESIDE), (BESIDE, young), (young,)):
        folders = FolderTimes()
        folders.begin(1)
        folders.note(b"d", times, (), NOW)
        assert folders.unchanged(b"d", times) == ([] if age_ns >= RIPE_NS else None)


@given(st.sampled_from(Times._fields), st.integers(1, 2**62))
def test_a_change_in_the_derivatives_own_folder_is_one_too(field: str, value: int) -> None:
    other = BESIDE._replace(**{field: value})
    assert noted().unchanged(b"d", (OLD, other)) == ([] if other == BESIDE else None)
    assert noted().unchanged(b"d", (OLD, NOWHERE)) is None
    assert noted().unchanged(b"d", (OLD,)) is None


def test_a_folder_that_became_young_again_is_forgotten() -> None:
    folders = noted()
    folders.note(b"d", (OLD._replace(mtime_ns=NOW), BESIDE), (), NOW)
    assert folders.unchanged(b"d", (OLD, BESIDE)) is None


def test_other_wishes_make_everything_worth_a_look() -> None:
    folders = noted()
    folders.begin(1)
    assert folders.unchanged(b"d", (OLD, BESIDE)) == []
    folders.begin(2)
    assert (folders.unchanged(b"d", (OLD, BESIDE)), len(folders)) == (None, 0)


def test_memory_is_bounded_and_what_is_above_is_read() -> None:
    folders = FolderTimes(most=3)
    folders.begin(1)
    for number in range(5):
        folders.note(b"%d" % number, (OLD,), (), NOW)
    assert [folders.unchanged(b"%d" % number, (OLD,)) for number in range(5)] == [[], [], [], None, None]
    folders.drop(b"0")
    folders.note(b"4", (OLD,), (), NOW)
    assert (folders.unchanged(b"0", (OLD,)), folders.unchanged(b"4", (OLD,)), len(folders)) == (None, [], 3)
