"""Duties: what is done regularly beside the core. Each says when it wants to be called again.

The service manager's signs of life. The health of the roots' threads: `health.py`.
"""

import os
import time

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.timer import Every
from watcherd.telemetry import notify
from watcherd.telemetry.log import get_logger

log = get_logger()

STATUS_INTERVAL_S = 5.0


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
