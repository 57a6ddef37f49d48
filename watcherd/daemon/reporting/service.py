"""What the service manager is told of a run: sd_notify(3).

READY once, STATUS now and then, WATCHDOG as long as the loop turns and for nothing else: a root that hangs is that
root's state, and no reason to be killed. Not responsible for: the messages' form (`telemetry/notify.py`).
"""

import os
from collections.abc import Callable

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.timer import Every
from watcherd.telemetry import notify
from watcherd.telemetry.log import get_logger

log = get_logger()

STATUS_INTERVAL_S = 5.0
EXTENSION_S = 20.0
"""While it starts or ends, the service manager is asked for so much more time, every `STATUS_INTERVAL_S`."""
PATIENCE_S = 10.0
"""So long the first scans may take to be queued (adding watches takes 0.34 s per 20,000 folders): then READY anyway."""


def is_ready(*, has_worker: bool, scans_to_come: int, waited_s: float) -> bool:
    """Whether a run can be relied on: it can work, and what was there before it is going to be found.

    `scans_to_come`: roots that may be there, but whose first scan is not queued yet. One that is absent does not count,
    one that hangs until it shows: for `PATIENCE_S` at the most.
    """
    return has_worker and (not scans_to_come or waited_s >= PATIENCE_S)


class ServiceManager:
    """The reports of one run; a duty. `summary` is the line for people."""

    def __init__(self, core: Core, notifier: notify.Notifier, summary: Callable[[], str], started: float) -> None:
        self._core = core
        self._notifier = notifier
        self._summary = summary
        self._started = started
        self._status = Every(STATUS_INTERVAL_S if os.environ.get("NOTIFY_SOCKET") else 0.0)
        self._watchdog = Every(notify.watchdog_interval_s() or 0.0)
        self.ready = False
        self._is_stopping = False

    def due(self, moment: Moment) -> float | None:
        """Say what is due."""
        if not self.ready:
            self._look_whether_ready(moment)
        if self._status.is_due(moment.now):
            self._notifier.status(self._summary())
            if self._is_stopping or not self.ready:
                self._notifier.extend_timeout(EXTENSION_S)
        if self._watchdog.is_due(moment.now):
            self._notifier.watchdog()
        patience = self._started + PATIENCE_S if not self.ready and moment.now < self._started + PATIENCE_S else None
        deadlines = [patience, *(timer.deadline() for timer in (self._status, self._watchdog))]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def stopping(self) -> None:
        """The drain begins."""
        self._is_stopping = True
        self._notifier.stopping(self._summary())
        self._notifier.extend_timeout(EXTENSION_S)

    def _look_whether_ready(self, moment: Moment) -> None:
        core = self._core
        unseen = core.conditions.unseen()
        to_come = sum(
            root in unseen or (core.conditions.runnable(root) and root not in core.scans.begun) for root in core.roots
        )
        waited_s = moment.now - self._started
        if self._is_stopping or not is_ready(has_worker=core.has_worker, scans_to_come=to_come, waited_s=waited_s):
            return
        self.ready = True
        self._notifier.ready(self._summary())
        log.info(
            "daemon.ready",
            roots=len(core.roots),
            variants=[variant.name for variant in core.settings.variants],
            workers=core.most_workers,
            elapsed_s=round(waited_s, 3),
        )
