"""A root's files as the kernel shows them: the way from the root to a folder, stamps, what an error number means.

Responsible for: opening folders strictly below a root, without following a link anywhere; stamps and their comparison.
Not responsible for: whose files these are, and what is to be done with them (`reading.py`, `writing.py`).

Nothing is kept open between two requests: an open descriptor would keep its file system from being unmounted, and
would go on showing the old one after another was mounted over it. Only a twin's derivative is, from one request to the
next, which copies it.
"""

import ctypes
import errno
import functools
import os
import stat
import struct
from contextlib import ExitStack

from watcherd.model import Stamp
from watcherd.watch.foldertimes import Times
from watcherd.watch.mounts import mount_number

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPENAT2 = 437  # the same number on every architecture but Alpha
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_HOW = struct.pack("=QQQ", _FOLDER, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)

NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Nothing is at this path below the root: not there, or the way to it leads over a file or a link."""

NOT_PERMITTED = frozenset({errno.EACCES, errno.EPERM})
"""Concerns this file or folder."""

ENVIRONMENT = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEDIUM),
        *(errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT),
        *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    }
)
"""Concerns the file system, the way to its server, or this process; no file's fault."""


def open_root(path: bytes, inode: int | None, mount: int | None = None) -> int:
    """Open a root; the caller closes it. Another inode or mount found there (an unmounted disk) is ESTALE."""
    with ExitStack() as unless_right:
        descriptor = os.open(path, _FOLDER)
        unless_right.callback(os.close, descriptor)
        _require(descriptor, inode, mount)
        unless_right.pop_all()
    return descriptor


def open_folder(root: int, path: bytes) -> int:
    """Open a folder below an open root, following no link; the caller closes it. The empty path is the root."""
    components = _components(path)
    if has_openat2():
        try:
            return openat2_folder(root, path or b".")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # more than 4,095 bytes: step by step it can be reached
                raise
    return walk_to_folder(root, components)


def openat2_folder(root: int, path: bytes) -> int:
    """The way to a folder in one call, with the kernel's own promise to stay below (openat2(2), Linux 5.6)."""
    number = _syscall(_OPENAT2, root, path, _HOW, len(_HOW))
    if number < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(number)


def walk_to_folder(root: int, components: list[bytes]) -> int:
    """The same, one component after the other."""
    descriptor = os.open(b".", _FOLDER, dir_fd=root)
    for name in components:
        above = descriptor
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    return descriptor


@functools.cache
def has_openat2() -> bool:
    """Whether this kernel, and whatever filters our system calls, has openat2."""
    root = os.open(b"/", _FOLDER)
    try:
        os.close(openat2_folder(root, b"."))
    except OSError:
        return False
    finally:
        os.close(root)
    return True


def stamp_of(found: os.stat_result) -> Stamp:
    """The stamp in a stat."""
    return Stamp(
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
        nlink=found.st_nlink,
    )


def times_of(found: os.stat_result) -> Times:
    """What tells in a folder's stat that something in it has changed."""
    return Times(mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns, inode=found.st_ino, device=found.st_dev)


def is_regular(found: os.stat_result) -> bool:
    """Whether this is a plain file."""
    return stat.S_ISREG(found.st_mode)


def is_same_content(one: Stamp, other: Stamp, *, keeps_identity: bool) -> bool:
    """Whether nothing was written between two stamps. A new hard link is told by ctime alone, so it counts as written.

    Where the file system does not keep inode numbers and ctime, a second look may show others for the same file.
    """
    if (one.size_bytes, one.mtime_ns) != (other.size_bytes, other.mtime_ns):
        return False
    return not keeps_identity or (one.inode, one.ctime_ns) == (other.inode, other.ctime_ns)


def split(path: bytes) -> tuple[bytes, bytes]:
    """(folder, name) of a path below a root."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def _require(descriptor: int, inode: int | None, mount: int | None) -> None:
    if inode not in (None, os.fstat(descriptor).st_ino) or mount not in (None, mount_number(descriptor)):
        raise OSError(errno.ESTALE, "another folder stands where the root was")


def _components(path: bytes) -> list[bytes]:
    components = path.split(b"/") if path else []
    if any(name in (b"", b".", b"..") or b"\0" in name for name in components):
        raise OSError(errno.EINVAL, "no path below a root")
    return components


def _find_syscall() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    function.restype = ctypes.c_long
    return function


_syscall = _find_syscall()
