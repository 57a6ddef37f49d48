"""Watching the folders behind a root's links: an observer for each, as inotify does not follow links by itself.

Responsible for: which of them are watched, replacing observers that have ended, how many are not watched (sweeps stand
in for these). Not responsible for: which links are followed (scans tell, `mountpoints.py` keeps it), the root's own
observer and its mode (`vigil.py`).

Each folder is reached by one link only, so each event has one path. An observer takes an inotify instance and four
threads, and there are 128 instances a user: of very many links only some are watched. On file systems where others may
write unseen nothing is gained by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskScanner, Effect
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.watch import mounts
from watcherd.watch.observing.observer import Observer
from watcherd.watch.reports import Coverage, Manner, OfLink, WatchFailed, Watching

MOST_WATCHED = 16
"""So many folders behind links are watched, of all roots together."""
FIRST_RESTART_S = 10.0
LONGEST_RESTART_S = 600.0


@dataclass(slots=True)
class _Watcher:
    observer: Observer
    target: bytes
    delay_s: float = FIRST_RESTART_S
    restart_at: float = 0.0
    is_watching: bool = False
    is_short: bool = False


@dataclass(slots=True)
class LinkWatch:
    """Keeps watch over the folders behind links, of all roots."""

    core: Core
    rooms: Mapping[int, RootRooms]
    _watchers: dict[tuple[int, bytes], _Watcher] = field(default_factory=dict)

    def look_after(self, root: int, now: float) -> None:
        """Watch what is behind a root's links now, and nothing else."""
        table = mounts.table()
        wanted = self.core.conditions.points.links_followed(root)
        for number, link in list(self._watchers):
            if number == root and self._watchers[number, link].target != wanted.get(link):
                self._watchers.pop((number, link)).observer.stop()
        for link, target in wanted.items():
            watcher = self._watchers.get((root, link))
            if watcher is not None:
                self._revive(root, link, watcher, now)
            elif len(self._watchers) < MOST_WATCHED and not _is_foreign(target, table):
                self._begin(root, link, _Watcher(self.rooms[root].link_observer(link, target), target))

    def told(self, item: OfLink, now: float) -> list[Effect]:
        """Take in what an observer says of itself. What happened before it watched is for a sweep.

        Of the root, as one of the folder alone would take in what `backfill` leaves out.
        """
        watcher = self._watchers.get((item.root, item.link))
        if watcher is None:
            return []
        match item.said:
            case Watching():
                watcher.is_watching = True
                return [AskScanner(root=item.root, directory=b"", manner=Manner.QUICK_SWEEP)]
            case WatchFailed():
                watcher.is_watching = False
                watcher.restart_at = now + watcher.delay_s
            case Coverage(refused=refused):
                watcher.is_short = refused > 0
        return []

    def unwatched(self, root: int) -> int:
        """How many links lead to a folder that is not watched, or not whole."""
        followed = self.core.conditions.points.links_followed(root)
        watchers = (self._watchers.get((root, link)) for link in followed)
        return sum(one is None or not one.is_watching or one.is_short for one in watchers)

    def drop(self, root: int) -> None:
        """A root is not watched any more."""
        for key in [key for key in self._watchers if key[0] == root]:
            self._watchers.pop(key).observer.stop()

    def stop(self) -> None:
        """End the observers, without waiting for a hung one."""
        for watcher in self._watchers.values():
            watcher.observer.stop()

    def _begin(self, root: int, link: bytes, watcher: _Watcher) -> None:
        self._watchers[root, link] = watcher
        watcher.observer.start()

    def _revive(self, root: int, link: bytes, watcher: _Watcher, now: float) -> None:
        """Replace an observer that has ended, later and later."""
        if watcher.observer.is_alive():
            return
        watcher.is_watching = False
        if not watcher.restart_at:
            watcher.restart_at = now + watcher.delay_s
        if now >= watcher.restart_at:
            watcher.observer.stop()
            observer = self.rooms[root].link_observer(link, watcher.target)
            delay_s = min(watcher.delay_s * 2, LONGEST_RESTART_S)
            self._begin(root, link, _Watcher(observer, watcher.target, delay_s))


def _is_foreign(target: bytes, table: tuple[mounts.Mount, ...]) -> bool:
    mount = mounts.mount_of(target, table)
    return mount is not None and mounts.is_network(mount.kind)
