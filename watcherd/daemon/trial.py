"""A worker of one's own, to try what it can do: started, given contents one after the other, and let go of.

Not responsible for: supervising workers (`pool/fleet.py`); here one process waits for one worker, with a bound.
"""

import os
import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from watcherd.derivatives.memfds import seal
from watcherd.model import StopReason, Variant
from watcherd.pool.frames import Ended, FrameError, FromWorker, Identified, Ready, Work, grant, parse_from_worker
from watcherd.pool.processes import Workers
from watcherd.settings import LimitSettings, Sandbox

_SLOT = 0


class TrialError(Exception):
    """The worker did not do it. The message says how it ended, or what it did instead."""


class Trial:
    """A context manager that holds a worker, a fresh one after each that has ended."""

    def __init__(self, *, sandbox: Sandbox = Sandbox.AUTO, within_s: float = 30.0) -> None:
        self._workers = Workers(sandbox=sandbox)
        self._within_s = within_s
        self._jobs = 0
        self.bytes_out = 0
        """Size of all the pictures that were made and thrown away."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    def start(self) -> Ready:
        """Start the worker. Raises TrialError with its last words where it does not come up."""
        try:
            self._workers.spawn(_SLOT)
        except OSError as error:
            raise TrialError(f"no process can be started: {error.strerror}") from error
        said = self._said()
        if not isinstance(said, Ready):
            raise TrialError(f"it said {type(said).__name__.lower()} before it was ready")
        return said

    def attempt(self, content: bytes, variants: Sequence[Variant]) -> Ended:
        """Have all the variants of a content made, and the pictures thrown away. Raises TrialError."""
        if _SLOT not in self._workers:
            self.start()
        self._jobs += 1
        work = Work(
            job=self._jobs,
            variants=tuple(variants),
            limits=LimitSettings(),
            has_holes=False,
            tolerant=False,
            svg=True,
        )
        descriptor = os.memfd_create("sample", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(descriptor, content)
            seal(descriptor)
            self._workers.send(_SLOT, work.body(), [descriptor])
        finally:
            os.close(descriptor)
        said = self._said()
        if isinstance(said, Identified):
            self._workers.send(_SLOT, grant(self._jobs, [variant.name for variant in variants]))
            said = self._said()
        if not isinstance(said, Ended):
            raise TrialError(f"it said {type(said).__name__.lower()} out of turn")
        return said

    def _said(self) -> FromWorker:
        """The next message; the worker is ended where there is none."""
        deadline = time.monotonic() + self._within_s
        poll = select.poll()
        poll.register(self._workers[_SLOT].connection, select.POLLIN)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            frames, wrong = self._workers.receive(_SLOT)
            for frame in frames:
                for descriptor in frame.descriptors:
                    self.bytes_out += os.fstat(descriptor).st_size
                    os.close(descriptor)
            if wrong is not None or self._workers[_SLOT].at_end:
                raise TrialError(self._ended(wrong))
            if frames:
                try:
                    return parse_from_worker(frames[0])
                except FrameError as error:
                    raise TrialError(self._ended(str(error))) from error
        raise TrialError(self._ended(f"it said nothing for {self._within_s:.0f} s"))

    def _ended(self, wrong: str | None) -> str:
        """End the worker, and say how it ended."""
        worker = self._workers[_SLOT]
        if wrong is not None:
            self._workers.kill(_SLOT, StopReason.HUNG)
        worker.process.wait()
        ending = self._workers.reap(_SLOT)
        if ending is None or wrong is not None:
            return wrong or "it ended"
        return f"its worker ended: {ending.how}{': ' + ending.last_words if ending.last_words else ''}"
