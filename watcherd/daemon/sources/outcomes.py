"""Outcomes: what the end of an attempt means for its source.

Responsible for: turning an outcome into the source's new entry, a verdict on its content, a retry or the quarantine;
for the one log line of the attempt; and for telling the tally. Not responsible for: how the attempt went its way
(`attempts.py`), nor for settling (`intake.py`), to which disturbed and incomplete sources are handed back.
"""

import heapq
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.inforce import InForce
from watcherd.daemon.reporting.tally import Scope, Tally
from watcherd.daemon.reporting.totals import Stage, Totals
from watcherd.daemon.sources.attempt import seen_in
from watcherd.daemon.sources.describing import describe
from watcherd.daemon.sources.outdated import BY_PATH, outdated_of
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    Crashed,
    Derivative,
    Disturbed,
    Entry,
    Failed,
    Ignored,
    Incomplete,
    JobClass,
    Outcome,
    Reason,
    Rejected,
    Rendered,
    Reused,
    Source,
    Stamp,
    State,
    TimedOut,
    Unchanged,
    Vanished,
    Verdict,
)
from watcherd.queue.jobqueue import Job
from watcherd.queue.retry import Again, decide
from watcherd.settings import LogLevel
from watcherd.telemetry.log import get_logger, is_heard

if TYPE_CHECKING:
    from watcherd.daemon.sources.attempt import Attempt

log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """The ways back to settling and on to departing, handed in by the composition root."""

    resettle: Callable[[Source, Moment], list[Effect]]
    hold: Callable[[Source, Stamp, float, float], None]
    gone: Callable[[Source, Moment], None]
    remove_derivatives: Callable[[Entry], list[Effect]]
    remove_superseded: Callable[[Entry, Entry], list[Effect]]
    note: Callable[[Source], list[Effect]]


