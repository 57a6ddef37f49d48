"""The pool for Python programs: bytes of images go in, standardised pictures and perceptual hashes come out.

Responsible for: the public interface, in its asynchronous and its plain form.
Not responsible for: the instance that a program shares (`shared.py`), the work (`supervisor.py`, `requests.py`), what
is given back (`result.py`).

It is the daemon's pool: decoders run in fenced worker processes, under the same limits, deadlines and memory budget. An
image that crashes its worker is tried again, three times in all, and then is an error; no other image notices.

    import asyncio
    from watcherd import ImageProcessingError, ImageProcessingPool

    async def main(images: list[bytes]) -> None:
        async with ImageProcessingPool(max_workers=4, max_dimension=1024) as pool:
            one = await pool.process_image(images[0])
            print(one.phash, one.width, one.height)
            for result in await pool.process_batch(images):
                if isinstance(result, ImageProcessingError):
                    print("not this one:", result.reason, result.detail)

    asyncio.run(main(images))

And without asyncio, with futures like those of `concurrent.futures`:

    with ImageProcessingPool() as pool:
        future = pool.submit(images[0])
        phashes = [result.phash for result in pool.map(images) if not isinstance(result, ImageProcessingError)]
        print(future.result().dhash)

No `if __name__ == "__main__"` is needed: workers are programs of their own and never import the caller's. They are gone
when the context is left, whatever the reason, and when the program ends without leaving it. After `os.fork()` a pool
stays with the parent; in the child its use raises PoolError, and a new pool (or `get_processing_pool()`) works.
"""

import asyncio
import inspect
import operator
import os
import random
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self, SupportsIndex

from watcherd.model import ColourPolicy, OutputFormat, Variant
from watcherd.pool import machine
from watcherd.pool.admission import Admission
from watcherd.pool.fleet import Fleet
from watcherd.pool.library.requests import Requests
from watcherd.pool.library.result import ImageProcessingError, PoolError, ProcessedImage
from watcherd.pool.library.supervisor import Supervisor
from watcherd.pool.processes import Workers
from watcherd.pool.sizing import address_space, memory_budget, rest_factor, worker_count
from watcherd.settings import LimitSettings, PoolSettings

MOST_WORKERS = 64
MAX_DIMENSION = 16_384
DIMENSION = 1024
_AHEAD = 4
"""Images of a batch that are submitted at once, for each worker: enough for none to be idle, and few enough that a
single image does not wait for all of somebody else's batch, nor a long iterable for memory."""
_NOT_RUNNING = (
    "the pool is not running; use it inside `async with ImageProcessingPool() as pool:` (or plain `with`), "
    "or take the program's shared pool from get_processing_pool()"
)

Result = ProcessedImage | ImageProcessingError


