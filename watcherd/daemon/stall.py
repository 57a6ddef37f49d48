"""The stall: what the loop keeps while the ledger's disk is full.

Nothing that a pass decided is carried out before it is committed. So, where that cannot be done, the pass stays as it
is, with its effects; the core is not asked again, and all that comes in for it waits here. The commit is tried once a
second; when it succeeds, the effects are carried out and what has waited is taken in, as if nothing had happened.
Not responsible for: trying (`loop.py`), and for who is served meanwhile (signals, status, the service manager).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from watcherd.daemon.effects import Effect, Moment
from watcherd.model import Change
from watcherd.watch.reports import Doubt, DoubtReason

RETRY_S = 1.0
MOST_HELD = 50_000
"""So many inputs wait here; of more, changes are dropped, and a scan of their roots takes their place."""


@dataclass(slots=True)
class Stall:
    """One stall: since when (monotonic), why, and what waits."""

    since: float
    reason: str
    effects: Sequence[Effect]
    retry_at: float
    _inputs: list[object] = field(default_factory=list)
    _doubted: set[int] = field(default_factory=set)

    def hold(self, inputs: Sequence[object]) -> None:
        """Have inputs wait. Of a burst without end only that it was is kept: events are hints."""
        self._inputs += inputs
        if len(self._inputs) > MOST_HELD:
            self._doubted |= {item.source.root for item in self._inputs if isinstance(item, Change)}
            self._inputs = [item for item in self._inputs if not isinstance(item, Change)]

    def inputs(self) -> list[object]:
        """What has waited, in the order of its coming."""
        doubts = [Doubt(root=root, directory=b"", why=DoubtReason.OVERFLOW) for root in sorted(self._doubted)]
        return [*self._inputs, *doubts]

    def is_due(self, moment: Moment) -> bool:
        """Whether the commit is to be tried again; the next time is a second later."""
        if moment.now < self.retry_at:
            return False
        self.retry_at = moment.now + RETRY_S
        return True
