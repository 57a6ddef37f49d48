"""Dispatch: the way of a job from the queue through the hands to a worker.

Responsible for: what is fetched ahead, and which worker gets what next. While every worker is at work, one that renders
a small picture is sent a small source to go on with: its last word about the first and its first word about the second
then come together, in one pass of the loop. Not responsible for: what comes of an attempt (`attempts.py`), when a
worker may be sent anything (`pool/fleet.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from watcherd.daemon.effects import AskHands, Effect, Moment, TellWorker, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.roots import relocations
from watcherd.daemon.sources import attempt as one
from watcherd.daemon.sources.attempt import Attempt, Phase, Safekeeping
from watcherd.daemon.sources.in_hand import InHand
from watcherd.ledger.ledger import Ledger
from watcherd.model import Source
from watcherd.pool.admission import Admission
from watcherd.pool.fleet import Fleet
from watcherd.pool.orders import Assigned, AssignedNext
from watcherd.pool.sizing import identify_timeout_s
from watcherd.queue.jobqueue import Job, JobQueue


class Dispatch(InHand):
    """What is in hand, and how it came there."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: JobQueue,
        fleet: Fleet,
        admission: Admission,
        roots: Mapping[int, WatchedRoot],
        force: InForce,
        is_online: Callable[[int], bool],
        tickets: Iterator[int],
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._queue = queue
        self._fleet = fleet
        self._admission = admission
        self._roots = roots
        self._force = force
        self._is_online = is_online
        self._tickets = tickets
        self._digests: dict[bytes, int] = {}
        self._no_relocation: set[Source] = set()
        self.pids: dict[int, int] = {}
        self.safety: Safekeeping | None = None
        """Told of attempts, where derivatives need not be on the disk at once."""
        self._now = 0.0

    def dispatch(self, moment: Moment, *, ahead: int) -> list[Effect]:
        """Give fetched sources to idle workers, and have at most `ahead` sources of each root fetched beyond that.

        Each root for itself: the hands of one that hangs hold what they hold, and no other root waits for them.
        """
        self._now = moment.now
        effects = [effect for slot in self._fleet.idle() for effect in self._assign(slot, moment)]
        effects += [effect for slot in self._fleet.open_to_next() for effect in self._assign_next(slot, moment)]
        while True:
            attempts = self._by_ticket.values()
            suspects = not any(attempt.job.suspect for attempt in attempts)
            accept = partial(self._acceptable, first=self._first())
            job = self._queue.pop(suspects=suspects, accept=accept, full=one.full_roots(attempts, ahead))
            if job is None:
                return effects
            effects.append(self._fetch(job, moment))

    def _first(self) -> Source | None:
        return self._parking.overdue(self._now, self._digests, self._is_online)

    def _acceptable(self, job: Job, first: Source | None) -> bool:
        """`first`: a job that was passed for too long has the next free memory, and no other."""
        if job.digest in self._digests or first not in {None, job.source}:
            return False
        needed = job.memory_bytes or 0
        return self._admission.would_grant(needed, whole_budget=job.whole_budget) and self._admission.may_fetch(
            job.stamp.size_bytes
        )

    def _fetch(self, job: Job, moment: Moment) -> Effect:
        root = self._roots[job.source.root]
        attempt = Attempt(ticket=next(self._tickets), job=job, root=root, started=moment.now)
        self._by_ticket[attempt.ticket] = attempt
        self._by_source[job.source] = attempt
        self._admission.fetch(attempt.ticket, job.stamp.size_bytes)
        relocation = relocations.by_ledger(attempt, self._ledger.entry(job.source))
        if relocation is not None and job.source not in self._no_relocation:
            attempt.phase = Phase.RELOCATING
            return AskHands(root=root.number, request=relocation)
        return self._read(attempt)

    def _read(self, attempt: Attempt) -> Effect:
        attempt.phase = Phase.FETCHING
        request = one.fetch_of(attempt, self._force.settings.limits.max_bytes)
        return AskHands(root=attempt.root.number, request=request)

    def _assign(self, slot: int, moment: Moment) -> list[Effect]:
        attempt = self._first_fetched()
        if attempt is None:
            return []
        attempt.phase = Phase.IDENTIFYING
        assigned = Assigned(slot=slot, job=attempt.ticket, timeout_s=self._time_to_identify(attempt))
        return [*self._fleet.handle(assigned, moment.now), self._work(attempt, slot)]

    def _assign_next(self, slot: int, moment: Moment) -> list[Effect]:
        """Only small ones, so that no upload waits long for those before it, and not the last ones that there are."""
        if self._queue.runnable() < self._fleet.busy():
            return []
        holder, attempt = self.held_in(slot), self._first_fetched()
        if holder is None or attempt is None or not one.may_follow(attempt, holder):
            return []
        attempt.phase = Phase.NEXT
        assigned = AssignedNext(slot=slot, job=attempt.ticket, timeout_s=self._time_to_identify(attempt))
        return [*self._fleet.handle(assigned, moment.now), self._work(attempt, slot)]

    def _first_fetched(self) -> Attempt | None:
        waiting = [attempt for attempt in self._by_ticket.values() if attempt.phase is Phase.FETCHED]
        return min(waiting, key=lambda attempt: attempt.ticket, default=None)

    def _time_to_identify(self, attempt: Attempt) -> float:
        return identify_timeout_s(self._force.settings.pool, one.read_from(attempt).stamp.size_bytes)

    def _work(self, attempt: Attempt, slot: int) -> Effect:
        """The attempt is on disk before its worker hears of it: a crash of all of us finds whom to suspect."""
        attempt.slot, attempt.worker = slot, self.pids.get(slot, 0)
        self._ledger.begin_attempt(attempt.job.source)
        attempt.relaxed = self.safety is not None and self.safety.begun(attempt.job.source)
        attempt.other_decoder = one.wants_other_decoder(attempt.job, self._ledger)
        fetched = one.read_from(attempt)
        work = one.work_of(attempt, fetched, self._force.settings.limits)
        return TellWorker(slot=slot, body=work.body(), descriptors=(fetched.fd,))
