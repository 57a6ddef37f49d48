"""The core: one pass of the daemon as a function of what came in and when.

`step(moment, inputs)` takes everything that happened since the last pass and says what is to be done outside. It
writes to the ledger (committed by the loop after the step) and touches nothing else: no descriptor, no clock, no
watched file. The tests drive it with scripted inputs and a clock moved by hand.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import count

from watcherd.daemon.effects import Effect, Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.reporting.tally import Scope, Tally
from watcherd.daemon.reporting.totals import Totals
from watcherd.daemon.roots.brakes import Brakes
from watcherd.daemon.roots.conditions import Conditions
from watcherd.daemon.roots.forecasts import Forecasts
from watcherd.daemon.roots.scans import Scans
from watcherd.daemon.sources.answers import Answers
from watcherd.daemon.sources.attempts import Attempts
from watcherd.daemon.sources.crew import CrewReports
from watcherd.daemon.sources.departures import Departures
from watcherd.daemon.sources.intake import Intake
from watcherd.daemon.sources.moves import Moves
from watcherd.daemon.sources.notes import Notes
from watcherd.daemon.sources.outcomes import Outcomes, Settling
from watcherd.daemon.sources.recovery import Recovery
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change
from watcherd.pool.admission import Admission
from watcherd.pool.crew import FrameCame, WorkerBroke, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.orders import GiveUp, JobLost, JobReturned, NotStarted
from watcherd.pool.sizing import wanted_workers
from watcherd.pool.slots import Busy, Idle, Mode, Resting
from watcherd.queue.jobqueue import Job, JobQueue
from watcherd.settings import Settings
from watcherd.watch.hands.hands import (
    Annotated,
    Broken,
    Collected,
    Fault,
    Fetched,
    Followed,
    OrphansFound,
    Probed,
    Published,
    Recognised,
    Refused,
    Relocated,
    Removed,
    Stats,
)
from watcherd.watch.modes import Modes
from watcherd.watch.mountpoints import LinkLeft, PointSeen
from watcherd.watch.mounts import MountsChanged
from watcherd.watch.reports import Doubt, Found, Listed, ScanEnded, ScannerFailed, Stray, WatchFailed, Watching
from watcherd.watch.settle import Settle


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
        self.force = InForce(settings=settings, seen_by=seen_by, most_workers=most_workers, budget_bytes=budget_bytes)
        self.ledger = ledger
        self.roots = dict(roots)
        self.patient = patient
        self._jitter = jitter
        self.tally = Tally()
        self.queue = JobQueue()
        self.settle = Settle(settings.settle)
        self.fleet = fleet
        self.admission = Admission(budget_bytes)
        self.totals = Totals()
        self.failure: str | None = None
        self.modes = Modes()
        self.tickets = count(1)
        self.notes = Notes(ledger=ledger, roots=self.roots, tickets=self.tickets)
        self.paused: Callable[[int], str | None] = lambda _: None
        """Why nothing at all is begun in a root, though it could be."""
        self.rests: Callable[[int], bool] = lambda _: False
        """Whether a root is left in peace: nothing is compared or tidied there without need."""
        self.conditions = Conditions(roots=self.roots, ledger=ledger, queue=self.queue, tickets=self.tickets)
        self._connect(why_ignored)
        self._connect_recovery()

    def _connect(self, why_ignored: Callable[[int, bytes], str | None]) -> None:
        """The rooms that use each other. What a settled source came to goes back to settling by three calls only."""
        ledger, tickets, roots = self.ledger, self.tickets, self.roots
        self.outcomes = Outcomes(
            ledger=ledger,
            force=self.force,
            patient=self.patient,
            jitter=self._jitter,
            tally=self.tally,
            totals=self.totals,
        )
        self.departures = Departures(
            ledger=ledger,
            roots=roots,
            force=self.force,
            brakes=Brakes(ledger, roots, self.force),
            is_online=lambda root: self.conditions.runnable(root) and not self.rests(root),
            tickets=tickets,
        )
        self.attempts = Attempts(
            ledger=ledger,
            queue=self.queue,
            fleet=self.fleet,
            admission=self.admission,
            roots=roots,
            outcomes=self.outcomes,
            force=self.force,
            is_online=self.conditions.runnable,
            tickets=tickets,
        )
        self.moves = Moves(
            ledger=ledger,
            roots=roots,
            in_hand=self.attempts,
            is_online=self.conditions.runnable,
            departures=self.departures,
            tickets=tickets,
            tally=self.tally,
        )
        self._connect_arrivals(why_ignored)

    def _connect_arrivals(self, why_ignored: Callable[[int, bytes], str | None]) -> None:
        self.intake = Intake(
            ledger=self.ledger,
            queue=self.queue,
            settle=self.settle,
            roots=self.roots,
            outcomes=self.outcomes,
            moves=self.moves,
            in_hand=self.attempts,
            why_ignored=why_ignored,
            is_online=self.conditions.runnable,
            force=self.force,
            tickets=self.tickets,
            patient=self.patient,
            tally=self.tally,
        )
        self.scans = Scans(
            ledger=self.ledger,
            roots=self.roots,
            intake=self.intake,
            conditions=self.conditions,
            departures=self.departures,
            moves=self.moves,
            tally=self.tally,
            totals=self.totals,
            forecasts=Forecasts(roots=self.roots, fleet=self.fleet, force=self.force, totals=self.totals),
            tickets=self.tickets,
        )
        self.crew = CrewReports(fleet=self.fleet, attempts=self.attempts, totals=self.totals)
        self.answers = Answers(intake=self.intake, conditions=self.conditions, attempts=self.attempts)
        self.moves.ways = self.intake
        self.departures.back = self.intake.resettle
        self.outcomes.settling = Settling(
            resettle=self.intake.resettle,
            hold=self.intake.hold,
            gone=self.departures.gone,
            remove_derivatives=self.departures.remove_derivatives,
            remove_superseded=self.departures.remove_superseded,
            note=self.notes.ended,
        )

    def _connect_recovery(self) -> None:
        self.departures.noted, self.scans.noted = self.notes.gone, self.notes.bring
        self.departures.is_away = self.conditions.points.is_away
        self.intake.is_link = self.conditions.points.is_link
        self.recovery = Recovery(
            ledger=self.ledger,
            force=self.force,
            roots=self.roots,
            queue=self.queue,
            intake=self.intake,
            outcomes=self.outcomes,
            departures=self.departures,
            in_hand=self.attempts,
            patient=self.patient,
        )

    # ---- start

    def recover(self, moment: Moment, scope: Scope) -> None:
        """Take up what an earlier run left: all of it, or what lies in the scope of a one-shot scan."""
        self.intake.scope = scope
        self.recovery.take_up(moment, scope, self.roots)

    # ---- settings, roots

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.force.settings

    @property
    def most_workers(self) -> int:
        """How many workers there may be."""
        return self.force.most_workers

    def is_away(self, root: int) -> str | None:
        """Why nothing that a person asks for is done in a root; None where it is."""
        return self.paused(root) if self.conditions.runnable(root) else self.conditions.reason(root)

    def add_root(self, root: WatchedRoot, moment: Moment) -> None:
        """Work in one more root from now on. What the ledger knows of it is taken up; the rest is for a scan."""
        self.roots[root.number] = root
        self.conditions.add(root)
        self.recovery.take_up(moment, Scope(), {root.number})

    def refit_root(self, root: WatchedRoot, *, anew: bool) -> None:
        """Work in a root by other settings. What is in hand goes on as it began; `anew`: it is looked at again then."""
        self.roots[root.number] = root
        for source in self.attempts.sources():
            if anew and source.root == root.number:
                self.outcomes.mark_dirty(source)

    def drop_root(self, number: int) -> None:
        """Begin nothing more in a root. What is in hand is finished, what was queued stays pending in the ledger."""
        del self.roots[number]
        self.conditions.remove(number)
        self.queue.drop_root(number)
        self.settle.forget_root(number)
        self.outcomes.drop_root(number)
        self.attempts.drop_parked(number)
        self.moves.drop_root(number)
        self.scans.forget_root(number)

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
        effects += self.moves.due(moment)
        effects += self.scans.due()
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
            entry = self.ledger.entry(job.source) if job.source.root in self.roots else None
            if entry is None or entry.sequence != job.sequence or job.source in self.attempts:
                continue
            self.ledger.record(replace(entry, not_before_at_s=None))
            self.queue.push(replace(job, queued_at=moment.now))

    def _settle_losses(self, effect: Effect, moment: Moment) -> list[Effect]:
        """Some of the fleet's commands are news for ourselves."""
        match effect:
            case JobLost() | JobReturned():
                return self.attempts.lost(effect, moment, halting=self.fleet.mode is Mode.HALTING)
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

    @property
    def all_at_work(self) -> bool:
        """Whether each worker that stands holds a job: whatever else comes, nothing begins before one ends."""
        return self.fleet.busy() > 0 and not self.fleet.idle()

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
        in_work = len(self.queue) + len(self.attempts) + self.attempts.parked
        return in_work + self.outcomes.waiting + len(self.settle) + len(self.moves)

    def left_in(self, scope: Scope) -> int:
        """How many sources of a scope are still to do."""
        waiting = [*self.settle.moving(), *self.moves.sources(), *self.queue.sources(), *self.attempts.sources()]
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
            or len(self.moves)
            or self.notes.asked
        )

    def next_deadline(self) -> float | None:
        """When the next pass is due even if nothing happens."""
        deadlines = [
            self.settle.next_deadline(),
            self.fleet.next_deadline(),
            None if self.draining else self.outcomes.next_deadline(),
            self.departures.next_deadline(),
            self.moves.next_deadline(),
            self.conditions.next_deadline(),
        ]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ---- inputs

    def _take(self, item: object, moment: Moment) -> list[Effect]:
        is_late = getattr(item, "root", next(iter(self.roots), None)) not in self.roots
        answered = self.answers.for_others(item, is_late=is_late)
        if is_late or answered is not None:
            return self._late(item, moment) if answered is None else answered
        if isinstance(item, Fault | Broken | Annotated):
            self.notes.answered(item.ticket)
        match item:
            case Change(kind=kind):
                self.totals.events[kind] += 1
                return self.intake.change(item, moment)
            case FrameCame() | WorkerBroke() | WorkerEnded() | NotStarted():
                return self.crew.take(item, moment)
            case Found() | Listed() | Stray() | ScanEnded():
                return self.scans.reported(item, moment)
            case ScannerFailed(root=root, error=error):
                self.failure = f"the scanner of {os.fsdecode(self.roots[root].path)} failed: {error}"
            case Doubt() | Watching() | WatchFailed():
                return self.scans.observed(item, moment)
            case Stats() | Removed() | Followed() | OrphansFound():
                return self.answers.looked(item, moment)
            case Fetched() | Refused() | Collected() | Relocated() | Published() | Broken() | Fault():
                return self.answers.for_attempts(item, moment)
            case Probed() | Recognised() | MountsChanged() | PointSeen() | LinkLeft():
                return self.conditions.told(item, moment)
        return []

    def _late(self, item: object, moment: Moment) -> list[Effect]:
        """A report from a root that is not watched any more: what is in hand there is finished, the rest is nothing."""
        match item:
            case Fetched() | Refused() | Collected() | Relocated() | Published() | Broken() | Fault():
                return self.attempts.from_hands(item, moment)
            case ScanEnded(ticket=ticket):
                self.tally.scanned(ticket)
        return []
