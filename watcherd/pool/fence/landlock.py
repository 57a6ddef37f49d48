"""Landlock: a worker gives up the file system, TCP, and everything outside of it that it could signal or connect to.

Responsible for: one ruleset without a single exception. Not responsible for: what Landlock does not know (other
sockets, programs, attributes of files): `seccomp.py`.

Numbers and structures are those of the kernel's linux/landlock.h; what each ABI brought: landlock(7). It holds for the
calling thread and those that it starts later, so it is closed while there is one thread.
"""

import ctypes
import os

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same number on every machine
_CREATE_RULESET_VERSION = 1
_PARTS = {"landlock_truncate": 3, "landlock_network": 4, "landlock_ioctl": 5, "landlock_scope": 6}
"""What younger ABIs added, and the first that has it."""


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr. Older kernels take a shorter one; all that they do not know is zero then."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64))


def close() -> tuple[str, ...]:
    """Deny everything that this kernel's Landlock can deny, for good. Returns the names of what it cannot.

    Wants no_new_privs to be set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    if abi < 1:
        return ("landlock",)
    rules, size = _everything(abi)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return ("landlock",)
    try:
        if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
            return ("landlock",)
    finally:
        os.close(ruleset)
    return tuple(part for part, since in _PARTS.items() if abi < since)


def _everything(abi: int) -> tuple[_Ruleset, int]:
    """The ruleset that denies all that an ABI knows, and how many bytes of it the kernel wants."""
    kinds_of_access = 13 + sum(abi >= since for since in (2, 3, 5))  # refer, truncate, ioctl of devices
    network = 0b11 if abi >= 4 else 0  # bind and connect, TCP
    scope = 0b11 if abi >= 6 else 0  # abstract sockets, signals
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    return _Ruleset((1 << kinds_of_access) - 1, network, scope), size
