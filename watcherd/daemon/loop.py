"""The loop: wait, step, commit, carry out. The one thread that owns all state.

It blocks in one place, a selector over the workers' sockets and pidfds, the control socket and the inbox's eventfd,
until the next deadline. Everybody else (watchdog's threads, scanners, hands, signal handlers) only appends to the
inbox. What a step decides is carried out after the ledger's commit, so that an attempt is on disk before its worker
hears of it; a pass of which nothing relies on that is committed with the next one that does, or soon. A ledger whose
disk is full stalls the loop until it can be written again (`stall.py`).

While every worker is at work, nothing that the others say can be acted on at once. So they do not wake the loop then:
what they say is taken in with a worker's next word, or soon. That halves the passes, and the commits, behind a backlog.
"""

import os
import selectors
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from watcherd.daemon.core import Core
from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    Bind,
    CloseDescriptors,
    Discard,
    Effect,
    Moment,
    TellWorker,
    WatchAnew,
    relies_on_ledger,
)
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.daemon.stall import RETRY_S, Stall
from watcherd.ledger.errors import LedgerFull
from watcherd.pool.crew import Crew, FrameCame, FromCrew
from watcherd.pool.inbox import Inbox
from watcherd.pool.orders import Abandon, Command, Kill, Spawn, Terminate
from watcherd.pool.processes import Workers
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import discard

log = get_logger()

_PATIENCE_S = 0.01
"""For so long words may lie in the inbox while all workers are at work."""
_COMPANY_S = 0.002
"""For so long the end of a job waits for its worker's next word, where that goes on with its next job by itself."""
_COMMIT_WITHIN_S = 0.05
"""So soon everything is durable. What a crash takes of it is found again by the marks, and not rendered again."""


class Duty(Protocol):
    """Something regular beside the core: metrics, health, the service manager, a scan's progress."""

    def due(self, moment: Moment) -> float | None:
        """Do what is due at this moment; say when to be called again at the latest (monotonic), None for never."""


