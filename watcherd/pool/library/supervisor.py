"""The supervisor: the one thread of a library pool that owns its workers. It waits, steps, and carries out.

Responsible for: the thread, images into memfds and pictures out of them, the futures, and leaving nothing behind: no
process, descriptor or thread, whatever the program around it does. Not responsible for: decisions (`requests.py`).

The workers follow this thread (PDEATHSIG), so it starts them and outlives them. It is a daemon thread, because one that
is not would keep a program from ending that forgot to close its pool; `pool.py` has it stopped at the exit.
"""

import fcntl
import itertools
import os
import selectors
import threading
import time
import weakref
from concurrent.futures import Future

from watcherd.model import Reason
from watcherd.pool.crew import Crew
from watcherd.pool.inbox import Inbox
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
from watcherd.pool.library.requests import Requests
from watcherd.pool.library.result import ImageProcessingError, PoolError, ProcessedImage, without_metadata
from watcherd.pool.processes import Workers
from watcherd.pool.worker import sealed_memfd

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CLOSED = "the pool has been shut down; make another one, or call get_processing_pool()"
_FORKED = "this pool stayed with the process that was forked from; make one after the fork, or get_processing_pool()"
_NOT_DONE = "the pool was shut down before this image was done"

_ALIVE: "weakref.WeakSet[Supervisor]" = weakref.WeakSet()


