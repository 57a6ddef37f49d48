"""A scan tells the folder of a disk that is not mounted from one that was emptied."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.places import mounted
from tests.watch.scanning.test_scanner import ROOT, Bench, Scan
from watcherd.model import Source, State
from watcherd.watch.mountpoints import PointSeen, point_of
from watcherd.watch.mounts import Mount, mounts_below
from watcherd.watch.reports import ScanResult

TMPFS = ("-t", "tmpfs", "tmpfs")
AWAY = ((b"card", errno.ENOMEDIUM),)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        bench.done(b"a.jpg")
        (bench.root / "card").mkdir()
        yield bench


def remembered(bench: Bench, scan: Scan) -> None:
    """What the daemon does with the report."""
    for point in scan.points:
        bench.ledger.set_mount(point.root, point.directory, point.identity)
    bench.ledger.commit()


def with_a_picture_on_the_card(bench: Bench) -> None:
    with mounted(bench.root / "card", *TMPFS):
        bench.done(b"card/in/b.jpg")
        bench.done(b"card/c.jpg")
        remembered(bench, bench.scan())


def test_the_mount_points_below_a_root_are_told_with_what_they_are_known_by(bench: Bench) -> None:
    with mounted(bench.root / "card", *TMPFS):
        bench.done(b"card/in/b.jpg")
        scan = bench.scan()
    assert scan.points == [PointSeen(root=ROOT, directory=b"card", identity="kind=tmpfs", is_there=True)]
    assert (scan.found, scan.deleted, scan.ended.by_state) == ([], [], {State.DONE: 2})


def test_what_lies_on_a_disk_that_is_not_mounted_is_not_missing(bench: Bench) -> None:
    with_a_picture_on_the_card(bench)
    bench.file("card/misplaced.jpg")
    for directory, away in ((b"", [False]), (b"card", [False]), (b"card/in", [])):
        scan = bench.scan(directory)
        assert (scan.found, scan.deleted, [point.is_there for point in scan.points]) == ([], [], away)
        assert scan.ended.result is ScanResult.COMPLETE
    assert bench.scan().ended.errors == AWAY


def test_nor_is_it_where_the_folder_went_with_the_disk(bench: Bench) -> None:
    with_a_picture_on_the_card(bench)
    (bench.root / "card").rmdir()
    assert bench.scan(b"card/in").deleted == []
    scan = bench.scan()
    assert (scan.deleted, scan.ended.errors) == ([], AWAY)


def test_what_was_deleted_from_a_disk_that_is_mounted_is_missing(bench: Bench) -> None:
    with mounted(bench.root / "card", *TMPFS):
        bench.done(b"card/in/b.jpg")
        bench.done(b"card/c.jpg")
        remembered(bench, bench.scan())
        (bench.root / "card" / "in" / "b.jpg").unlink()
        assert bench.scan().deleted == [b"card/in/b.jpg"]


def test_another_disk_in_its_place_is_left_alone(bench: Bench) -> None:
    with_a_picture_on_the_card(bench)
    bench.ledger.set_mount(ROOT, b"card", "uuid=1 inode=2")
    bench.ledger.commit()
    with mounted(bench.root / "card", *TMPFS):
        bench.file("card/strange.jpg")
        scan = bench.scan()
        assert [point.is_there for point in scan.points] == [False]
        assert (scan.found, scan.deleted, scan.ended.errors) == ([], [], AWAY)


def test_what_a_disk_was_mounted_over_is_not_missing(bench: Bench) -> None:
    bench.done(b"card/below.jpg")
    assert bench.ledger.root_id(os.fsencode(bench.root)) == ROOT
    bench.ledger.set_identity(ROOT, bench.scan().ended.identity)
    bench.ledger.commit()
    with mounted(bench.root / "card", *TMPFS):
        bench.file("card/strange.jpg")
        assert bench.scan().deleted == []
    assert bench.scan().ended.by_state == {State.DONE: 2}


def test_a_folder_on_which_nothing_is_known_is_a_folder_again_when_its_disk_is_away(bench: Bench) -> None:
    with mounted(bench.root / "card", *TMPFS):
        remembered(bench, bench.scan())
    bench.file("card/new.jpg")
    scan = bench.scan()
    assert (scan.found, scan.ended.errors) == ([b"card/new.jpg"], ())


def test_what_left_a_disk_is_known_until_it_is_forgotten(bench: Bench) -> None:
    with_a_picture_on_the_card(bench)
    for path in (b"card/in/b.jpg", b"card/c.jpg"):
        entry = bench.ledger.entry(Source(ROOT, path))
        assert entry is not None
        bench.ledger.record(replace(entry, gone_at_s=1.0))
    bench.ledger.commit()
    bench.file("card/new.jpg")
    scan = bench.scan()
    assert (scan.found, scan.ended.errors) == ([], AWAY)


def test_a_path_belongs_to_the_innermost_mount_point_above_it() -> None:
    points = (b"a", b"a/b", b"ab")
    paths = (b"a", b"a/x", b"a/b/x", b"ab/x", b"abc", b"")
    assert [point_of(path, points) for path in paths] == [b"a", b"a", b"a/b", b"ab", None, None]


def test_the_mounts_below_a_folder_are_those_and_not_its_own() -> None:
    def at(point: bytes, number: int) -> Mount:
        return Mount(number=number, device=(7, 1), point=point, kind=b"ext4", source=b"x", read_only=False)

    table = [at(b"/", 1), at(b"/in", 2), at(b"/in/card", 3), at(b"/in/card", 4), at(b"/inner/x", 5)]
    assert mounts_below(b"/in", table) == {b"card": at(b"/in/card", 4)}
    assert mounts_below(b"/", table).keys() == {b"in", b"in/card", b"inner/x"}
    assert mounts_below(os.fsencode("/nowhere"), table) == {}
