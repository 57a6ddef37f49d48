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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from watcherd.model import StopReason
from watcherd.pool.environment import environment
from watcherd.pool.frames import MAX_DESCRIPTORS, MAX_TEXT, Decoder, Frame, FrameError, encode
from watcherd.pool.orders import EXIT_NO_THREAD, NO_THREAD, UNSEEN
from watcherd.settings import Sandbox

_READ_BYTES = 64 * 1024
_DESCRIPTORS_A_READ = MAX_DESCRIPTORS + 32  # so that who sends too many can be told how many
_MAX_READS = 16
_STDERR_TAIL_BYTES = 2_000
_CLOSE_S = 5.0
_STAT_BYTES = 1_024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Worker:
    """One process and our ends of what leads to it."""

    slot: int
    process: subprocess.Popen[bytes]
    pidfd: int
    connection: socket.socket
    stderr: int
    stat: int
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

    @property
    def last_words(self) -> str:
        """The last line of what it complained, as short as a message may be."""
        line = (self.stderr.strip().splitlines() or [""])[-1][:MAX_TEXT]
        return "".join(c if c.isprintable() else "?" for c in line)


class Workers:
    """All worker processes, by slot. One thread owns them, the one that starts them (PDEATHSIG follows threads).

    `memory_bytes` bounds the address space of those that are started from now on (0: not). `environment` goes on top of
    what workers inherit.
    """

    def __init__(
        self,
        *,
        memory_bytes: int = 0,
        sandbox: Sandbox = Sandbox.AUTO,
        module: str = "watcherd.pool.worker",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes
        self._sandbox = sandbox
        self._module = module
        self._environment = dict(environment or {})
        self._workers: dict[int, Worker] = {}
        self._lost: list[Worker] = []

    def __getitem__(self, slot: int) -> Worker:
        return self._workers[slot]

    def __contains__(self, slot: int) -> bool:
        return slot in self._workers

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def spawn(self, slot: int) -> Worker:
        """Start a worker. Raises OSError where the system has no process or descriptor left; nothing is left then."""
        self._reap_lost()
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                stderr = os.memfd_create("worker-stderr", os.MFD_CLOEXEC)
                undo.callback(os.close, stderr)
                process = self._start(theirs.fileno(), stderr)
            undo.callback(_end_now, process)
            pidfd = os.pidfd_open(process.pid)
            undo.callback(os.close, pidfd)
            stat = os.open(f"/proc/{process.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            undo.pop_all()
        ours.setblocking(False)
        worker = Worker(slot, process, pidfd, ours, stderr, stat, Decoder())
        self._workers[slot] = worker
        return worker

    def _start(self, descriptor: int, stderr: int) -> subprocess.Popen[bytes]:
        arguments = [str(descriptor), str(os.getpid()), str(self.memory_bytes), self._sandbox.value]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", self._module, *arguments],
            cwd="/",
            env=environment() | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(descriptor,),
            process_group=0,
        )

    def send(self, slot: int, body: Mapping[str, object], descriptors: Sequence[int] = ()) -> bool:
        """Send one message; False where the worker does not take it. The descriptors stay the caller's.

        A worker that has closed its end is about to exit, or else hangs: either will be seen, and says more of why than
        this call could. So it counts as sent.
        """
        data = encode(body, len(descriptors))
        try:
            return socket.send_fds(self._workers[slot].connection, [data], list(descriptors)) == len(data)
        except ConnectionError:
            return True
        except OSError:
            return False

    def receive(self, slot: int, *, to_the_end: bool = False) -> tuple[list[Frame], str | None]:
        """The whole messages that have come, and what is wrong with the worker, if anything is.

        One read nearly always brings all; what it leaves makes the socket readable again. `to_the_end`: leave nothing.
        """
        worker = self._workers[slot]
        frames: list[Frame] = []
        try:
            for _ in range(_MAX_READS):
                data, descriptors, flags, _ = socket.recv_fds(
                    worker.connection, _READ_BYTES, _DESCRIPTORS_A_READ, socket.MSG_CMSG_CLOEXEC
                )
                worker.decoder.feed(data, descriptors)
                frames.extend(worker.decoder.frames())
                if flags & socket.MSG_CTRUNC:
                    return frames, "more descriptors at once than anybody needs"
                if not data:
                    worker.at_end = True
                    return frames, None
                if frames and not to_the_end:
                    return frames, None
        except BlockingIOError:
            return frames, None
        except ConnectionError:  # it ended before it had read everything: its exit tells how
            worker.at_end = True
            return frames, None
        except OSError as error:
            return frames, str(error)
        except FrameError as error:
            return frames, str(error)
        return frames, None

    def dismiss(self, slot: int, reason: StopReason) -> None:
        """Let the worker read end-of-file, on which it leaves; what it still has to say can be read.

        A slot without a worker (it could not be started) is no error, neither here nor in `kill`.
        """
        worker = self._workers.get(slot)
        if worker is None:
            return
        worker.stop_reason = reason
        with contextlib.suppress(OSError):  # it may have gone already; its exit will be seen
            worker.connection.shutdown(socket.SHUT_WR)

    def kill(self, slot: int, reason: StopReason, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal. A process that is already gone is no error."""
        worker = self._workers.get(slot)
        if worker is None:
            return
        worker.stop_reason = reason
        with contextlib.suppress(ProcessLookupError):  # likewise
            signal.pidfd_send_signal(worker.pidfd, number)

    def reap(self, slot: int) -> Ending | None:
        """Take note of an exit and let go of everything, or None while the worker lives."""
        worker = self._workers[slot]
        stderr = _tail(worker.stderr)
        how = _end_of(worker, stderr)
        if how is None:
            return None
        del self._workers[slot]
        ending = Ending(pid=worker.pid, how=how, stderr=stderr, stop_reason=worker.stop_reason)
        _close(worker)
        return ending

    def abandon(self, slot: int) -> None:
        """Give up on a worker that does not die. It is reaped with the next start if it ever does."""
        worker = self._workers.pop(slot)
        self._lost.append(worker)
        self._reap_lost()
        _close(worker)

    def _reap_lost(self) -> None:
        self._lost = [lost for lost in self._lost if lost.process.poll() is None]

    def close(self, within_s: float = _CLOSE_S) -> None:
        """End all workers now, and let go of everything. Those that do not die within the time are left behind."""
        for worker in self:
            worker.process.kill()
        deadline = time.monotonic() + within_s
        for worker in self:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            self.abandon(worker.slot)

    def use(self, slot: int) -> tuple[int, float]:
        """The worker's resident memory now, and its CPU seconds so far (proc(5), stat); zeros where it is gone."""
        try:
            fields = os.pread(self._workers[slot].stat, _STAT_BYTES, 0).rpartition(b")")[2].split()
            return int(fields[21]) * _PAGE_BYTES, (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        except (OSError, IndexError, KeyError):
            return 0, 0.0

    def rss_bytes(self, slot: int) -> int:
        """The worker's resident memory now; 0 where it is gone."""
        return self.use(slot)[0]


def _end_now(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _end_of(worker: Worker, stderr: str) -> str | None:
    """How it ended; None while it lives."""
    if worker.process.returncode is not None:  # it was waited for already
        return _how(worker.process.returncode)
    try:
        seen = os.waitid(os.P_PIDFD, worker.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # somebody else in this program has waited for it
        worker.process.poll()
        return "failed" if stderr.strip() else UNSEEN
    if seen is None:
        return None
    worker.process.poll()
    return _how(seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status)


def _how(code: int) -> str:
    if code == EXIT_NO_THREAD:
        return NO_THREAD
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
    os.close(worker.stat)
