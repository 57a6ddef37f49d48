"""Health: the threads that each root depends on, looked after.

Responsible for: an observer for each root (a dead one is replaced, later and later), the hands' calls that do not come
back, the looks at roots that are away or may have gone, and the ledger's file. Not responsible for: what follows for a
root (`conditions.py`), and the threads themselves (`watch/`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.rooms import RootRooms
from watcherd.daemon.timer import Every
from watcherd.telemetry.log import get_logger
from watcherd.watch import mounts
from watcherd.watch.observer import Observer

log = get_logger()

HEALTH_INTERVAL_S = 10.0
PRESENCE_INTERVAL_S = 60.0
"""All that touches a root between two scans: it is opened. A disk that sleeps is not woken by that."""
OVERDUE_S = 30.0
"""A call of a root's hands that has not come back for so long makes the root hung (chosen: slower than slow disks)."""
FIRST_RESTART_S = 10.0
LONGEST_RESTART_S = 600.0


@dataclass(slots=True)
class _Watcher:
    observer: Observer
    restart_at: float = 0.0
    delay_s: float = FIRST_RESTART_S


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
    """Looks after each root's observer (a dead one is replaced, with a scan) and hands (a hung call is told)."""

    core: Core
    rooms: Mapping[int, RootRooms]
    carry_out: Callable[[Effect], None]
    watchers: dict[int, _Watcher] = field(default_factory=dict)
    timer: Every = field(default_factory=lambda: Every(HEALTH_INTERVAL_S))
    presence: Every = field(default_factory=lambda: Every(PRESENCE_INTERVAL_S))

    def start(self) -> None:
        """Begin to look after all roots."""
        for root in self.core.roots:
            self.watch(root)

    def watch(self, root: int) -> None:
        """Begin to look after a root. It is watched once it has been recognised."""
        self._all(self.core.conditions.begin((root,), mounts.table()))

    def watch_anew(self, root: int) -> None:
        """Watch a root that has come (back): what watched it before may be blind by now, and not know it."""
        self.unwatch(root)
        self.watchers[root] = _Watcher(self.rooms[root].observer())
        self.watchers[root].observer.start()  # its Watching brings the scan

    def unwatch(self, root: int) -> None:
        """Look after a root's observer no more."""
        watcher = self.watchers.pop(root, None)
        if watcher is not None:
            watcher.observer.stop()

    def stop(self) -> None:
        """End the observers, without waiting for a hung one."""
        for watcher in self.watchers.values():
            watcher.observer.stop()

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
            for root, watcher in self.watchers.items():
                self._look_after(root, watcher, moment.now)
        return self.timer.deadline()

    def _all(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.carry_out(effect)

    def _look_after(self, root: int, watcher: _Watcher, now: float) -> None:
        if not self.core.conditions.runnable(root):
            return  # it is watched anew when it comes back
        if watcher.observer.is_alive():
            watcher.delay_s = FIRST_RESTART_S
            return
        if not watcher.restart_at:
            watcher.restart_at = now + watcher.delay_s
        if now >= watcher.restart_at:
            log.info("root.doubt", root=self.core.roots[root].path, reason="observer_dead")
            watcher.observer.stop()
            watcher.observer = self.rooms[root].observer()
            watcher.observer.start()
            watcher.delay_s = min(watcher.delay_s * 2, LONGEST_RESTART_S)
            watcher.restart_at = 0.0
