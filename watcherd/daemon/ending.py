"""How a run of the daemon ends: it drains, then halts. Not responsible for: what ends with it (`shell.py`)."""

import signal

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.loop import Loop
from watcherd.daemon.reporting.service import ServiceManager
from watcherd.daemon.signals import Signalled
from watcherd.telemetry.log import get_logger

log = get_logger()


class Ending:
    """How a run ends: the first signal drains, a second one (or the drain's own deadline) halts."""

    def __init__(self, core: Core, service: ServiceManager, loop: Loop) -> None:
        self._core = core
        self._loop = loop
        self._service = service
        self._halt_at: float | None = None
        self._halted = False

    def signalled(self, item: object, moment: Moment) -> list[Effect]:
        """A signal to end came."""
        name = signal.Signals(item.number).name if isinstance(item, Signalled) else ""
        if self._halt_at is None:
            self._halt_at = moment.now + self._core.settings.daemon.drain_timeout_s
            self._service.stopping()
            log.info("daemon.draining", signal=name, running=self._core.fleet.busy(), queued=len(self._core.queue))
            return [*self._core.fleet.drain(moment.now)]
        return self._halt(name, moment)

    def _halt(self, name: str, moment: Moment) -> list[Effect]:
        if self._halted:
            return []
        self._halted = True
        log.warning("daemon.halting", signal=name, running=self._core.fleet.busy())
        return [*self._core.fleet.halt(moment.now)]

    def due(self, moment: Moment) -> float | None:
        """Halt when the drain takes too long."""
        if self._halt_at is not None and moment.now >= self._halt_at:
            for effect in self._halt("", moment):
                self._loop.carry_out(effect)
        return None if self._halted else self._halt_at

    def is_over(self) -> bool:
        """Whether the run has ended."""
        if self._core.failure is not None:
            return True
        if self._halt_at is None:
            return False
        if self._loop.stall is not None:
            # What is in hand cannot be recorded. It was not carried out either: the next run begins where this one was.
            return True
        if self._halted:
            return self._core.fleet.halted
        return self._core.fleet.halted and not self._core.attempts.finishing()
