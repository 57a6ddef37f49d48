"""Mount points below a root: another disk's place within the tree, and whether that disk is there. Followed links too.

Responsible for: what one scan knows of them: which folders they are, and that nothing in or below one whose disk is
away counts as missing. Not responsible for: the walk (`walk.py`), which links are followed (`linking.py`), what the
loop does about their sources (`daemon/roots/mountpoints.py`), the root's own place (`sighting.py` and its callers).

An unmounted disk leaves an empty folder behind, one with files of its own, or none at all (udisks removes it). Such a
folder is like one that cannot be read. So is one at which another disk is mounted, where nothing that is known lies.
A link that is followed to a folder is the same as a mount to all of this: what it leads to may lie on a disk that is
away. Only a link that leads elsewhere than before is believed at once: a person has made it anew.
"""

import errno
import os
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from watcherd.watch import mounts
from watcherd.watch.linking import NOT_FOLLOWED, Links, Target, identity_of, target_of
from watcherd.watch.links import is_at
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Known, Sight, known_files, sight


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSeen:
    """A folder at which something is mounted, or was. `is_there`: it is what was mounted there before, or nothing was.

    `identity`: of what is mounted now; where that is nothing, of what was. Empty: a link that was followed there is
    not any more.
    """

    root: int
    directory: bytes
    identity: str
    is_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLeft:
    """A link to a folder that is not followed, in a root that follows links, and why. No `why`: it is gone."""

    root: int
    link: bytes
    why: str


def point_of(path: bytes, points: Container[bytes]) -> bytes | None:
    """The mount point among some that a path below the root is or lies below: the longest."""
    while path:
        if path in points:
            return path
        path = path.rpartition(b"/")[0]
    return None


def is_anything_known(ledger: Known, root: int, directory: bytes) -> bool:
    """Whether a source in or below a folder is known; one that left it counts until it is forgotten."""
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        if ledger.entries(root, current, limit=1):
            return True
        waiting += ledger.directories_below(root, current)
    return False


def mounts_seen(path: bytes, links: Mapping[bytes, bytes], table: Iterable[mounts.Mount]) -> dict[bytes, mounts.Mount]:
    """What is mounted below a root, or below a folder that a link leads to (`links`), by the path through the root."""
    table = tuple(table)
    found = mounts.mounts_below(path, table)
    for link, target in links.items():
        found |= mounts_behind(link, target, table)
    return found


def mounts_behind(link: bytes, target: bytes, table: Iterable[mounts.Mount]) -> dict[bytes, mounts.Mount]:
    """What is mounted below a folder that a link leads to, by the path over the link."""
    return {link + b"/" + below: mount for below, mount in mounts.mounts_below(target, table).items()}


def linked(known: Mapping[bytes, str]) -> dict[bytes, bytes]:
    """Of what is remembered, the links and where they led."""
    targets = ((point, target_of(identity)) for point, identity in known.items())
    return {point: target for point, target in targets if target is not None}


class MountPoints:
    """Those of a root at `path`, for one scan. `known`: of each that is remembered the identity of what was there.

    `identity` is the root's own: what lay at a mount point before anything was mounted there lay on that. `links` are
    those of the root.
    """

    def __init__(
        self, root: int, path: bytes, known: Mapping[bytes, str], identity: str = "", links: Links = NOT_FOLLOWED
    ) -> None:
        self._root, self._path, self._known, self._identity = root, path, dict(known), identity
        self._links, self._led = links, linked(known)
        self._mounted = self._mounted_now()

    def _mounted_now(self) -> dict[bytes, mounts.Mount]:
        return mounts_seen(self._path, {**self._led, **self._links.followed()}, mounts.table())

    def is_away(self, path: bytes) -> bool:
        """Whether a path that is not there may be on a disk that is not mounted now, or behind a link that is cut."""
        point = point_of(path, self._known)
        if point is None:
            return False
        if point in self._led:
            return not self._links.is_refused(point) and os.path.islink(self._path.rstrip(b"/") + b"/" + point)
        return point not in self._mounted_now()

    def enter(self, directory: bytes, descriptor: int, ledger: Known, post: Callable[[PointSeen], None]) -> None:
        """Have a look at a folder that is about to be read; most are no mount points.

        Raises OSError: ENOMEDIUM where the disk is away on which known sources of that folder lie.
        """
        if directory in self._led and not self._links.follows:
            self._is_folder_now(directory, post)
        if directory in self._led or (directory not in self._known and directory not in self._mounted):
            return
        known = self._known.get(directory, self._identity)
        if not self._is_mounted(directory, descriptor):
            if not is_anything_known(ledger, self._root, directory):
                return
            if directory in self._known:  # an earlier report may be heard of only after the unmount: this puts it right
                post(PointSeen(root=self._root, directory=directory, identity=known, is_there=False))
            raise _no_medium()
        seen = self._sight(directory, descriptor, known, ledger)
        is_there = seen.verdict is Verdict.ROOT
        post(PointSeen(root=self._root, directory=directory, identity=seen.identity, is_there=is_there))
        if not is_there:
            raise _no_medium()

    def enter_link(
        self, directory: bytes, target: Target, descriptor: int, ledger: Known, post: Callable[[PointSeen], None]
    ) -> None:
        """The same for a folder that a link leads to. From then on all others may follow it there."""
        if not is_at(descriptor, target):  # it was bent between two calls: the next scan will see
            raise _no_medium()
        is_anew = self._led.get(directory, target.path) != target.path
        known = "" if is_anew else self._known.get(directory, "")
        seen = self._sight(directory, descriptor, known, ledger)
        is_there = is_anew or seen.verdict is Verdict.ROOT
        identity = identity_of(target.path, seen.identity) if is_there else known
        post(PointSeen(root=self._root, directory=directory, identity=identity, is_there=is_there))
        if not is_there:
            self._links.set(directory, None)
            raise _no_medium()
        if self._links.set(directory, target):
            self._mounted |= mounts_behind(directory, target.path, mounts.table())

    def _is_folder_now(self, directory: bytes, post: Callable[[PointSeen], None]) -> None:
        """A folder stands where a link was followed once: where none is, only this tells that the link is gone."""
        post(PointSeen(root=self._root, directory=directory, identity="", is_there=True))
        for point in [point for point in self._known if point_of(point, {directory}) is not None]:
            del self._known[point]
            self._led.pop(point, None)
        self._mounted = self._mounted_now()

    def _sight(self, directory: bytes, descriptor: int, known: str, ledger: Known) -> Sight:
        sample = partial(known_files, ledger, self._root, directory)
        return sight(descriptor, known, sample, follows=self._links.follows)

    def _is_mounted(self, directory: bytes, descriptor: int) -> bool:
        """By the mount that the open folder lies on: right also while something is being mounted or unmounted."""
        number = mounts.mount_number(descriptor)
        found = self._mounted_now().get(directory)
        return found is not None and found.number == number


def _no_medium() -> OSError:
    return OSError(errno.ENOMEDIUM, os.strerror(errno.ENOMEDIUM))
