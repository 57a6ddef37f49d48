"""Worker processes: starting, sending, receiving, ending. The shell around the fleet.

Responsible for: descriptors and system calls. Every socket read is bounded and never blocks; whatever a worker does
wrong is told to the fleet as `Broke`. Not responsible for: when a worker is started or ended (`fleet.py`).

A worker is `sys.executable -P -m watcherd.pool.worker` with the root folder as its working directory: without -P it
would import a `json.py` that lies in the current folder. Its standard error goes into a memfd, whose tail explains a
crash; libraries' chatter does not reach the daemon's log.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from watcherd.model import StopReason
from watcherd.pool.frames import Decoder, Frame, FrameError, encode

_READ_BYTES = 64 * 1024
_MAX_READS = 16
_ANCILLARY_BYTES = socket.CMSG_SPACE(64 * 4)
_STDERR_TAIL_BYTES = 2_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_NOT_FOR_WORKERS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "CREDENTIALS_DIRECTORY",
)


@dataclass(slots=True)
class Worker:
    """One process and our ends of what leads to it."""

    slot: int
    process: subprocess.Popen[bytes]
    pidfd: int
    connection: socket.socket
    stderr: int
    decoder: Decoder
    stop_reason: StopReason | None = None
    at_end: bool = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A worker's exit, in words. `how` is a signal's name or "exit N"; `stderr` is the tail of what it complained."""

    pid: int
    how: str
    stderr: str
    stop_reason: StopReason | None


class Workers:
    """All worker processes, by slot. One thread owns them, the one that starts them (PDEATHSIG follows threads)."""

    def __init__(self, *, memory_bytes: int = 0, module: str = "watcherd.pool.worker") -> None:
        self._memory_bytes = memory_bytes
        self._module = module
        self._workers: dict[int, Worker] = {}
        self._lost: list[Worker] = []

    def __getitem__(self, slot: int) -> Worker:
        return self._workers[slot]

    def __contains__(self, slot: int) -> bool:
        return slot in self._workers

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def spawn(self, slot: int) -> Worker:
        """Start a worker. Raises OSError where the system has no process or descriptor left."""
        ours, theirs = socket.socketpair()
        stderr = -1
        try:
            stderr = os.memfd_create("worker-stderr", os.MFD_CLOEXEC)
            process = subprocess.Popen(
                self._command(theirs.fileno()),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
            pidfd = os.pidfd_open(process.pid)
        except BaseException:
            ours.close()
            if stderr >= 0:
                os.close(stderr)
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        worker = Worker(slot, process, pidfd, ours, stderr, Decoder())
        self._workers[slot] = worker
        return worker

    def _command(self, descriptor: int) -> list[str]:
        arguments = [str(descriptor), str(os.getpid()), str(self._memory_bytes)]
        return [sys.executable, "-P", "-m", self._module, *arguments]

    def send(self, slot: int, body: Mapping[str, object], descriptors: Sequence[int] = ()) -> bool:
        """Send one message; False where the worker does not take it. The descriptors stay the caller's."""
        data = encode(body, len(descriptors))
        try:
            return socket.send_fds(self._workers[slot].connection, [data], list(descriptors)) == len(data)
        except OSError:
            return False

    def receive(self, slot: int) -> tuple[list[Frame], str | None]:
        """All whole messages that have come, and what is wrong with the worker, if anything is."""
        worker = self._workers[slot]
        frames: list[Frame] = []
        try:
            for _ in range(_MAX_READS):
                data, descriptors, flags, _ = socket.recv_fds(
                    worker.connection, _READ_BYTES, 64, socket.MSG_CMSG_CLOEXEC
                )
                worker.decoder.feed(data, descriptors)
                frames.extend(worker.decoder.frames())
                if flags & socket.MSG_CTRUNC:
                    return frames, "more descriptors than announced"
                if not data:
                    worker.at_end = True
                    return frames, None
        except BlockingIOError:
            return frames, None
        except OSError as error:
            return frames, str(error)
        except FrameError as error:
            return frames, str(error)
        return frames, None

    def dismiss(self, slot: int, reason: StopReason) -> None:
        """Let the worker read end-of-file, on which it leaves; what it still has to say can be read."""
        worker = self._workers[slot]
        worker.stop_reason = reason
        with contextlib.suppress(OSError):  # it may have gone already; its exit will be seen
            worker.connection.shutdown(socket.SHUT_WR)

    def kill(self, slot: int, reason: StopReason, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal. A process that is already gone is no error."""
        worker = self._workers[slot]
        worker.stop_reason = reason
        with contextlib.suppress(ProcessLookupError):  # likewise
            signal.pidfd_send_signal(worker.pidfd, number)

    def reap(self, slot: int) -> Ending | None:
        """Take note of an exit and let go of everything, or None while the worker lives."""
        worker = self._workers[slot]
        code = worker.process.poll()
        if code is None:
            return None
        del self._workers[slot]
        ending = Ending(pid=worker.pid, how=_how(code), stderr=_tail(worker.stderr), stop_reason=worker.stop_reason)
        _close(worker)
        return ending

    def abandon(self, slot: int) -> None:
        """Give up on a worker that does not die. It is reaped in passing if it ever does."""
        worker = self._workers.pop(slot)
        self._lost = [lost for lost in self._lost if lost.process.poll() is None]
        self._lost.append(worker)
        _close(worker)

    def rss_bytes(self, slot: int) -> int:
        """The worker's resident memory now; 0 where it is gone."""
        try:
            with open(f"/proc/{self._workers[slot].pid}/statm", encoding="ascii") as statm:
                return int(statm.read().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0


def _environment() -> dict[str, str]:
    """Ours, less what is the daemon's alone, and one libvips thread a worker: N workers are already N threads."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_WORKERS}
    return inherited | {"VIPS_CONCURRENCY": "1", "VIPS_WARNING": "0"}


def _how(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _STDERR_TAIL_BYTES, max(0, size - _STDERR_TAIL_BYTES)).decode(errors="replace")


def _close(worker: Worker) -> None:
    for descriptor in worker.decoder.abandon():
        os.close(descriptor)
    worker.connection.close()
    os.close(worker.pidfd)
    os.close(worker.stderr)
