"""Mount points below a root: another disk's place within the tree, and whether that disk is there.

Responsible for: what one scan knows of them: which folders they are, and that nothing in or below one whose disk is
away counts as missing. Not responsible for: the walk (`walk.py`), what the loop does about their sources
(`daemon/roots/mountpoints.py`), the root's own place (`sighting.py` and its callers).

An unmounted disk leaves an empty folder behind, one with files of its own, or none at all (udisks removes it). Such a
folder is like one that cannot be read. So is one at which another disk is mounted, where nothing that is known lies.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from watcherd.watch import mounts
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Known, known_files, sight


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSeen:
    """A folder at which something is mounted, or was. `is_there`: it is what was mounted there before, or nothing was.

    `identity`: of what is mounted now; where that is nothing, of what was.
    """

    root: int
    directory: bytes
    identity: str
    is_there: bool


def point_of(path: bytes, points: Iterable[bytes]) -> bytes | None:
    """The mount point among some that a path below the root is or lies below: the longest."""
    above = [point for point in points if path == point or path.startswith(point + b"/")]
    return max(above, key=len, default=None)


def is_anything_known(ledger: Known, root: int, directory: bytes) -> bool:
    """Whether a source in or below a folder is known; one that left it counts until it is forgotten."""
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        if ledger.entries(root, current, limit=1):
            return True
        waiting += ledger.directories_below(root, current)
    return False


class MountPoints:
    """Those of a root at `path`, for one scan. `known`: of each that is remembered the identity of what was there.

    `identity` is the root's own: what lay at a mount point before anything was mounted there lay on that.
    """

    def __init__(self, root: int, path: bytes, known: Mapping[bytes, str], identity: str = "") -> None:
        self._root, self._path, self._known, self._identity = root, path, known, identity
        self._mounted = mounts.mounts_below(path, mounts.table())

    def is_away(self, path: bytes) -> bool:
        """Whether a path that is not there may be on a disk that is not mounted now."""
        point = point_of(path, self._known)
        return point is not None and point not in mounts.mounts_below(self._path, mounts.table())

    def enter(self, directory: bytes, descriptor: int, ledger: Known, post: Callable[[PointSeen], None]) -> None:
        """Have a look at a folder that is about to be read; most are no mount points.

        Raises OSError: ENOMEDIUM where the disk is away on which known sources of that folder lie.
        """
        if directory not in self._known and directory not in self._mounted:
            return
        known = self._known.get(directory, self._identity)
        if not self._is_mounted(directory, descriptor):
            if not is_anything_known(ledger, self._root, directory):
                return
            if directory in self._known:  # an earlier report may be heard of only after the unmount: this puts it right
                post(PointSeen(root=self._root, directory=directory, identity=known, is_there=False))
            raise _no_medium()
        seen = sight(descriptor, known, lambda: known_files(ledger, self._root, directory))
        is_there = seen.verdict is Verdict.ROOT
        post(PointSeen(root=self._root, directory=directory, identity=seen.identity, is_there=is_there))
        if not is_there:
            raise _no_medium()

    def _is_mounted(self, directory: bytes, descriptor: int) -> bool:
        """By the mount that the open folder lies on: right also while something is being mounted or unmounted."""
        number = mounts.mount_number(descriptor)
        found = mounts.mounts_below(self._path, mounts.table()).get(directory)
        return found is not None and found.number == number


def _no_medium() -> OSError:
    return OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM))
