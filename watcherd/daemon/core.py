"""The core: one pass of the daemon as a function of what came in and when.

`step(moment, inputs)` takes everything that happened since the last pass and says what is to be done outside. It
writes to the ledger (committed by the loop after the step) and touches nothing else: no descriptor, no clock, no
watched file. The tests drive it with scripted inputs and a clock moved by hand.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import count

from watcherd.daemon.attempts import Attempts
from watcherd.daemon.conditions import Conditions
from watcherd.daemon.crew import CrewReports
from watcherd.daemon.departures import Departures
from watcherd.daemon.effects import Effect, Moment, WatchedRoot
from watcherd.daemon.intake import Intake, job_of
from watcherd.daemon.outcomes import Outcomes, Settling
from watcherd.daemon.scans import Scans
from watcherd.daemon.tally import Scope, Tally, Totals
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change, Crashed, Entry, JobClass, Reason, State
from watcherd.pool.admission import Admission
from watcherd.pool.crew import FrameCame, WorkerBroke, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.orders import GiveUp, JobLost, NotStarted
from watcherd.pool.sizing import wanted_workers
from watcherd.pool.slots import Busy, Idle, Mode, Resting
from watcherd.queue.jobqueue import Job, JobQueue
from watcherd.queue.retry import Again, decide
from watcherd.settings import Settings
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Broken, Collected, Fault, Fetched, Probed, Published, Refused, Removed, Stats
from watcherd.watch.reports import Doubt, Found, Listed, ScanEnded, ScannerFailed, Stray, WatchFailed, Watching
from watcherd.watch.settle import Settle

log = get_logger()

_INTERRUPTED = "the daemon ended too often while a worker held it; retry it by hand"


class Core:
    """All rooms of the daemon, connected."""

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        fleet: Fleet,
        most_workers: int,
        budget_bytes: int,
        seen_by: int,
        why_ignored: Callable[[int, bytes], str | None],
        patient: bool,
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.roots = dict(roots)
        self.most_workers = most_workers
        self.patient = patient
        self._jitter = jitter
        self.tally = Tally()
        self.queue = JobQueue()
        self.settle = Settle(settings.settle)
        self.fleet = fleet
        self.admission = Admission(budget_bytes)
        self.totals = Totals()
        self.failure: str | None = None
        self._tickets = count(1)
        self.conditions = Conditions(roots=self.roots, queue=self.queue, tickets=self._tickets)
        self._connect(why_ignored, seen_by)

    def _connect(self, why_ignored: Callable[[int, bytes], str | None], seen_by: int) -> None:
        """The rooms that use each other. What a settled source came to goes back to settling by three calls only."""
        ledger, tickets, roots = self.ledger, self._tickets, self.roots
        self.outcomes = Outcomes(
            ledger=ledger,
            policy=self.settings.retry,
            grace_s=self.settings.settle.incomplete_grace_s,
            seen_by=seen_by,
            patient=self.patient,
            jitter=self._jitter,
            tally=self.tally,
            totals=self.totals,
        )
        self.departures = Departures(
            ledger=ledger,
            roots=roots,
            forget_after_s=self.settings.daemon.forget_after_s,
            is_online=self.conditions.runnable,
            tickets=tickets,
        )
        self.attempts = Attempts(
            ledger=ledger,
            queue=self.queue,
            fleet=self.fleet,
            admission=self.admission,
            roots=roots,
            outcomes=self.outcomes,
            settings=self.settings,
            is_online=self.conditions.runnable,
            tickets=tickets,
        )
        self.crew = CrewReports(fleet=self.fleet, attempts=self.attempts, totals=self.totals)
        self._connect_arrivals(why_ignored, seen_by)

    def _connect_arrivals(self, why_ignored: Callable[[int, bytes], str | None], seen_by: int) -> None:
        self.intake = Intake(
            ledger=self.ledger,
            queue=self.queue,
            settle=self.settle,
            roots=self.roots,
            outcomes=self.outcomes,
            departures=self.departures,
            in_hand=self.attempts,
            why_ignored=why_ignored,
            is_online=self.conditions.runnable,
            seen_by=seen_by,
            tickets=self._tickets,
            patient=self.patient,
            tally=self.tally,
        )
        self.scans = Scans(
            ledger=self.ledger,
            roots=self.roots,
            intake=self.intake,
            conditions=self.conditions,
            tally=self.tally,
            tickets=self._tickets,
        )
        self.departures.back = self.intake.resettle
        self.outcomes.settling = Settling(
            resettle=self.intake.resettle,
            hold=self.intake.hold,
            gone=self.departures.gone,
            remove_derivatives=self.departures.remove_derivatives,
        )

    # ---- start

    def recover(self, moment: Moment, scope: Scope) -> None:
        """Take up what an earlier run left: sources in hand as suspects first, then all that is pending or waits.

        A one-shot scan takes up what lies in its scope, and leaves the rest to whoever comes for it.
        """
        self.intake.scope = scope
        in_hand = [entry for entry in self.ledger.in_hand() if self._is_ours(entry, scope)]
        for entry in in_hand:
            self._suspect(entry, moment)
        if in_hand:
            pending = sum(counts.get(State.PENDING, 0) for counts in self.ledger.counts().values())
            log.info("daemon.recovered", in_hand=len(in_hand), pending=pending)
        for entry in self.ledger.waiting(float("inf"), limit=-1):
            if self._is_ours(entry, scope) and entry.stamp is not None:
                self._await(entry, moment)
        for entry in self.ledger.gone():
            due_at_s = (entry.gone_at_s or 0.0) + self.settings.daemon.forget_after_s
            self.departures.expect(entry.source, moment.now + max(0.0, due_at_s - moment.wall_s))
        for root in self.roots:
            for job_class in JobClass:
                self.queue.mark_spilled(root, job_class)

    def _is_ours(self, entry: Entry, scope: Scope) -> bool:
        return entry.source.root in self.roots and scope.covers(entry.source)

    def _await(self, entry: Entry, moment: Moment) -> None:
        """A retry, or an incomplete upload: each has its time. A one-shot scan takes up what is due now."""
        due_in_s = (entry.not_before_at_s or 0.0) - moment.wall_s
        job = job_of(entry, moment)
        if entry.state is State.PENDING and job is not None:
            self.outcomes.wait(job, moment.now + max(0.0, due_in_s))
        elif entry.state is State.INCOMPLETE and entry.stamp is not None and (self.patient or due_in_s <= 0):
            self.intake.hold(entry.source, entry.stamp, moment.now + due_in_s, moment.now)

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
            waiting=self.queue.runnable() + self.attempts.waiting_for_worker(),
            in_hand=self.fleet.busy(),
        )
        effects += self.fleet.tick(moment.now, wanted=wanted)
        self.crew.look()
        effects += self.intake.due(moment)
        effects += self.departures.due(moment)
        effects += self.conditions.due(moment)
        if not self.draining:
            self._take_up(self.outcomes.due(moment.now), moment)
            self.intake.refill(moment)
            effects += self.attempts.dispatch(moment, ahead=self.most_workers)
        return [outside for effect in effects for outside in self._settle_losses(effect, moment)]

    def retry_now(self, moment: Moment, scope: Scope) -> int:
        """Take up the retries of a scope that wait; how many there were."""
        waiting = self.outcomes.waiting_in(scope)
        self._take_up(waiting, moment)
        return len(waiting)

    def _take_up(self, jobs: Iterable[Job], moment: Moment) -> None:
        """Queue jobs whose time has come, unless something else has become of their sources meanwhile.

        The row is written as due before the push: should the lane be full, it comes back from the ledger.
        """
        for job in jobs:
            entry = self.ledger.entry(job.source)
            if entry is None or entry.sequence != job.sequence or job.source in self.attempts:
                continue
            self.ledger.record(replace(entry, not_before_at_s=None))
            self.queue.push(replace(job, queued_at=moment.now))

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
        return any(isinstance(state, Idle | Resting | Busy) for state in self.fleet.slots.values())

    def summary(self) -> str:
        """How it goes, in a line for people."""
        waiting = len(self.queue) + self.attempts.parked + self.outcomes.waiting
        away = [number for number in self.roots if not self.conditions.runnable(number)]
        trouble = f"; {len(away)} of {len(self.roots)} roots not online" if away else ""
        trouble += f"; degraded: {self.fleet.trouble}" if self.fleet.degraded else ""
        return (
            f"{self.fleet.busy()} working, {waiting} queued, {len(self.settle)} settling, "
            f"{sum(self.totals.ended.values())} attempts since the start{trouble}"
        )

    def left(self) -> int:
        """How many sources are known to be still to do (spilled ones are in the ledger only, and not counted)."""
        return len(self.queue) + len(self.attempts) + self.attempts.parked + self.outcomes.waiting + len(self.settle)

    def left_in(self, scope: Scope) -> int:
        """How many sources of a scope are still to do."""
        waiting = [*self.settle.moving(), *self.queue.sources(), *self.attempts.sources()]
        return sum(scope.covers(source) for source in waiting)

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
            or self.departures.asked_now
        )

    def next_deadline(self) -> float | None:
        """When the next pass is due even if nothing happens."""
        deadlines = [
            self.settle.next_deadline(),
            self.fleet.next_deadline(),
            None if self.draining else self.outcomes.next_deadline(),
            self.departures.next_deadline(),
            self.conditions.next_deadline(),
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ---- inputs

    def _take(self, item: object, moment: Moment) -> list[Effect]:
        match item:
            case Change():
                return self.intake.change(item, moment)
            case FrameCame() | WorkerBroke() | WorkerEnded() | NotStarted():
                return self.crew.take(item, moment)
            case Found() | Listed() | Stray() | ScanEnded():
                return self.scans.reported(item, moment)
            case ScannerFailed(root=root, error=error):
                self.failure = f"the scanner of {os.fsdecode(self.roots[root].path)} failed: {error}"
            case Doubt() | Watching() | WatchFailed():
                return self.scans.observed(item)
            case Stats():
                return self._stats(item, moment)
            case Removed():
                self.departures.removed(item, moment)
            case Fetched() | Refused() | Collected() | Published() | Broken() | Fault():
                return self._from_hands(item, moment)
            case Probed():
                return self.conditions.probed(item, moment)
        return []

    def _stats(self, item: Stats, moment: Moment) -> list[Effect]:
        asker = self.departures if self.departures.asked(item.ticket) else self.intake
        effects = asker.stats(item, moment)
        for _, found in item.results:
            if isinstance(found, Fault):
                effects += self.conditions.stat_fault(found, moment)
        return effects

    def _from_hands(
        self, item: Fetched | Refused | Collected | Published | Broken | Fault, moment: Moment
    ) -> list[Effect]:
        effects: list[Effect] = []
        match item:
            case Fault() | Broken():
                self.intake.failed(item.ticket, moment)
                self.departures.failed(item.ticket, moment)
                effects = self.conditions.fault(item, moment) if isinstance(item, Fault) else []
            case Refused():
                effects = self.conditions.refused(item, self.attempts.path_of(item.ticket), moment)
            case Fetched() | Published():
                effects = self.conditions.worked(item, moment)
        return [*effects, *self.attempts.from_hands(item, moment)]
