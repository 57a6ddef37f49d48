"""Mount points below a root, as the daemon handles them: what is on a disk that is not mounted is away, not gone.

Links that are followed to folders are handled as the same: what is behind one that leads nowhere is away.

Responsible for: which of a root's sources lie on such a disk, and saying that one went or came back. Not responsible
for: finding them (scans do, `watch/mountpoints.py`), the scan that each change of the mount table brings
(`conditions.py`).

The rest of the root is worked in as before. Of what lies below such a point nothing is believed missing, and nothing
new is taken in: a file there lies on the disk below, in the place of one that is known, maybe. Where nothing is known,
it is no such point any more: a disk that was tried out once must not leave a folder behind in which nothing is done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from watcherd.daemon.effects import WatchedRoot
from watcherd.ledger.ledger import Ledger
from watcherd.model import Source
from watcherd.settings import Hidden
from watcherd.telemetry.log import get_logger
from watcherd.watch.ignore import compile_globs, prunes
from watcherd.watch.ignorefiles import holders
from watcherd.watch.linking import target_of
from watcherd.watch.mountpoints import LinkLeft, PointSeen, is_anything_known, linked, mounts_seen, point_of
from watcherd.watch.mounts import Mount, is_same, mount_of

log = get_logger()


@dataclass(slots=True)
class MountPoints:
    """Those of all roots."""

    ledger: Ledger
    roots: Mapping[int, WatchedRoot]
    _mounted: dict[int, dict[bytes, Mount]] = field(default_factory=dict)
    _behind: dict[int, dict[bytes, Mount]] = field(default_factory=dict)
    _away: dict[int, set[bytes]] = field(default_factory=dict)
    _left: dict[int, dict[bytes, str]] = field(default_factory=dict)
    _led: dict[int, dict[bytes, bytes]] = field(default_factory=dict)

    def told(self, root: int, table: Iterable[Mount]) -> bool:
        """Take the mount table in; whether another mount than before is below a root, in a folder that counts there.

        What is mounted where a disk is away may be another one: it is away until a scan has seen that it is not.
        """
        known, led, table = self.ledger.mounts(root), self._led_in(root), tuple(table)
        now, before = mounts_seen(self.roots[root].path, led, table), self._mounted.get(root, {})
        behind, earlier = _behind(led, table), self._behind.get(root, {})
        self._mounted[root], self._behind[root] = now, behind
        for point in known.keys() - now.keys() - led.keys():
            self._unmounted(root, point)
        for point in self._away.get(root, set()) - known.keys() - now.keys():
            self._set_there(root, point)  # another disk had covered what is known there
        if any(not is_same(earlier.get(link, mount), mount) for link, mount in behind.items()):
            return True
        changed = [point for point in {**before, **now} if not is_same(before.get(point), now.get(point))]
        return any(self._counts(root, point) for point in changed)

    def seen(self, item: PointSeen) -> bool:
        """A scan came by; whether the disk is back that was away."""
        if not item.is_there:
            self._set_away(item.root, item.directory)
            return False
        led = self._led_in(item.root).get(item.directory)
        if led is not None and led != target_of(item.identity):  # what was behind it is not there any more
            self._forget_below(item.root, item.directory)
        if not item.identity:
            self._forget_point(item.root, item.directory)
            return False
        if self.ledger.mount(item.root, item.directory) != item.identity:
            self._set_mount(item.root, item.directory, item.identity)
        return self._set_there(item.root, item.directory)

    def left(self, item: LinkLeft) -> None:
        """A scan came by a link that is not followed, or one that was not is gone."""
        left = self._left.setdefault(item.root, {})
        if not item.why:
            left.pop(item.link, None)
        elif left.get(item.link) != item.why:
            left[item.link] = item.why
            log.warning("link.left", root=self.roots[item.root].path, link=item.link, reason=item.why)

    def links_left(self, root: int) -> list[tuple[bytes, str]]:
        """The links to folders that are not followed, in a root that follows links, and why."""
        return sorted(self._left.get(root, {}).items())

    def links_followed(self, root: int) -> dict[bytes, bytes]:
        """The links to folders that are followed in a root, and where they lead."""
        if not self.roots[root].settings.follow_symlinks:
            return {}
        away = self._away.get(root, set())
        return {link: target for link, target in self._led_in(root).items() if point_of(link, away) is None}

    def reserved(self, root: int) -> frozenset[bytes]:
        """What a root's links lead to, be it there or away; no other root has it. For any thread."""
        watched = self.roots.get(root)
        if watched is None or not watched.settings.follow_symlinks:
            return frozenset()
        return frozenset(self._led.get(root, {}).values())  # in one step: the loop's thread writes there

    def is_link(self, source: Source) -> bool:
        """Whether a path is that of a link to a folder which was followed."""
        return source.path in self._led_in(source.root)

    def _led_in(self, root: int) -> dict[bytes, bytes]:
        """The links of a root and where they led: as the ledger knew it, which is asked once, and as seen since."""
        if root not in self._led:
            self._led[root] = linked(self.ledger.mounts(root))
        return self._led[root]

    def is_away(self, source: Source) -> bool:
        """Whether a source is on a disk that is not there, or behind a link in a root that follows none any more."""
        away = self._away.get(source.root)
        if away and point_of(source.path, away) is not None:
            return True
        root, led = self.roots.get(source.root), self._led_in(source.root)
        return bool(led and root and not root.settings.follow_symlinks) and point_of(source.path, led) is not None

    def away(self, root: int) -> list[bytes]:
        """The folders of a root whose disks are not there."""
        return sorted(self._away.get(root, ()))

    def forget(self, root: int) -> None:
        """A root is not watched any more."""
        self._mounted.pop(root, None)
        self._behind.pop(root, None)
        self._away.pop(root, None)
        self._left.pop(root, None)
        self._led.pop(root, None)

    def _counts(self, root: int, point: bytes) -> bool:
        """Whether a folder is not ignored by the root's settings. Containers come and go in many that are."""
        settings = self.roots[root].settings
        globs, hidden = compile_globs(settings.ignore), settings.hidden is Hidden.INCLUDE
        return not any(prunes(folder, globs=globs, hidden=hidden) for folder in holders(point) if folder)

    def _unmounted(self, root: int, point: bytes) -> None:
        """A disk is away. Where nothing is known on it, its folder is one like any other."""
        if is_anything_known(self.ledger, root, point):
            self._set_away(root, point)
        else:
            self._forget_point(root, point)

    def _forget_below(self, root: int, directory: bytes) -> None:
        for point in self.ledger.mounts(root, below=directory):
            self._forget_point(root, point)

    def _forget_point(self, root: int, point: bytes) -> None:
        self._set_mount(root, point, None)
        self._away.get(root, set()).discard(point)

    def _set_mount(self, root: int, directory: bytes, identity: str | None) -> None:
        self.ledger.set_mount(root, directory, identity)
        led, target = self._led_in(root), target_of(identity or "")
        led.pop(directory, None)
        if target is not None:
            led[directory] = target
        self._behind.get(root, {}).pop(directory, None)

    def _set_away(self, root: int, point: bytes) -> None:
        away = self._away.setdefault(root, set())
        if point not in away:
            away.add(point)
            log.warning("mount.away", root=self.roots[root].path, directory=point)

    def _set_there(self, root: int, point: bytes) -> bool:
        was_away = point in self._away.get(root, ())
        if was_away:
            self._away[root].discard(point)
            log.info("mount.back", root=self.roots[root].path, directory=point)
        return was_away


def _behind(links: Mapping[bytes, bytes], table: Iterable[Mount]) -> dict[bytes, Mount]:
    """The mount that each link leads to."""
    table = tuple(table)
    found = ((link, mount_of(target, table)) for link, target in links.items())
    return {link: mount for link, mount in found if mount is not None}
