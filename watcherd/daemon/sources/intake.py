"""Intake: the way of a report about a path to a job in the queue.

Responsible for: which paths count, settling, the question whether anything needs doing, pending rows, and keeping the
queue filled from the ledger. Not responsible for: what happens to a job then (`attempts.py`), sources that are gone
(`departures.py`), arrivals that were moved (`moves.py`).

    Change -> ignored? ours? in hand? -> settle -> stat (hands) -> settled -> plan -> moved? -> pending -> queue
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from watcherd.daemon.effects import AskHands, AskScanner, Effect, Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.reporting.tally import Scope, Tally
from watcherd.daemon.sources.attempts import Attempts
from watcherd.daemon.sources.hardlinks import other_names
from watcherd.daemon.sources.moves import Moves
from watcherd.daemon.sources.outcomes import Outcomes
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    Change,
    ChangeKind,
    Entry,
    Ignored,
    Incomplete,
    JobClass,
    Reason,
    Source,
    Stamp,
    State,
    Vanished,
)
from watcherd.queue.jobqueue import Job, JobQueue, Lane
from watcherd.queue.plan import Do, DoReason, plan
from watcherd.telemetry.log import get_logger
from watcherd.watch import links
from watcherd.watch.hands.hands import Fault, StatMany, Stats
from watcherd.watch.ignorefiles import NAME as IGNORE_FILE
from watcherd.watch.settle import Growing, Settle, Settled

log = get_logger()

_GIVEN_UP = frozenset({State.QUARANTINED, State.FAILED})
_SUSPICIOUS = frozenset({Reason.CRASHED, Reason.TIMED_OUT, Reason.OUT_OF_MEMORY, Reason.INTERRUPTED})
"""Last reasons of pending sources that are tried one at a time."""
_LOOK_AGAIN_S = 10.0
"""When a source is looked at again that could not be (chosen: soon enough for a permission, seldom for ever)."""
_LOOKED_CLOSER = frozenset({JobClass.BACKLOG, JobClass.MANUAL})
_STATS_A_PASS = 2_000
"""How many sources are asked about in one pass (chosen: some 10 ms of a root's hands)."""


class Intake:
    """Takes reports in. `why_ignored(root, path)` says why a path does not count, or None where it does."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: JobQueue,
        settle: Settle,
        roots: Mapping[int, WatchedRoot],
        outcomes: Outcomes,
        moves: Moves,
        in_hand: Attempts,
        why_ignored: Callable[[int, bytes], str | None],
        is_online: Callable[[int], bool],
        force: InForce,
        tickets: Iterator[int],
        patient: bool,
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._settle = settle
        self._roots = roots
        self._outcomes = outcomes
        self._departures = moves.departures
        self.moves = moves
        self._in_hand = in_hand
        self._why_ignored = why_ignored
        self._is_online = is_online
        self._force = force
        self._asked: dict[int, tuple[Source, ...]] = {}
        self._tickets = tickets
        self._patient = patient
        self.is_link: Callable[[Source], bool] = lambda _: False
        """Whether a path is that of a link to a folder which was followed."""
        self.scope = Scope()
        """What pending rows are taken up for."""
        self._tally = tally

    @property
    def asked(self) -> int:
        """How many sources the hands are looking at for us."""
        return sum(len(sources) for sources in self._asked.values())

    # ---- reports

    def change(self, change: Change, moment: Moment, *, arriving: JobClass | None = None) -> list[Effect]:
        """Take one report in."""
        if change.source.root not in self._roots:
            return []
        if change.previous is not None:
            self._one(replace(change, kind=ChangeKind.DELETED, source=_moved_from(change), previous=None), moment, None)
        return self._one(replace(change, previous=None), moment, arriving)

    def found(self, change: Change, arriving: JobClass, moment: Moment) -> list[Effect]:
        """Take in what a scan found."""
        return self._one(change, moment, None if change.kind is ChangeKind.DELETED else arriving)

    def _one(self, change: Change, moment: Moment, arriving: JobClass | None) -> list[Effect]:
        source = change.source
        if source.root not in self._roots or self._departures.is_away(source):
            return []
        if source.name == IGNORE_FILE:  # what counts in its folder, and below, may be something else now
            return [AskScanner(root=source.root, directory=source.directory)]
        if self._why_ignored(source.root, source.path) is not None:
            return []
        beside = self._source_beside(source)
        if beside is not None:
            # One of ours. That one was taken away is worth a look at its source; that one came is our own doing.
            if change.kind is not ChangeKind.DELETED:
                return []
            change, arriving = replace(change, kind=ChangeKind.CREATED, source=beside), JobClass.BACKLOG
            source = beside
        if source in self._in_hand:
            self._outcomes.mark_dirty(source)
            return []
        settled = self._settle.note(
            change,
            moment.now,
            wall_ns=int(moment.wall_s * 1e9),
            network=self._roots[source.root].network,
            arriving=arriving,
        )
        return self._settled(settled, moment) if settled else []

    def _source_beside(self, source: Source) -> Source | None:
        """The source that a name of ours stands beside, as the ledger knows it."""
        path = self._roots[source.root].names.source_of(source.path)
        if path is None:
            return None  # a cut name takes a look at the folder, which the hands take
        other = Source(source.root, path)
        return other if self._ledger.entry(other) is not None else None

    def resettle(self, source: Source, moment: Moment) -> list[Effect]:
        """A source changed while it was in hand: it settles again."""
        return self._one(Change(kind=ChangeKind.CREATED, source=source), moment, None)

    def hold(self, source: Source, stamp: Stamp, until: float, now: float) -> None:
        """Wait for more of an incomplete source, until a monotonic instant."""
        if source.root in self._roots:
            self._settle.hold(source, stamp, until, now=now, network=self._roots[source.root].network)

    # ---- looks

    def due(self, moment: Moment) -> list[Effect]:
        """Ask the hands about the sources whose time has come."""
        by_root: defaultdict[int, list[Source]] = defaultdict(list)
        for source in self._settle.due(moment.now, _STATS_A_PASS):
            if self._is_online(source.root) and not self._departures.is_away(source):
                by_root[source.root].append(source)
            else:
                self._look_later(source, moment)
        effects: list[Effect] = []
        for root, sources in by_root.items():
            ticket = next(self._tickets)
            self._asked[ticket] = tuple(sources)
            request = StatMany(ticket=ticket, paths=tuple(source.path for source in sources))
            effects.append(AskHands(root=root, request=request))
        return effects

    def stats(self, reply: Stats, moment: Moment) -> list[Effect]:
        """Take the answers in."""
        self._asked.pop(reply.ticket, None)
        effects: list[Effect] = []
        for path, found in reply.results:
            effects += self._seen(Source(reply.root, path), found, moment)
        return effects

    def failed(self, ticket: int, moment: Moment) -> None:
        """A whole look failed: all that it was about is looked at again later."""
        for source in self._asked.pop(ticket, ()):
            self._look_later(source, moment)

    def _look_later(self, source: Source, moment: Moment) -> None:
        """A one-shot scan does not wait: its scanner has named what could not be looked at."""
        if self._patient:
            self._settle.postpone(source, moment.now + _LOOK_AGAIN_S)
        else:
            self._settle.forget(source)

    def _seen(self, source: Source, found: Stamp | Vanished | Ignored | Fault, moment: Moment) -> list[Effect]:
        match found:
            case Stamp():
                verdict = self._settle.observe(source, found, moment.now, int(moment.wall_s * 1e9))
            case Vanished() if self._departures.is_away(source):
                self._look_later(source, moment)
                return []
            case Vanished() if self.is_link(source):
                return self._scan_link(source)
            case Vanished():
                verdict = self._settle.observe(source, None, moment.now, int(moment.wall_s * 1e9))
            case Ignored(kind=links.LINKED_FOLDER):
                return self._scan_link(source)
            case Ignored(kind=links.DANGLING):
                self._dangles(source)
                return []
            case Ignored():
                self._settle.forget(source)
                return []
            case Fault():
                self._look_later(source, moment)
                return []
        match verdict:
            case Settled():
                return self._settled(verdict, moment)
            case Vanished():
                self._departures.gone(source, moment)
            case Growing():
                log.warning(
                    "source.growing",
                    source=self._roots[source.root].path + b"/" + source.path,
                    size_bytes=verdict.size_bytes,
                    waited_s=round(verdict.waited_s, 1),
                )
                self._note_growing(source, verdict, moment)
        return []

    def _scan_link(self, source: Source) -> list[Effect]:
        """A link to a folder came, or was bent, or went: what it leads to is for the scanner."""
        self._settle.forget(source)
        return [AskScanner(root=source.root, directory=source.path, arriving=JobClass.UPLOAD)]

    def _dangles(self, source: Source) -> None:
        """A link leads nowhere now: what is known of it stays, and what was not done yet is found when it is back."""
        self._settle.forget(source)
        entry = self._ledger.entry(source)
        if entry is None or entry.state is not State.PENDING:
            return
        if entry.derivatives:
            self._ledger.record(replace(entry, stamp=None))  # so a scan reports it when it is back
        else:
            self._ledger.forget(source)

    def _note_growing(self, source: Source, growing: Growing, moment: Moment) -> None:
        entry = self._ledger.entry(source) or Entry(source=source, state=State.INCOMPLETE)
        if not self._patient:
            self._settle.forget(source)
            outcome = Incomplete(reason=Reason.GROWING, detail="still growing")
            self._tally.ended(source, outcome, State.INCOMPLETE, 0)
        detail = f"still growing after {growing.waited_s:.0f} s, {growing.size_bytes} bytes so far"
        self._ledger.record(
            replace(
                entry,
                state=State.INCOMPLETE,
                stamp=None,
                reason=Reason.GROWING,
                detail=detail,
                first_seen_at_s=entry.first_seen_at_s or moment.wall_s,
            )
        )

    # ---- settled

    def _settled(self, settled: Settled, moment: Moment) -> list[Effect]:
        source, stamp = settled.source, settled.stamp
        if source in self._in_hand:
            self._outcomes.mark_dirty(source)
            return []
        entry = self._ledger.entry(source)
        job_class, reason = self._class_of(settled, entry)
        if job_class is None:
            if entry is not None and entry.gone_at_s is not None:
                self._ledger.record(replace(entry, gone_at_s=None))
                self._departures.returned(entry)
            return []
        others = other_names(self._ledger, stamp, entry)
        if settled.tolerant or not self.moves.take(source, stamp, entry, job_class, moment):
            self.enqueue(source, stamp, entry, job_class, moment, tolerant=settled.tolerant, reason=reason)
        looks = (self._one(Change(kind=ChangeKind.CREATED, source=other), moment, None) for other in others)
        return [effect for effects in looks for effect in effects]

    def _class_of(self, settled: Settled, entry: Entry | None) -> tuple[JobClass | None, Reason | None]:
        """The class of the job to be done, and its reason where that is kept; None where nothing needs doing."""
        if settled.tolerant:
            return JobClass.BACKLOG, None
        root = self._roots[settled.source.root]
        decision = plan(
            settled.stamp,
            entry,
            fingerprints={variant.name: variant.fingerprint for variant in root.variants},
            present=None,
            seen_by=root.seen_by(self._force.seen_by),
            keeps_identity=root.keeps_identity,
            arriving=settled.arriving,
            layout=root.names.layout.number,
        )
        if isinstance(decision, Do) and (
            decision.reason is not DoReason.LEFT_OUT or settled.arriving in _LOOKED_CLOSER
        ):
            return decision.job_class, Reason.LAYOUT if decision.reason is DoReason.LAYOUT else None
        # Nothing by the stamp alone; but a scanner looked closer (at the derivatives), or a person insists.
        return settled.arriving if settled.arriving in _LOOKED_CLOSER else None, None

    def enqueue(
        self,
        source: Source,
        stamp: Stamp,
        entry: Entry | None,
        job_class: JobClass,
        moment: Moment,
        *,
        tolerant: bool = False,
        reason: Reason | None = None,
    ) -> None:
        """Write a source as pending, then queue it."""
        known = entry or Entry(source=source, state=State.PENDING, first_seen_at_s=moment.wall_s)
        if entry and (
            known.stamp is None or known.stamp[:2] != stamp[:2]
        ):  # other content: nothing of the old one counts
            known = replace(known, faults=0, interruptions=0, first_seen_at_s=moment.wall_s)
            if known.stamp is not None and known.stamp.size_bytes != stamp.size_bytes:
                known = replace(known, digest=None)
        seen_by = self._roots[source.root].seen_by(self._force.seen_by)
        if known.state in _GIVEN_UP and known.seen_by != seen_by:  # what gave up on it is not what it was
            known = replace(known, faults=0, interruptions=0)
        pending = replace(
            known,
            state=State.PENDING,
            stamp=stamp,
            job_class=job_class,
            sequence=self._ledger.next_sequence(),
            reason=reason,
            detail="",
            not_before_at_s=None,
            gone_at_s=None,
        )
        self._ledger.record(pending)
        self._departures.returned(known)
        self.replaced(source)
        job = job_of(pending, moment)
        if job is not None:
            self._queue.push(replace(job, tolerant=True) if tolerant else job)

    def replaced(self, source: Source) -> None:
        """Drop the job that a source has: something else has become of it."""
        self._queue.remove(source)
        self._outcomes.cancel(source)
        self._in_hand.replaced(source)

    # ---- pending rows

    def refill(self, moment: Moment) -> None:
        """Bring the lanes that want more back to strength from the ledger's pending rows."""
        for lane in self._queue.wants():
            if lane.root in self._roots:
                self._refill(lane, moment)

    def _refill(self, lane: Lane, moment: Moment) -> None:
        entries = self._ledger.pending(lane.root, lane.job_class, lane.after_sequence, lane.room)
        jobs = []
        for entry in entries:
            if not self.scope.covers(entry.source):
                continue
            job = job_of(entry, moment)
            if job is None:
                # pending without a stamp: it was never seen whole, so it settles first
                self._one(Change(kind=ChangeKind.CREATED, source=entry.source), moment, None)
            else:
                jobs.append(job)
        self._queue.refill(
            lane,
            jobs,
            exhausted=len(entries) < lane.room,
            in_hand=self._in_hand,
            read_to=entries[-1].sequence if entries else None,
        )


def job_of(entry: Entry, moment: Moment) -> Job | None:
    """The job of a pending row; None where it was never seen whole."""
    if entry.stamp is None or entry.job_class is None:
        return None
    return Job(
        source=entry.source,
        job_class=entry.job_class,
        sequence=entry.sequence,
        stamp=entry.stamp,
        queued_at=moment.now,
        suspect=entry.reason in _SUSPICIOUS,
        whole_budget=entry.reason is Reason.OUT_OF_MEMORY,
    )


def _moved_from(change: Change) -> Source:
    return Source(change.source.root, change.previous or b"")
