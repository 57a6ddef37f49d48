"""The library's pool under kills, crashes, hangs and cancellations, and in programs that do not take care of it."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.chaos import faulty_worker
from tests.chaos.harness import REPOSITORY, environment, eventually
from tests.chaos.pictures import jpeg
from tests.places import descriptors, our_threads
from watcherd import ImageProcessingError, ImageProcessingPool, PoolError, ProcessedImage
from watcherd.model import Reason
from watcherd.settings import PoolSettings

IMAGES = 200
KILLS = int(os.environ.get("WATCHERD_LIBRARY_KILLS", "25"))
CANCELLED_WITHIN_S = 60.0
"""The promise is 0.2 s, on a machine that has nothing else to do; the figure is printed."""


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHERD_WORKER_MODULE", "tests.chaos.faulty_worker")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if lives(child)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def still_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and lives(psutil.Process(pid))


def sized(number: int, times: int = 1) -> bytes:
    """A picture that is told from others by its width."""
    return jpeg(number, (times * (400 + number), times * 300))


class Killer:
    """Kills a random worker again and again, as often as it is allowed, until it is told to stop.

    Not more often than workers can start: whoever kills each one before it is ready is not survived, only outlasted.
    """

    def __init__(self, signals: list[signal.Signals], seed: int) -> None:
        self.kills = 0
        self._signals, self._random = signals, random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self.kills < KILLS and not self._stop.wait(self._random.uniform(0.05, 0.25)):
            workers = workers_of()
            if workers:
                self._random.choice(workers).send_signal(self._random.choice(self._signals))
                self.kills += 1


def test_a_batch_is_done_in_its_order_while_workers_are_killed() -> None:
    seed = random.randrange(1 << 32)
    before = descriptors(), our_threads(), workers_of()

    async def use() -> list[ProcessedImage | ImageProcessingError]:
        async with ImageProcessingPool(2, max_dimension=2000) as pool:
            return await pool.process_batch([sized(number, 2) for number in range(IMAGES)])

    with Killer([signal.SIGKILL], seed) as killer:
        results = asyncio.run(use())

    print(f"seed {seed}: {killer.kills} kills over {IMAGES} images")
    errors = [result for result in results if isinstance(result, ImageProcessingError)]
    assert errors == []
    assert [result.width for result in results] == [2 * (400 + number) for number in range(IMAGES)]  # type: ignore[union-attr]
    assert killer.kills > 5
    assert (descriptors(), our_threads(), workers_of()) == before


@pytest.mark.usefixtures("faulty")
def test_images_that_crash_their_worker_are_errors_and_the_others_are_done() -> None:
    images = [sized(number) for number in range(30)]
    images[3] = jpeg("look", marker=faulty_worker.CRASH_ON_LOOK)
    images[11] = jpeg("segv", marker=faulty_worker.CRASH_ON_RENDER)
    images[19] = jpeg("abort", marker=faulty_worker.ABORT_ON_RENDER)
    images[27] = jpeg("exit", marker=faulty_worker.EXIT_ON_RENDER)

    with ImageProcessingPool(2) as pool:
        results = list(pool.map(images))

    failed = {n: (r.reason, r.detail) for n, r in enumerate(results) if isinstance(r, ImageProcessingError)}
    assert failed == {
        3: (Reason.CRASHED, "its worker crashed (SIGSEGV)"),
        11: (Reason.CRASHED, "its worker crashed (SIGSEGV)"),
        19: (Reason.CRASHED, "its worker crashed (SIGABRT)"),
        27: (Reason.CRASHED, "its worker crashed (exit 7)"),
    }


@pytest.mark.usefixtures("faulty")
def test_an_image_that_hangs_its_worker_is_ended_at_its_deadline() -> None:
    with ImageProcessingPool(2, settings=PoolSettings(timeout_s=0.5)) as pool:
        hung = pool.submit(jpeg("hang", marker=faulty_worker.HANG_ON_RENDER))
        others = list(pool.map([sized(number) for number in range(10)]))
        error = hung.exception(30)

    assert all(isinstance(result, ProcessedImage) for result in others)
    assert isinstance(error, ImageProcessingError)
    assert error.reason is Reason.TIMED_OUT


async def cancelled_in_hand(use: Callable[[ImageProcessingPool], asyncio.Task[object]]) -> float:
    """Seconds from the cancellation until no worker is left that held what was cancelled. The pool works on."""
    async with ImageProcessingPool(2) as pool:
        await pool.process_batch([sized(1), sized(2)])
        task = use(pool)
        await asyncio.to_thread(eventually, lambda: len(workers_of()) == 2, within_s=10, what="two workers")
        await asyncio.sleep(0.5)  # both are in hand by now: they hang
        held = workers_of()
        assert len(held) == 2
        started = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while any(lives(worker) for worker in held):
            await asyncio.sleep(0.002)
            assert time.perf_counter() - started < 30
        elapsed_s = time.perf_counter() - started
        assert (await pool.process_image(sized(5))).width == 405
    return elapsed_s


@pytest.mark.usefixtures("faulty")
def test_a_cancelled_batch_drops_what_waits_and_ends_what_is_in_hand() -> None:
    hanging = [jpeg(f"hang {number}", marker=faulty_worker.HANG_ON_RENDER) for number in range(20)]

    elapsed_s = asyncio.run(cancelled_in_hand(lambda pool: asyncio.create_task(pool.process_batch(hanging))))

    print(f"a batch of 20 with 2 in hand: cancelled within {elapsed_s * 1000:.1f} ms")
    assert elapsed_s < CANCELLED_WITHIN_S


@pytest.mark.usefixtures("faulty")
def test_a_cancelled_image_ends_its_worker_only() -> None:
    async def use() -> float:
        async with ImageProcessingPool(2) as pool:
            await pool.process_batch([sized(1), sized(2)])
            before = {worker.pid for worker in workers_of()}
            task = asyncio.create_task(pool.process_image(jpeg("hang", marker=faulty_worker.HANG_ON_RENDER)))
            await asyncio.sleep(0.3)
            started = time.perf_counter()
            task.cancel()
            while len(before & {worker.pid for worker in workers_of()}) == len(before):
                await asyncio.sleep(0.002)
                assert time.perf_counter() - started < 30
            elapsed_s = time.perf_counter() - started
            assert len(before & {worker.pid for worker in workers_of()}) == len(before) - 1
        return elapsed_s

    elapsed_s = asyncio.run(use())

    print(f"an image in hand: cancelled within {elapsed_s * 1000:.1f} ms")
    assert elapsed_s < CANCELLED_WITHIN_S


@pytest.mark.usefixtures("faulty")
def test_a_timeout_around_an_image_cancels_it() -> None:
    async def use() -> None:
        async with ImageProcessingPool(1) as pool:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.process_image(jpeg("x", marker=faulty_worker.HANG_ON_RENDER)), 0.5)
            assert (await pool.process_image(sized(2))).width == 402

    asyncio.run(use())


@pytest.mark.usefixtures("faulty")
def test_a_future_is_cancelled_while_it_is_worked_on() -> None:
    with ImageProcessingPool(1) as pool:
        hung = pool.submit(jpeg("x", marker=faulty_worker.HANG_ON_RENDER))
        eventually(workers_of, within_s=10, what="a worker starts")
        assert hung.cancel()
        assert pool.submit(sized(1)).result(30).width == 401


# ------------------------------------------------------------------------- programs that do not take care of their pool

PRELUDE = """
import os, signal, sys, threading, time
from tests.chaos import faulty_worker
from tests.chaos.pictures import jpeg
from watcherd import ImageProcessingPool, PoolError, get_processing_pool
HANG = jpeg("hang", marker=faulty_worker.HANG_ON_RENDER)
def children():
    return open(f"/proc/self/task/{thread.native_id}/children").read().split()
