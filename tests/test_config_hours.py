"""Quiet hours: spans of the day by the clock on the wall, over midnight and over changes of the clocks."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.config.hours import DAY_MINUTES, Span, is_quiet, next_look_s, span

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = (span("22:00-06:00"),)
minutes = st.integers(min_value=0, max_value=DAY_MINUTES - 1)
spans = st.lists(
    st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]).map(lambda p: Span(start=p[0], end=p[1])),
    min_size=1,
    max_size=4,
)


def local(wall_s: float) -> time.struct_time:
    return datetime.fromtimestamp(wall_s, BERLIN).timetuple()


def at(wall_s: float, those: tuple[Span, ...]) -> bool:
    now = local(wall_s)
    return is_quiet(those, now.tm_hour * 60 + now.tm_min)


def changes(begin: datetime, hours: float, those: tuple[Span, ...]) -> list[tuple[str, bool]]:
    """When the answer is another one, found by following `next_look_s` alone; as local times."""
    wall_s, end_s = begin.timestamp(), begin.timestamp() + hours * 3600
    found, before = [], at(wall_s, those)
    while wall_s < end_s:
        now = local(wall_s)
        wall_s = next_look_s(those, wall_s, now.tm_hour * 60 + now.tm_min, now.tm_sec + wall_s % 1)
        if at(wall_s, those) is not before:
            before = not before
            found.append((f"{datetime.fromtimestamp(wall_s, BERLIN):%H:%M}", before))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:00-06:00", Span(start=1320, end=360)),
        (" 1:30 - 2:00 ", Span(start=90, end=120)),
        ("00:00-24:00", None),
        ("12:00-24:00", Span(start=720, end=0)),
        ("12:00-12:00", None),
        ("25:00-26:00", None),
        ("12:60-13:00", None),
        ("noon", None),
        ("", None),
    ],
)
def test_spans_are_read(text: str, expected: Span | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="spans of the day"):
            span(text)
    else:
        assert span(text) == expected


def test_a_span_holds_over_midnight() -> None:
    assert [is_quiet(NIGHT, minute) for minute in (21 * 60 + 59, 22 * 60, 0, 5 * 60 + 59, 6 * 60)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_no_span_is_never_quiet() -> None:
    assert not is_quiet((), 0)


def test_the_edges_are_met_on_an_ordinary_day() -> None:
    begin = datetime(2026, 6, 1, 12, 0, tzinfo=BERLIN)

    assert changes(begin, 24, NIGHT) == [("22:00", True), ("06:00", False)]


def test_a_span_that_begins_in_the_hour_that_is_left_out_begins_with_the_jump() -> None:
    begin = datetime(2026, 3, 29, 0, 0, tzinfo=BERLIN)  # 02:00 becomes 03:00

    assert changes(begin, 8, (span("02:30-05:00"),)) == [("03:00", True), ("05:00", False)]


def test_where_clocks_are_put_back_the_span_ends_by_the_clock_on_the_wall() -> None:
    begin = datetime(2026, 10, 24, 20, 0, tzinfo=BERLIN)  # 03:00 becomes 02:00 in that night
    found = changes(begin, 12, NIGHT)

    assert found == [("22:00", True), ("06:00", False)]
    length_s = datetime(2026, 10, 25, 6, tzinfo=BERLIN).astimezone(UTC) - datetime(
        2026, 10, 24, 22, tzinfo=BERLIN
    ).astimezone(UTC)
    assert length_s.total_seconds() == 9 * 3600


@given(spans, st.integers(min_value=0, max_value=365 * 24 * 60), st.integers(min_value=0, max_value=59))
def test_between_two_looks_the_answer_does_not_change(those: list[Span], minute: int, second: int) -> None:
    wall_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp() + minute * 60 + second
    now = local(wall_s)
    until = next_look_s(those, wall_s, now.tm_hour * 60 + now.tm_min, now.tm_sec)
    before = at(wall_s, tuple(those))

    assert wall_s < until <= wall_s + 900
    assert all(at(moment, tuple(those)) is before for moment in range(int(wall_s), int(until)))
