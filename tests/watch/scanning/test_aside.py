"""The scanner where derivatives do not lie beside their sources."""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.watch.scanning.test_scanner import EARLIER_RUN, INSTANCE, RUN, WANTED, Bench, Opened
from watcherd.naming import SIBLING, UNUSED, Layout, Names, temporary_name
from watcherd.watch import trees
from watcherd.watch.reports import Manner, ScanResult
from watcherd.watch.scanning.aside import Aside
from watcherd.watch.scanning.listing import MOST_FILES, Listing

HIDDEN = Layout(folder=b".derivatives", number=1)


@pytest.fixture(params=[MOST_FILES, 2], ids=["whole", "paged"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench whose folders are kept in memory as a whole, or read two files at a time."""
    with Bench(tmp_path, request.param) as bench:
        yield bench


@pytest.fixture(params=["subfolder", "mirror"])
def aside(request: pytest.FixtureRequest, bench: Bench, tmp_path: Path) -> Bench:
    """A root whose derivatives do not lie beside their sources."""
    layout = HIDDEN
    if request.param == "mirror":
        (tmp_path / "mirror").mkdir()
        trees.found(os.fsencode(tmp_path / "mirror"))
        layout = Layout(tree=os.fsencode(tmp_path / "mirror"), number=2)
    bench.wanted = WANTED._replace(names=Names(layouts=(layout, SIBLING), known=WANTED.names.known))
    return bench


def folder_of(bench: Bench, directory: bytes) -> Path:
    """Where the derivatives of a folder's sources lie."""
    return Path(os.fsdecode(os.path.join(os.fsencode(bench.root), bench.wanted.names.layout.folder_of(directory))))


def test_derivatives_in_their_own_folder_count_and_are_no_sources(aside: Bench) -> None:
    aside.done(b"a.jpg")
    aside.done(b"sub/b.jpg")
    scan = aside.scan()
    assert (scan.changes, scan.ended.unchanged, scan.ended.directories) == ([], 2, 2)
    assert sorted(it.directory for it in scan.listed) == [b"", b"sub"]


@pytest.mark.parametrize("harm", ["removed", "changed", "folder removed"])
def test_a_derivative_that_went_from_its_own_folder_is_noticed_in_a_folder_at_rest(aside: Bench, harm: str) -> None:
    aside.done(b"sub/a.jpg")
    aside.settle_listings(aside.scan())
    assert aside.scan().listed == []
    thumbnail = folder_of(aside, b"sub") / "a.jpg.thumbnail.jpg"
    if harm == "changed":
        thumbnail.write_bytes(b"another")
    else:
        thumbnail.unlink()
    if harm == "folder removed":
        thumbnail.parent.rmdir()

    assert aside.scan().found == [b"sub/a.jpg"]


@pytest.mark.parametrize("harm", ["removed", "stranger", "folder removed"])
def test_a_quick_sweep_sees_what_comes_and_goes_in_a_derivatives_folder(
    aside: Bench, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    for path in (b"a.jpg", b"sub/b.jpg"):
        aside.done(path)
    now = time.time_ns
    monkeypatch.setattr("watcherd.watch.scanning.walk.time.time_ns", lambda: now() + 3600 * 1_000_000_000)
    aside.settle_listings(aside.scan())
    aside.scan(manner=Manner.SWEEP)
    opened = Opened(monkeypatch)
    assert (aside.scan(manner=Manner.QUICK_SWEEP).changes, opened.names) == ([], [])

    thumbnail = folder_of(aside, b"sub") / "b.jpg.thumbnail.jpg"
    if harm == "stranger":
        thumbnail.with_name("new.jpg").touch()
    else:
        thumbnail.unlink()
    if harm == "folder removed":
        thumbnail.parent.rmdir()
    assert aside.scan(manner=Manner.QUICK_SWEEP).found == ([] if harm == "stranger" else [b"sub/b.jpg"])
    assert b"sub" in opened.names


def test_nothing_is_missing_where_the_derivatives_folder_cannot_be_read(
    aside: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside.done(b"sub/a.jpg")
    really = Aside.listing

    def unreadable(self: Aside, directory: bytes, beside: Listing) -> Listing | None:
        if directory == b"sub":
            raise OSError(errno.EIO, "broken")
        return really(self, directory, beside)

    monkeypatch.setattr(Aside, "listing", unreadable)
    scan = aside.scan()
    assert scan.changes == []
    assert [number for _, number in scan.ended.errors] == [errno.EIO]


def test_what_an_earlier_run_left_in_a_derivatives_folder_is_ours_to_sweep(aside: Bench) -> None:
    aside.done(b"sub/a.jpg")
    folder = folder_of(aside, b"sub")
    stray, running = (temporary_name(INSTANCE, run, "0" * 12) for run in (EARLIER_RUN, RUN))
    others = temporary_name("ffffffff", EARLIER_RUN, "0" * 12)
    for name in (stray, running, others):
        (folder / os.fsdecode(name)).touch()

    below = aside.wanted.names.layout.folder_of(b"sub")
    assert aside.scan().stray == [below + b"/" + stray]


def test_a_mirror_that_is_away_ends_the_scan_without_a_word(bench: Bench, tmp_path: Path) -> None:
    names = Names(layouts=(Layout(tree=os.fsencode(tmp_path / "away"), number=2), SIBLING), known=WANTED.names.known)
    bench.done(b"a.jpg")
    bench.wanted = WANTED._replace(names=names)
    scan = bench.scan()
    assert scan.changes == []
    assert (scan.ended.result, scan.ended.errno) == (ScanResult.ROOT_UNREADABLE, errno.ENOMEDIUM)


def test_empty_folders_for_derivatives_are_leftovers_also_those_of_an_earlier_layout(bench: Bench) -> None:
    bench.file("a/x.jpg")
    (bench.root / "a" / ".derivatives").mkdir()
    for layouts in ((HIDDEN, SIBLING), (SIBLING, HIDDEN)):
        bench.wanted = WANTED._replace(names=Names(layouts=layouts, known=WANTED.names.known))
        assert bench.scan().stray == [b"a/.derivatives"]
    unused = Names(layouts=(SIBLING, replace(HIDDEN, number=UNUSED)), known=WANTED.names.known)
    bench.wanted = WANTED._replace(names=unused)
    assert bench.scan().stray == []


def test_what_an_earlier_layout_left_unfinished_is_ours_to_sweep(bench: Bench) -> None:
    bench.file("a/x.jpg")
    stray = temporary_name(INSTANCE, EARLIER_RUN, "0" * 12)
    bench.file(b"a/.derivatives/" + stray)
    bench.wanted = WANTED._replace(names=Names(layouts=(SIBLING, HIDDEN), known=WANTED.names.known))
    assert bench.scan().stray == [b"a/.derivatives/" + stray]
