"""What happened since the start, counted for the metrics. Owned by the loop's thread.

Not responsible for: how the figures are shown (`readings.py`), and a single scan's counts (`tally.py`).
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from watcherd.telemetry.metrics import Distribution

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""Upper ends of the classes of lengths of time: from a tiny picture's encoding to a night in the queue."""


class Stage(StrEnum):
    """The parts of an attempt that are timed."""

    QUEUE = "queue"
    DECODE = "decode"
    ENCODE = "encode"
    PUBLISH = "publish"


class Durations:
    """Lengths of time, by their classes."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def distribution(self) -> Distribution:
        """As it is now."""
        return Distribution(bounds=BOUNDS_S, counts=tuple(self._counts), sum_s=self._sum_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The totals that the log's metrics line shows the growth of."""

    ended: Counter[str]
    bytes_in: int
    bytes_out: int
    restarts: int


@dataclass(slots=True)
class Totals:
    """`ended` counts attempts by their outcome, `ended_why` by outcome and reason, `worker_ends` by cause."""

    ended: Counter[str] = field(default_factory=Counter)
    ended_why: Counter[tuple[str, str]] = field(default_factory=Counter)
    derivatives: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
    stages: dict[Stage, Durations] = field(default_factory=lambda: {stage: Durations() for stage in Stage})
    attempts: Durations = field(default_factory=Durations)
    restarts: int = 0
    worker_ends: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    scans: Counter[int] = field(default_factory=Counter)
    scanned_at_s: dict[int, float] = field(default_factory=dict)
    succeeded_at_s: dict[int, float] = field(default_factory=dict)

    def sums(self) -> Sums:
        """As they are now."""
        return Sums(ended=self.ended.copy(), bytes_in=self.bytes_in, bytes_out=self.bytes_out, restarts=self.restarts)
