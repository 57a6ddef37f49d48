"""The crew: worker processes in a selector. What they say becomes inputs, what the fleet orders is done to them.

Responsible for: reading a worker's socket to its end before its exit is believed, carrying out the fleet's commands.
Not responsible for: what is decided (`fleet.py`), nor for system calls on processes (`processes.py`).

Each registered descriptor has a function as its data; calling it when the descriptor is ready gives the inputs.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from watcherd.pool.frames import Frame
from watcherd.pool.machine import OutOfMemory
from watcherd.pool.orders import (
    OUT_OF_MEMORY,
    Abandon,
    Command,
    Dismiss,
    GiveUp,
    JobLost,
    JobReturned,
    Kill,
    NotStarted,
    Spawn,
    Terminate,
)
from watcherd.pool.processes import Ending, Worker, Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCame:
    """A worker said something; its process id.

    If it has ended a job, also its size, and the CPU seconds that it and we have used since the last such word.
    """

    slot: int
    frame: Frame
    rss_bytes: int
    pid: int
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBroke:
    """A worker does not keep to the protocol, or does not take what it is sent."""

    slot: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded:
    """A worker's exit was seen."""

    slot: int
    ending: Ending


FromCrew = FrameCame | WorkerBroke | WorkerEnded | NotStarted


class Crew:
    """All workers, as one selector sees them. Owned by the thread that starts them.

    `own_cpu_s` tells what our own part of the work has used so far.
    """

    def __init__(
        self, workers: Workers, selector: selectors.BaseSelector, own_cpu_s: Callable[[], float] = time.thread_time
    ) -> None:
        self._workers = workers
        self._selector = selector
        self._out_of_memory = OutOfMemory()
        self._kills_before: dict[int, int] = {}
        """The kernel's kills for want of memory before the job that a worker is at."""
        self._jobs: dict[int, int] = {}
        """How many jobs a worker has: the one that it is at, and a next one."""
        self._own_cpu_s = own_cpu_s
        self._own_before: float | None = None
        self._cpu_before: dict[int, float] = {}

    def carry_out(self, command: Command) -> list[FromCrew]:
        """Do to a worker what the fleet orders. What concerns jobs or the whole fleet is not for the crew."""
        match command:
            case Spawn(slot=slot):
                return self._spawn(slot)
            case Dismiss(slot=slot, reason=reason):
                self._workers.dismiss(slot, reason)
            case Terminate(slot=slot, reason=reason):
                self._workers.kill(slot, reason, signal.SIGTERM)
            case Kill(slot=slot, reason=reason):
                self._workers.kill(slot, reason)
            case Abandon(slot=slot):
                self._abandon(slot)
            case JobLost() | JobReturned() | GiveUp():
                pass
        return []

    def tell(self, slot: int, body: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> list[FromCrew]:
        """Send one message; the descriptors are closed. To a worker whose exit was seen nothing is sent."""
        stands = slot in self._workers
        if stands and descriptors:
            self._count_job(slot)
        taken = not stands or self._workers.send(slot, body, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return [] if taken else [WorkerBroke(slot=slot, detail="it does not take what it is sent")]

    def _count_job(self, slot: int) -> None:
        """One more for a worker. If it is its only one, an end for want of memory from here on is that one's."""
        if not self._jobs[slot]:
            self._kills_before[slot] = self._out_of_memory.count()
        self._jobs[slot] += 1

    def _spawn(self, slot: int) -> list[FromCrew]:
        try:
            worker = self._workers.spawn(slot)
        except OSError as error:
            return [NotStarted(slot=slot, detail=str(error))]
        self._kills_before[slot] = self._out_of_memory.count()
        self._jobs[slot] = 0
        self._cpu_before[slot] = 0.0
        self._watch(worker)
        return []

    def _watch(self, worker: Worker) -> None:
        slot = worker.slot
        self._selector.register(worker.connection, selectors.EVENT_READ, lambda: self._read(slot))
        self._selector.register(worker.pidfd, selectors.EVENT_READ, lambda: self._read_exit(slot))

    def _read(self, slot: int, *, to_the_end: bool = False) -> list[FromCrew]:
        if slot not in self._workers:  # its exit was seen in this very pass
            return []
        worker = self._workers[slot]
        frames, wrong = self._workers.receive(slot, to_the_end=to_the_end)
        ended = sum(frame.body.get("type") == "ended" for frame in frames)
        if ended:
            self._jobs[slot] = max(0, self._jobs[slot] - ended)
            self._kills_before[slot] = self._out_of_memory.count()
        rss_bytes, cpu_s = self._use_of(slot) if ended else (0, 0.0)
        items: list[FromCrew] = [
            FrameCame(slot=slot, frame=frame, rss_bytes=rss_bytes, pid=worker.pid, cpu_s=cpu_s) for frame in frames
        ]
        if wrong is not None:
            items.append(WorkerBroke(slot=slot, detail=wrong))
        if wrong is not None or (not frames and worker.at_end):
            self._unwatch(worker.connection)
        return items

    def _use_of(self, slot: int) -> tuple[int, float]:
        """A worker's size, and what the CPUs did since the last answer: for it, and for us."""
        rss_bytes, cpu_s = self._workers.use(slot)
        own = self._own_cpu_s()
        used_s = cpu_s - self._cpu_before[slot] + own - (own if self._own_before is None else self._own_before)
        self._cpu_before[slot], self._own_before = cpu_s, own
        return rss_bytes, max(0.0, used_s)

    def _read_exit(self, slot: int) -> list[FromCrew]:
        if slot not in self._workers:
            return []
        worker = self._workers[slot]
        items = self._read(slot, to_the_end=True)  # before the exit is believed
        self._unwatch(worker.connection)
        self._unwatch(worker.pidfd)
        ending = self._workers.reap(slot)
        if ending is None:
            raise AssertionError("a pidfd that can be read belongs to a process that has ended")
        since = self._kills_before.pop(slot)
        if ending.how == "SIGKILL" and ending.stop_reason is None and self._out_of_memory.claim(since):
            ending = replace(ending, how=OUT_OF_MEMORY)
        return [*items, WorkerEnded(slot=slot, ending=ending)]

    def _abandon(self, slot: int) -> None:
        if slot in self._workers:
            self._unwatch(self._workers[slot].connection)
            self._unwatch(self._workers[slot].pidfd)
            self._workers.abandon(slot)

    def _unwatch(self, descriptor: object) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)  # type: ignore[arg-type]
