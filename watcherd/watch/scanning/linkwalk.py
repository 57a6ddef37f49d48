"""The symbolic links that a scan comes by: where they lead, and which of those to folders it enters.

Responsible for: looking, having it decided (`linking.py`), and telling of those that are left and those that are gone.
Not responsible for: links to files, which are listed as files (`listing.py`), and whether what a link leads to is what
it was (`mountpoints.py`, which lets the hands follow it then).

A link that was followed before keeps what it leads to against one that came later: the owner of the derivatives there
must not change with a name. Among new ones the first in the order of names has it.
"""

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Mapping

from watcherd.watch import mounts
from watcherd.watch.linking import Held, Links, Refusal, Target, refusal
from watcherd.watch.links import led_to
from watcherd.watch.mountpoints import LinkLeft, PointSeen, linked, point_of
from watcherd.watch.scanning.listing import Listing


class LinkWalk:
    """The links to folders of one scan of a root at `path`, which is open. Raises OSError.

    `known`: what the ledger has of mounts and of links.
    """

    def __init__(
        self,
        root: int,
        path: bytes,
        descriptor: int,
        links: Links,
        *,
        known: Mapping[bytes, str],
        post: Callable[[object], None],
    ) -> None:
        self._root, self._path, self._links, self._post = root, path, links, post
        self._known, self._led = known, linked(known)
        self._others = tuple(links.others()) if links.follows else ()
        self._no_files = mounts.of_the_kernel(mounts.table()) if links.follows else frozenset()
        found = os.fstat(descriptor)
        self._place = Target(path=path, device=found.st_dev, inode=found.st_ino)
        self._held = Held({link: Target(path=target) for link, target in self._led.items()})
        for link, seen in links.seen.items():
            if isinstance(seen, Target):
                self._held.put(link, seen)
        self._entered: dict[bytes, Target] = {}
        self._of: defaultdict[bytes, set[bytes]] = defaultdict(set)
        for link in {*self._led, *links.seen}:
            self._of[link.rpartition(b"/")[0]].add(link)

    def target(self, directory: bytes) -> Target | None:
        """What this scan follows a link to; None: no link that it follows."""
        return self._entered.get(directory)

    def is_behind(self, directory: bytes) -> bool:
        """Whether this scan reaches a folder over a link."""
        return bool(self._entered) and point_of(directory, self._entered) is not None

    def is_let_be(self, directory: bytes) -> bool:
        """Whether a folder was reached over a link, and none is followed now: what was made there stays as it is."""
        return not self._links.follows and directory in self._led

    def below(self, directory: bytes, listing: Listing, is_pruned: Callable[[bytes], bool]) -> set[bytes]:
        """The links of a folder that are there and not refused, by path; those that are pruned are not looked at."""
        if not self._links.follows or not (listing.links or directory in self._of):
            return set()
        prefix = directory + b"/" if directory else b""
        paths = sorted(prefix + name for name in listing.links)
        there = {path for path in paths if is_pruned(path) or self.come_by(path)}
        for link in self._of.get(directory, set()).difference(paths):
            if link[len(prefix) :] in listing.dangling:
                self._cut(link)
            else:
                self._lost(link)
        return there

    def come_by(self, path: bytes) -> bool:
        """Look at a path that may be a link's. Whether it may be entered, or is no link to a folder at all."""
        absolute = self._path.rstrip(b"/") + b"/" + path
        if not os.path.islink(absolute):
            self._lost(path)
            return True
        target = _target(absolute)
        if target is None:
            (self._lost if os.path.exists(absolute) else self._cut)(path)
            return True
        why = self._why_not(path, target)
        if why is None:
            self._held.put(path, target)
            self._entered[path] = target
            if self._links.is_refused(path):
                self._links.set(path, None)
                self._post(LinkLeft(root=self._root, link=path, why=""))
            return True
        self._refuse(path, why)
        return False

    # -- one link

    def _why_not(self, path: bytes, target: Target) -> Refusal | None:
        why = self._refusal(path, target)
        while why is Refusal.REACHED:
            stale = [one for one in self._held.holders(path, target) if not self._leads_on(one)]
            if not stale:
                break
            for one in stale:
                self._held.drop(one)
            why = self._refusal(path, target)
        return why

    def _refusal(self, path: bytes, target: Target) -> Refusal | None:
        return refusal(path, target, root=self._place, others=self._others, held=self._held, no_files=self._no_files)

    def _leads_on(self, link: bytes) -> bool:
        """Whether a link still leads where it led, if that is there or not; one that does not gives way."""
        absolute, held = self._path.rstrip(b"/") + b"/" + link, self._held.get(link)
        return held is not None and os.path.islink(absolute) and _way_of(absolute) == held.path

    def _refuse(self, path: bytes, why: Refusal) -> None:
        self._held.drop(path)
        if self._links.set(path, why):
            self._post(LinkLeft(root=self._root, link=path, why=why))
        if path in self._led:
            self._post(PointSeen(root=self._root, directory=path, identity="", is_there=True))

    def _cut(self, path: bytes) -> None:
        """The link stands, and what it led to is away."""
        self._links.set(path, None)
        if path in self._led:
            self._post(PointSeen(root=self._root, directory=path, identity=self._known[path], is_there=False))

    def _lost(self, path: bytes) -> None:
        """There is no such link any more."""
        self._held.drop(path)
        if self._links.is_refused(path):
            self._post(LinkLeft(root=self._root, link=path, why=""))
        self._links.set(path, None)
        if path in self._led:
            self._post(PointSeen(root=self._root, directory=path, identity="", is_there=True))


def _target(link: bytes) -> Target | None:
    """The folder that a link leads to, None where it leads to none."""
    try:
        return led_to(link)
    except OSError:
        return None


def _way_of(link: bytes) -> bytes | None:
    """The path that a link leads to, if anything is there or not; None where it does not end."""
    try:
        return led_to(link).path
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
    try:
        return os.path.realpath(link)
    except RecursionError:  # Python 3.11 goes one call deeper with each link, as many as somebody likes to lay
        return None
