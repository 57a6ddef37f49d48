"""Quiet hours: spans of the day, as the clock on the wall shows it. Pure.

Responsible for: reading a span, whether one holds at a time of day, and when that may next be otherwise. Not
responsible for: what time it is here (`daemon/verbs/pausing.py` asks the system, which knows of daylight saving time).

Minutes of the day are those that local clocks show. Where clocks are put forward, a span that begins in the hour that
is left out begins with the jump; where they are put back, an hour is there twice, and so is a span in it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

DAY_MINUTES = 24 * 60
EXPECTED = 'spans of the day such as "22:00-06:00"'
_QUARTER_S = 900
"""Every offset from UTC that is in use changes at a quarter of an hour: no need to look more often for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a minute of the day (included) to another (not included); over midnight where that is the earlier one."""

    start: int
    end: int

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day lies in it."""
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end


def span(text: str) -> Span:
    """The span of `"22:00-06:00"`. Raises ValueError with what would do."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2}) ?- ?(\d{1,2}):(\d{2})", text.strip(), re.ASCII)
    if found is None:
        raise ValueError(EXPECTED)
    hour, minute, end_hour, end_minute = (int(part) for part in found.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or start >= DAY_MINUTES or end > DAY_MINUTES or start == end % DAY_MINUTES:
        raise ValueError(EXPECTED)
    return Span(start=start, end=end % DAY_MINUTES)


def is_quiet(spans: Iterable[Span], minute: int) -> bool:
    """Whether any of the spans holds at a minute of the day."""
    return any(one.holds(minute) for one in spans)


def next_look_s(spans: Iterable[Span], wall_s: float, minute: int, second: float) -> float:
    """When (seconds of the wall clock) the answer may be another: at an edge of a span, or when clocks are changed."""
    quarter = (wall_s // _QUARTER_S + 1) * _QUARTER_S
    edges = [edge for one in spans for edge in (one.start, one.end)]
    away_s = [((edge - minute) % DAY_MINUTES or DAY_MINUTES) * 60 - second for edge in edges]
    return min(quarter, *(wall_s + seconds for seconds in away_s)) if away_s else quarter
