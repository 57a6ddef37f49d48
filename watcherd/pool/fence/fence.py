"""The fence around a worker: what a decoder that has been taken over, or has gone mad, cannot do.

Applied by the worker to itself before it takes its first job, and before it has a second thread. Each layer is
independent; one that the kernel does not have is named in the answer, so that the status can say so. What Landlock is
too young to deny is not called missing where seccomp denies it as well.

Not responsible for: deadlines (the daemon's), how the single layers work (`landlock.py`, `seccomp.py`).
"""

import contextlib
import ctypes
import os
import resource
import signal

from watcherd.pool.fence import landlock, seccomp
from watcherd.settings import MAX_VARIANTS, Sandbox

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

MAX_OUTPUT_BYTES = 1 << 30
MAX_JOB_CPU_S = 3_600
"""The daemon's deadlines are shorter; this one holds as well while the daemon itself stands still."""
OOM_SCORE = 500
"""A worker is ended for memory before the daemon is, and before most others: its job is tried again (proc(5))."""
MAX_DESCRIPTORS = 128 + MAX_VARIANTS
SANDBOX_LAYERS = ("no_new_privileges", "not_dumpable", "landlock", "seccomp")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the daemon's thread that started it ends; leave if it already has.

    Raises SystemExit where the parent is not the expected one any more.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def close_fence(memory_bytes: int, sandbox: Sandbox = Sandbox.AUTO) -> tuple[str, ...]:
    """Give up what a worker never needs. Returns the names of the layers that could not be had.

    `memory_bytes` bounds the address space (0: not bounded). Raises SystemExit where all layers are required.
    """
    missing = limit_resources(memory_bytes)
    missing += SANDBOX_LAYERS if sandbox is Sandbox.OFF else close_sandbox()
    if sandbox is Sandbox.REQUIRE and missing:
        names = ", ".join(missing)
        hint = 'another kernel, or [pool] sandbox = "auto", lets workers start without'
        raise SystemExit(f"the sandbox is required, but {names} cannot be had here; {hint}")
    return missing


def go_first() -> None:
    """Have the kernel end this process, and not the daemon, where memory runs out. Before the fence closes.

    Where /proc cannot be written to, it chooses by size.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "r+", encoding="ascii") as score:
        if int(score.read()) < OOM_SCORE:
            score.write(str(OOM_SCORE))


def give_way() -> None:
    """Have the kernel not push anybody aside for this process when it is woken, above all not the daemon that wakes it.

    Its share of the processors is the same. A choice that somebody made for the whole daemon stays.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def limit_cpu_time() -> None:
    """Bound the CPU time of the job that begins now, beyond what was used before. SIGXCPU ends what needs more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + MAX_JOB_CPU_S
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def limit_resources(memory_bytes: int) -> tuple[str, ...]:
    """Bounds on what a worker may take of the machine. Returns the names of those that could not be set."""
    limits = {
        "core": (resource.RLIMIT_CORE, 0),
        "descriptors": (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        "file_size": (resource.RLIMIT_FSIZE, MAX_OUTPUT_BYTES),
    }
    if memory_bytes:
        limits["memory"] = (resource.RLIMIT_AS, memory_bytes)
    return tuple(name for name, (which, most) in limits.items() if not _limit(which, most))


def close_sandbox() -> tuple[str, ...]:
    """Files, network, programs and other processes are out of reach from here on. Returns what is missing of that."""
    missing = [] if _prctl(_PR_SET_NO_NEW_PRIVS, 1) else ["no_new_privileges"]
    if not _prctl(_PR_SET_DUMPABLE, 0):
        missing.append("not_dumpable")
    lacking = landlock.close() if _is_alone() else (*landlock.close(), "landlock_threads")
    if not seccomp.close():
        return (*missing, *lacking, "seccomp")
    return (*missing, *(part for part in lacking if part == "landlock"))


def _is_alone() -> bool:
    """Whether this is the only thread; where that cannot be seen, it is not."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _limit(which: int, most: int) -> bool:
    _, hard = resource.getrlimit(which)
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(which, (bound, bound))
    except (OSError, ValueError):
        return False
    return True


def _prctl(option: int, value: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
