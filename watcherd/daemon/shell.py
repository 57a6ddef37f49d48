"""The shell of a run: what stands around the core and speaks with the outside, connected.

Signals, the control socket, the service manager, metrics, the health of the roots' threads, reloads. Not responsible
for: the core and its rooms (`composition.py`), what each of these does.
"""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from watcherd.daemon.composition import Composition
from watcherd.daemon.control import Control, Request
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.ending import Ending
from watcherd.daemon.reload.origin import Origin
from watcherd.daemon.reload.refitting import Refitted, Refitting
from watcherd.daemon.reload.reloads import Read, Reloads
from watcherd.daemon.reporting.exposure import Exposure, Scrape
from watcherd.daemon.reporting.metrics_line import MetricsLine
from watcherd.daemon.reporting.pace import Pace
from watcherd.daemon.reporting.service import ServiceManager
from watcherd.daemon.reporting.status import Status, Told
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.roots.health import Health
from watcherd.daemon.roots.vigil import Vigil
from watcherd.daemon.signals import Signalled, is_ignored, listen, moment_now
from watcherd.daemon.sources.safety import Safety
from watcherd.daemon.verbs.former import Former
from watcherd.daemon.verbs.pauses import pause_verbs
from watcherd.daemon.verbs.pausing import Pausing
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.daemon.verbs.requests import Serve, Verbs
from watcherd.daemon.verbs.upkeep import Upkeep
from watcherd.ledger.errors import LedgerError
from watcherd.settings import Settings
from watcherd.telemetry import notify
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Salvaged, Synced, Touched
from watcherd.watch.reports import Coverage, Felt, OfLink, WatchFailed, Watching

log = get_logger()