def tell_workers(count):
    global thread
    thread = next(one for one in threading.enumerate() if one.name == "watcherd-pool")
    while len(children()) < count: time.sleep(0.01)
    print(*children(), flush=True)
"""

CARELESS = {
    "raises_in_the_context": """
        with ImageProcessingPool(2) as pool:
            waiting = [pool.submit(HANG) for _ in range(4)]
            tell_workers(2)
            raise LookupError("what a pity")
        """,
    "raises_in_the_asynchronous_context": """
        import asyncio
        async def main():
            async with ImageProcessingPool(2) as pool:
                waiting = [asyncio.create_task(pool.process_image(HANG)) for _ in range(4)]
                await asyncio.sleep(0.1)
                tell_workers(2)
                raise LookupError("what a pity")
        asyncio.run(main())
        """,
    "is_interrupted_in_a_batch": """
        import asyncio
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        async def main():
            async with ImageProcessingPool(2) as pool:
                batch = asyncio.create_task(pool.process_batch([HANG] * 10))
                await asyncio.sleep(0.1)
                tell_workers(2)
                os.kill(os.getpid(), signal.SIGINT)
                await batch
        asyncio.run(main())
        """,
    "just_ends": """
        get_processing_pool(2).submit(jpeg(1)).result(30)
        tell_workers(1)
        """,
    "just_ends_in_the_middle": """
        waiting = [get_processing_pool(2).submit(HANG) for _ in range(5)]
        tell_workers(2)
        """,
    "just_ends_with_a_pool_that_was_started_and_forgotten": """
        pool = ImageProcessingPool(2)
        pool.start()
        pool.submit(jpeg(1)).result(30)
        tell_workers(1)
        """,
    "exits_by_exception_without_any_context": """
        get_processing_pool(2).submit(jpeg(1)).result(30)
        tell_workers(1)
        raise LookupError("what a pity")
        """,
    "exits_at_once": """
        waiting = [get_processing_pool(2).submit(HANG) for _ in range(5)]
        tell_workers(2)
        os._exit(0)
        """,
    "is_killed": """
        waiting = [get_processing_pool(2).submit(HANG) for _ in range(5)]
        tell_workers(2)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    "ends_in_another_thread": """
        def use():
            get_processing_pool(2).submit(jpeg(1)).result(30)
            tell_workers(1)
        user = threading.Thread(target=use)
        user.start()
        """,
    "ignores_and_blocks_the_signals_that_end_workers": """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        with ImageProcessingPool(2) as pool:
            waiting = [pool.submit(HANG) for _ in range(2)]
            tell_workers(2)
            started = time.monotonic()
            pool.shutdown(cancel_futures=True)
            assert time.monotonic() - started < 60  # the picture in hand hangs for ten minutes
        """,
    "forks": """
        pool = get_processing_pool(2)
        pool.submit(jpeg(1)).result(30)
        tell_workers(1)
        child = os.fork()
        if child == 0:
            try:
                pool.submit(jpeg(2))
            except PoolError as error:
                assert "fork" in str(error), error
            else:
                os._exit(1)
            assert get_processing_pool(1).submit(jpeg(2)).result(30).width == 64
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.submit(jpeg(3)).result(30).width == 64
        """,
}
FAILING = {"is_killed": -signal.SIGKILL, "is_interrupted_in_a_batch": -signal.SIGINT}
RAISING = ("raises_in_the_context", "raises_in_the_asynchronous_context", "exits_by_exception_without_any_context")


