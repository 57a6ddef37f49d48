"""The fence around a worker: what a decoder that has been taken over, or has gone mad, cannot do.

Applied by the worker to itself before it takes its first job. Each layer is independent; one that the kernel does not
have is named in the answer, so that the status can say so. Numbers are those of the kernel's user-space headers.
"""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38

MAX_OUTPUT_BYTES = 1 << 30
MAX_DESCRIPTORS = 128


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the daemon's thread that started it ends; leave if it already has.

    Raises SystemExit where the parent is not the expected one any more.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def close_fence(memory_bytes: int) -> tuple[str, ...]:
    """Give up what a worker never needs. Returns the names of the layers that could not be had.

    `memory_bytes` bounds the address space (0: not bounded).
    """
    missing: list[str] = []
    if not _prctl(_PR_SET_NO_NEW_PRIVS, 1):
        missing.append("no_new_privileges")
    if not _prctl(_PR_SET_DUMPABLE, 0):
        missing.append("not_dumpable")
    limits = {
        "core": (resource.RLIMIT_CORE, 0),
        "descriptors": (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        "file_size": (resource.RLIMIT_FSIZE, MAX_OUTPUT_BYTES),
    }
    if memory_bytes:
        limits["memory"] = (resource.RLIMIT_AS, memory_bytes)
    missing += [name for name, (which, most) in limits.items() if not _limit(which, most)]
    return tuple(missing)


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
