"""Health: what each root depends on, looked after.

Responsible for: the hands' calls that do not come back, the looks at roots that are away or may have gone, and the
ledger's file. Not responsible for: what follows for a root (`conditions.py`), its observer and sweeps (`vigil.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.daemon.roots.vigil import Vigil
from watcherd.daemon.timer import Every
from watcherd.watch import mounts

HEALTH_INTERVAL_S = 10.0
PRESENCE_INTERVAL_S = 60.0
"""All that touches a root between two scans: it is opened. A disk that sleeps is not woken by that."""
OVERDUE_S = 30.0
"""A call of a root's hands that has not come back for so long makes the root hung (chosen: slower than slow disks)."""


def overdue_calls(core: Core, rooms: Mapping[int, RootRooms], moment: Moment) -> list[Effect]:
    """Tell the roots' conditions whose calls have not come back for long, and whose have."""
    pending_s = {root: rooms[root].hands.oldest_pending(moment.now) or 0.0 for root in core.roots}
    return [
        effect
        for root, seconds in pending_s.items()
        for effect in core.conditions.hung(root, moment, is_hung=seconds > OVERDUE_S)
    ]


@dataclass(slots=True)
class Health:
    """Looks after each root's place, and its hands (a hung call is told)."""

    core: Core
    rooms: Mapping[int, RootRooms]
    carry_out: Callable[[Effect], None]
    vigil: Vigil
    timer: Every = field(default_factory=lambda: Every(HEALTH_INTERVAL_S))
    presence: Every = field(default_factory=lambda: Every(PRESENCE_INTERVAL_S))

    def start(self) -> None:
        """Begin to look after all roots."""
        for root in self.core.roots:
            self.watch(root)

    def watch(self, root: int) -> None:
        """Begin to look after a root. It is watched once it has been recognised."""
        self._all(self.core.conditions.begin((root,), mounts.table()))

    def unwatch(self, root: int) -> None:
        """Look after a root no more."""
        self.vigil.unwatch(root)

    def due(self, moment: Moment) -> float | None:
        """Look when it is time."""
        if self.timer.is_due(moment.now):
            self._all(overdue_calls(self.core, self.rooms, moment))
            self._all(self.core.conditions.look_for_absent())
            if self.presence.is_due(moment.now):
                self._all(self.core.conditions.look_at_present())
            if not self.core.ledger.is_in_place():
                # What is written to it now would be lost with us: end, and begin anew from the marks.
                self.core.failure = f"the ledger {self.core.ledger.path} was removed or replaced under the daemon"
        return self.timer.deadline()

    def _all(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.carry_out(effect)
