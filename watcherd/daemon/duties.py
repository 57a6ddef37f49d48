"""Duties: what is done regularly beside the core. Each says when it wants to be called again.

Metrics, the service manager's signs of life, rescans, and the health of each root's observer and hands.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskScanner, Effect, Moment
from watcherd.model import JobClass
from watcherd.pool.processes import Workers
from watcherd.telemetry import notify
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Hands
from watcherd.watch.observer import Observer
from watcherd.watch.roots import RootState

log = get_logger()

HEALTH_INTERVAL_S = 10.0
PRESENCE_INTERVAL_S = 60.0
"""All that touches a root between two scans: it is opened. A disk that sleeps is not woken by that."""
OVERDUE_S = 30.0
"""A call of a root's hands that has not come back for so long makes the root hung (chosen: slower than slow disks)."""
STATUS_INTERVAL_S = 5.0
FIRST_RESTART_S = 10.0
LONGEST_RESTART_S = 600.0


@dataclass(slots=True)
class Every:
    """A timer. `interval_s` 0: never."""

    interval_s: float
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it has run out; it then starts anew."""
        if not self.interval_s:
            return False
        if not self.next_at:
            self.next_at = now + self.interval_s
        if now < self.next_at:
            return False
        self.next_at = now + self.interval_s
        return True

    def deadline(self) -> float | None:
        """When it runs out."""
        return self.next_at if self.interval_s else None


class Rescans:
    """Compares every root with the ledger from time to time: events are hints, the disk is the truth."""

    def __init__(self, core: Core, carry_out: Callable[[Effect], None]) -> None:
        self._core = core
        self._carry_out = carry_out
        self._timer = Every(core.settings.daemon.rescan_interval_s)

    def due(self, moment: Moment) -> float | None:
        """Ask for the scans when it is time."""
        if self._timer.is_due(moment.now):
            for root in self._core.roots:
                self._carry_out(AskScanner(root=root, directory=b""))
        return self._timer.deadline()


class Metrics:
    """The periodic `pool.metrics` line."""

    def __init__(self, core: Core, workers: Workers) -> None:
        self._core = core
        self._workers = workers
        self._timer = Every(core.settings.daemon.metrics_interval_s)
        self._before = core.totals.copy()

    def due(self, moment: Moment) -> float | None:
        """Write the line when it is time."""
        if self._timer.is_due(moment.now):
            self.write(moment)
        return self._timer.deadline()

    def write(self, moment: Moment) -> None:
        """Write the line now: sums of the interval, states of the moment."""
        core, before = self._core, self._before
        totals = core.totals.copy()
        self._before = totals
        fleet = core.fleet
        busy_s = fleet.busy_seconds(moment.now)
        interval_s = self._timer.interval_s
        waiting_since = [at for at in map(core.queue.oldest, JobClass) if at is not None]
        log.info(
            "pool.metrics",
            workers=len(fleet.slots),
            busy=fleet.busy(),
            idle=len(fleet.idle()),
            queued=len(core.queue),
            settling=len(core.settle),
            waiting=core.outcomes.waiting + core.attempts.parked,
            oldest_s=round(max((moment.now - at for at in waiting_since), default=0.0), 3),
            ended=dict(totals.ended - before.ended),
            attempts_per_s=round((sum(totals.ended.values()) - sum(before.ended.values())) / interval_s, 3),
            rss_bytes=self._rss_bytes(),
            utilisation=round((busy_s - before.busy_s) / interval_s / max(1, core.most_workers), 3),
            memory_bytes=core.admission.used_bytes,
            budget_bytes=core.admission.budget_bytes,
            restarts=totals.restarts - before.restarts,
            bytes_in=totals.bytes_in - before.bytes_in,
            bytes_out=totals.bytes_out - before.bytes_out,
            interval_s=interval_s,
        )
        totals.busy_s = busy_s

    def _rss_bytes(self) -> int:
        return sum(self._workers.rss_bytes(worker.slot) for worker in self._workers)


@dataclass(slots=True)
class _Watcher:
    observer: Observer
    restart_at: float = 0.0
    delay_s: float = FIRST_RESTART_S
    was: RootState = RootState.ONLINE


def overdue_calls(core: Core, hands: Mapping[int, Hands], moment: Moment) -> list[Effect]:
    """Tell the roots' conditions whose calls have not come back for long, and whose have."""
    pending_s = {root: one.oldest_pending(moment.now) or 0.0 for root, one in hands.items()}
    return [
        effect
        for root, seconds in pending_s.items()
        for effect in core.conditions.hung(root, moment, is_hung=seconds > OVERDUE_S)
    ]


