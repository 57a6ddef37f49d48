"""The pace of the work, and how long what is left will take at it. Reads no clock.

Responsible for: the attempts ended in the last minutes. Not responsible for: counting them (`totals.py`).
"""

from collections import deque

from watcherd.daemon.effects import Moment
from watcherd.daemon.reporting.totals import Totals

SAMPLE_INTERVAL_S = 10.0
SAMPLES = 30
"""So many samples are looked back upon: 5 minutes (chosen: long enough for giants between small ones)."""


class Pace:
    """Samples the number of attempts that have ended; a duty."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES + 1)

    def due(self, moment: Moment) -> float | None:
        """Take a sample when it is time; none is needed where nothing ends."""
        ended = sum(self._totals.ended.values())
        if not self._samples:
            self._samples.append((moment.now, ended))
        if ended == self._samples[-1][1]:
            return None
        if moment.now - self._samples[-1][0] >= SAMPLE_INTERVAL_S:
            self._samples.append((moment.now, ended))
            return None
        return self._samples[-1][0] + SAMPLE_INTERVAL_S

    def per_s(self, now: float) -> float:
        """Attempts that ended, a second, over the last minutes."""
        window_s = SAMPLE_INTERVAL_S * SAMPLES
        inside = [(at, ended) for at, ended in self._samples if now - at <= window_s]
        base = inside[0] if inside else (now - window_s, self._samples[-1][1] if self._samples else 0)
        seconds = now - base[0]
        return (sum(self._totals.ended.values()) - base[1]) / seconds if seconds > 0 else 0.0


def time_left_s(left: int, per_s: float) -> float | None:
    """How long the rest takes at this pace; None where that cannot be told."""
    if not left:
        return 0.0
    return left / per_s if per_s > 0 else None
