"""Copying a derivative from one file to another, on the disk itself where the file system can.

Responsible for: the ways there are, the cheapest first: sharing the blocks (btrfs, XFS, bcachefs and others), a copy
within the file system, a copy through this machine's memory.
Not responsible for: which files these are, and what they say (`publish.py`, `watch/hands/relocating.py`).

Shared blocks are copied by the file system as soon as one of the two files is written to, so neither can ever change
the other.
"""

import errno
import fcntl
import os
from collections.abc import Callable

from watcherd.derivatives.memfds import CHUNK_BYTES, pour

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int); where that is another number, the call is refused
_CANNOT = frozenset(
    {
        *(errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EXDEV),
        *(errno.EPERM, errno.EACCES, errno.ETXTBSY, errno.EBADF),  # a filter of system calls, a security module, swap
    }
)
"""By these a file system (or a filter of system calls) says that this way is closed; the next one will tell more."""


def copy(source: int, target: int, size_bytes: int, *, step: Callable[[], object]) -> int:
    """Copy a file of `size_bytes` to an empty one, both open, with nothing yet read or written; how many there were.

    `target` may end up longer where the source has become so meanwhile. `step` is called before each call that may
    take long. Raises OSError as the system does.
    """
    step()
    if _share(source, target):
        return os.fstat(target).st_size
    done = _within(source, target, size_bytes, step)
    return done + pour(source, target, size_bytes, step=step, start=done)


def _share(source: int, target: int) -> bool:
    """Have both files share their blocks (ioctl_ficlone(2)); False where these two cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    return True


def _within(source: int, target: int, size_bytes: int, step: Callable[[], object]) -> int:
    """Copy by copy_file_range(2) as far as that goes: some file systems stop before the end and do not say why."""
    done = 0
    while done < size_bytes:
        step()
        try:
            count = os.copy_file_range(source, target, min(CHUNK_BYTES, size_bytes - done), done, done)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            break
        if count == 0:
            break
        done += count
    os.lseek(target, done, os.SEEK_SET)
    return done
