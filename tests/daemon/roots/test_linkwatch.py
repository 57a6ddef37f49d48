"""Folders behind links are watched for as long as they are followed; what is not watched is for sweeps, and said."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.daemon.roots.test_vigil import Bench, PlayedObserver, PlayedRooms
from tests.daemon.world import World, scan_ended
from watcherd.daemon.effects import AskScanner
from watcherd.daemon.roots import linkwatch
from watcherd.model import State
from watcherd.watch.linking import identity_of
from watcherd.watch.modes import STAND_IN_S, Mode
from watcherd.watch.mountpoints import PointSeen
from watcherd.watch.mounts import Mount
from watcherd.watch.reports import Coverage, Felt, Manner, OfLink, WatchFailed, Watching, WatchTrouble


@dataclass
class LinkedRooms(PlayedRooms):
    """Rooms that make observers for links, too."""

    def __post_init__(self) -> None:
        self.of_links: dict[bytes, list[tuple[bytes, PlayedObserver]]] = {}

    def link_observer(self, link: bytes, target: bytes) -> PlayedObserver:
        observer = PlayedObserver()
        self.of_links.setdefault(link, []).append((target, observer))
        return observer


class LinkBench(Bench):
    """A vigil over a root that follows links, and is watched itself."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.rooms: LinkedRooms = LinkedRooms()
        self.vigil.rooms = self.vigil.links.rooms = {world.root: self.rooms}  # type: ignore[dict-item]
        self.begin(follow_symlinks=True).watching().tell(Felt(root=self.root))

    def follow(self, **links: bytes) -> "LinkBench":
        for link, target in links.items():
            identity = identity_of(target, "uuid=5")
            self.world.report(PointSeen(root=self.root, directory=link.encode(), identity=identity, is_there=True))
            self.world.settle_down()
        self.scanned()
        return self

    def leave(self, link: bytes) -> None:
        self.world.report(PointSeen(root=self.root, directory=link, identity="", is_there=True))
        self.world.settle_down()
        self.scanned()

    def say(self, link: bytes, said: Any) -> "LinkBench":
        self.tell(OfLink(root=self.root, link=link, said=said))
        return self

    def watch_link(self, link: bytes, refused: int = 0) -> "LinkBench":
        self.say(link, Coverage(root=self.root, watches=2, refused=refused))
        return self.say(link, Watching(root=self.root))

    def alive(self) -> dict[bytes, bytes]:
        """Of each link that is watched, the folder."""
        made = {link: pairs[-1] for link, pairs in self.rooms.of_links.items()}
        return {link: target for link, (target, observer) in made.items() if observer.alive}


@pytest.fixture
def bench(world: World, monkeypatch: pytest.MonkeyPatch) -> LinkBench:
    monkeypatch.setattr(linkwatch.mounts, "table", lambda: TABLE)
    return LinkBench(world)


def at(point: bytes, kind: bytes) -> Mount:
    return Mount(number=len(point), device=(7, 1), point=point, kind=kind, source=b"x", read_only=False)


TABLE = (at(b"/", b"ext4"), at(b"/net", b"nfs4"))


def test_a_followed_link_is_watched_and_the_root_is_native_again(bench: LinkBench) -> None:
    assert bench.mode is Mode.NATIVE
    bench.follow(album=b"/ext/album")
    assert (bench.alive(), bench.mode) == ({b"album": b"/ext/album"}, Mode.HYBRID)
    assert "links" in bench.world.core.modes.choice(bench.root).reason
    bench.take(AskScanner)
    bench.watch_link(b"album")
    assert bench.mode is Mode.NATIVE
    scans = [(scan.directory, scan.manner) for scan in bench.take(AskScanner)]
    assert scans == [(b"", Manner.QUICK_SWEEP)], "what came before it was watched"


