"""The core: one pass of the daemon as a function of what came in and when.

`step(moment, inputs)` takes everything that happened since the last pass and says what is to be done outside. It
writes to the ledger (committed by the loop after the step) and touches nothing else: no descriptor, no clock, no
watched file. The tests drive it with scripted inputs and a clock moved by hand.
"""

import errno
import os
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from watcherd.daemon.attempts import Attempts
from watcherd.daemon.departures import Departures
from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    CloseDescriptors,
    Effect,
    Moment,
    WatchedRoot,
)
from watcherd.daemon.intake import Intake
from watcherd.daemon.outcomes import Outcomes, Settling
from watcherd.daemon.tally import Scope, Tally, Totals
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change, Crashed, Entry, JobClass, Reason, Settings, Source, State
from watcherd.pool.admission import Admission
from watcherd.pool.fleet import Busy, Fleet, Idle, Mode
from watcherd.pool.frames import Ended, FrameError, Frame, Identified, Ready, parse_from_worker
from watcherd.pool.orders import Broke, Exited, GiveUp, JobLost, NotStarted, WorkerReady
from watcherd.pool.processes import Ending
from watcherd.pool.sizing import wanted_workers
from watcherd.queue.jobqueue import Job, JobQueue
from watcherd.queue.retry import Again, decide
from watcherd.telemetry.log import get_logger
from watcherd.watch import roots as root_states
from watcherd.watch.hands import (
    Broken,
    Collected,
    Fault,
    Fetched,
    Probe,
    Probed,
    Published,
    Refused,
    Remove,
    Stats,
)
from watcherd.watch.observer import Doubt, DoubtReason, WatchFailed, Watching
from watcherd.watch.reports import Found, Listed, ScanEnded, ScannerFailed, ScanResult, Stray
from watcherd.watch.roots import Roots, RootState
from watcherd.watch.settle import Settle

log = get_logger()

_INTERRUPTED = "the daemon ended too often while a worker held it; retry it by hand"


# --------------------------------------------------------------------------------------------- inputs from the workers


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCame:
    """A worker said something; its size and process id at that time."""

    slot: int
    frame: Frame
    rss_bytes: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBroke:
    """A worker does not keep to the protocol, or does not take what it is sent."""

    slot: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded:
    """A worker's exit was seen."""

    slot: int
    ending: Ending


