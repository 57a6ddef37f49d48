"""The life of a daemon: start, drain, halt, end.

Not responsible for: what it consists of (`composition.py`), what happens in between (`loop.py`, `core.py`).
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from watcherd import __version__
from watcherd.daemon.composition import Composition
from watcherd.daemon.control import Control, Request
from watcherd.daemon.core import Core
from watcherd.daemon.duties import ServiceManager
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.exposure import Exposure, Scrape
from watcherd.daemon.health import Health
from watcherd.daemon.loop import Loop
from watcherd.daemon.metrics_line import MetricsLine
from watcherd.daemon.mounting import MountTable
from watcherd.daemon.signals import Signalled, listen, moment_now
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.tally import Scope
from watcherd.daemon.upkeep import Upkeep
from watcherd.daemon.verbs import Verbs
from watcherd.daemon.vigil import Vigil
from watcherd.ledger.errors import LedgerError
from watcherd.settings import Settings
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Touched
from watcherd.watch.reports import Coverage, Felt, WatchFailed, Watching

log = get_logger()

EXIT_OK, EXIT_FAILED = 0, 1


def run(settings: Settings, state: StateDirectory, *, config: str | None) -> int:
    """Run the daemon until it is told to end. The caller holds the lock. Returns the exit code."""
    started = time.monotonic()
    log.info("daemon.starting", version=__version__, pid=os.getpid(), state_dir=state.path, config=config)
    with Composition(settings, state, settings.roots, patient=True) as parts:
        log.info("ledger.opened", path=parts.ledger.path, size_bytes=os.path.getsize(parts.ledger.path))
        failure = _serve(parts)
    if failure is not None:
        hint = "see the lines before this one; the service manager decides whether to start again"
        log.error("daemon.failed", operation="run", cause=failure, hint=hint)
    code = EXIT_OK if failure is None else EXIT_FAILED
    log.info("daemon.stopped", exit_code=code, uptime_s=round(time.monotonic() - started, 3))
    return code


def _serve(parts: Composition) -> str | None:
    """Watch and work until the end; what made it fail, if anything did."""
    core, loop = parts.core, parts.loop
    service = ServiceManager(core)
    control = Control(parts.state.control, loop.selector)
    upkeep = Upkeep(core, loop.carry_out)
    verbs = Verbs(core, upkeep)
    exposure = Exposure(core=core, workers=parts.workers, socket_path=parts.state.metrics, post=parts.inbox.post)
    vigil = Vigil(core=core, rooms=parts.rooms, carry_out=loop.carry_out)
    health = Health(core=core, rooms=parts.rooms, carry_out=loop.carry_out, vigil=vigil)
    ending = Ending(core, service, core.settings.daemon.drain_timeout_s, loop.carry_out)
    parts.duties += [
        vigil,
        MetricsLine(core, parts.workers),
        exposure,
        health,
        service,
        ending,
        verbs,
        upkeep,
    ]
    parts.duties.append(_Flush(control))  # last, so that what the others said goes out in the same pass
    loop.handle(Signalled, ending.signalled)
    loop.handle(Request, verbs.requested)
    loop.handle(Scrape, exposure.scraped)
    listen(parts.inbox, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    core.recover(moment_now(), Scope())
    mounted = MountTable(loop.selector)
    _connect(loop, vigil)
    health.start()
    try:
        loop.run(ending.is_over)
    except LedgerError as error:
        core.failure = str(error)
    finally:
        vigil.stop()
        mounted.close()
        exposure.close()
        control.close()
    return core.failure


def _connect(loop: Loop, vigil: Vigil) -> None:
    loop.watch_anew = vigil.watch
    loop.core.scans.on_ended = vigil.scanned
    for kind in (Watching, WatchFailed, Coverage, Felt, Touched):
        loop.handle(kind, vigil.told)


class Ending:
    """How a run ends: the first signal drains, a second one (or the drain's own deadline) halts."""

    def __init__(
        self, core: Core, service: ServiceManager, drain_timeout_s: float, carry_out: Callable[[Effect], None]
    ) -> None:
        self._core = core
        self._carry_out = carry_out
        self._service = service
        self._drain_timeout_s = drain_timeout_s
        self._halt_at: float | None = None
        self._halted = False

    def signalled(self, item: object, moment: Moment) -> list[Effect]:
        """A signal to end came."""
        name = signal.Signals(item.number).name if isinstance(item, Signalled) else ""
        if self._halt_at is None:
            self._halt_at = moment.now + self._drain_timeout_s
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
                self._carry_out(effect)
        return None if self._halted else self._halt_at

    def is_over(self) -> bool:
        """Whether the run has ended."""
        if self._core.failure is not None:
            return True
        if self._halt_at is None:
            return False
        if self._halted:
            return self._core.fleet.halted
        return self._core.fleet.halted and not self._core.attempts.finishing()


@dataclass(slots=True)
class _Flush:
    """Writes what control clients take, after each pass."""

    control: Control

    def due(self, moment: Moment) -> None:  # noqa: ARG002  every pass
        """Write now."""
        self.control.flush()