def test_what_is_not_followed_any_more_is_not_watched(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album", other=b"/ext/other").watch_link(b"album").watch_link(b"other")
    bench.leave(b"album")
    assert (bench.alive(), bench.mode) == ({b"other": b"/ext/other"}, Mode.NATIVE)
    bench.world.core.conditions.points._set_away(bench.root, b"other")
    bench.scanned()
    assert (bench.alive(), bench.mode) == ({}, Mode.NATIVE)


def test_a_link_that_leads_elsewhere_is_watched_there(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album").watch_link(b"album")
    bench.follow(album=b"/ext/new")
    assert (bench.alive(), bench.mode) == ({b"album": b"/ext/new"}, Mode.HYBRID)
    assert not bench.rooms.of_links[b"album"][0][1].alive


@pytest.mark.parametrize("how", ["network", "short", "failed", "many"])
def test_sweeps_stand_in_for_what_is_not_watched(bench: LinkBench, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "many":
        monkeypatch.setattr(linkwatch, "MOST_WATCHED", 0)
    bench.follow(album=b"/net/album" if how == "network" else b"/ext/album")
    assert (bench.alive() == {}) is (how in {"network", "many"})
    if how == "short":
        bench.watch_link(b"album", refused=1)
    elif how == "failed":
        bench.say(b"album", WatchFailed(root=bench.root, why=WatchTrouble.INSTANCE_LIMIT, detail=""))
    assert bench.mode is Mode.HYBRID
    bench.take(AskScanner)
    bench.wait(STAND_IN_S + 1.0)
    assert Manner.QUICK_SWEEP in bench.sweeps()


def test_an_observer_that_has_ended_is_replaced_later_and_later(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album").watch_link(b"album")
    for wait_s in (10.0, 20.0):
        made = len(bench.rooms.of_links[b"album"])
        bench.rooms.of_links[b"album"][-1][1].alive = False
        bench.wait(wait_s - 1.0)
        assert (len(bench.rooms.of_links[b"album"]), bench.mode) == (made, Mode.HYBRID)
        bench.wait(linkwatch.FIRST_RESTART_S * 2 + 1.0)
        assert len(bench.rooms.of_links[b"album"]) == made + 1
        assert bench.alive() == {b"album": b"/ext/album"}


def test_nothing_is_watched_for_a_root_that_is_not(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album").watch_link(b"album")
    bench.vigil.unwatch(bench.root)
    assert bench.alive() == {}
    assert bench.say(b"album", Watching(root=bench.root)).alive() == {}


def test_a_root_that_follows_none_watches_none(bench: LinkBench) -> None:
    root = bench.world.core.roots[bench.root]
    bench.world.core.roots[bench.root] = replace(root, settings=replace(root.settings, follow_symlinks=False))
    bench.follow(album=b"/ext/album")
    assert (bench.alive(), bench.mode) == ({}, Mode.NATIVE)


def test_when_a_root_follows_none_any_more_none_is_watched_any_more(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album").watch_link(b"album")
    root = bench.world.core.roots[bench.root]
    bench.world.core.roots[bench.root] = replace(root, settings=replace(root.settings, follow_symlinks=False))
    bench.scanned()
    assert (bench.alive(), bench.mode) == ({}, Mode.NATIVE)


def test_with_the_daemon_all_observers_end(bench: LinkBench) -> None:
    bench.follow(album=b"/ext/album", other=b"/ext/other")
    bench.vigil.stop()
    assert bench.alive() == {}


def test_folders_behind_links_are_not_missed_among_the_root_s_watches(bench: LinkBench) -> None:
    ended = scan_ended(bench.root, directories=100, by_state={State.DONE: 0})
    bench.vigil.scanned(replace(ended, behind_links=90), bench.moment)
    bench.tell(Coverage(root=bench.root, watches=10, refused=0))
    assert not bench.vigil.watchers[bench.root].is_blind
    bench.vigil.scanned(ended, bench.moment)
    bench.tell(Coverage(root=bench.root, watches=10, refused=0))
    assert bench.vigil.watchers[bench.root].is_blind