class Core:
    """All rooms of the daemon, connected."""

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        most_workers: int,
        budget_bytes: int,
        seen_by: int,
        why_ignored: Callable[[int, bytes], str | None],
        patient: bool,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.roots = dict(roots)
        self.most_workers = most_workers
        self.patient = patient
        self.tally = Tally()
        self.queue = JobQueue()
        self.settle = Settle(settings.settle)
        self.fleet = Fleet(settings.pool, most_workers)
        self.admission = Admission(budget_bytes)
        self.root_states = Roots()
        for number, root in self.roots.items():
            self.root_states.add(number, file_system=root.file_system)
        self.totals = Totals()
        self.failure: str | None = None
        self.paused_roots: set[int] = set()
        self.missing_layers: tuple[str, ...] = ()
        tickets = count(1)
        self._tickets = tickets
        self.outcomes = Outcomes(
            ledger=ledger,
            policy=settings.retry,
            grace_s=settings.settle.incomplete_grace_s,
            seen_by=seen_by,
            patient=patient,
            jitter=random.random,
            tally=self.tally,
            totals=self.totals,
        )
        self.departures = Departures(
            ledger=ledger, roots=self.roots, forget_after_s=settings.daemon.forget_after_s, tickets=tickets
        )
        self.attempts = Attempts(
            ledger=ledger,
            queue=self.queue,
            fleet=self.fleet,
            admission=self.admission,
            roots=self.roots,
            outcomes=self.outcomes,
            pool=settings.pool,
            limits=settings.limits,
            tickets=tickets,
        )
        self.intake = Intake(
            ledger=ledger,
            queue=self.queue,
            settle=self.settle,
            roots=self.roots,
            outcomes=self.outcomes,
            departures=self.departures,
            in_hand=self.attempts,
            why_ignored=why_ignored,
            seen_by=seen_by,
            tickets=tickets,
            patient=patient,
            tally=self.tally,
        )
        self.outcomes.settling = Settling(
            resettle=self.intake.resettle, hold=self.intake.hold, gone=self.departures.gone
        )

    # ---- start

    def recover(self, moment: Moment) -> None:
        """Take up what an earlier run left: sources in hand as suspects first, then all that is pending or waits."""
        for entry in self.ledger.in_hand():
            self._suspect(entry, moment)
        for entry in self.ledger.waiting(float("inf"), limit=-1):
            if entry.state is State.INCOMPLETE and entry.stamp is not None and entry.source.root in self.roots:
                due_in_s = (entry.not_before_at_s or 0.0) - moment.wall_s
                if self.patient:
                    self.intake.hold(entry.source, entry.stamp, moment.now + due_in_s, moment.now)
        for entry in self.ledger.gone():
            self.departures.expect(entry.source, moment.now + self.settings.daemon.forget_after_s)
        for root in self.roots:
            for job_class in JobClass:
                self.queue.mark_spilled(root, job_class)

    def _suspect(self, entry: Entry, moment: Moment) -> None:
        """A source that was in a worker when the daemon ended: perhaps not by chance, so it goes first and alone."""
        decision = decide(
            Crashed(how="the daemon ended", outside=True),
            faults=entry.faults,
            interruptions=entry.interruptions,
            policy=self.settings.retry,
            jitter=0.0,
        )
        counted = replace(entry, in_hand=False, faults=decision.faults, interruptions=decision.interruptions)
        if not isinstance(decision, Again) or entry.stamp is None:
            self.ledger.record(replace(counted, state=State.FAILED, reason=Reason.INTERRUPTED, detail=_INTERRUPTED))
            return
        sequence = self.ledger.next_sequence()
        self.ledger.record(
            replace(counted, state=State.PENDING, job_class=JobClass.RETRY, sequence=sequence, not_before_at_s=None)
        )
        self.queue.push(
            Job(
                source=entry.source,
                job_class=JobClass.RETRY,
                sequence=sequence,
                stamp=entry.stamp,
                queued_at=moment.now,
                suspect=True,
            )
        )

    # ---- a pass

    def step(self, moment: Moment, inputs: Iterable[object]) -> list[Effect]:
        """One pass: take everything in, let every timer speak, give out work."""
        effects: list[Effect] = []
        for item in inputs:
            effects += self._take(item, moment)
        wanted = wanted_workers(
            self.most_workers,
            waiting=len(self.queue) + self.attempts.waiting_for_worker(),
            in_hand=self.fleet.busy(),
        )
        effects += self.fleet.tick(moment.now, wanted=wanted)
        effects += self.intake.due(moment)
        effects += self.departures.due(moment)
        effects += self._root_commands(self.root_states.due(moment.now))
        if not self.draining:
            for job in self.outcomes.due(moment.now):
                self.queue.push(replace(job, queued_at=moment.now))
            self.intake.refill(moment)
            effects += self.attempts.dispatch(moment, ahead=self.most_workers)
        return [outside for effect in effects for outside in self._settle_losses(effect, moment)]

    def _settle_losses(self, effect: Effect, moment: Moment) -> list[Effect]:
        """Some of the fleet's commands are news for ourselves."""
        match effect:
            case JobLost(job=job, outcome=outcome):
                return self.attempts.lost(job, outcome, moment, halting=self.fleet.mode is Mode.HALTING)
            case GiveUp(detail=detail):
                self.failure = detail
                return []
        return [effect]

    @property
    def draining(self) -> bool:
        """Whether nothing new is started any more."""
        return self.fleet.mode is not Mode.RUNNING

    @property
    def has_worker(self) -> bool:
        """Whether a worker has ever become ready and one still stands."""
        return any(isinstance(state, Idle | Busy) for state in self.fleet.slots.values())

    def summary(self) -> str:
        """How it goes, in a line for people."""
        waiting = len(self.queue) + self.attempts.parked + self.outcomes.waiting
        away = [number for number in self.roots if not self.root_states.runnable(number)]
        trouble = f"; {len(away)} of {len(self.roots)} roots not online" if away else ""
        return (
            f"{self.fleet.busy()} working, {waiting} queued, {len(self.settle)} settling, "
            f"{sum(self.totals.ended.values())} attempts since the start{trouble}"
        )

    def left(self) -> int:
        """How many sources are known to be still to do (spilled ones are in the ledger only, and not counted)."""
        return len(self.queue) + len(self.attempts) + self.attempts.parked + self.outcomes.waiting + len(self.settle)

    def left_in(self, scope: Scope) -> int:
        """How many sources of a scope are still to do."""
        waiting = [*self.settle.sources(), *self.queue.sources(), *self.attempts.sources(), *self.outcomes.sources()]
        return sum(scope.covers(source) for source in waiting) + self.intake.asked

    @property
    def quiet(self) -> bool:
        """Whether nothing is left to do but what waits for its time or for a change."""
        return not (
            len(self.settle)
            or self.intake.asked
            or len(self.queue)
            or len(self.attempts)
            or self.attempts.parked
            or self.queue.wants()
        )

    def next_deadline(self) -> float | None:
        """When the next pass is due even if nothing happens."""
        deadlines = [
            self.settle.next_deadline(),
            self.fleet.next_deadline(),
            self.outcomes.next_deadline(),
            self.departures.next_deadline(),
            self.root_states.next_deadline(),
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ---- inputs

    def _take(self, item: object, moment: Moment) -> list[Effect]:
        match item:
            case Change():
                return self.intake.change(item, moment)
            case FrameCame() | WorkerBroke() | WorkerEnded() | NotStarted():
                return self._from_pool(item, moment)
            case Found() | Listed() | Stray() | ScanEnded():
                return self._from_scanner(item, moment)
            case ScannerFailed(root=root, error=error):
                self.failure = f"the scanner of {os.fsdecode(self.roots[root].path)} failed: {error}"
            case Doubt() | Watching() | WatchFailed():
                return self._from_observer(item)
            case Stats():
                asker = self.departures if self.departures.asked(item.ticket) else self.intake
                return asker.stats(item, moment)
            case Fetched() | Refused() | Collected() | Published() | Broken() | Fault():
                return self._from_hands(item, moment)
            case Probed():
                return self._probed(item, moment)
        return []

    def _from_hands(
        self, item: Fetched | Refused | Collected | Published | Broken | Fault, moment: Moment
    ) -> list[Effect]:
        effects: list[Effect] = []
        match item:
            case Fault():
                self.intake.fault(item)
                effects = self._root_fault(item.root, item.errno, item.path, moment)
            case Refused(errno=number) if number == errno.EIO:
                effects = self._root_fault(item.root, number, self.attempts.path_of(item.ticket), moment)
            case Fetched() | Published():
                effects = self._root_event(root_states.Worked(root=item.root), moment)
        return [*effects, *self.attempts.from_hands(item, moment)]

    # ---- the state of roots

    def _root_fault(self, root: int, number: int, path: bytes, moment: Moment) -> list[Effect]:
        if number in {errno.ENOENT, errno.ENOTDIR}:
            return self._root_event(root_states.Identity(root=root, present=False), moment)
        fault = root_states.Fault(root=root, errno=number, source=Source(root, path))
        return self._root_event(fault, moment)

    def _probed(self, item: Probed, moment: Moment) -> list[Effect]:
        if self.root_states.state(item.root) is RootState.OFFLINE:
            is_there = item.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV}
            return self._root_event(root_states.Identity(root=item.root, present=is_there), moment)
        if item.ok:
            return self._root_event(root_states.ProbeSucceeded(root=item.root), moment)
        return self._root_event(root_states.ProbeFailed(root=item.root, errno=item.errno), moment)

    def _root_event(self, event: root_states.Event, moment: Moment) -> list[Effect]:
        return self._root_commands(self.root_states.handle(event, moment.now))

    def _root_commands(self, commands: Iterable[root_states.Command]) -> list[Effect]:
        effects: list[Effect] = []
        for command in commands:
            match command:
                case root_states.Probe(root=root):
                    effects.append(AskHands(root=root, request=Probe(ticket=next(self._tickets))))
                case root_states.Scan(root=root):
                    effects.append(AskScanner(root=root, directory=b""))
                case root_states.Announce(root=root, state=state, reason=reason):
                    self._announce(root, state, reason)
        return effects

    def _announce(self, root: int, state: RootState, reason: str) -> None:
        log.info("root.state_changed", root=self.roots[root].path, state=state, reason=reason)
        if state is RootState.ONLINE:
            self.queue.unblock(root)
        else:
            self.queue.block(root)
            self.paused_roots.add(root)

    def root_is_hung(self, root: int, moment: Moment, *, hung: bool) -> list[Effect]:
        """A call of a root's hands has not come back for long, or all have."""
        if hung:
            return self._root_event(root_states.CallOverdue(root=root), moment)
        return self._root_event(root_states.CallReturned(root=root), moment)

    def look_for_offline(self) -> list[Effect]:
        """Ask for the roots that are not there."""
        return [
            AskHands(root=number, request=Probe(ticket=next(self._tickets)))
            for number in self.roots
            if self.root_states.state(number) is RootState.OFFLINE
        ]

    def _from_pool(self, item: FrameCame | WorkerBroke | WorkerEnded | NotStarted, moment: Moment) -> list[Effect]:
        match item:
            case FrameCame():
                return self._from_worker(item, moment)
            case WorkerBroke(slot=slot, detail=detail):
                log.warning("worker.output", slot=slot, text=detail)
                return [*self.fleet.handle(Broke(slot=slot, detail=detail), moment.now)]
            case WorkerEnded(slot=slot, ending=ending):
                self._log_ending(slot, ending)
                return [*self.fleet.handle(Exited(slot=slot, how=ending.how), moment.now)]
            case NotStarted():
                return [*self.fleet.handle(item, moment.now)]

    def _from_worker(self, item: FrameCame, moment: Moment) -> list[Effect]:
        try:
            message = parse_from_worker(item.frame)
        except FrameError as error:
            return [
                CloseDescriptors(descriptors=item.frame.descriptors),
                *self.fleet.handle(Broke(slot=item.slot, detail=str(error)), moment.now),
            ]
        match message:
            case Ready(missing_layers=missing):
                self.missing_layers = missing
                log.debug("worker.ready", pid=item.pid, slot=item.slot, fence=list(missing))
                return [*self.fleet.handle(WorkerReady(slot=item.slot), moment.now)]
            case Identified():
                return self.attempts.identified(item.slot, message, moment)
            case Ended():
                return self.attempts.ended(item.slot, message, item.frame.descriptors, item.rss_bytes, moment)

    def _log_ending(self, slot: int, ending: Ending) -> None:
        source = self.attempts.source_in(slot)
        if ending.stop_reason is None:
            self.totals.restarts += 1
            log.warning("worker.exited", pid=ending.pid, slot=slot, how=ending.how, source=source)
        else:
            log.debug(
                "worker.ended", pid=ending.pid, slot=slot, how=ending.how, stop_reason=ending.stop_reason, source=source
            )
        if ending.stderr:
            log.warning("worker.output", pid=ending.pid, slot=slot, text=ending.stderr)

    def _from_scanner(self, item: Found | Listed | Stray | ScanEnded, moment: Moment) -> list[Effect]:
        match item:
            case Found(root=root, changes=changes, arriving=arriving):
                effects = [effect for change in changes for effect in self.intake.found(change, arriving, moment)]
                return [*effects, Acknowledge(root=root)]
            case Listed():
                self.ledger.set_listing(item.root, item.directory, item.digest, item.done, item.ignored)
            case Stray(root=root, paths=paths):
                log.info("temporary.swept", root=self.roots[root].path, count=len(paths))
                items = tuple((path, 0, None) for path in paths)
                return [AskHands(root=root, request=Remove(ticket=next(self._tickets), items=items))]
            case ScanEnded():
                self.tally.skipped(item.ticket, item.by_state)
                self.tally.scanned(item.ticket)
                self._log_scan(item)
                return self._after_scan(item, moment)
        return []

    def _after_scan(self, item: ScanEnded, moment: Moment) -> list[Effect]:
        match item.result:
            case ScanResult.COMPLETE:
                return []
            case ScanResult.ROOT_EMPTIED:
                log.warning("root.emptied", root=self.roots[item.root].path)
                return self._root_event(root_states.Identity(root=item.root, present=False), moment)
        return self._root_fault(item.root, item.errno or errno.ENOENT, b"", moment)

    def _log_scan(self, item: ScanEnded) -> None:
        log.info(
            "scan.ended",
            root=self.roots[item.root].path,
            directory=item.directory,
            directories=item.directories,
            sources=item.sources,
            unchanged=item.unchanged,
            errors=len(item.errors),
        )
        for path, number in item.errors[:20]:
            log.warning(
                "scan.unreadable",
                root=self.roots[item.root].path,
                directory=path,
                errno=number,
                cause=os.strerror(number),
            )

    def _from_observer(self, item: Doubt | Watching | WatchFailed) -> list[Effect]:
        path = self.roots[item.root].path
        match item:
            case Watching():
                log.info("root.watching", root=path)
                return [AskScanner(root=item.root, directory=b"")]
            case WatchFailed():
                log.warning("root.unwatchable", root=path, reason=item.why, hint=item.detail)
                return [AskScanner(root=item.root, directory=b"")]
            case Doubt(directory=directory):
                if item.why is not DoubtReason.NEW_DIRECTORY:
                    log.info("root.doubt", root=path, directory=directory, reason=item.why)
                return [AskScanner(root=item.root, directory=directory, arriving=JobClass.UPLOAD)]