class Loop:
    """Runs a core. `readers` are further descriptors with what to do when they can be read (the control socket)."""

    def __init__(
        self,
        *,
        core: Core,
        inbox: Inbox,
        workers: Workers,
        rooms: Mapping[int, RootRooms],
        duties: list[Duty],
    ) -> None:
        self.core = core
        self.inbox = inbox
        self.selector = selectors.DefaultSelector()
        self._workers = workers
        self._rooms = rooms
        self._duties = duties
        self.vital: list[Duty] | None = None
        """The duties that go on in a stall, and none of which writes to the ledger; None: a full disk ends the run."""
        self.stall: Stall | None = None
        self._crew = Crew(workers, self.selector, time.process_time)
        self.watch_anew: Callable[[int, float], None] = lambda root, _: rooms[root].scanner.request()
        """Begins to watch a root, with a scan; without a watch (in a one-shot scan), only that."""
        self._commit_at: float | None = None
        self._served_in_stall: set[type] = set()
        self._handlers: dict[type, Callable[[object, Moment], list[Effect]]] = {}
        self.selector.register(inbox.descriptor, selectors.EVENT_READ, self._read_inbox)

    def handle(self, kind: type, handler: Callable[[object, Moment], list[Effect]], *, in_stall: bool = False) -> None:
        """Have inputs of one type go to a handler of the shell instead of to the core (signals, control requests).

        `in_stall`: in a stall as well; the handler then does nothing that writes to the ledger.
        """
        self._handlers[kind] = handler
        if in_stall:
            self._served_in_stall.add(kind)

    def run(self, finished: Callable[[], bool]) -> None:
        """Pass after pass, until `finished` says so after one."""
        moment = _now()
        deadline: float | None = moment.now
        while True:
            inputs = self._wait(deadline)
            moment = _now()
            self.one_pass(moment, inputs)
            if finished():
                self.core.ledger.commit()
                return
            deadline = self._next_deadline(moment)

    def _wait(self, deadline: float | None) -> list[object]:
        """Until something has come, at most until then."""
        now = time.monotonic()
        patient = self.core.all_at_work
        if not self.inbox.is_empty(patient=patient) and not patient:
            deadline = now
        if patient:
            deadline = min(deadline or now, now + _PATIENCE_S)
        inputs = self._read(None if deadline is None else max(0.0, deadline - now))
        if inputs and all(isinstance(item, FrameCame) and self._goes_on(item.slot) for item in inputs):
            inputs += self._read(_COMPANY_S)
        return inputs + self.inbox.take_unwoken()

    def _goes_on(self, slot: int) -> bool:
        """Whether a worker that says something has ended its job, and is at its next one already."""
        at_work = self.core.fleet.at_work(slot)
        return at_work is not None and at_work.next is not None

    def _read(self, within_s: float | None) -> list[object]:
        return [item for key, _ in self.selector.select(within_s) for item in key.data()]

    def one_pass(self, moment: Moment, inputs: list[object]) -> None:
        """Step, answer workers, commit, carry out; hands come last: they begin at once, and would be in the way.

        In a stall: serve those that need no ledger, and try the commit again.
        """
        if self.stall is not None:
            inputs = self._pass_in_stall(self.stall, moment, inputs)
            if self.stall is not None:
                return
        effects: list[Effect] = []
        for item in inputs:
            handler = self._handlers.get(type(item))
            if handler is not None:
                effects += handler(item, moment)
        ours = [item for item in inputs if type(item) not in self._handlers]
        effects += self.core.step(moment, ours)
        answers = [effect for effect in effects if isinstance(effect, TellWorker) and not effect.descriptors]
        self._carry_out_all(answers)  # workers wait for them, and need not wait for the disk as well
        effects = [effect for effect in effects if effect not in answers] if answers else effects
        try:
            self._commit(moment, now=len(ours) < len(inputs) or any(map(relies_on_ledger, effects)))
        except LedgerFull as error:
            self._begin_stall(error, effects, moment)
            return
        self._carry_out_all(effects)

    def _carry_out_all(self, effects: Iterable[Effect]) -> None:
        for effect in sorted(effects, key=lambda effect: isinstance(effect, AskHands)):
            self.carry_out(effect)

    def _commit(self, moment: Moment, *, now: bool) -> None:
        """Make all that was written durable, or see to it that it soon will be."""
        if now or (self._commit_at is not None and moment.now >= self._commit_at):
            self.core.ledger.commit()
        if not self.core.ledger.has_uncommitted:
            self._commit_at = None
        elif self._commit_at is None:
            self._commit_at = moment.now + _COMMIT_WITHIN_S

    def _begin_stall(self, error: LedgerFull, effects: list[Effect], moment: Moment) -> None:
        """The pass stays as it is; a one-shot scan, which nobody waits with, ends with the error."""
        if self.vital is None:
            raise error
        hint = "the daemon goes on by itself when there is room; nothing is lost"
        log.error("ledger.problem", path=self.core.ledger.path, operation="commit", cause=str(error), hint=hint)
        self._commit_at = None
        self.stall = Stall(moment.now, str(error), effects, moment.now + RETRY_S)

    def _pass_in_stall(self, stall: Stall, moment: Moment, inputs: list[object]) -> list[object]:
        """What has waited, and waits no longer, once the commit is done; else nothing."""
        for item in inputs:
            if type(item) in self._served_in_stall:
                self._carry_out_all(self._handlers[type(item)](item, moment))
        stall.hold([item for item in inputs if type(item) not in self._served_in_stall])
        if not stall.is_due(moment):
            return []
        try:
            self.core.ledger.commit()
        except LedgerFull as error:
            stall.reason = str(error)
            return []
        log.info("ledger.writable", path=self.core.ledger.path, waited_s=round(moment.now - stall.since, 3))
        self.stall = None
        self._carry_out_all(stall.effects)
        return stall.inputs()

    def _next_deadline(self, moment: Moment) -> float | None:
        if self.stall is not None:
            vital = [duty.due(moment) for duty in self.vital or ()]
            return min(deadline for deadline in (self.stall.retry_at, *vital) if deadline is not None)
        deadlines = [self._commit_at, self.core.next_deadline(), *(duty.due(moment) for duty in self._duties)]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    # ---- reading

    def _read_inbox(self) -> list[object]:
        return self.inbox.take()

    # ---- carrying out

    def carry_out(self, effect: Effect) -> None:
        """Do one thing outside."""
        match effect:
            case AskHands(root=root, request=request) if root in self._rooms:
                self._rooms[root].hands.submit(request)
            case AskScanner(root=root) if root in self._rooms:
                scanner = self._rooms[root].scanner
                scanner.request(effect.directory, ticket=effect.ticket, arriving=effect.arriving, manner=effect.manner)
            case Acknowledge(root=root) if root in self._rooms:
                self._rooms[root].scanner.acknowledge()
            case Bind(root=root) if root in self._rooms:
                self._rooms[root].bind(effect)
            case WatchAnew(root=root) if root in self._rooms:
                self.watch_anew(root, time.monotonic())
            case AskHands(request=request):  # of a root that was taken down meanwhile
                discard(request)
            case AskScanner() | Acknowledge() | Bind() | WatchAnew():
                pass
            case TellWorker():
                self._leave_word(self._crew.tell(effect.slot, effect.body, effect.descriptors))
            case CloseDescriptors(descriptors=descriptors):
                for descriptor in descriptors:
                    os.close(descriptor)
            case Discard(message=message):
                discard(message)
            case _:
                self._order(effect)

    def _order(self, command: Command) -> None:
        """Have the crew do what the fleet orders, with a word about it in the log."""
        match command:
            case Terminate(slot=slot, reason=reason) | Kill(slot=slot, reason=reason):
                log.info("worker.stopping", pid=self._pid(slot), slot=slot, stop_reason=reason)
            case Abandon(slot=slot):
                log.error("worker.lost", pid=self._pid(slot), slot=slot)
        self._leave_word(self._crew.carry_out(command))
        if isinstance(command, Spawn):
            log.debug("worker.started", pid=self._pid(command.slot), slot=command.slot)

    def _leave_word(self, items: list[FromCrew]) -> None:
        for item in items:
            self.inbox.post(item)

    def _pid(self, slot: int) -> int:
        return self._workers[slot].pid if slot in self._workers else 0


def _now() -> Moment:
    return Moment(now=time.monotonic(), wall_s=time.time())
