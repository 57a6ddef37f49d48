import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.derivatives.wrecks import Finding, Found, Suspect, judge, was_safe_before

WRITTEN = Suspect(paths=(b"a.jpg.thumbnail.jpg",), checksum=7, recorded=(1_000, 5))
BEGUN = Suspect(paths=(b"a.jpg.thumbnail.jpg",))

founds = st.builds(
    Found,
    checksum=st.integers(0, 9),
    size_bytes=st.sampled_from([0, 999, 1_000]),
    mtime_ns=st.sampled_from([5, 6]),
    is_marked=st.booleans(),
    is_blank=st.booleans(),
)


def found(**changes: object) -> Found:
    usual = {"checksum": 8, "size_bytes": 1_000, "mtime_ns": 6, "is_marked": False, "is_blank": False}
    return Found(**{**usual, **changes})  # type: ignore[arg-type]


@given(founds)
def test_the_bytes_that_were_written_are_sound_and_no_others(one: Found) -> None:
    assert (judge(WRITTEN, one) is Finding.SOUND) == (one.checksum == 7)
    assert judge(BEGUN, one) is not Finding.SOUND


@given(founds)
def test_nothing_is_a_wreck_that_may_be_a_persons(one: Found) -> None:
    is_ours = one.is_marked or one.is_blank or one.mtime_ns == 5
    assert (judge(WRITTEN, one) is Finding.FOREIGN) == (one.checksum != 7 and not is_ours)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (found(is_blank=True, size_bytes=0), Finding.WRECK),
        (found(is_blank=True), Finding.WRECK),
        (found(is_marked=True), Finding.WRECK),
        (found(mtime_ns=5), Finding.WRECK),
        (found(), Finding.FOREIGN),
        (found(checksum=7), Finding.SOUND),
    ],
)
def test_each_way_in_which_a_derivative_may_be_found(one: Found, expected: Finding) -> None:
    assert judge(WRITTEN, one) is expected


def test_of_an_attempt_that_had_only_begun_nothing_of_ours_is_trusted_but_what_was_recorded_before() -> None:
    assert judge(BEGUN, found(is_marked=True)) is Finding.WRECK
    assert judge(BEGUN, found()) is Finding.FOREIGN
    before = Suspect(paths=BEGUN.paths, recorded=(1_000, 5))
    assert was_safe_before(before, 1_000, 5)
    assert not was_safe_before(before, 1_000, 6)
    assert not was_safe_before(before, 0, 5)
    assert not was_safe_before(BEGUN, 1_000, 5)
    assert not was_safe_before(WRITTEN, 1_000, 5)
