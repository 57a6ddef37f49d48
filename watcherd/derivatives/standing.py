"""What stands at a name: the file behind it, and whether its mark says that it is ours.

Responsible for: opening a regular file without ever waiting for it or following a link, reading its two ends, and its
mark. Not responsible for: what follows from it (`publish.py`, `queue/plan.py`), and for the way to its folder, which
comes as an open descriptor.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from watcherd.derivatives.marks import WINDOW_BYTES, has_late_mark, is_whole, mark_in
from watcherd.naming import Mark

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_REOPEN = _READ & ~os.O_NOFOLLOW
_SWAPPED = {errno.ELOOP: "link", errno.ENXIO: "socket"}  # put there between the look and the open


class NotRegularError(Exception):
    """Something stands there that is no regular file. `kind` says what: "link", "folder", "fifo", "device", ..."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A file at a derivative's name. No `mark`: not provably ours, so foreign. Foreign may be anything, a link too."""

    mark: Mark | None
    size_bytes: int
    mtime_ns: int
    inode: int


def kind_of_mode(mode: int) -> str:
    """What a file's mode says that it is, in the words of `Ignored`."""
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFLNK: "link",
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "fifo",
        stat.S_IFSOCK: "socket",
    }
    return kinds.get(stat.S_IFMT(mode), "device")


def open_regular(directory: int, name: bytes) -> tuple[int, os.stat_result]:
    """Open a file for reading, and what it is; the caller closes it.

    Raises OSError, or NotRegularError for all but regular files.

    The look before the open spares what an open alone can do: wake the writer of a FIFO, rewind a tape. The look after
    it is the one that counts. The file's access time stays as it is wherever we may ask for that (owner, or root).
    """
    _require_regular(os.stat(name, dir_fd=directory, follow_symlinks=False))
    with ExitStack() as unless_right:
        descriptor = _open(directory, name, _READ)
        unless_right.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        _require_regular(found)
        unless_right.pop_all()
    return descriptor, found


def open_over_link(
    directory: int, name: bytes, require: Callable[[int, os.stat_result], None]
) -> tuple[int, os.stat_result]:
    """The same over a link, as only a source may be opened.

    `require` is given an O_PATH descriptor of what the link leads to, which opens nothing yet, and raises where that
    must not be opened. What is opened then is that very file, however the link is bent meanwhile (open(2), proc(5)).
    """
    handle = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    try:
        found = os.fstat(handle)
        _require_regular(found)
        require(handle, found)
        descriptor = _open(None, b"/proc/self/fd/%d" % handle, _REOPEN)
    finally:
        os.close(handle)
    return descriptor, os.fstat(descriptor)


def mark_of(descriptor: int, size_bytes: int, head: bytes | None = None) -> Mark | None:
    """The mark in an open file or memfd. One that was cut off is ours, but made of nothing: its digest is all zeros.

    `head`: its first 64 KiB, where somebody has read them already.
    """
    head = os.pread(descriptor, WINDOW_BYTES, 0) if head is None else head
    mark = mark_in(head)
    if mark is None and not has_late_mark(head):
        return None
    tail = b"" if size_bytes <= WINDOW_BYTES else os.pread(descriptor, WINDOW_BYTES, size_bytes - WINDOW_BYTES)
    mark = mark or mark_in(head, tail)
    return mark if mark is None or is_whole(head, tail or head, size_bytes) else replace(mark, digest=bytes(32))


def look(directory: int, name: bytes) -> Standing | None:
    """What stands at a name, or None where nothing does. Raises OSError for all but the file's own refusals."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    mark = None
    try:
        descriptor, found = open_regular(directory, name)
    except FileNotFoundError:
        return None
    except (NotRegularError, PermissionError):
        pass  # whatever it is, we cannot prove that we made it
    else:
        try:
            mark = mark_of(descriptor, found.st_size)
        finally:
            os.close(descriptor)
    return Standing(mark=mark, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def _open(directory: int | None, name: bytes, how: int) -> int:
    try:
        return os.open(name, how | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, how, dir_fd=directory)
    except OSError as error:
        if error.errno in _SWAPPED:
            raise NotRegularError(_SWAPPED[error.errno]) from error
        raise


def _require_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise NotRegularError(kind_of_mode(found.st_mode))
