"""Giving a file its final name: only where nothing stands, or where what stands there is ours.

Responsible for: the judgement about what stands at a name, and the rename that obeys it.
Not responsible for: the file's content (`publish.py`), and for which names there should be (`naming.py`).
"""

import ctypes
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from watcherd.derivatives.standing import Standing, look
from watcherd.naming import Mark

_RENAME_NOREPLACE = 1
_NO_RENAMEAT2 = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # NFS and some FUSE file systems say EINVAL
_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A name in an open folder."""

    directory: int
    name: bytes


class Judgement(StrEnum):
    """What may happen at a derivative's name: put a file there, replace ours, take what stands as done, or nothing."""

    FREE = "free"
    STALE = "stale"
    RIGHT = "right"
    FOREIGN = "foreign"


def judge(standing: Standing | None, mark: Mark) -> Judgement:
    """Judge what stands at a name against the mark of what should stand there."""
    if standing is None:
        return Judgement.FREE
    if standing.mark is None:
        return Judgement.FOREIGN
    return Judgement.RIGHT if standing.mark == mark else Judgement.STALE


def bring(old: At, new: At, mark: Mark) -> Judgement:
    """Rename a whole file of ours, judging once more what stands at the new name; says what was found there.

    FREE and STALE: done. RIGHT and FOREIGN: nothing was done. A free name is taken without a look; one that is taken
    is judged, and tried again if it has become free; only where a stale derivative of ours is replaced, a few
    microseconds remain between the judgement and the rename.
    """
    for _ in range(_ROUNDS):
        if rename_to_free(old, new):
            return Judgement.FREE
        judgement = judge(look(new.directory, new.name), mark)
        match judgement:
            case Judgement.FREE:
                continue
            case Judgement.STALE:
                os.rename(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
                return judgement
            case Judgement.RIGHT | Judgement.FOREIGN:
                return judgement
            case _:
                assert_never(judgement)
    return Judgement.FOREIGN


def rename_to_free(old: At, new: At) -> bool:
    """Rename where nothing stands; False where something does. Raises OSError for everything else.

    In one call where the file system can; else by a second name and the removal of the first; else (no hard links
    either) by a look and a plain rename.
    """
    for way in (_at_once, _by_link, _by_look):
        done = way(old, new)
        if done is not None:
            return done
    return False


def sync_folder(directory: int) -> None:
    """Make the names in a folder durable. Some network file systems do not offer it: theirs are, or nothing helps."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _at_once(old: At, new: At) -> bool | None:
    if _renameat2 is None:
        return None
    if _renameat2(old.directory, old.name, new.directory, new.name, _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in _NO_RENAMEAT2:
        return None
    raise OSError(number, os.strerror(number))


def _by_link(old: At, new: At) -> bool | None:
    try:
        os.link(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        raise
    os.unlink(old.name, dir_fd=old.directory)
    return True


def _by_look(old: At, new: At) -> bool:
    try:
        os.stat(new.name, dir_fd=new.directory, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old.name, new.name, src_dir_fd=old.directory, dst_dir_fd=new.directory)
        return True
    return False


def _find_renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    """The C library's function (glibc 2.28, musl 1.2.6), or None."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int
    typed: Callable[[int, bytes, int, bytes, int], int] = function
    return typed


_renameat2 = _find_renameat2()