@pytest.mark.parametrize("how", CARELESS)
def test_no_process_is_left_of_a_program_that(how: str, place: Path) -> None:
    program = place / "program.py"
    program.write_text(PRELUDE + textwrap.dedent(CARELESS[how]))
    faulty = environment({"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker"})

    done = subprocess.run(
        [sys.executable, program], env=faulty, capture_output=True, text=True, timeout=60, check=False
    )

    pids = [int(pid) for pid in done.stdout.split()]
    assert pids, done.stderr
    eventually(lambda: not any(map(still_there, pids)), within_s=5, what=f"{pids} end")
    assert done.returncode == (1 if how in RAISING else FAILING.get(how, 0)), done.stderr
    if how not in (*RAISING, *FAILING):
        assert done.stderr == ""


def test_what_waits_when_a_pool_is_shut_down_is_let_down() -> None:
    pool = ImageProcessingPool(1)
    with pool:
        futures = [pool.submit(sized(number)) for number in range(20)]
        pool.shutdown(cancel_futures=True)

    ends = [type(future.exception(0)) for future in futures]
    assert set(ends) <= {PoolError, type(None)}
    assert ends[-1] is PoolError


def test_nothing_is_left_of_a_pool() -> None:
    before = descriptors(), our_threads(), workers_of()

    for _ in range(3):
        with ImageProcessingPool(2) as pool:
            assert [result.width for result in pool.map([sized(1), sized(2)])] == [401, 402]  # type: ignore[union-attr]
        assert (descriptors(), our_threads(), workers_of()) == before


def test_nothing_is_left_of_a_pool_whose_context_was_left_by_an_exception() -> None:
    before = descriptors(), our_threads(), workers_of()
    futures: list[Any] = []

    def use() -> None:
        with ImageProcessingPool(1) as pool:
            futures.extend(pool.submit(sized(number)) for number in range(50))
            raise LookupError

    with pytest.raises(LookupError):
        use()

    assert isinstance(futures[-1].exception(0), PoolError)
    assert (descriptors(), our_threads(), workers_of()) == before