class ImageProcessingPool:
    """A pool of worker processes, running inside its (asynchronous or plain) context. It may be entered again.

    `max_workers`: 1 to 64, by default the CPUs less one, at least 2; fewer where memory does not carry so many.
    `max_dimension`: the longer side of standardised pictures, in pixels; nothing is enlarged. `settings` has the
    deadlines, the memory budget and the sandbox, `limits` what an image may be at the most.

    All methods may be called from any thread, and from several event loops.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        max_dimension: int = DIMENSION,
        *,
        settings: PoolSettings | None = None,
        limits: LimitSettings | None = None,
    ) -> None:
        self.max_workers = None if max_workers is None else _whole("max_workers", max_workers, MOST_WORKERS)
        self.max_dimension = _whole("max_dimension", max_dimension, MAX_DIMENSION)
        self._settings = settings or PoolSettings()
        self._limits = limits or LimitSettings()
        self._supervisor: Supervisor | None = None
        self._ahead = 1

    @property
    def is_running(self) -> bool:
        """Whether it takes images now."""
        return self._supervisor is not None and self._supervisor.is_open

    # ---- asynchronous

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was submitted, or stop it if the context is left by an exception; then nothing is left."""
        supervisor = self._take_down(at_once=kind is not None)
        if supervisor is None:
            return
        try:
            await asyncio.shield(asyncio.wrap_future(supervisor.stopped))
        except asyncio.CancelledError:
            supervisor.close(at_once=True)
            await asyncio.shield(asyncio.wrap_future(supervisor.stopped))
            raise
        finally:
            supervisor.join()

    async def process_image(self, image: bytes) -> ProcessedImage:
        """One image. Cancelling stops the work on it.

        Raises ImageProcessingError where the image cannot be processed, PoolError where the pool is not running.
        """
        return await asyncio.wrap_future(self.submit(image))

    async def process_batch(
        self, images: Iterable[bytes], on_complete: Callable[[int, Result], object] | None = None
    ) -> list[Result]:
        """Many images; what became of each, in their order: a ProcessedImage, or the ImageProcessingError that it is.

        `on_complete(index, result)` is called in the event loop as each is done, in the order in which they are done,
        and awaited if it gives something to await; if it raises, or this is cancelled, the rest is not done. Raises
        PoolError where the pool is not running.
        """
        results: dict[int, Result] = {}
        pending: dict[asyncio.Future[ProcessedImage], int] = {}

        async def settle(most: int) -> None:
            while len(pending) > most:
                done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for future in sorted(done, key=pending.__getitem__):
                    index = pending.pop(future)
                    results[index] = _result_of(future)
                    told = None if on_complete is None else on_complete(index, results[index])
                    if inspect.isawaitable(told):
                        await told

        try:
            for index, image in enumerate(images):
                await settle(self._ahead - 1)
                pending[asyncio.wrap_future(self.submit(image))] = index
            await settle(0)
        finally:
            for waiting in pending:
                _give_up(waiting)
        return [results[index] for index in range(len(results))]

    # ---- plain

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `shutdown`; what was submitted is stopped if the context is left by an exception."""
        self.shutdown(cancel_futures=kind is not None)

    def submit(self, image: bytes) -> Future[ProcessedImage]:
        """One image, as a future, which ends with ImageProcessingError where the image cannot be processed.

        Unlike an executor's, it can be cancelled while it is worked on: that ends the work. Raises PoolError where the
        pool is not running, TypeError for what is not bytes.
        """
        if self._supervisor is None:
            raise PoolError(_NOT_RUNNING)
        return self._supervisor.submit(image if isinstance(image, bytes) else _bytes_of(image))

    def map(self, images: Iterable[bytes]) -> Iterator[Result]:
        """Many images; what became of each, in their order, as soon as it and all before it are done.

        `images` is consumed as far ahead as keeps the workers busy. Closing the iterator stops the rest.
        """
        if self._supervisor is None:
            raise PoolError(_NOT_RUNNING)
        return self._map(iter(images))

    def _map(self, images: Iterator[bytes]) -> Iterator[Result]:
        pending: deque[Future[ProcessedImage]] = deque()
        try:
            for image in images:
                pending.append(self.submit(image))
                if len(pending) >= self._ahead:
                    yield _result_of(pending.popleft())
            while pending:
                yield _result_of(pending.popleft())
        finally:
            for future in pending:
                future.cancel()

    # ---- life

    def start(self) -> None:
        """Have it run from now on, without a context; `shutdown` ends it. Raises PoolError if it runs already."""
        if self._supervisor is not None:
            raise PoolError("the pool is running already; make another one, or share this one")
        supervisor = self._supervised()
        self._supervisor = supervisor
        forgotten = weakref.finalize(self, _stop, supervisor)
        supervisor.stopped.add_done_callback(lambda _: forgotten.detach())  # a pool may be entered a thousand times

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """End it when all that was submitted is done, or at once. No process is left once it has ended."""
        supervisor = self._take_down(at_once=cancel_futures)
        if supervisor is None or not wait:
            return
        try:
            supervisor.join()
        except BaseException:  # Ctrl-C while waiting
            supervisor.close(at_once=True)
            supervisor.join()
            raise

    def _take_down(self, *, at_once: bool) -> Supervisor | None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.close(at_once=at_once)
        return supervisor

    def _supervised(self) -> Supervisor:
        there = machine.look()
        settings = replace(self._settings, workers=self.max_workers or max(2, there.cores - 1))
        budget_bytes = memory_budget(settings, there)
        most = worker_count(settings, there, budget_bytes)
        self._ahead = _AHEAD * most
        side = self.max_dimension
        requests = Requests(
            fleet=Fleet(settings, most, rest_factor=rest_factor(settings, there, most)),
            admission=Admission(budget_bytes),
            variant=Variant(name="standard", width=side, height=side, format=OutputFormat.PNG, colour=ColourPolicy.RGB),
            most_workers=most,
            settings=settings,
            limits=self._limits,
            jitter=random.random,
        )
        module = os.environ.get("WATCHERD_WORKER_MODULE", "watcherd.pool.worker")
        space = address_space(budget_bytes)
        return Supervisor(requests, Workers(memory_bytes=space, sandbox=settings.sandbox, module=module))


def _whole(name: str, number: SupportsIndex, most: int) -> int:
    """A number from 1 to `most`, as an int (numpy has others). Raises TypeError or ValueError for what is none."""
    if isinstance(number, bool) or not isinstance(number, SupportsIndex):
        raise TypeError(f"{name} is {number!r}; it must be a whole number")
    if not 1 <= operator.index(number) <= most:
        raise ValueError(f"{name} is {number!r}; it must be from 1 to {most}")
    return operator.index(number)


def _bytes_of(image: object) -> bytes:
    """Of whatever holds bytes (a bytearray, a memoryview, a mapped file). Raises TypeError for anything else."""
    try:
        return bytes(memoryview(image))  # type: ignore[arg-type]
    except TypeError as error:
        kind = type(image).__name__
        raise TypeError(f"an image is bytes, not {kind}; of a file they are Path(file).read_bytes()") from error


def _result_of(future: Future[ProcessedImage] | asyncio.Future[ProcessedImage]) -> Result:
    """What became of one image. Raises what is not about the image."""
    try:
        return future.result()
    except ImageProcessingError as error:
        return error


def _give_up(future: asyncio.Future[ProcessedImage]) -> None:
    """Nobody will look at it any more: not a word about what it may have come to already."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def _stop(supervisor: Supervisor) -> None:
    """At the interpreter's exit, or when a pool was forgotten."""
    supervisor.close(at_once=True)
    supervisor.join()
