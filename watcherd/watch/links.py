"""The way through symbolic links: as far as a root follows them, and no step further.

Responsible for: opening folders below a root over followed links, and telling a link that leads nowhere from nothing.
Not responsible for: which links are followed (`linking.py`), finding them (`scanning/linkwalk.py`).

A link is followed only to the very folder that a scan has seen and allowed; whoever bends it meanwhile gets `SEVERED`.
That is not the same as nothing: a link that stands, but leads nowhere, or elsewhere, is no deletion of what was behind
it. It may be a disk that is not mounted.
"""

import errno
import os
import stat
from contextlib import ExitStack

from watcherd.watch import files
from watcherd.watch.linking import Links, Target

SEVERED = errno.ENOLINK
"""A link stands there, but what is behind it is away, or was not seen yet."""

DANGLING, LINKED_FOLDER = "dangling_link", "linked_folder"
"""What is `Ignored` in a root that follows links: one that leads nowhere now; one to a folder, which scans enter."""

_OVER_A_LINK = frozenset({errno.ELOOP, errno.ENOTDIR})
_OF_THIS_SIDE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_CUT_OFF = files.ENVIRONMENT - _OF_THIS_SIDE - {errno.ENOMEDIUM}
_NO_FOLLOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLLOW = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def open_folder(root: int, path: bytes, links: Links) -> int:
    """Open a folder below an open root; the caller closes it. Raises OSError.

    Where no link is on the way this is the same one call as in a root that follows none.
    """
    try:
        return files.open_folder(root, path)
    except OSError as error:
        if not links.follows or error.errno not in _OVER_A_LINK:
            raise
    return _walk(root, path.split(b"/"), links)


def open_beside(root: int, path: bytes, links: Links) -> int:
    """The same for a folder of ours, which is never a link itself: only on the way to it one is followed."""
    if not links.follows:
        return files.open_folder(root, path)
    above, name = files.split(path)
    descriptor = open_folder(root, above, links)
    try:
        return os.open(name, _NO_FOLLOW, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def led_to(link: bytes) -> Target:
    """The folder that an absolute path leads to. Raises OSError: ELOOP where that takes more than 40 links (Linux).

    The kernel goes the way, and tells path and place of what it has opened: nobody can bend a folder in between.
    """
    descriptor = os.open(link, _LOOK)
    try:
        found, path = os.fstat(descriptor), _path_of(descriptor)
        again = os.stat(path, follow_symlinks=False)
    finally:
        os.close(descriptor)
    target = Target(path=path, device=found.st_dev, inode=found.st_ino)
    if not target.is_at(again.st_dev, again.st_ino):  # deleted, or in a mount that no path of ours leads to
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    return target


def is_at(descriptor: int, target: Target) -> bool:
    """Whether an open folder is what a link was seen to lead to: that very one, and still at its path. Raises OSError.

    By its inode alone one would be taken for it that was moved into another root, or that has got a used number.
    """
    found = os.fstat(descriptor)
    return target.is_at(found.st_dev, found.st_ino) and _path_of(descriptor) == target.path


def look_at(directory: int, name: bytes, links: Links) -> os.stat_result:
    """What a source's name stands for in an open folder. Raises OSError."""
    if not links.follows:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    try:
        return os.stat(name, dir_fd=directory)
    except OSError as error:
        raise severed_or(error, directory, name) from error


def is_link(directory: int, path: bytes) -> bool:
    """Whether a link is at a path below an open folder."""
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def severed_or(error: OSError, directory: int, name: bytes) -> OSError:
    """What an error means for a name that may be a link's: nothing is there, or the link leads nowhere now.

    Nowhere is also a disk or a server that is away. That the link can be looked at tells that it is not the link's own.
    """
    is_of_target = error.errno in files.NOT_THERE or error.errno in _CUT_OFF
    return _severed() if is_of_target and is_link(directory, name) else error


def cut_off_or(error: OSError, root: int, path: bytes, links: Links) -> OSError:
    """What an error at a path below an open root means: behind a link, a server that is away is not the root's."""
    if not links.follows or error.errno not in _CUT_OFF:
        return error
    ends = [at for at, byte in enumerate(path) if byte == ord("/")]
    return _severed() if any(is_link(root, path[:end]) for end in (*ends, len(path))) else error


def _walk(root: int, names: list[bytes], links: Links) -> int:
    descriptor = os.open(b".", _NO_FOLLOW, dir_fd=root)
    for number, name in enumerate(names):
        above = descriptor
        try:
            descriptor = _step(above, name, b"/".join(names[: number + 1]), links)
        finally:
            os.close(above)
    return descriptor


def _step(above: int, name: bytes, path: bytes, links: Links) -> int:
    try:
        return os.open(name, _NO_FOLLOW, dir_fd=above)
    except OSError as error:
        if error.errno not in _OVER_A_LINK or not is_link(above, name):
            raise
    if links.is_refused(path):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    target = links.target(path)
    if target is None:
        raise _severed()
    try:
        descriptor = os.open(name, _FOLLOW, dir_fd=above)
    except OSError as error:
        raise severed_or(error, above, name) from error
    with ExitStack() as unless_right:
        unless_right.callback(os.close, descriptor)
        if not is_at(descriptor, target):
            raise _severed()
        unless_right.pop_all()
    return descriptor


def _path_of(descriptor: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % descriptor)


def _severed() -> OSError:
    return OSError(SEVERED, os.strerror(SEVERED))
