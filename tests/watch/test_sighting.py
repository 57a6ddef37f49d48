"""A look at a root's path tells the root from what stands in its place."""

import errno
import os
from pathlib import Path

import pytest

from tests.places import mounted, no_leak, place_at, write
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, Stamp, State
from watcherd.watch.hands.hands import carry_out
from watcherd.watch.hands.place import Fault
from watcherd.watch.hands.reading import StatMany, stat_many
from watcherd.watch.linking import Links
from watcherd.watch.mounts import MARKER, file_system_of
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import SAMPLE, Recognise, Recognised, known_files

KNOWN = ((b"a.jpg", 7), (b"d/b.jpg", 7))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "d").mkdir(parents=True)
    for path, _ in KNOWN:
        write(tmp_path / "root", path, b"picture")
    return tmp_path / "root"


def look(root: Path, known: str, sample: tuple[tuple[bytes, int | None], ...] = KNOWN) -> Recognised:
    with no_leak():
        reply = carry_out(place_at(root, inode=1, mount=1), Recognise(ticket=5, known=known, sample=sample))
    assert isinstance(reply, Recognised)
    assert (reply.root, reply.ticket) == (3, 5)
    return reply


def identity(root: Path) -> str:
    return file_system_of(os.fsencode(root)).identity


def test_the_root_is_recognised_with_what_it_lies_on(root: Path) -> None:
    sight = look(root, identity(root)).sight
    assert sight.verdict is Verdict.ROOT
    assert sight.file_system == file_system_of(os.fsencode(root))


@pytest.mark.parametrize(("files", "verdict"), [((), Verdict.EMPTIED), ((b"new.jpg",), Verdict.ANOTHER)])
def test_a_root_that_was_renamed_away_is_not_what_was_made_in_its_place(
    root: Path, files: tuple[bytes, ...], verdict: Verdict
) -> None:
    known = identity(root)
    if "inode" not in known:
        pytest.skip("this file system keeps no inode numbers to tell two folders by")
    root.rename(root.with_name("away"))
    root.mkdir()
    for name in files:
        write(root, name, b"picture")
    assert look(root, known).sight.verdict is verdict


def test_a_restored_copy_of_the_root_is_the_root(root: Path) -> None:
    known = identity(root)
    root.rename(root.with_name("away"))
    (root / "d").mkdir(parents=True)
    write(root, b"d/b.jpg", b"picture")
    assert look(root, known).sight.verdict is Verdict.ROOT


@pytest.mark.parametrize(("follows", "verdict"), [(True, Verdict.ROOT), (False, Verdict.ANOTHER)])
def test_a_restored_copy_of_links_is_the_root_where_they_are_followed(
    root: Path, *, follows: bool, verdict: Verdict
) -> None:
    known = identity(root)
    root.rename(root.with_name("away"))
    root.mkdir()
    (root / "a.jpg").symlink_to("../away/a.jpg")
    place = place_at(root, links=Links(follows=follows))
    reply = carry_out(place, Recognise(ticket=5, known=known, sample=KNOWN))
    assert isinstance(reply, Recognised)
    assert reply.sight.verdict is verdict


def test_a_missing_root_is_a_fault(root: Path) -> None:
    reply = carry_out(place_at(root / "gone"), Recognise(ticket=5, known="", sample=KNOWN))
    assert isinstance(reply, Fault)
    assert (reply.errno, reply.operation) == (errno.ENOENT, "open_root")


def test_a_marker_is_part_of_the_identity_and_its_text_is_not_shown(root: Path) -> None:
    write(root, MARKER, b"the archive\n")
    known = identity(root)
    assert "marker=" in known
    assert "archive" not in known
    (root / os.fsdecode(MARKER)).unlink()
    assert look(root, known, ((b"elsewhere.jpg", 7),)).sight.verdict is Verdict.ANOTHER
    write(root, MARKER, b"the archive")  # a line end more or less is the same text
    assert look(root, known).sight.verdict is Verdict.ROOT


def test_hands_that_are_bound_to_a_mount_refuse_what_is_mounted_over_it(root: Path) -> None:
    seen = file_system_of(os.fsencode(root))
    place = place_at(root, inode=seen.root_inode, mount=seen.mount)
    request = StatMany(ticket=5, paths=(b"a.jpg",))
    assert not isinstance(stat_many(place, request), Fault)
    with mounted(root, "-t", "tmpfs", "tmpfs"):
        reply = stat_many(place_at(root, mount=seen.mount), request)
    assert isinstance(reply, Fault)
    assert (reply.errno, reply.operation) == (errno.ESTALE, "open_root")


def test_the_sample_holds_what_was_not_seen_to_leave_and_is_bounded(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "ledger")) as ledger:
        number = ledger.root_id(b"/root")
        stamp = Stamp(7, 1, 1, 1, 1)
        for name in (b"a.jpg", b"d/b.jpg"):
            ledger.record(Entry(source=Source(number, name), state=State.DONE, stamp=stamp))
        ledger.record(Entry(source=Source(number, b"c.jpg"), state=State.DONE, stamp=stamp, gone_at_s=5.0))
        ledger.commit()
        assert set(known_files(ledger, number)) == {(b"a.jpg", 7), (b"d/b.jpg", 7)}
        for index in range(2 * SAMPLE):
            ledger.record(Entry(source=Source(number, b"e/%d.jpg" % index), state=State.PENDING))
        ledger.commit()
        assert len(list(known_files(ledger, number))) == SAMPLE