class Shell:
    """One run's shell."""

    def __init__(self, parts: Composition, origin: Origin, started: float) -> None:
        core, loop = parts.core, parts.loop
        self._parts = parts
        self._started = started
        self._stack = ExitStack()
        self._vigil = Vigil(core=core, rooms=parts.rooms, carry_out=loop.carry_out)
        self._health = Health(core=core, rooms=parts.rooms, carry_out=loop.carry_out, vigil=self._vigil)
        notifier = notify.Notifier()
        self._service = ServiceManager(core, notifier, self._summary, started)
        self._ending = Ending(core, self._service, loop)
        self._refitting = Refitting(parts, self._health)
        self._pausing = Pausing(core, parts.state.pauses)
        core.paused = lambda root: self._pausing.why(root) if self._pausing.is_paused(root) else None
        core.rests = self._pausing.rests
        self._reloads = Reloads(
            origin=origin,
            apply=self._apply,
            post=parts.inbox.post,
            notifier=notifier,
            summary=self._summary,
            seen=self._seen,
        )
        pace = Pace(core.totals)
        self._status = Status(core, workers=parts.workers, pace=pace, more=self._told)
        self._safety = Safety(core, parts.loop.carry_out)
        parts.duties += [
            self._vigil,
            MetricsLine(core, parts.workers, lambda: self._reloads.last),
            self._health,
            self._service,
        ]
        parts.duties += [self._ending, self._refitting, self._reloads, self._pausing, pace, self._safety]
        self._open_doors()

    def _open_doors(self) -> None:
        """What others can come in by: signals, the control socket, the metrics' sockets."""
        parts, loop = self._parts, self._parts.loop
        control = Control(parts.state.control, loop.selector)
        self._stack.callback(control.close)
        upkeep = Upkeep(parts.core, loop.carry_out, lambda: Former(parts))
        others: dict[str, Serve] = {"status": self._serve_status, "reload": self._serve_reload}
        verbs = Verbs(parts.core, upkeep, {**others, **pause_verbs(parts.core, self._pausing)})
        exposure = Exposure(
            core=parts.core,
            workers=parts.workers,
            socket_path=parts.state.metrics,
            post=parts.inbox.post,
            last_read=lambda: self._reloads.last,
            is_stalled=lambda: loop.stall is not None,
        )
        self._stack.callback(exposure.close)
        loop.watch_anew = self._vigil.watch
        parts.core.scans.on_ended = self._vigil.scanned
        for kind in (Watching, WatchFailed, Coverage, Felt, Touched, OfLink):
            loop.handle(kind, self._vigil.told)
        loop.handle(Synced, self._safety.synced)
        loop.handle(Salvaged, self._safety.salvaged)
        loop.handle(Signalled, self._signalled, in_stall=True)
        loop.handle(Request, self._requested(verbs), in_stall=True)
        loop.handle(Read, self._reloads.came)
        loop.handle(Scrape, exposure.scraped, in_stall=True)
        parts.duties += [exposure, verbs, upkeep]
        flush = _Flush(control)
        parts.duties.append(flush)  # last, so that what the others said goes out in the same pass
        loop.vital = [self._service, self._ending, exposure, flush]

    def serve(self) -> str | None:
        """Watch and work until the end; what made it fail, if anything did."""
        parts, core = self._parts, self._parts.core
        hears_hangup = bool(self._reloads.origin.file) or not is_ignored(signal.SIGHUP)
        hangup = (signal.SIGHUP,) if hears_hangup else ()
        listen(parts.inbox, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, *hangup)
        core.recover(moment_now(), Scope())
        self._pausing.due(moment_now())  # before anything is begun
        self._health.start()
        try:
            parts.loop.run(self._ending.is_over)
        except LedgerError as error:
            core.failure = str(error)
        finally:
            self._vigil.stop()
            self._stack.close()
        return core.failure

    def _apply(self, settings: Settings, moment: Moment) -> Refitted:
        refitted = self._refitting.apply(settings, moment)
        self._pausing.due(moment)  # a root that has just come may be paused
        return refitted

    def _signalled(self, item: object, moment: Moment) -> list[Effect]:
        """SIGUSR1 tells the status, SIGHUP reads the file again (where there is one), all else ends the run."""
        number = item.number if isinstance(item, Signalled) else 0
        if number == signal.SIGUSR1:
            log.info("daemon.status", status=self._status.told(moment))
            return []
        if number == signal.SIGHUP and self._reloads.origin.file:
            self._reloads.ask(None, moment)
            return []
        return self._ending.signalled(item, moment)

    def _requested(self, verbs: Verbs) -> Callable[[object, Moment], list[Effect]]:
        """In a stall nothing is served but the status: all else would write to the ledger."""

        def serve(item: object, moment: Moment) -> list[Effect]:
            stall = self._parts.loop.stall
            if stall is not None and isinstance(item, Request) and item.body.get("verb") != "status":
                item.connection.send({"error": f"not now: {stall.reason}"}, last=True)
                return []
            return verbs.requested(item, moment)

        return serve

    def _summary(self) -> str:
        """How it goes, in a line for people: what keeps it from going comes first."""
        stall, last = self._parts.loop.stall, self._reloads.last
        trouble = [f"STALLED, {stall.reason}"] if stall is not None else []
        trouble += ["the last reload failed, the settings before it are in force"] if last and last.errors else []
        trouble += [self._pausing.summary()] if self._pausing.summary() else []
        return "; ".join([*trouble, self._parts.core.summary()])

    def _serve_status(self, item: Request, moment: Moment) -> list[Effect]:
        item.connection.send(self._status.told(moment), last=True)
        return []

    def _serve_reload(self, item: Request, moment: Moment) -> list[Effect]:
        if not self._reloads.origin.file:
            raise Refusal("this daemon runs without a configuration file: there is nothing to read again")
        self._reloads.ask(item.connection, moment)
        return []

    def _told(self, moment: Moment) -> Told:
        """What this room adds to the status."""
        last, stall = self._reloads.last, self._parts.loop.stall
        return {
            "uptime_s": round(moment.now - self._started, 3),
            "summary": self._summary(),
            "ledger": {"writable": stall is None, "reason": stall.reason if stall else ""},
            "pauses": self._pausing.told(),
            "config": self._reloads.origin.file,
            "reload": last and {"at_s": last.at_s, "errors": list(last.errors), "restart": list(last.restart)},
        }

    def _seen(self) -> frozenset[str]:
        """The roots and mirrors that the ledger knows: they are waited for where they are not there."""
        ledger = self._parts.ledger
        trees = {tree for root in ledger.roots() for _, tree, _ in ledger.layouts(root) if tree}
        return frozenset(map(os.fsdecode, trees | set(ledger.roots().values())))


@dataclass(slots=True)
class _Flush:
    """Writes what control clients take, after each pass."""

    control: Control

    def due(self, moment: Moment) -> None:  # noqa: ARG002  every pass
        """Write now."""
        self.control.flush()