class Supervisor:
    """A running pool. Any thread may submit and close; the thread that it starts does everything else."""

    def __init__(self, requests: Requests, workers: Workers) -> None:
        self.stopped: Future[None] = Future()
        self._requests = requests
        self._workers = workers
        self._inbox = Inbox()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inbox.descriptor, selectors.EVENT_READ, self._inbox.take)
        self._crew = Crew(workers, self._selector)
        self._tickets = itertools.count(1)
        self._lock = threading.RLock()  # guards the inbox's end; reentrant, because a signal handler may submit
        self._why_closed = ""
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="watcherd-pool", daemon=True)
        self._thread.start()
        _ALIVE.add(self)

    # ---- for any thread

    @property
    def is_open(self) -> bool:
        """Whether it takes images."""
        return not self._why_closed

    def submit(self, image: bytes) -> Future[ProcessedImage]:
        """Take an image in. A future that is cancelled stops the work on it. Raises PoolError once closed."""
        request = Request(ticket=next(self._tickets), image=image, future=Future())
        with self._lock:
            if self._why_closed:
                raise PoolError(self._why_closed)
            self._inbox.post(request)
        ticket = request.ticket
        request.future.add_done_callback(lambda future: self._post(Cancel(ticket)) if future.cancelled() else None)
        return request.future

    def close(self, *, at_once: bool) -> None:
        """Take no more images, and end: when all are done, or at once, with PoolError for those that are not."""
        with self._lock:
            self._why_closed = self._why_closed or _CLOSED
            self._post(Close(at_once))

    def join(self) -> None:
        """Wait until nothing is left. A thread cannot wait for itself: garbage may be collected in any."""
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def leave_behind(self) -> None:
        """In a forked child: the thread is not here, and the workers are the parent's. Let go of the descriptors."""
        self._lock = threading.RLock()
        self._why_closed, self._ended = _FORKED, True
        self._thread = threading.current_thread()
        self.stopped = Future()
        self.stopped.set_result(None)
        self._selector.close()
        self._inbox.close()
        for worker in self._workers:
            worker.connection.close()
            os.close(worker.pidfd)
            os.close(worker.stderr)
            os.close(worker.stat)

    def _post(self, item: Cancel | Close) -> None:
        with self._lock:
            if not self._ended:
                self._inbox.post(item)

    # ---- for its own

    def _run(self) -> None:
        failure = "the pool broke down"
        try:
            self._supervise()
            failure = self._requests.failure
        except Exception as error:
            failure = f"the pool broke down: {error!r}"
            raise
        finally:
            self._end(f"{failure}; the pool has ended" if failure else _CLOSED)

    def _supervise(self) -> None:
        inputs: list[Input] = []
        while True:
            now = time.monotonic()
            inputs = self._carry_out(self._requests.step(now, inputs))
            if self._requests.finished:
                return
            timeout = 0.0 if inputs else self._timeout(now)
            for key, _ in self._selector.select(timeout):
                inputs += key.data()

    def _timeout(self, now: float) -> float | None:
        deadline = self._requests.next_deadline()
        return None if deadline is None else max(0.0, deadline - now)

    def _end(self, why: str) -> None:
        with self._lock:
            self._why_closed = why
            self._ended = True
        self._workers.close()
        self._requests.failure = self._requests.failure or why
        late = [item for items in iter(self._inbox.take, []) for item in items if isinstance(item, Request)]
        for request in (*self._requests.under_way(), *late):
            self._let_down(request)
        self._selector.close()
        self._inbox.close()
        _ALIVE.discard(self)
        self.stopped.set_result(None)

    def _carry_out(self, effects: list[Effect]) -> list[Input]:
        """Do it; what workers wait for goes first. What comes of it are inputs of the next step."""
        inputs: list[Input] = []
        for effect in sorted(effects, key=lambda effect: isinstance(effect, Deliver)):
            match effect:
                case Give():
                    inputs += self._give(effect)
                case Tell(slot=slot, body=body):
                    inputs += self._crew.tell(slot, body)
                case CloseDescriptors(descriptors=descriptors):
                    for descriptor in descriptors:
                        os.close(descriptor)
                case Deliver():
                    self._deliver(effect)
                case Refuse(request=request, reason=reason, detail=detail):
                    _finish(request.future, ImageProcessingError(reason, detail))
                case LetDown(request=request):
                    self._let_down(request)
                case _:
                    inputs += self._crew.carry_out(effect)
        return inputs

    def _give(self, effect: Give) -> list[Input]:
        request = effect.request
        try:
            descriptor = sealed_memfd(request.image)
        except OSError as error:
            return [NotGiven(request.ticket, f"there is no descriptor or memory for the image: {error}")]
        return list(self._crew.tell(effect.slot, effect.body, (descriptor,)))

    def _deliver(self, effect: Deliver) -> None:
        result: ProcessedImage | ImageProcessingError
        try:
            result = _result_of(effect)
        except (OSError, ValueError) as error:
            detail = f"its worker gave back something that is no picture: {error}"
            result = ImageProcessingError(Reason.DECODER_ERROR, detail)
        os.close(effect.descriptor)
        _finish(effect.request.future, result)

    def _let_down(self, request: Request) -> None:
        _finish(request.future, PoolError(self._requests.failure or _NOT_DONE))


def _result_of(effect: Deliver) -> ProcessedImage:
    """What a worker made. It is not believed unchecked: raises OSError or ValueError where something is not right."""
    ended, header = effect.ended, effect.request.header
    if header is None or ended.phash is None or ended.dhash is None:
        raise ValueError("it has no hashes")
    return ProcessedImage(
        phash=f"{ended.phash:016x}",
        dhash=f"{ended.dhash:016x}",
        standardized_data=_picture_in(effect.descriptor),
        width=ended.made[0].width,
        height=ended.made[0].height,
        original_size=(header.width, header.height),
        processing_time_ms=effect.elapsed_s * 1000,
    )


def _picture_in(descriptor: int) -> bytes:
    """The bytes of a picture, with only the pixels in it. What is not sealed could still change."""
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError("it is not sealed")
    return without_metadata(os.pread(descriptor, os.fstat(descriptor).st_size, 0))


def _finish(future: Future[ProcessedImage], result: ProcessedImage | Exception) -> None:
    """Tell whoever waits, unless nobody does any more."""
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _leave_all_behind() -> None:
    for supervisor in list(_ALIVE):
        supervisor.leave_behind()
    _ALIVE.clear()


os.register_at_fork(after_in_child=_leave_all_behind)
