"""What the crew tells of workers that nobody can talk to, and of those that the kernel ended for want of memory."""

import os
import selectors
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from watcherd.pool.crew import Crew, WorkerEnded
from watcherd.pool.frames import Frame
from watcherd.pool.orders import OUT_OF_MEMORY, Spawn
from watcherd.pool.processes import Ending


@dataclass
class PlayedWorker:
    slot: int
    pid: int
    connection: int
    pidfd: int
    at_end: bool = False


@dataclass
class PlayedWorkers(dict[int, PlayedWorker]):
    """Takes all that it is sent; says what it is told to say."""

    stack: ExitStack
    frames: list[Frame] = field(default_factory=list)

    def spawn(self, slot: int) -> PlayedWorker:
        ends = [*os.pipe(), *os.pipe()]
        for end in ends:
            self.stack.callback(os.close, end)
        self[slot] = PlayedWorker(slot=slot, pid=7, connection=ends[0], pidfd=ends[2])
        return self[slot]

    def send(self, *_: object) -> bool:
        return True

    def receive(self, _slot: int, *, to_the_end: bool) -> tuple[list[Frame], None]:
        del to_the_end
        said, self.frames = self.frames, []
        return said, None

    def use(self, _slot: int) -> tuple[int, float]:
        return 1, 0.0

    def reap(self, slot: int) -> Ending:
        del self[slot]
        return Ending(pid=7, how="SIGKILL", stderr="", stop_reason=None)


class PlayedKernel:
    """How often it ended somebody for want of memory."""

    kills = 0

    def count(self) -> int:
        return self.kills

    def claim(self, since: int) -> bool:
        return self.kills > since


@dataclass
class Bench:
    stack: ExitStack

    def __post_init__(self) -> None:
        self.workers: Any = PlayedWorkers(self.stack)
        self.crew = Crew(self.workers, self.stack.enter_context(selectors.DefaultSelector()))
        self.kernel: Any = PlayedKernel()
        self.crew._out_of_memory = self.kernel
        self.crew.carry_out(Spawn(slot=0))

    def work(self) -> None:
        assert self.crew.tell(0, {"type": "work"}, (os.open("/dev/null", os.O_RDONLY),)) == []

    def ends_one(self) -> None:
        self.workers.frames = [Frame({"type": "ended"})]
        self.crew._read(0)

    def end(self) -> str:
        (ended,) = self.crew._read_exit(0)
        assert isinstance(ended, WorkerEnded)
        return ended.ending.how


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_who_was_seen_to_exit_is_not_told_of_as_broken(bench: Bench) -> None:
    assert bench.end() == "SIGKILL"
    (descriptor, other) = os.pipe()
    os.close(other)
    assert bench.crew.tell(0, {"type": "grant"}) == []
    assert bench.crew.tell(0, {"type": "work"}, (descriptor,)) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_kill_for_memory_during_the_first_of_two_jobs_is_known_as_such(bench: Bench) -> None:
    bench.work()
    bench.kernel.kills = 1
    bench.work()  # the next one, which is no new beginning
    assert bench.end() == OUT_OF_MEMORY


def test_a_kill_for_memory_of_somebody_else_before_a_job_began_is_not_put_down_to_it(bench: Bench) -> None:
    bench.work()
    bench.work()
    bench.kernel.kills = 1
    bench.ends_one()
    assert bench.end() == "SIGKILL"


def test_a_job_after_an_idle_while_is_a_new_beginning(bench: Bench) -> None:
    bench.work()
    bench.ends_one()
    bench.kernel.kills = 1
    bench.work()
    assert bench.end() == "SIGKILL"
