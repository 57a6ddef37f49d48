"""The crew: what the workers say and how they end, as the daemon takes it in.

Responsible for: checking what came from a worker, telling the fleet and the attempts, the log lines about workers.
Not responsible for: descriptors and processes (`pool/processes.py`), nor the fleet's decisions (`pool/fleet.py`).
"""

from watcherd.daemon.effects import CloseDescriptors, Effect, Moment
from watcherd.daemon.reporting.totals import Totals
from watcherd.daemon.sources.attempts import Attempts
from watcherd.pool.crew import FrameCame, FromCrew, WorkerBroke, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.frames import Ended, FrameError, Identified, Ready, parse_from_worker
from watcherd.pool.orders import Broke, Exited, Finished, NotStarted, WorkerReady
from watcherd.pool.processes import Ending
from watcherd.telemetry.log import get_logger

log = get_logger()


class CrewReports:
    """All workers, seen from the loop."""

    def __init__(self, *, fleet: Fleet, attempts: Attempts, totals: Totals) -> None:
        self._fleet = fleet
        self._attempts = attempts
        self._totals = totals
        self.missing_layers: tuple[str, ...] = ()
        """What the last worker that got ready lacks of its fence."""
        self._was_degraded = False

    def look(self) -> None:
        """Say when the fleet has lost its full strength, and when it has it again."""
        if self._fleet.degraded == self._was_degraded:
            return
        self._was_degraded = self._fleet.degraded
        workers = len(self._fleet.slots)
        if self._was_degraded:
            log.warning("pool.degraded", workers=workers, reason=self._fleet.trouble)
        else:
            log.info("pool.restored", workers=workers)

    def take(self, item: FromCrew, moment: Moment) -> list[Effect]:
        """Take in what a worker said, or how it ended."""
        match item:
            case FrameCame():
                return self._from_worker(item, moment)
            case WorkerBroke(slot=slot, detail=detail):
                log.warning("worker.output", slot=slot, text=detail)
                return [*self._fleet.handle(Broke(slot=slot, detail=detail), moment.now)]
            case WorkerEnded(slot=slot, ending=ending):
                self._log_ending(slot, ending)
                exited = Exited(slot=slot, how=ending.how, last_words=ending.last_words)
                return [*self._fleet.handle(exited, moment.now)]
            case NotStarted():
                return [*self._fleet.handle(item, moment.now)]

    def _from_worker(self, item: FrameCame, moment: Moment) -> list[Effect]:
        try:
            message = parse_from_worker(item.frame)
        except FrameError as error:
            return [
                CloseDescriptors(descriptors=item.frame.descriptors),
                *self._fleet.handle(Broke(slot=item.slot, detail=str(error)), moment.now),
            ]
        match message:
            case Ready(missing_layers=missing):
                self.missing_layers = missing
                self._attempts.pids[item.slot] = item.pid
                log.debug("worker.ready", pid=item.pid, slot=item.slot, fence=list(missing))
                return [*self._fleet.handle(WorkerReady(slot=item.slot), moment.now)]
            case Identified():
                return self._attempts.identified(item.slot, message, moment)
            case Ended():
                finished = Finished(slot=item.slot, rss_bytes=item.rss_bytes, cpu_s=item.cpu_s)
                return self._attempts.ended(finished, message, item.frame.descriptors, moment)

    def _log_ending(self, slot: int, ending: Ending) -> None:
        source = self._attempts.source_in(slot)
        self._totals.worker_ends[ending.stop_reason or ending.how] += 1
        if ending.stop_reason is None:
            self._totals.restarts += 1
            log.warning("worker.exited", pid=ending.pid, slot=slot, how=ending.how, source=source)
        else:
            log.debug(
                "worker.ended", pid=ending.pid, slot=slot, how=ending.how, stop_reason=ending.stop_reason, source=source
            )
        if ending.stderr:
            log.warning("worker.output", pid=ending.pid, slot=slot, text=ending.stderr)