@dataclass(slots=True)
class Health:
    """Looks after each root's observer (a dead one is replaced, with a scan) and hands (a hung call is told)."""

    core: Core
    hands: Mapping[int, Hands]
    make_observer: Callable[[int], Observer]
    carry_out: Callable[[Effect], None]
    watchers: dict[int, _Watcher] = field(default_factory=dict)
    timer: Every = field(default_factory=lambda: Every(HEALTH_INTERVAL_S))
    presence: Every = field(default_factory=lambda: Every(PRESENCE_INTERVAL_S))

    def start(self) -> None:
        """Start an observer for each root."""
        for root in self.core.roots:
            self.watchers[root] = _Watcher(self.make_observer(root))
            self.watchers[root].observer.start()

    def stop(self) -> None:
        """End the observers, without waiting for a hung one."""
        for watcher in self.watchers.values():
            watcher.observer.stop()

    def due(self, moment: Moment) -> float | None:
        """Look when it is time."""
        if self.timer.is_due(moment.now):
            self._all(overdue_calls(self.core, self.hands, moment))
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
        state = self.core.conditions.state(root)
        came_back = state is RootState.ONLINE and watcher.was in {RootState.OFFLINE, RootState.HUNG}
        watcher.was = state
        if came_back:  # what it watched may be unmounted since: it would be blind, and not know it
            self._replace(root, watcher, "root_came_back")
            watcher.delay_s, watcher.restart_at = FIRST_RESTART_S, 0.0
            return
        if watcher.observer.is_alive():
            watcher.delay_s = FIRST_RESTART_S
            return
        if not watcher.restart_at:
            watcher.restart_at = now + watcher.delay_s
        if now >= watcher.restart_at:
            self._replace(root, watcher, "observer_dead")
            watcher.delay_s = min(watcher.delay_s * 2, LONGEST_RESTART_S)
            watcher.restart_at = 0.0

    def _replace(self, root: int, watcher: _Watcher, reason: str) -> None:
        log.info("root.doubt", root=self.core.roots[root].path, reason=reason)
        watcher.observer.stop()
        watcher.observer = self.make_observer(root)
        watcher.observer.start()  # its Watching brings the scan


class ServiceManager:
    """Tells the service manager how it goes: READY once, STATUS now and then, WATCHDOG while the loop turns."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._notifier = notify.Notifier()
        self._status = Every(STATUS_INTERVAL_S if os.environ.get("NOTIFY_SOCKET") else 0.0)
        self._watchdog = Every(notify.watchdog_interval_s() or 0.0)
        self._is_ready = False
        self._started = time.monotonic()

    def due(self, moment: Moment) -> float | None:
        """Say what is due."""
        if not self._is_ready and self._core.has_worker:
            self._is_ready = True
            self._notifier.ready(self._core.summary())
            log.info(
                "daemon.ready",
                roots=len(self._core.roots),
                variants=[variant.name for variant in self._core.settings.variants],
                workers=self._core.most_workers,
                elapsed_s=round(moment.now - self._started, 3),
            )
        if self._status.is_due(moment.now):
            self._notifier.status(self._core.summary())
        if self._watchdog.is_due(moment.now):
            self._notifier.watchdog()
        deadlines = [timer.deadline() for timer in (self._status, self._watchdog)]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def stopping(self) -> None:
        """The drain begins."""
        self._notifier.stopping()
