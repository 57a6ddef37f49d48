"""A scan of a root that follows links: what it finds behind them, which it leaves, and what it never takes for gone."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import mounted
from tests.watch.scanning.test_scanner import ROOT, WANTED, Bench, Scan
from watcherd.model import State
from watcherd.naming import Layout, Names
from watcherd.watch import foldertimes
from watcherd.watch.linking import Links, Refusal, identity_of
from watcherd.watch.links import led_to
from watcherd.watch.mountpoints import LinkLeft, MountPoints, PointSeen
from watcherd.watch.reports import Manner, ScanResult


class LinkBench(Bench):
    """A bench whose root follows links."""

    def __init__(self, folder: Path, most_files: int) -> None:
        super().__init__(folder, most_files)
        self.outside = folder / "outside"
        self.outside.mkdir()
        self.others: list[bytes] = []
        self.left: list[tuple[bytes, str]] = []
        self.anew()

    def anew(self) -> None:
        """As a daemon that was started again: of links it knows what the ledger knows."""
        self.links = Links(follows=True, others=lambda: self.others)
        self.wanted = WANTED._replace(links=self.links)

    def link(self, path: str, target: Path | str) -> Path:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return link

    def album(self, name: str = "album", *pictures: str) -> Path:
        folder = self.outside / name
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures or ("a.jpg",):
            (folder / picture).write_bytes(b"picture of " + picture.encode())
        return folder

    def rest_of_scan(self) -> Scan:
        """What is said of links is kept here."""
        reports, self.reports = self.reports, _Without(self.reports, self.left)  # type: ignore[assignment]
        try:
            return super().rest_of_scan()
        finally:
            self.reports = reports

    def seen(self, directory: bytes = b"", **fields: object) -> Scan:
        """A scan, and what the daemon does with what it says of places."""
        scan = self.scan(directory, **fields)
        for point in scan.points:
            if point.is_there:
                self.ledger.set_mount(ROOT, point.directory, point.identity or None)
        self.ledger.commit()
        return scan


class _Without:
    def __init__(self, reports: object, left: list[tuple[bytes, str]]) -> None:
        self._reports, self._left = reports, left

    def get(self, *, timeout: float) -> object:
        while isinstance(report := self._reports.get(timeout=timeout), LinkLeft):  # type: ignore[attr-defined]
            self._left.append((report.link, report.why))
        return report


@pytest.fixture(params=[200_000, 2], ids=["whole", "paged"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LinkBench]:
    with LinkBench(tmp_path, request.param) as bench:
        yield bench


def test_links_to_files_and_to_folders_are_what_they_lead_to(bench: LinkBench) -> None:
    (bench.outside / "album" / "deep").mkdir(parents=True)
    album = bench.album("album", "a.jpg", "deep/b.jpg")
    bench.link("album", album)
    bench.link("one.jpg", album / "a.jpg")
    bench.file("real.jpg")
    assert bench.seen().found == [b"album/a.jpg", b"album/deep/b.jpg", b"one.jpg", b"real.jpg"]


def test_a_root_that_follows_none_sees_none(bench: LinkBench) -> None:
    bench.wanted = WANTED
    bench.link("album", bench.album())
    bench.link("one.jpg", bench.outside / "album" / "a.jpg")
    assert bench.seen().found == []
    assert bench.left == []


def test_links_to_nothing_and_to_what_is_no_file_are_no_sources(bench: LinkBench) -> None:
    os.mkfifo(bench.outside / "fifo")
    for number, target in enumerate((bench.outside / "fifo", "/dev/null", "nothing", "4.jpg", "5.jpg", "3.jpg")):
        bench.link(f"{number}.jpg", target)
    scan = bench.seen()
    assert (scan.found, scan.ended.errors, scan.ended.result, bench.left) == ([], (), ScanResult.COMPLETE, [])


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/proc/sys/kernel"])
def test_links_to_where_the_kernel_shows_itself_are_left(bench: LinkBench, target: str) -> None:
    bench.link("kernel", target)
    assert bench.seen().found == []
    assert bench.left == [(b"kernel", Refusal.NO_FILES)]


def test_links_that_would_be_loops_or_second_ways_are_left_and_told_once(bench: LinkBench) -> None:
    album = bench.album()
    (album / "inner").mkdir()
    for name, target in {
        "1": album,
        "2": album,
        "3": album / "inner",
        "4": bench.outside,
        "here": ".",
        "up": bench.root.parent,
        "in/top": "..",
        "other": album.parent / "watched",
    }.items():
        bench.link(name, target)
    (bench.outside / "watched").mkdir()
    (album / "back").symlink_to(bench.root)
    (album / "inner" / "self").symlink_to(album)
    bench.others = [os.fsencode(bench.outside / "watched")]
    assert bench.seen().found == [b"1/a.jpg"]
    assert dict(bench.left) == {
        b"1/back": Refusal.INTO_ROOT,
        b"1/inner/self": Refusal.REACHED,
        b"2": Refusal.REACHED,
        b"3": Refusal.REACHED,
        b"4": Refusal.INTO_ANOTHER,
        b"here": Refusal.INTO_ROOT,
        b"up": Refusal.INTO_ROOT,
        b"in/top": Refusal.INTO_ROOT,
        b"other": Refusal.INTO_ANOTHER,
    }
    bench.left.clear()
    assert bench.seen().found == [b"1/a.jpg"]
    assert bench.left == []
    (bench.root / "2").unlink()
    bench.seen()
    assert bench.left == [(b"2", "")]


@pytest.mark.parametrize("is_anew", [True, False], ids=["after a start", "at once"])
def test_a_link_keeps_what_it_leads_to_until_it_goes(bench: LinkBench, *, is_anew: bool) -> None:
    second = bench.link("2", bench.album())
    bench.seen()
    bench.done(b"2/a.jpg")
    if is_anew:
        bench.anew()
    bench.link("1", bench.outside / "album")
    assert (bench.seen().changes, bench.left) == ([], [(b"1", Refusal.REACHED)])
    second.unlink()
    scan = bench.seen()
    bench.seen()
    assert (b"1/a.jpg" in bench.seen().found, scan.deleted) == (True, [b"2/a.jpg"])
    assert bench.left[-1] == (b"1", "")


def known_album(bench: LinkBench) -> Path:
    """A followed link with two pictures that are done, in a root that is not empty without it."""
    (bench.root / "empty").mkdir()
    album = bench.album("album", "a.jpg", "b.jpg")
    bench.link("album", album)
    bench.seen()
    for name in (b"album/a.jpg", b"album/b.jpg"):
        bench.done(name)
    bench.settle_listings(bench.seen())
    assert bench.seen().ended.by_state[State.DONE] == 2
    return album


AWAY = ((b"album", errno.ENOMEDIUM),)


@pytest.mark.parametrize("is_anew", [True, False], ids=["after a start", "at once"])
@pytest.mark.parametrize("directory", [b"", b"album"])
def test_what_is_behind_a_link_that_leads_nowhere_is_not_missing(
    bench: LinkBench, directory: bytes, *, is_anew: bool
) -> None:
    album = known_album(bench)
    album.rename(bench.outside / "elsewhere")
    if is_anew:
        bench.anew()
    scan = bench.seen(directory)
    assert (scan.changes, scan.ended.errors) == ([], AWAY)
    assert [(point.directory, point.is_there) for point in scan.points] == [(b"album", False)]
    (bench.outside / "elsewhere").rename(album)
    scan = bench.seen(directory)
    assert (scan.changes, scan.ended.errors, [point.is_there for point in scan.points]) == ([], (), [True])


def test_nor_is_it_where_the_disk_behind_the_link_is_not_mounted(bench: LinkBench) -> None:
    disk = bench.outside / "disk"
    disk.mkdir()
    (disk / "below.jpg").write_bytes(b"in the folder below")
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        bench.link("album", disk)
        bench.done(b"album/a.jpg")
        bench.seen()
        bench.seen()
    bench.anew()
    scan = bench.seen()
    assert (scan.changes, scan.ended.errors) == ([], AWAY)
    assert bench.links.target(b"album") is None, "the hands keep off"


def test_nor_is_it_where_a_disk_further_down_is_not_mounted(bench: LinkBench) -> None:
    disk = bench.album("album", "a.jpg") / "disk"
    disk.mkdir()
    bench.link("album", bench.outside / "album")
    bench.seen()
    with mounted(disk, "-t", "tmpfs", "tmpfs"):
        bench.done(b"album/disk/b.jpg")
        bench.seen()
    scan = bench.seen()
    assert (scan.deleted, scan.ended.errors) == ([], ((b"album/disk", errno.ENOMEDIUM),))


def test_a_link_that_leads_elsewhere_is_believed(bench: LinkBench) -> None:
    known_album(bench)
    other = bench.album("other", "a.jpg")
    (bench.root / "album").unlink()
    bench.link("album", other)
    scan = bench.seen()
    assert (scan.found, scan.deleted, scan.ended.errors) == ([b"album/a.jpg"], [b"album/b.jpg"], ())


def test_a_link_that_is_removed_takes_along_what_is_behind_it(bench: LinkBench) -> None:
    known_album(bench)
    (bench.root / "album").unlink()
    scan = bench.seen()
    assert scan.deleted == [b"album/a.jpg", b"album/b.jpg"]
    assert scan.points == [PointSeen(root=ROOT, directory=b"album", identity="", is_there=True)]
    assert bench.ledger.mounts(ROOT) == {}


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_link_in_whose_place_something_else_is_has_gone(bench: LinkBench, *, is_folder: bool) -> None:
    known_album(bench)
    (bench.root / "album").unlink()
    bench.file("album/b.jpg" if is_folder else "album")
    scan = bench.seen()
    assert scan.deleted == ([b"album/a.jpg"] if is_folder else [b"album/a.jpg", b"album/b.jpg"])
    assert bench.ledger.mounts(ROOT) == {}


def test_a_link_that_may_not_be_followed_any_more_has_gone(bench: LinkBench) -> None:
    album = known_album(bench)
    bench.others = [os.fsencode(album)]
    scan = bench.seen()
    assert (scan.deleted, scan.ended.errors) == ([b"album/a.jpg", b"album/b.jpg"], ())
    assert bench.left == [(b"album", Refusal.INTO_ANOTHER)]


def test_where_links_are_not_followed_any_more_all_behind_them_is_let_be(bench: LinkBench) -> None:
    known_album(bench)
    bench.wanted = WANTED
    scan = bench.seen()
    assert (scan.changes, scan.ended.errors, scan.points) == ([], (), [])


@pytest.mark.parametrize("directory", [b"", b"album"])
def test_a_folder_made_where_a_link_was_followed_once_is_one_like_any_other(bench: LinkBench, directory: bytes) -> None:
    known_album(bench)
    bench.wanted = WANTED
    (bench.root / "album").unlink()
    assert bench.seen().changes == [], "as long as nothing stands there"
    bench.file("album/b.jpg")
    bench.file("album/c.jpg")
    scan = bench.seen(directory)
    assert scan.points == [PointSeen(root=ROOT, directory=b"album", identity="", is_there=True)]
    assert (scan.found, scan.deleted) == ([b"album/b.jpg", b"album/c.jpg"], [b"album/a.jpg"])
    assert bench.ledger.mounts(ROOT) == {}
    scan = bench.seen(directory)
    assert (scan.points, scan.ended.errors) == ([], ())


def test_and_so_is_what_was_reached_over_links_behind_that_link(bench: LinkBench) -> None:
    album = known_album(bench)
    (album / "more").symlink_to(bench.album("other", "z.jpg"))
    bench.seen()
    assert set(bench.ledger.mounts(ROOT)) == {b"album", b"album/more"}
    bench.done(b"album/more/z.jpg")
    bench.wanted = WANTED
    (bench.root / "album").unlink()
    bench.file("album/more/y.jpg")
    scan = bench.seen()
    assert scan.points[0] == PointSeen(root=ROOT, directory=b"album", identity="", is_there=True)
    assert scan.found == [b"album/more/y.jpg"]


def test_a_link_to_a_file_is_kept_while_it_leads_nowhere_and_gone_when_it_is(bench: LinkBench) -> None:
    picture = bench.outside / "a.jpg"
    picture.write_bytes(b"picture")
    link = bench.link("a.jpg", picture)
    found = picture.stat()
    bench.file("z.jpg")
    bench.record(b"z.jpg")
    bench.record(b"a.jpg", stamp=(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_nlink))
    assert bench.seen().found == []
    picture.rename(bench.outside / "b.jpg")
    scan = bench.seen()
    bench.settle_listings(scan)
    assert (scan.found, scan.ended.errors) == ([], ())
    if bench.most_files > 2:  # of a large folder the hands say it
        assert scan.deleted == []
    link.unlink()
    assert bench.seen().deleted == [b"a.jpg"], "though nothing else has changed"


def test_a_link_of_a_derivative_s_name_is_not_the_derivative(bench: LinkBench) -> None:
    bench.done(b"a.jpg")
    assert bench.seen().found == []
    thumbnail = bench.root / "a.jpg.thumbnail.jpg"
    thumbnail.rename(bench.outside / "moved.jpg")
    thumbnail.symlink_to(bench.outside / "moved.jpg")
    assert bench.seen().found == [b"a.jpg"]


def test_quick_sweeps_look_where_links_lead(bench: LinkBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foldertimes, "RIPE_NS", -(10**18))
    album = known_album(bench)
    for folder in ("in", "plain"):
        bench.done(f"{folder}/one.jpg".encode())
    bench.link("in/link.jpg", album / "a.jpg")
    found = (album / "a.jpg").stat()
    stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_nlink)
    bench.record(b"in/link.jpg", stamp=stamp)
    assert bench.seen(manner=Manner.SWEEP).changes == []
    for name in ("album/a.jpg", "plain/one.jpg"):
        (bench.root / name).write_bytes(b"another picture, written in place")
    found_now = bench.seen(manner=Manner.QUICK_SWEEP).found
    assert found_now == [b"album/a.jpg", b"in/link.jpg"], "of others events tell, or full sweeps"


def test_a_link_that_is_renamed_hands_over_what_it_leads_to_at_once(bench: LinkBench) -> None:
    known_album(bench)
    (bench.root / "album").rename(bench.root / "a first name")
    scan = bench.seen()
    assert scan.found == [b"a first name/a.jpg", b"a first name/b.jpg"]
    assert (scan.deleted, bench.left) == ([b"album/a.jpg", b"album/b.jpg"], [])


@pytest.mark.parametrize("way", ["chain0", "missing/../chain0"])
@pytest.mark.parametrize("is_anew", [True, False], ids=["after a start", "at once"])
def test_a_link_over_more_links_than_the_kernel_goes_gives_way(bench: LinkBench, way: str, *, is_anew: bool) -> None:
    album = known_album(bench)
    for number in range(1_200):
        (bench.outside / f"chain{number}").symlink_to(f"chain{number + 1}")
    (bench.outside / "chain1200").symlink_to(album)
    (bench.root / "album").unlink()
    bench.link("album", bench.outside / way)
    bench.link("second", album)
    if is_anew:
        bench.anew()
    assert bench.seen().found == [b"second/a.jpg", b"second/b.jpg"]
    assert bench.left == []


def test_a_link_that_leads_over_a_bent_folder_is_judged_by_where_it_ends(bench: LinkBench) -> None:
    other = bench.album("watched/in")
    bench.others = [os.fsencode(other.parent)]
    (bench.outside / "way").symlink_to(other.parent)
    bench.link("album", bench.outside / "way" / "in")
    assert bench.seen().found == []
    assert bench.left == [(b"album", Refusal.INTO_ANOTHER)]


def test_a_folder_that_was_moved_since_it_was_judged_is_not_entered(bench: LinkBench) -> None:
    album = bench.album()
    bench.link("album", album)
    judged = led_to(os.fsencode(bench.root / "album"))
    album.rename(bench.outside / "watched")
    points = MountPoints(ROOT, os.fsencode(bench.root), {}, links=bench.links)
    descriptor = os.open(bench.outside / "watched", os.O_RDONLY)
    told: list[PointSeen] = []
    try:
        with pytest.raises(OSError, match=r".*") as raised:
            points.enter_link(b"album", judged, descriptor, bench.ledger, told.append)
    finally:
        os.close(descriptor)
    assert (raised.value.errno, told, bench.links.followed()) == (errno.ENOMEDIUM, [], {})


def test_folders_behind_links_are_counted_apart(bench: LinkBench) -> None:
    album = bench.album()
    (album / "deep").mkdir()
    bench.link("album", album)
    bench.file("real/a.jpg")
    ended = bench.seen().ended
    assert (ended.directories, ended.behind_links) == (4, 2)


def test_derivatives_that_lie_aside_are_found_behind_links(bench: LinkBench) -> None:
    names = Names(known=WANTED.names.known, layouts=(Layout(number=1, folder=b".small"),))
    bench.wanted = bench.wanted._replace(names=names)
    bench.link("album", bench.album())
    bench.seen()
    bench.done(b"album/a.jpg")
    scan = bench.seen()
    assert (scan.changes, scan.ended.by_state, scan.ended.errors) == ([], {State.DONE: 1}, ())


def test_a_scan_may_begin_behind_a_link(bench: LinkBench) -> None:
    album = bench.album()
    (album / "deep").mkdir()
    (album / "deep" / "b.jpg").write_bytes(b"picture")
    bench.link("album", album)
    assert bench.seen(b"album/deep").found == [b"album/deep/b.jpg"]
    assert bench.links.followed() == {b"album": os.fsencode(album)}
    bench.link("again", album)
    scan = bench.seen(b"again/deep")
    assert (scan.found, scan.ended.result) == ([], ScanResult.COMPLETE)


def test_ignored_links_are_not_looked_at(bench: LinkBench) -> None:
    bench.link(".hidden", bench.album())
    assert (bench.seen().found, bench.left, bench.links.seen) == ([], [], {})


def test_the_identity_of_what_a_link_led_to_is_told(bench: LinkBench) -> None:
    album = bench.album()
    bench.link("album", album)
    (point,) = bench.seen().points
    assert point.identity.startswith(identity_of(os.fsencode(album), ""))
    assert " " in point.identity
