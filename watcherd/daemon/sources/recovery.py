"""Recovery: what an earlier run left in the ledger is taken up; for all roots at the start, for one when it is added.

Responsible for: sources that were in hand, retries and incomplete uploads that wait for their time, gone ones, pending
rows. Not responsible for: finding what the ledger does not know (a scan does).
"""

from collections.abc import Container, Mapping
from dataclasses import replace

from watcherd.daemon.effects import Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.sources.departures import Departures
from watcherd.daemon.sources.intake import Intake, job_of
from watcherd.daemon.sources.outcomes import Outcomes
from watcherd.ledger.ledger import Ledger
from watcherd.model import Crashed, Entry, JobClass, Reason, Source, State
from watcherd.queue.jobqueue import Job, JobQueue
from watcherd.queue.retry import Again, decide
from watcherd.telemetry.log import get_logger

log = get_logger()

_INTERRUPTED = "the daemon ended too often while a worker held it; retry it by hand"


class Recovery:
    """Takes up what was left. `in_hand` holds the sources that attempts of this run have: these are not left."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        force: InForce,
        roots: Mapping[int, WatchedRoot],
        queue: JobQueue,
        intake: Intake,
        outcomes: Outcomes,
        departures: Departures,
        in_hand: Container[Source],
        patient: bool,
    ) -> None:
        self._ledger = ledger
        self._force = force
        self._roots = roots
        self._queue = queue
        self._intake = intake
        self._outcomes = outcomes
        self._departures = departures
        self._in_hand = in_hand
        self._patient = patient

    def take_up(self, moment: Moment, scope: Scope, roots: Container[int]) -> None:
        """Take up what lies in some roots: what was in hand as suspects first, then all that is pending or waits.

        `scope` leaves out what a one-shot scan is not for: that stays for whoever comes for it.
        """
        in_hand = [entry for entry in self._ledger.in_hand() if self._is_left(entry, scope, roots)]
        for entry in in_hand:
            self._suspect(entry, moment)
        if in_hand:
            pending = sum(counts.get(State.PENDING, 0) for counts in self._ledger.counts().values())
            log.info("daemon.recovered", in_hand=len(in_hand), pending=pending)
        for entry in self._ledger.waiting(float("inf"), limit=-1):
            if self._is_left(entry, scope, roots) and entry.stamp is not None:
                self._await(entry, moment)
        self._departures.recover(moment, roots)
        for root in self._roots:
            if root in roots:
                for job_class in JobClass:
                    self._queue.mark_spilled(root, job_class)

    def _is_left(self, entry: Entry, scope: Scope, roots: Container[int]) -> bool:
        return entry.source.root in roots and scope.covers(entry.source) and entry.source not in self._in_hand

    def _await(self, entry: Entry, moment: Moment) -> None:
        """A retry, or an incomplete upload: each has its time. A one-shot scan takes up what is due now."""
        due_in_s = (entry.not_before_at_s or 0.0) - moment.wall_s
        job = job_of(entry, moment)
        if entry.state is State.PENDING and job is not None:
            self._outcomes.wait(job, moment.now + max(0.0, due_in_s))
        elif entry.state is State.INCOMPLETE and entry.stamp is not None and (self._patient or due_in_s <= 0):
            self._intake.hold(entry.source, entry.stamp, moment.now + due_in_s, moment.now)

    def _suspect(self, entry: Entry, moment: Moment) -> None:
        """A source that was in a worker when the daemon ended: perhaps not by chance, so it goes first and alone."""
        decision = decide(
            Crashed(how="the daemon ended", outside=True),
            faults=entry.faults,
            interruptions=entry.interruptions,
            policy=self._force.settings.retry,
            jitter=0.0,
        )
        counted = replace(entry, in_hand=False, faults=decision.faults, interruptions=decision.interruptions)
        if not isinstance(decision, Again) or entry.stamp is None:
            self._ledger.record(replace(counted, state=State.FAILED, reason=Reason.INTERRUPTED, detail=_INTERRUPTED))
            return
        sequence = self._ledger.next_sequence()
        self._ledger.record(
            replace(counted, state=State.PENDING, job_class=JobClass.RETRY, sequence=sequence, not_before_at_s=None)
        )
        self._queue.push(
            Job(
                source=entry.source,
                job_class=JobClass.RETRY,
                sequence=sequence,
                stamp=entry.stamp,
                queued_at=moment.now,
                suspect=True,
            )
        )
