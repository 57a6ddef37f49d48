"""Requests: the way of an image of the library's pool from the caller to its result. No I/O.

Responsible for: which request is where, what `Identified` is answered, what is tried again, and what a caller is told.
The library's counterpart of `daemon/sources/attempts.py`, for images that are nobody's file: there is nothing to
compare with, to record or to publish. Not responsible for: worker processes and futures (`supervisor.py`), when workers
are started and ended (`fleet.py`), how often something is tried (`queue/retry.py`).

    submitted -> waiting -> with a worker: identifying -> rendering -> ended
                    |                         |              |
                    '- aside: until memory <--'              |
                       is free, or a pause is over  <--------'  its worker crashed, hung, or had too little memory
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from watcherd.model import (
    Answer,
    Crashed,
    Failed,
    Ignored,
    Incomplete,
    Reason,
    Rejected,
    Rendered,
    TimedOut,
    Variant,
)
from watcherd.pool.admission import Admission
from watcherd.pool.crew import FrameCame, WorkerBroke, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.frames import Ended, FrameError, Identified, Ready, Work, grant, parse_from_worker, release
from watcherd.pool.library.request import (
    Cancel,
    Close,
    CloseDescriptors,
    Deliver,
    Effect,
    Give,
    Input,
    LetDown,
    NotGiven,
    Refuse,
    Request,
    Tell,
)
from watcherd.pool.orders import (
    Assigned,
    Broke,
    Command,
    Exited,
    Finished,
    GiveUp,
    Granted,
    JobLost,
    NotStarted,
    WorkerReady,
)
from watcherd.pool.sizing import identify_timeout_s, render_timeout_s, wanted_workers
from watcherd.queue.retry import Again, decide, wants_other_decoder
from watcherd.settings import LimitSettings, PoolSettings, RetrySettings

RETRY = RetrySettings(first_delay_s=0.1, max_delay_s=2.0)
"""As often as the daemon tries, with shorter pauses: somebody waits for the answer."""
PASSED_FOR_S = 5.0
"""For so long others may pass an image that waits for memory (chosen: some hundred images)."""


@dataclass(slots=True, kw_only=True)
class Requests:
    """All requests. Call `step` with what has come, and carry out what it returns."""

    fleet: Fleet
    admission: Admission
    variant: Variant
    most_workers: int
    settings: PoolSettings
    limits: LimitSettings
    jitter: Callable[[], float]
    failure: str = ""
    """Why the pool had to give up, empty if it did not."""
    _waiting: "OrderedDict[int, Request]" = field(default_factory=OrderedDict)
    _aside: dict[int, Request] = field(default_factory=dict)
    _held: dict[int, Request] = field(default_factory=dict)
    _closing: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done, ever."""
        return self._closing and not len(self) and self.fleet.halted

    def __len__(self) -> int:
        return len(self._waiting) + len(self._aside) + len(self._held)

    def under_way(self) -> list[Request]:
        """All of them, those with the workers first."""
        return [*self._held.values(), *self._aside.values(), *self._waiting.values()]

    def next_deadline(self) -> float | None:
        """When `step` has something to do even if nothing comes."""
        pauses = [request.not_before for request in self._aside.values() if request.not_before]
        deadline = self.fleet.next_deadline()
        return min(pauses if deadline is None else [*pauses, deadline], default=None)

    def step(self, now: float, inputs: Iterable[Input]) -> list[Effect]:
        """Take in what has come, hand out what can be worked on, have as many workers as that needs."""
        effects = [effect for item in inputs for effect in self._take(item, now)]
        for request in self._aside.values():
            if request.not_before <= now:
                request.not_before = 0.0
        if self._closing and not len(self):
            effects += self._order(self.fleet.halt(now), now)
        waiting = len(self._waiting) + len(self._aside)
        wanted = wanted_workers(self.most_workers, waiting=waiting, in_hand=len(self._held))
        effects += self._order(self.fleet.tick(now, wanted=wanted), now)
        return effects + self._dispatch(now)  # last: a tick may end a worker's rest

    def _take(self, item: Input, now: float) -> list[Effect]:
        match item:
            case Request():
                self._waiting[item.ticket] = item
                return [LetDown(request=self._waiting.pop(item.ticket))] if self.failure else []
            case Cancel(ticket=ticket):
                return self._cancel(ticket, now)
            case Close(at_once=at_once):
                self._closing = True
                return self._let_all_down(now) if at_once else []
            case NotGiven(ticket=ticket, detail=detail):
                return self._not_given(ticket, detail, now)
            case FrameCame():
                return self._from_worker(item, now)
            case WorkerBroke(slot=slot, detail=detail):
                return self._order(self.fleet.handle(Broke(slot=slot, detail=detail), now), now)
            case WorkerEnded(slot=slot, ending=ending):
                exited = Exited(slot=slot, how=ending.how, last_words=ending.last_words)
                return self._order(self.fleet.handle(exited, now), now)
            case NotStarted():
                return self._order(self.fleet.handle(item, now), now)

    def _order(self, commands: Iterable[Command], now: float) -> list[Effect]:
        """The fleet's commands, with what is meant for us carried out."""
        effects: list[Effect] = []
        for command in commands:
            match command:
                case JobLost(job=job, outcome=outcome):
                    held = self._held.get(job)
                    effects += [] if held is None else self._retry_or_not(held, outcome, now)
                case GiveUp(detail=detail):
                    self.failure, self._closing = detail, True
                    effects += self._let_all_down(now)
                case _:
                    effects.append(command)
        return effects

    # ---- to the workers

    def _dispatch(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for slot in self.fleet.idle():
            request = self._next(now)
            if request is None:
                break
            effects += self._assign(request, slot, now)
        return effects

    def _next(self, now: float) -> Request | None:
        """Those put aside first; of those whose worker ended with them, one at a time.

        One that others have passed for long has the next free memory: small images could go on for ever.
        """
        suspected = any(request.suspect for request in self._held.values())
        for ticket, request in self._aside.items():
            if request.not_before or (request.suspect and suspected):
                continue
            if self._fits(request):
                return self._aside.pop(ticket)
            if now >= request.aside_since + PASSED_FOR_S:
                return None
        first = next(iter(self._waiting.values()), None)
        return self._waiting.pop(first.ticket) if first and self._fits(first) else None

    def _fits(self, request: Request) -> bool:
        granted = self.admission.would_grant(request.memory_bytes, whole_budget=request.whole_budget)
        return granted and self.admission.may_fetch(len(request.image))

    def _assign(self, request: Request, slot: int, now: float) -> list[Effect]:
        self._held[request.ticket] = request
        request.slot, request.given_at = slot, now
        self.admission.fetch(request.ticket, len(request.image))
        work = Work(
            job=request.ticket,
            variants=(self.variant,),
            limits=self.limits,
            has_holes=False,
            tolerant=False,
            other_decoder=request.other_decoder,
        )
        timeout_s = identify_timeout_s(self.settings, len(request.image))
        assigned = Assigned(slot=slot, job=request.ticket, timeout_s=timeout_s)
        return [*self._order(self.fleet.handle(assigned, now), now), Give(slot, request, work.body())]

    def _not_given(self, ticket: int, detail: str, now: float) -> list[Effect]:
        request = self._held.get(ticket)
        if request is None or request.slot is None:
            return []
        effects = self._order(self.fleet.handle(Finished(slot=request.slot, rss_bytes=0), now), now)
        return effects + self._retry_or_not(request, Failed(reason=Reason.READ_ERROR, detail=detail), now)

    # ---- from the workers

    def _from_worker(self, item: FrameCame, now: float) -> list[Effect]:
        try:
            message = parse_from_worker(item.frame)
        except FrameError as error:
            return self._broke(item, str(error), now)
        match message:
            case Ready():
                return self._order(self.fleet.handle(WorkerReady(slot=item.slot), now), now)
            case Identified():
                return self._identified(item, message, now)
            case Ended():
                return self._ended(item, message, now)

    def _broke(self, item: FrameCame, detail: str, now: float) -> list[Effect]:
        broke = self.fleet.handle(Broke(slot=item.slot, detail=detail), now)
        return [CloseDescriptors(item.frame.descriptors), *self._order(broke, now)]

    def _identified(self, item: FrameCame, message: Identified, now: float) -> list[Effect]:
        request, header = self._held.get(message.job), message.header
        if request is None or request.slot != item.slot or request.header is not None:
            return self._broke(item, "identified what it does not hold", now)
        let_go = [Tell(item.slot, release(request.ticket))]
        if not self.admission.fits_at_all(header.memory_bytes):
            finished = self._order(self.fleet.handle(Finished(slot=item.slot, rss_bytes=0), now), now)
            mib, budget = header.memory_bytes >> 20, self.admission.budget_bytes >> 20
            detail = f"needs about {mib} MiB to decode, more than the whole budget of {budget} MiB"
            if request.other_decoder:  # that one has failed; the usual one is tried again
                failed = Failed(reason=Reason.DECODER_ERROR, detail=f"by the other decoder it {detail}")
                return [*let_go, *finished, *self._retry_or_not(request, failed, now)]
            return [*let_go, *finished, *self._refuse(request, Reason.TOO_MUCH_MEMORY, detail)]
        asked = self.admission.ask(request.ticket, header.memory_bytes, whole_budget=request.whole_budget)
        if asked is Answer.LATER:
            request.memory_bytes = header.memory_bytes
            self._put_aside(request, now)
            return [*let_go, *self._order(self.fleet.handle(Finished(slot=item.slot, rss_bytes=0), now), now)]
        request.header = header
        timeout_s = render_timeout_s(self.settings, len(request.image), header.pixels * header.frames, 1)
        granted = self._order(self.fleet.handle(Granted(slot=item.slot, timeout_s=timeout_s), now), now)
        return [*granted, Tell(item.slot, grant(request.ticket, [self.variant.name]))]

    def _ended(self, item: FrameCame, message: Ended, now: float) -> list[Effect]:
        request, descriptors = self._held.get(message.job), item.frame.descriptors
        if request is None or request.slot != item.slot:
            return self._broke(item, "ended what it does not hold", now)
        if isinstance(message.outcome, Rendered) and (request.header is None or len(descriptors) != 1):
            return self._broke(item, "rendered what it was not asked for", now)
        finished = Finished(slot=item.slot, rss_bytes=item.rss_bytes, cpu_s=item.cpu_s)
        effects = self._order(self.fleet.handle(finished, now), now)
        match message.outcome:
            case Rendered():
                self._forget(request)
                return [*effects, Deliver(request, message, descriptors[0], now - request.given_at)]
            case Ignored(kind=kind):
                return [*effects, *self._refuse(request, Reason.UNSUPPORTED, f"it is no picture ({kind})")]
            case Incomplete(reason=reason, detail=detail) | Rejected(reason=reason, detail=detail):
                return [*effects, *self._refuse(request, reason, detail)]
            case Failed():
                return [*effects, *self._retry_or_not(request, message.outcome, now)]

    # ---- ends

    def _retry_or_not(self, request: Request, outcome: Failed | TimedOut | Crashed, now: float) -> list[Effect]:
        faults, interruptions = request.faults, request.interruptions
        jitter = self.jitter()
        decided = decide(outcome, faults=faults, interruptions=interruptions, policy=RETRY, jitter=jitter)
        if not isinstance(decided, Again):
            return self._refuse(request, decided.reason, decided.detail)
        request.faults, request.interruptions = decided.faults, decided.interruptions
        request.suspect, request.whole_budget = decided.suspect, decided.whole_budget
        request.other_decoder = wants_other_decoder(decided.reason, decided.faults)
        self._put_aside(request, now, pause_s=decided.delay_s)
        return []

    def _put_aside(self, request: Request, now: float, *, pause_s: float = 0.0) -> None:
        self._forget(request)
        request.slot, request.header, request.not_before = None, None, now + pause_s if pause_s else 0.0
        request.aside_since = request.aside_since or now
        self._aside[request.ticket] = request

    def _refuse(self, request: Request, reason: Reason, detail: str) -> list[Effect]:
        self._forget(request)
        return [Refuse(request, reason, detail)]

    def _cancel(self, ticket: int, now: float) -> list[Effect]:
        for place in (self._waiting, self._aside, self._held):
            request = place.get(ticket)
            if request is not None:
                self._forget(request)
                return [LetDown(request), *self._order(self.fleet.stop_job(ticket, now), now)]
        return []

    def _let_all_down(self, now: float) -> list[Effect]:
        requests = self.under_way()
        for request in requests:
            self._forget(request)
        return [*self._order(self.fleet.halt(now), now), *(LetDown(request) for request in requests)]

    def _forget(self, request: Request) -> None:
        for place in (self._waiting, self._aside, self._held):
            place.pop(request.ticket, None)
        self.admission.release(request.ticket)
