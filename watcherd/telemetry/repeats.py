"""Repeats: the same warning again and again is written now and then, with how often it came.

Responsible for: which lines are the same, and which of them are written. Not responsible for: writing. Reads no clock.

Lines of one event count as the same where all their words are the same (its subject, its reason); numbers in it may
differ. The first `FREELY` within a window are written; then one when the window is over, with the number of those that
were left out in between. Nothing of level info is ever left out: `job.done` is there to be counted.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

WINDOW_S = 60.0
FREELY = 5
MOST_KNOWN = 1_000
"""So many different lines are told apart; beyond that the oldest is forgotten, and written freely again."""


@dataclass(slots=True)
class _Line:
    since: float
    written: int = 1
    left_out: int = 0


class Repeats:
    """All lines of warnings and errors of the last while."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    def left_out(self, level: str, event: Mapping[str, object], now: float) -> int | None:
        """How many of its kind were left out before this line; None where this one is to be left out too."""
        if level not in {"warning", "error"}:
            return 0
        key = (level, *sorted((name, value) for name, value in event.items() if isinstance(value, str)), _paths(event))
        line = self._lines.get(key)
        if line is None or now - line.since >= WINDOW_S:
            self._lines.pop(key, None)
            self._lines[key] = _Line(since=now)
            if len(self._lines) > MOST_KNOWN:
                self._lines.pop(next(iter(self._lines)), None)
            return line.left_out if line else 0
        if line.written < FREELY:
            line.written += 1
            return 0
        line.left_out += 1
        return None


def _paths(event: Mapping[str, object]) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted((name, value) for name, value in event.items() if isinstance(value, bytes)))
