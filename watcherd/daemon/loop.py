"""The loop: wait, step, commit, carry out. The one thread that owns all state.

It blocks in one place, a selector over the workers' sockets and pidfds, the control socket and the inbox's eventfd,
until the next deadline. Everybody else (watchdog's threads, scanners, hands, signal handlers) only appends to the
inbox. What a step decides is carried out after the ledger's commit, so that an attempt is on disk before its worker
hears of it.
"""

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from watcherd.daemon.core import Core
from watcherd.daemon.crew import FrameCame, WorkerBroke, WorkerEnded
from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    CloseDescriptors,
    Discard,
    Effect,
    Moment,
    TellWorker,
)
from watcherd.daemon.machine import OutOfMemory
from watcherd.model import StopReason
from watcherd.pool.orders import OUT_OF_MEMORY, Abandon, Dismiss, Kill, NotStarted, Spawn, Terminate
from watcherd.pool.processes import Worker, Workers
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Hands, discard
from watcherd.watch.scanner import Scanner

log = get_logger()

_MAX_INPUTS = 5_000
"""How much of the inbox one pass takes: a burst must not keep the loop from its workers."""


class Inbox:
    """Where every other thread leaves word for the loop. Appending is the only thing that they do to us."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def post(self, item: object) -> None:
        """Leave word, from any thread or a signal handler."""
        self._items.append(item)
        os.eventfd_write(self.descriptor, 1)

    def take(self) -> list[object]:
        """What has come, at most a pass's worth of it; what is left keeps the loop awake."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)
        taken = [self._items.popleft() for _ in range(min(len(self._items), _MAX_INPUTS))]
        if self._items:
            os.eventfd_write(self.descriptor, 1)
        return taken

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self.descriptor)


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
        hands: Mapping[int, Hands],
        scanners: Mapping[int, Scanner],
        duties: list[Duty],
    ) -> None:
        self.core = core
        self.inbox = inbox
        self.selector = selectors.DefaultSelector()
        self._workers = workers
        self._hands = hands
        self._scanners = scanners
        self._duties = duties
        self._out_of_memory = OutOfMemory()
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

    def _watch_worker(self, worker: Worker) -> None:
        slot = worker.slot
        self.selector.register(worker.connection, selectors.EVENT_READ, lambda: self._read_worker(slot))
        self.selector.register(worker.pidfd, selectors.EVENT_READ, lambda: self._read_exit(slot))

    def _read_worker(self, slot: int) -> list[object]:
        if slot not in self._workers:  # its exit was seen in this very pass
            return []
        worker = self._workers[slot]
        frames, wrong = self._workers.receive(slot)
        has_ended = any(frame.body.get("type") == "ended" for frame in frames)
        rss_bytes = self._workers.rss_bytes(slot) if has_ended else 0
        items: list[object] = [
            FrameCame(slot=slot, frame=frame, rss_bytes=rss_bytes, pid=worker.pid) for frame in frames
        ]
        if wrong is not None:
            self._unregister(worker.connection)
            items.append(WorkerBroke(slot=slot, detail=wrong))
        elif not frames and worker.at_end:
            self._unregister(worker.connection)
        return items

    def _read_exit(self, slot: int) -> list[object]:
        if slot not in self._workers:
            return []
        worker = self._workers[slot]
        items = self._read_worker(slot)  # to its end, before the exit is believed
        self._unregister(worker.connection)
        self._unregister(worker.pidfd)
        ending = self._workers.reap(slot)
        if ending is None:
            raise AssertionError("a pidfd that can be read belongs to a process that has ended")
        if ending.how == "SIGKILL" and ending.stop_reason is None and self._out_of_memory.has_struck():
            ending = replace(ending, how=OUT_OF_MEMORY)
        return [*items, WorkerEnded(slot=slot, ending=ending)]

    def _unregister(self, descriptor: object) -> None:
        if descriptor in self.selector.get_map():
            self.selector.unregister(descriptor)  # type: ignore[arg-type]

    # ---- carrying out

    def carry_out(self, effect: Effect) -> None:
        """Do one thing outside."""
        match effect:
            case AskHands(root=root, request=request):
                self._hands[root].submit(request)
            case AskScanner():
                self._scanners[effect.root].request(effect.directory, ticket=effect.ticket, arriving=effect.arriving)
            case Acknowledge(root=root):
                self._scanners[root].acknowledge()
            case TellWorker():
                self._tell(effect)
            case CloseDescriptors(descriptors=descriptors):
                for descriptor in descriptors:
                    os.close(descriptor)
            case Discard(message=message):
                discard(message)
            case Spawn(slot=slot):
                self._spawn(slot)
            case Dismiss(slot=slot, reason=reason):
                self._workers.dismiss(slot, reason)
            case Terminate(slot=slot, reason=reason):
                self._end(slot, reason, signal.SIGTERM)
            case Kill(slot=slot, reason=reason):
                self._end(slot, reason, signal.SIGKILL)
            case Abandon(slot=slot):
                self._abandon(slot)

    def _tell(self, effect: TellWorker) -> None:
        if effect.descriptors:  # a new job: an end for memory from here on is about this time
            self._out_of_memory.look()
        taken = effect.slot in self._workers and self._workers.send(effect.slot, effect.body, effect.descriptors)
        for descriptor in effect.descriptors:
            os.close(descriptor)
        if not taken:
            self.inbox.post(WorkerBroke(slot=effect.slot, detail="it does not take what it is sent"))

    def _spawn(self, slot: int) -> None:
        try:
            worker = self._workers.spawn(slot)
        except OSError as error:
            self.inbox.post(NotStarted(slot=slot, detail=str(error)))
            return
        log.debug("worker.started", pid=worker.pid, slot=slot)
        self._watch_worker(worker)

    def _end(self, slot: int, reason: StopReason, number: signal.Signals) -> None:
        if slot in self._workers:
            log.info("worker.stopping", pid=self._workers[slot].pid, slot=slot, stop_reason=reason)
            self._workers.kill(slot, reason, number)

    def _abandon(self, slot: int) -> None:
        if slot not in self._workers:
            return
        worker = self._workers[slot]
        log.error("worker.lost", pid=worker.pid, slot=slot)
        self._unregister(worker.connection)
        self._unregister(worker.pidfd)
        self._workers.abandon(slot)


def _now() -> Moment:
    return Moment(now=time.monotonic(), wall_s=time.time())
