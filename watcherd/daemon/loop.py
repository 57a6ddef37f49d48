"""The loop: wait, step, commit, carry out. The one thread that owns all state.

It blocks in one place, a selector over the workers' sockets and pidfds, the control socket and the inbox's eventfd,
until the next deadline. Everybody else (watchdog's threads, scanners, hands, signal handlers) only appends to the
inbox. What a step decides is carried out after the ledger's commit, so that an attempt is on disk before its worker
hears of it.
"""

import os
import selectors
import time
from collections.abc import Callable, Mapping
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
)
from watcherd.daemon.rooms import RootRooms
from watcherd.pool.crew import Crew, FromCrew
from watcherd.pool.inbox import Inbox
from watcherd.pool.orders import Abandon, Command, Kill, Spawn, Terminate
from watcherd.pool.processes import Workers
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import discard

log = get_logger()


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
        self._crew = Crew(workers, self.selector, time.process_time)
        self.watch_anew: Callable[[int], None] = lambda root: rooms[root].scanner.request()
        """Begins to watch a root, with a scan; without a watch (in a one-shot scan), only that."""
        self._handlers: dict[type, Callable[[object, Moment], list[Effect]]] = {}
        self.selector.register(inbox.descriptor, selectors.EVENT_READ, self._read_inbox)

    def handle(self, kind: type, handler: Callable[[object, Moment], list[Effect]]) -> None:
        """Have inputs of one type go to a handler of the shell instead of to the core (signals, control requests)."""
        self._handlers[kind] = handler

    def run(self, finished: Callable[[], bool]) -> None:
        """Pass after pass, until `finished` says so after one."""
        moment = _now()
        deadline: float | None = moment.now
        while True:
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = self.selector.select(timeout)
            inputs = [item for key, _ in ready for item in key.data()]
            moment = _now()
            self.one_pass(moment, inputs)
            if finished():
                return
            deadline = self._next_deadline(moment)

    def one_pass(self, moment: Moment, inputs: list[object]) -> None:
        """Step, commit, carry out."""
        effects: list[Effect] = []
        for item in inputs:
            handler = self._handlers.get(type(item))
            if handler is not None:
                effects += handler(item, moment)
        effects += self.core.step(moment, [item for item in inputs if type(item) not in self._handlers])
        self.core.ledger.commit()
        for effect in effects:
            self.carry_out(effect)

    def _next_deadline(self, moment: Moment) -> float | None:
        deadlines = [self.core.next_deadline(), *(duty.due(moment) for duty in self._duties)]
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
                scanner.request(effect.directory, ticket=effect.ticket, arriving=effect.arriving)
            case Acknowledge(root=root) if root in self._rooms:
                self._rooms[root].scanner.acknowledge()
            case Bind(root=root) if root in self._rooms:
                self._rooms[root].bind(effect)
            case WatchAnew(root=root) if root in self._rooms:
                self.watch_anew(root)
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
