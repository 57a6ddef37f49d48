"""Attempts: the way of a job from the queue to its recorded outcome.

Responsible for: which attempt is where (with the hands, with a worker), what `Identified` is answered, what is
published. How a job comes to a worker stands in `dispatch.py`, what an outcome means for the source's entry in
`outcomes.py`. Not responsible for I/O: everything that is to be done outside comes back as effects.

    queue -> FETCHING (hands) -> FETCHED -> IDENTIFYING (worker) -> RENDERING (worker) -> PUBLISHING (hands) -> ended
                                    '-> NEXT -'    |      (NEXT: with a worker that has another to end before)
                                                   |-> COLLECTING (hands: a twin's derivatives) -> PUBLISHING
          RELOCATING (hands, instead of FETCHING) -'--> RELOCATING (hands: from an earlier layout's place) -> ended
                                                   |-> ended: right already, known as undoable
                                                   '-> parked: no memory now, or a twin is in work
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from watcherd.daemon.effects import AskHands, CloseDescriptors, Discard, Effect, Moment, TellWorker, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.roots import relocations
from watcherd.daemon.sources import attempt as one
from watcherd.daemon.sources.attempt import WITH_WORKER, Attempt, Phase
from watcherd.daemon.sources.dispatch import Dispatch
from watcherd.daemon.sources.outcomes import Outcomes
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    Answer,
    Crashed,
    Disturbed,
    Entry,
    Failed,
    Header,
    Outcome,
    Reason,
    Rendered,
    Reused,
    Source,
    Unchanged,
)
from watcherd.pool.admission import Admission
from watcherd.pool.fleet import Fleet
from watcherd.pool.frames import Ended, Identified, grant, release
from watcherd.pool.orders import Broke, Finished, Granted, JobLost, JobReturned
from watcherd.pool.sizing import render_timeout_s
from watcherd.queue.jobqueue import JobQueue
from watcherd.watch.hands.hands import (
    Broken,
    Collected,
    Fault,
    Fetched,
    Item,
    Publish,
    Published,
    Refused,
    Relocated,
)

_PICTURE_BYTES = 1 << 20
"""About what a finished picture takes (chosen: a preview is 0.2 MB)."""


class Attempts(Dispatch):
    """All attempts under way, and the jobs that wait for memory or for a twin."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        queue: JobQueue,
        fleet: Fleet,
        admission: Admission,
        roots: Mapping[int, WatchedRoot],
        outcomes: Outcomes,
        force: InForce,
        is_online: Callable[[int], bool],
        tickets: Iterator[int],
    ) -> None:
        super().__init__(
            ledger=ledger,
            queue=queue,
            fleet=fleet,
            admission=admission,
            roots=roots,
            force=force,
            is_online=is_online,
            tickets=tickets,
        )
        self._outcomes = outcomes
        self._no_reuse: set[Source] = set()

    def lay_down_all(self) -> None:
        """The end of the run: what is in hand was not finished by our own doing, and is not to be suspected."""
        for attempt in list(self._by_ticket.values()):
            self._lay_down(attempt)

    # ---- what the hands say

    def from_hands(
        self, reply: Fetched | Refused | Fault | Collected | Relocated | Published | Broken, moment: Moment
    ) -> list[Effect]:
        """Take a reply in. One whose attempt has ended meanwhile only has its descriptors closed."""
        attempt = self._by_ticket.get(reply.ticket)
        if attempt is None:
            return [Discard(message=reply)]
        match reply:
            case Fetched():
                attempt.fetched, attempt.phase = reply, Phase.FETCHED
                return []
            case Collected():
                return self._collected(attempt, reply, moment)
            case Relocated():
                return self._relocated(attempt, reply, moment)
            case Published():
                return self._published(attempt, reply, moment)
            case Refused(outcome=outcome):
                return self._conclude(attempt, outcome, moment)
            case Fault() | Broken() if attempt.phase is Phase.COLLECTING:  # the twin's: do without it
                self._no_reuse.add(attempt.job.source)
                return self._put_back(attempt)
            case Fault():  # the file system's doing: its root is paused, and this costs no attempt
                return self._put_back(attempt)
            case Broken():
                outcome = Failed(reason=Reason.READ_ERROR, detail=f"{reply.operation}: {reply.text}")
                return self._conclude(attempt, outcome, moment)

    def _published(self, attempt: Attempt, reply: Published, moment: Moment) -> list[Effect]:
        attempt.publish_s = moment.now - attempt.publishing_since
        attempt.right += relocations.arrived(attempt, reply.derivatives)
        attempt.taken += reply.taken
        attempt.checksums = reply.checksums
        attempt.bytes_out = sum(derivative.size_bytes for derivative in reply.derivatives)
        return self._conclude(attempt, Reused() if attempt.reused else Rendered(), moment)

    def _collected(self, attempt: Attempt, reply: Collected, moment: Moment) -> list[Effect]:
        descriptors = tuple(fd for fd in reply.fds if fd is not None)
        if len(descriptors) < len(reply.fds):  # the twin's files are not what the ledger says: render after all
            self._no_reuse.add(attempt.job.source)
            return [CloseDescriptors(descriptors=descriptors), *self._put_back(attempt)]
        attempt.reused = True
        return self._publish(attempt, one.items_of_twin(attempt, descriptors), moment)

    def _relocated(self, attempt: Attempt, reply: Relocated, moment: Moment) -> list[Effect]:
        """What was not moved, and is not right, is looked for and made in the ordinary way."""
        arrived = relocations.arrived(attempt, reply.derivatives)
        entry = self._ledger.entry(attempt.job.source)
        if attempt.digest is not None:
            attempt.right += arrived
        elif entry is not None:
            self._ledger.record(relocations.updated(entry, arrived))
            attempt.right = relocations.in_place(attempt, relocations.updated(entry, arrived))
        if {one.variant for one in attempt.right} >= {variant.name for variant in attempt.root.variants}:
            return self._conclude(attempt, Reused(), moment)
        self._no_relocation.add(attempt.job.source)
        if attempt.digest is not None:
            return self._put_back(attempt)
        attempt.right = ()
        return [self._read(attempt)]

    def _publish(self, attempt: Attempt, items: Sequence[Item], moment: Moment) -> list[Effect]:
        if attempt.fetched is None:
            raise AssertionError("nothing is published that was not fetched")
        attempt.phase, attempt.publishing_since = Phase.PUBLISHING, moment.now
        attempt.made = tuple(item.variant for item in items)
        request = Publish(
            ticket=attempt.ticket,
            path=attempt.job.source.path,
            stamp=attempt.fetched.stamp,
            items=tuple(items),
            durable=not attempt.relaxed,
        )
        return [AskHands(root=attempt.root.number, request=request)]

    # ---- what the workers say

    def identified(self, slot: int, message: Identified, moment: Moment) -> list[Effect]:
        """Answer: Grant, Reuse, Skip or Later."""
        attempt = self._held(slot, message.job, Phase.IDENTIFYING)
        if attempt is None:
            return [*self._fleet.handle(Broke(slot=slot, detail="identified what it does not hold"), moment.now)]
        attempt.digest, attempt.header = message.digest, message.header
        if message.digest in self._digests:
            return self._later(attempt, moment)
        known = self._outcomes.known(attempt, message.digest)
        if known is not None:
            return [*self._let_go(attempt, moment), *self._conclude(attempt, known, moment)]
        seen = one.compare(attempt, self._ledger.entry(attempt.job.source))
        attempt.right, attempt.wanted, attempt.taken = seen.right, seen.wanted, seen.taken
        if not attempt.wanted:
            outcome = Unchanged() if self._outcomes.is_recorded(attempt.job.source, message.digest) else Reused()
            return [*self._let_go(attempt, moment), *self._conclude(attempt, outcome, moment)]
        relocation = relocations.by_marks(attempt)
        if relocation is not None and attempt.job.source not in self._no_relocation:
            effects = self._let_go(attempt, moment)
            attempt.phase = Phase.RELOCATING
            return [*effects, AskHands(root=attempt.root.number, request=relocation)]
        twin = None
        if attempt.job.source not in self._no_reuse:
            twin = one.twin_of(attempt, message.digest, self._ledger, self._is_online)
        if twin is not None:
            return [*self._let_go(attempt, moment), self._collect(attempt, twin)]
        return self._grant_or_not(attempt, message.header, moment)

    def _collect(self, attempt: Attempt, twin: Entry) -> Effect:
        attempt.phase, attempt.twin = Phase.COLLECTING, twin
        request = one.collect_of(attempt, twin, self._roots[twin.source.root].names)
        return AskHands(root=twin.source.root, request=request)

    def _grant_or_not(self, attempt: Attempt, header: Header, moment: Moment) -> list[Effect]:
        if not self._admission.fits_at_all(header.memory_bytes):
            outcome = one.too_large(attempt, header, self._admission.budget_bytes)
            return [*self._let_go(attempt, moment), *self._conclude(attempt, outcome, moment)]
        asked = self._admission.ask(attempt.ticket, header.memory_bytes, whole_budget=attempt.job.whole_budget)
        if asked is Answer.LATER or attempt.slot is None or attempt.digest is None or attempt.fetched is None:
            return self._later(attempt, moment)
        self._parking.forget(attempt.job.source)
        attempt.phase = Phase.RENDERING
        self._digests[attempt.digest] = attempt.ticket
        size = attempt.fetched.stamp.size_bytes
        timeout_s = render_timeout_s(
            self._force.settings.pool, size, header.pixels * header.frames, len(attempt.wanted)
        )
        return [
            *self._fleet.handle(Granted(slot=attempt.slot, timeout_s=timeout_s), moment.now),
            TellWorker(slot=attempt.slot, body=grant(attempt.ticket, [v.name for v in attempt.wanted])),
        ]

    def ended(self, finished: Finished, message: Ended, descriptors: tuple[int, ...], moment: Moment) -> list[Effect]:
        """The worker is through with it: publish, or conclude."""
        attempt = self._held(finished.slot, message.job, Phase.IDENTIFYING, Phase.RENDERING)
        if attempt is None or not one.is_answer(attempt, message):
            broke = Broke(slot=finished.slot, detail="ended what it does not hold, or made what it was not asked for")
            return [CloseDescriptors(descriptors=descriptors), *self._fleet.handle(broke, moment.now)]
        effects: list[Effect] = [*self._fleet.handle(finished, moment.now)]
        attempt.slot = None
        self._begin_next(finished.slot)
        attempt.digest = message.digest or attempt.digest
        attempt.decode_s, attempt.encode_s, attempt.notes = message.decode_s, message.encode_s, message.notes
        attempt.phash, attempt.dhash, attempt.captured = message.phash, message.dhash, message.captured
        if not isinstance(message.outcome, Rendered):
            return [*effects, *self._conclude(attempt, message.outcome, moment)]
        # What is left of it in memory are its pictures: a root that does not take them must not hold the whole grant.
        self._admission.release(attempt.ticket)
        self._admission.fetch(attempt.ticket, _PICTURE_BYTES * len(message.made))
        return [*effects, *self._publish(attempt, one.items_made(attempt, message, descriptors), moment)]

    def _begin_next(self, slot: int) -> None:
        """It has turned to the source that it had been sent already, if there is one."""
        at_work = self._fleet.at_work(slot)
        if at_work is not None:
            self._by_ticket[at_work.job].phase = Phase.IDENTIFYING

    def lost(self, command: JobLost | JobReturned, moment: Moment, *, halting: bool = False) -> list[Effect]:
        """The worker that held this attempt is gone. In a halt that is our doing, and costs the source nothing."""
        attempt = self._by_ticket.get(command.job)
        if attempt is None or attempt.phase not in WITH_WORKER:
            return []
        attempt.slot = None
        if isinstance(command, JobReturned) or (halting and isinstance(command.outcome, Crashed)):
            return self._put_back(attempt)
        return self._conclude(attempt, command.outcome, moment)

    def _held(self, slot: int, ticket: int, *phases: Phase) -> Attempt | None:
        attempt = self._by_ticket.get(ticket)
        return attempt if attempt and attempt.slot == slot and attempt.phase in phases else None

    # ---- ends

    def _let_go(self, attempt: Attempt, moment: Moment) -> list[Effect]:
        """Tell the worker that it need not go on; it is idle as soon as that is sent."""
        if attempt.slot is None:
            return []
        slot, attempt.slot = attempt.slot, None
        return [
            TellWorker(slot=slot, body=release(attempt.ticket)),
            *self._fleet.handle(Finished(slot=slot, rss_bytes=0), moment.now),
        ]

    def _later(self, attempt: Attempt, moment: Moment) -> list[Effect]:
        """No memory now, or a twin is in work: wait outside the queue, so that others pass."""
        effects = self._let_go(attempt, moment)
        memory_bytes = attempt.header.memory_bytes if attempt.header else None
        if attempt.root.number in self._roots:
            self._parking.park(replace(attempt.job, memory_bytes=memory_bytes, digest=attempt.digest), moment.now)
        return [*effects, *self._lay_down(attempt)]

    def _put_back(self, attempt: Attempt) -> list[Effect]:
        """Back to the head of the queue, with nothing held against it. In a root that was dropped it stays pending."""
        if attempt.root.number in self._roots:
            self._queue.put_back(attempt.job)
        return self._lay_down(attempt)

    def _lay_down(self, attempt: Attempt) -> list[Effect]:
        """End an attempt that came to nothing: its source is not in hand any more, and not to be suspected."""
        entry = self._ledger.entry(attempt.job.source)
        if entry is not None and entry.in_hand:
            self._ledger.record(replace(entry, in_hand=False))
        return self._forget(attempt)

    def _conclude(self, attempt: Attempt, outcome: Outcome, moment: Moment) -> list[Effect]:
        if attempt.taken and isinstance(outcome, Rendered | Reused | Unchanged):
            outcome = one.name_taken(attempt)
        effects = self._lay_down(attempt) if isinstance(outcome, Disturbed) else self._forget(attempt)
        self._no_reuse.discard(attempt.job.source)
        self._no_relocation.discard(attempt.job.source)
        self._parking.forget(attempt.job.source)
        self._outcomes.record(attempt, outcome, moment)
        return [*effects, *self._outcomes.follow_up(attempt, outcome, moment)]

    def _forget(self, attempt: Attempt) -> list[Effect]:
        del self._by_ticket[attempt.ticket]
        del self._by_source[attempt.job.source]
        self._admission.release(attempt.ticket)
        if self.safety is not None:
            self.safety.ended(attempt)
        if attempt.digest is not None and self._digests.get(attempt.digest) == attempt.ticket:
            del self._digests[attempt.digest]
        for job in self._parking.leave(partial(self._acceptable, first=self._first())):
            self._queue.put_back(job)
        if attempt.phase is Phase.FETCHED and attempt.fetched is not None:
            return [CloseDescriptors(descriptors=(attempt.fetched.fd,))]
        return []