class Outcomes:
    """Records ends. `patient` is False in a one-shot scan."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        force: InForce,
        patient: bool,
        jitter: Callable[[], float],
        tally: Tally,
        totals: Totals,
    ) -> None:
        self._ledger = ledger
        self._force = force
        self._patient = patient
        self._jitter = jitter
        self._tally = tally
        self._totals = totals
        self._timers: list[tuple[float, int, Job]] = []
        self._waiting: dict[Source, Job] = {}
        self._count = itertools.count()
        self.settling: Settling | None = None
        self._dirty: set[Source] = set()
        self._outdated: dict[Source, Entry] = {}
        self._superseded: dict[Source, Entry] = {}

    # ---- questions

    def known(self, attempt: "Attempt", digest: bytes) -> Rejected | None:
        """The verdict on a content, while decoder table and limits are the same. A manual wish asks anew."""
        if attempt.job.job_class is JobClass.MANUAL or attempt.job.tolerant:
            return None
        verdict = self._ledger.verdict(digest)
        if verdict is None or verdict.seen_by != attempt.root.seen_by(self._force.seen_by):
            return None
        return Rejected(reason=verdict.reason, detail=verdict.detail)

    def is_recorded(self, source: Source, digest: bytes) -> bool:
        """Whether the ledger knew this very content at this path, with derivatives."""
        entry = self._ledger.entry(source)
        return entry is not None and entry.digest == digest and bool(entry.derivatives)

    # ---- timers of retries

    def wait(self, job: Job, due: float) -> None:
        """Keep a job until its next attempt is due."""
        self._waiting[job.source] = job
        heapq.heappush(self._timers, (due, next(self._count), job))

    def cancel(self, source: Source) -> None:
        """Another job takes the place of the one that waits."""
        self._waiting.pop(source, None)

    def drop_root(self, root: int) -> None:
        """Drop the jobs of a root that is not watched any more: their rows stay, and say when they are due."""
        self._waiting = {source: job for source, job in self._waiting.items() if source.root != root}

    def due(self, now: float) -> list[Job]:
        """The jobs whose next attempt is due."""
        jobs = []
        while (first := self._first()) is not None and first[0] <= now:
            jobs.append(self._waiting.pop(heapq.heappop(self._timers)[2].source))
        return jobs

    def waiting_in(self, scope: Scope) -> list[Job]:
        """Those of a scope at once: a scan retries at its end and does not wait."""
        return [self._waiting.pop(source) for source in list(self._waiting) if scope.covers(source)]

    @property
    def waiting(self) -> int:
        """How many retries wait."""
        return len(self._waiting)

    def next_deadline(self) -> float | None:
        """When the first retry is due."""
        first = self._first()
        return first[0] if first else None

    def _first(self) -> tuple[float, int, Job] | None:
        """The first timer that is still meant; those of jobs that were cancelled or replaced are dropped."""
        while self._timers and self._waiting.get(self._timers[0][2].source) is not self._timers[0][2]:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None

    def mark_dirty(self, source: Source) -> None:
        """A change came for a source in hand: it settles again when its attempt ends."""
        self._dirty.add(source)

    # ---- ends

    def record(self, attempt: "Attempt", outcome: Outcome, moment: Moment) -> None:
        """Write the source's new entry, and what else follows for the ledger."""
        source = attempt.job.source
        before = self._ledger.entry(source) or Entry(source=source, state=State.PENDING)
        entry = seen_in(attempt, before, outcome, attempt.root.seen_by(self._force.seen_by))
        match outcome:
            case Vanished():
                self._ledger.record(replace(entry, state=State.PENDING))
                self._settling.gone(source, moment)
            case Ignored(kind=kind):
                self._record(entry, State.IGNORED, None, kind)
            case Rendered() | Reused() | Unchanged():
                self._done(attempt, entry)
                if attempt.made and before.derivatives:
                    self._superseded[source] = before
            case Incomplete():
                self._incomplete(attempt, entry, outcome, moment)
            case Rejected():
                self._rejected(attempt, entry, outcome)
            case Failed() | TimedOut() | Crashed():
                self._retry(attempt, entry, outcome, moment)
            case Disturbed():
                pass  # its entry stays pending; it settles again
            case _:
                assert_never(outcome)
        found = attempt.fetched.found if attempt.fetched else ()
        outdated = outdated_of(before, self._ledger.entry(source), attempt.root.names.layout.number, found)
        if outdated is not None:
            self._outdated[source] = outdated
        self._log(attempt, outcome, moment)

    def follow_up(self, attempt: "Attempt", outcome: Outcome, moment: Moment) -> list[Effect]:
        """What the end asks to be done outside the ledger."""
        source = attempt.job.source
        if isinstance(outcome, Disturbed):
            self._dirty.add(source)
        outdated = self._outdated.pop(source, None)
        effects = self._settling.note(source) + (self._settling.remove_derivatives(outdated) if outdated else [])
        before, now = self._superseded.pop(source, None), self._ledger.entry(source)
        if before is not None and now is not None:
            effects += self._settling.remove_superseded(before, now)
        if source not in self._dirty:
            return effects
        self._dirty.discard(source)
        return [*effects, *self._settling.resettle(source, moment)]

    @property
    def _settling(self) -> Settling:
        if self.settling is None:
            raise AssertionError("the composition root connects outcomes with settling")
        return self.settling

    def _record(self, entry: Entry, state: State, reason: Reason | None, detail: str) -> None:
        done = replace(entry, state=state, reason=reason, detail=detail, not_before_at_s=None)
        self._ledger.record(done)

    def _done(self, attempt: "Attempt", entry: Entry) -> None:
        header = attempt.header
        looks = attempt.twin if attempt.reused and attempt.twin else attempt  # a twin looks alike
        done = replace(
            entry,
            state=State.DONE,
            reason=None,
            detail="; ".join(attempt.notes),
            not_before_at_s=None,
            faults=0,
            interruptions=0,
            width=header.width if header else entry.width,
            height=header.height if header else entry.height,
            phash=entry.phash if looks.phash is None else looks.phash,
            dhash=entry.dhash if looks.dhash is None else looks.dhash,
            captured=looks.captured or entry.captured,
            derivatives=_merged(entry.derivatives, attempt),
        )
        self._ledger.record(done)

    def _incomplete(self, attempt: "Attempt", entry: Entry, outcome: Incomplete, moment: Moment) -> None:
        if attempt.job.tolerant:  # the grace is over: the decoder had the last word, and it was this
            self._rejected(attempt, entry, Rejected(reason=Reason.DAMAGED, detail=outcome.detail))
            return
        first_seen = entry.first_seen_at_s or moment.wall_s
        until = max(first_seen + self._force.settings.settle.incomplete_grace_s, moment.wall_s)
        self._ledger.record(
            replace(
                entry,
                state=State.INCOMPLETE,
                reason=outcome.reason,
                detail=outcome.detail,
                first_seen_at_s=first_seen,
                not_before_at_s=until,
            )
        )
        log.info(
            "source.incomplete",
            source=_path(attempt),
            reason=outcome.reason,
            detail=outcome.detail,
            grace_s=round(until - moment.wall_s, 1),
        )
        if self._patient and entry.stamp is not None:
            self._settling.hold(entry.source, entry.stamp, moment.now + until - moment.wall_s, moment.now)

    def _rejected(self, attempt: "Attempt", entry: Entry, outcome: Rejected) -> None:
        verdict = self._ledger.verdict(attempt.digest) if attempt.digest else None
        state = State.QUARANTINED if verdict is not None and verdict.quarantined else State.REJECTED
        derivatives = _merged(entry.derivatives, attempt) if attempt.right else entry.derivatives
        self._record(replace(entry, derivatives=derivatives), state, outcome.reason, outcome.detail)
        if verdict is None and attempt.digest and outcome.reason not in BY_PATH:
            self._judge(attempt, outcome.reason, outcome.detail, quarantined=False)

    def _judge(self, attempt: "Attempt", reason: Reason, detail: str, *, quarantined: bool) -> None:
        """Remember it of the content, if that is known."""
        if not attempt.digest:
            return
        seen_by = attempt.root.seen_by(self._force.seen_by)
        self._ledger.put_verdict(
            Verdict(digest=attempt.digest, seen_by=seen_by, quarantined=quarantined, reason=reason, detail=detail)
        )

    def _retry(self, attempt: "Attempt", entry: Entry, outcome: Failed | TimedOut | Crashed, moment: Moment) -> None:
        decision = decide(
            outcome,
            faults=entry.faults,
            interruptions=entry.interruptions,
            policy=self._force.settings.retry,
            jitter=self._jitter(),
        )
        counted = replace(entry, faults=decision.faults, interruptions=decision.interruptions)
        if isinstance(decision, Again):
            self._again(attempt, counted, decision, moment)
            return
        self._record(counted, decision.state, decision.reason, decision.detail)
        if decision.state is State.FAILED:
            log.error("job.failed", source=_path(attempt), reason=decision.reason, detail=decision.detail)
            return
        self._judge(attempt, decision.reason, decision.detail, quarantined=True)
        log.warning("job.quarantined", source=_path(attempt), reason=decision.reason, detail=decision.detail)

    def _again(self, attempt: "Attempt", entry: Entry, decision: Again, moment: Moment) -> None:
        sequence = self._ledger.next_sequence()
        due_at_s = moment.wall_s + decision.delay_s
        pending = replace(
            entry,
            state=State.PENDING,
            job_class=JobClass.RETRY,
            sequence=sequence,
            reason=decision.reason,
            detail=decision.detail,
        )
        self._ledger.record(replace(pending, not_before_at_s=due_at_s))
        job = replace(
            attempt.job,
            job_class=JobClass.RETRY,
            sequence=sequence,
            suspect=decision.suspect,
            whole_budget=decision.whole_budget,
        )
        self.wait(job, moment.now + decision.delay_s)
        log.info(
            "job.retry",
            source=_path(attempt),
            reason=decision.reason,
            detail=decision.detail,
            faults=decision.faults,
            interruptions=decision.interruptions,
            delay_s=round(decision.delay_s, 3),
        )

    def _log(self, attempt: "Attempt", outcome: Outcome, moment: Moment) -> None:
        entry = self._ledger.entry(attempt.job.source)
        self._tally.ended(attempt.job.source, outcome, entry.state if entry else None, len(attempt.made))
        name, reason, detail = describe(outcome)
        self._count_attempt(attempt, name, reason, moment)
        if not is_heard(LogLevel.INFO):
            return
        log.info(
            "job.done",
            source=_path(attempt),
            root=os.fsdecode(attempt.root.path),
            kind=attempt.fetched.kind if attempt.fetched else "",
            width=attempt.header.width if attempt.header else 0,
            height=attempt.header.height if attempt.header else 0,
            job_class=attempt.job.job_class,
            variants=list(attempt.made),
            outcome=name,
            reason=reason,
            detail=detail,
            notes=list(attempt.notes),
            queue_s=round(attempt.started - attempt.job.queued_at, 4),
            total_s=round(moment.now - attempt.started, 4),
            decode_s=round(attempt.decode_s, 4),
            encode_s=round(attempt.encode_s, 4),
            publish_s=round(attempt.publish_s, 4),
            bytes_in=attempt.fetched.stamp.size_bytes if attempt.fetched else 0,
            bytes_out=attempt.bytes_out,
            worker=attempt.worker,
            attempt=attempt.ticket,
        )

    def _count_attempt(self, attempt: "Attempt", name: str, reason: str, moment: Moment) -> None:
        totals = self._totals
        totals.ended[name] += 1
        totals.ended_why[name, reason] += 1
        totals.derivatives.update(attempt.made)
        totals.bytes_in += attempt.fetched.stamp.size_bytes if attempt.fetched else 0
        totals.bytes_out += attempt.bytes_out
        totals.attempts.add(moment.now - attempt.started)
        totals.stages[Stage.QUEUE].add(attempt.started - attempt.job.queued_at)
        if name == "rendered":
            totals.stages[Stage.DECODE].add(attempt.decode_s)
            totals.stages[Stage.ENCODE].add(attempt.encode_s)
        if attempt.made:
            totals.stages[Stage.PUBLISH].add(attempt.publish_s)
        if name in {"rendered", "reused", "unchanged"}:
            totals.succeeded_at_s[attempt.root.number] = moment.wall_s


def _merged(before: tuple[Derivative, ...], attempt: "Attempt") -> tuple[Derivative, ...]:
    """What is right now, and what other recipes made before (taken out of the configuration: `prune` offers them)."""
    current = {variant.name for variant in attempt.root.variants}
    return (*attempt.right, *(derivative for derivative in before if derivative.variant not in current))


def _path(attempt: "Attempt") -> str:
    return os.fsdecode(attempt.root.path + b"/" + attempt.job.source.path)
