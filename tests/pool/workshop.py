"""Real workers for tests: started, spoken to, waited for (by their descriptors, with a bound), and let go of."""

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcherd.derivatives.memfds import seal
from watcherd.model import THUMBNAIL, Variant
from watcherd.pool.frames import Ended, Frame, FromWorker, Identified, Ready, Work, grant, parse_from_worker
from watcherd.pool.processes import Ending, Worker, Workers
from watcherd.settings import LimitSettings

WITHIN_S = 30.0
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Bench:
    """Some workers, and what has come from each of them and was not asked for yet."""

    workers: Workers
    frames: dict[int, list[Frame]] = field(default_factory=dict)
    wrong: dict[int, str] = field(default_factory=dict)

    def start(self, slot: int = 0) -> Worker:
        return self.workers.spawn(slot)

    def read(self, slot: int) -> None:
        """What is there or comes next; an error, an end or the bound are told apart by the caller."""
        assert readable(self.workers[slot].connection.fileno()), f"worker {slot} says nothing"
        frames, wrong = self.workers.receive(slot)
        self.frames.setdefault(slot, []).extend(frames)
        if wrong is not None:
            self.wrong[slot] = wrong

    def frame(self, slot: int = 0) -> Frame:
        while not self.frames.get(slot):
            self.read(slot)
            assert self.frames.get(slot) or not (self.workers[slot].at_end or slot in self.wrong), self.wrong
        return self.frames[slot].pop(0)

    def message(self, slot: int = 0) -> FromWorker:
        return parse_from_worker(self.frame(slot))

    def ready(self, slot: int = 0) -> Ready:
        message = self.message(slot)
        assert isinstance(message, Ready)
        return message

    def complaint(self, slot: int = 0) -> str:
        """What `receive` finds wrong with the worker, sooner or later."""
        while slot not in self.wrong:
            self.read(slot)
        return self.wrong[slot]

    def ending(self, slot: int = 0) -> Ending:
        assert readable(self.workers[slot].pidfd), f"worker {slot} does not end"
        frames, _ = self.workers.receive(slot, to_the_end=True)
        self.frames.setdefault(slot, []).extend(frames)
        ending = self.workers.reap(slot)
        assert ending is not None
        return ending

    def give(self, content: bytes, *variants: Variant, slot: int = 0, job: int = 1, **options: Any) -> None:
        """One job, as the daemon gives it."""
        work = Work(
            job=job,
            variants=variants or (THUMBNAIL,),
            limits=LimitSettings(),
            has_holes=options.get("has_holes", False),
            tolerant=options.get("tolerant", False),
            svg=options.get("svg", False),
        )
        descriptor = sealed(content)
        try:
            assert self.workers.send(slot, work.body(), [descriptor])
        finally:
            os.close(descriptor)

    def outcome(
        self, content: bytes, *variants: Variant, slot: int = 0, job: int = 1, **options: Any
    ) -> tuple[Ended, list[bytes]]:
        """A whole attempt, with everything granted: what it came to, and the pictures."""
        wanted = variants or (THUMBNAIL,)
        self.give(content, *wanted, slot=slot, job=job, **options)
        message = self.message(slot)
        if isinstance(message, Identified):
            assert self.workers.send(slot, grant(job, [variant.name for variant in wanted]))
        else:
            assert isinstance(message, Ended)
            return message, []
        frame = self.frame(slot)
        ended = parse_from_worker(frame)
        assert isinstance(ended, Ended)
        return ended, [taken(descriptor) for descriptor in frame.descriptors]

    def close(self) -> None:
        for frames in self.frames.values():
            for frame in frames:
                for descriptor in frame.descriptors:
                    os.close(descriptor)
        self.workers.close()


@contextmanager
def bench(**options: Any) -> Iterator[Bench]:
    """The real worker, or that of `module`; nothing of it is left afterwards."""
    one = Bench(Workers(**options))
    try:
        yield one
    finally:
        one.close()


def misbehaving(how: str) -> Mapping[str, Any]:
    """The options of workers that misbehave in one way."""
    return {"module": "tests.pool.misbehaving", "environment": {"PYTHONPATH": str(REPOSITORY), "MISBEHAVIOUR": how}}


def sealed(content: bytes) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    seal(descriptor)
    return descriptor


def taken(descriptor: int) -> bytes:
    """The bytes behind a descriptor, which is closed."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


def readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(WITHIN_S * 1000))
