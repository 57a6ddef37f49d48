"""Which old files are done at the first contact with a library."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.backfill import ALL, EXPECTED, Backfill, parse
from watcherd.model import Stamp

DAY_S = 86_400
SINCE_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def stamp(mtime_s: float, ctime_s: float = 0.0) -> Stamp:
    return Stamp(size_bytes=1, mtime_ns=int(mtime_s * 1e9), ctime_ns=int(ctime_s * 1e9), inode=1, nlink=1)


times = st.integers(0, 4 * 10**9)


@given(times, times)
def test_all_takes_everything(mtime_s: int, ctime_s: int) -> None:
    assert ALL.takes(stamp(mtime_s, ctime_s), SINCE_S)
    assert parse("all") == ALL


@given(st.sampled_from(["none", "newer_than:2024-01-31", "newer_than:90d"]), times, times)
def test_what_came_after_the_first_contact_is_an_upload(text: str, mtime_s: int, later_s: int) -> None:
    assert parse(text).takes(stamp(mtime_s, SINCE_S + 1 + later_s), SINCE_S)


@given(times)
def test_none_takes_nothing_old(mtime_s: int) -> None:
    assert not parse("none").takes(stamp(mtime_s, SINCE_S - 1), SINCE_S)


@pytest.mark.parametrize(
    ("text", "last_s"),
    [
        ("newer_than:2024-01-31", datetime(2024, 1, 31, tzinfo=UTC).timestamp()),
        ("newer_than:90d", SINCE_S - 90 * DAY_S),
        ("newer_than:0d", SINCE_S),
    ],
)
def test_newer_than_has_a_limit(text: str, last_s: float) -> None:
    backfill = parse(text)
    assert not backfill.takes(stamp(last_s - 1), SINCE_S)
    assert backfill.takes(stamp(last_s + 1), SINCE_S)


@pytest.mark.parametrize(
    "text", ["", "some", "newer_than:", "newer_than:3w", "newer_than:2024-13-01", "newer_than:-3d", "newer_than:٣d"]
)
def test_anything_else_is_refused_with_what_it_may_be(text: str) -> None:
    with pytest.raises(ValueError, match="newer_than") as refused:
        parse(text)
    assert str(refused.value) == EXPECTED


def test_no_limit_is_the_default() -> None:
    assert Backfill() == ALL
