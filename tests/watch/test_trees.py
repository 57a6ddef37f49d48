"""Mirrors: told from what a disk leaves behind when it is away."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import KNOWN, errno_of, item, names, no_leak, place_at, write
from watcherd.naming import SIBLING, Layout, Names
from watcherd.watch import trees
from watcherd.watch.hands.hands import Fault, Probe, Publish, Recognise, discard
from watcherd.watch.hands.writing import probe, publish
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Recognised, look


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def mirrored(mirror: Path, *earlier: Layout) -> Names:
    return Names(layouts=(Layout(tree=os.fsencode(mirror), number=1), *earlier, SIBLING), known=KNOWN)


def test_a_mirror_is_marked_once(tmp_path: Path) -> None:
    trees.found(os.fsencode(tmp_path))
    before = (tmp_path / ".watcherd-mirror").stat()
    trees.found(os.fsencode(tmp_path))
    os.close(trees.open_tree(os.fsencode(tmp_path)))

    assert names(tmp_path) == {b".watcherd-mirror"}
    assert (tmp_path / ".watcherd-mirror").stat() == before


def test_a_folder_without_the_mark_or_no_folder_is_no_mirror(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "marked").mkdir()
    trees.found(os.fsencode(tmp_path / "marked"))
    (tmp_path / "link").symlink_to("marked")

    places = [tmp_path, tmp_path / "none", tmp_path / "file", tmp_path / "link"]
    assert [errno_of(trees.open_tree, os.fsencode(path)) for path in places] == [errno.ENOMEDIUM] * 4


def test_nothing_is_written_to_the_mount_point_of_a_mirror_that_is_away(tmp_path: Path) -> None:
    root, mirror = tmp_path / "root", tmp_path / "mirror"
    root.mkdir()
    mirror.mkdir()
    stamp = write(root, b"a.jpg", b"source")
    place = place_at(root, names=mirrored(mirror))
    request = Publish(
        ticket=5, path=b"a.jpg", stamp=stamp, items=(item(os.fsencode(mirror) + b"/a.jpg.thumbnail.jpg"),)
    )

    reply = publish(place, request)
    discard(request)
    assert isinstance(reply, Fault)
    assert (reply.errno, reply.operation) == (errno.ENOMEDIUM, "open_tree")
    assert names(mirror) == set()
    probed = probe(place, Probe(ticket=6))
    assert (probed.ok, probed.errno) == (False, errno.ENOMEDIUM)
    assert names(mirror) == names(root) - {b"a.jpg"} == set()


def test_a_root_is_there_only_with_its_mirror(tmp_path: Path) -> None:
    root, mirror = tmp_path / "root", tmp_path / "mirror"
    root.mkdir()
    write(root, b"a.jpg", b"source")
    place = place_at(root, names=mirrored(mirror))
    away = look(place, Recognise(ticket=5, known="", sample=()))
    assert isinstance(away, Fault)
    assert away.errno == errno.ENOMEDIUM

    mirror.mkdir()
    trees.found(os.fsencode(mirror))
    there = look(place, Recognise(ticket=5, known="", sample=()))
    assert isinstance(there, Recognised)
    assert there.sight.verdict is Verdict.ROOT


def test_the_probe_of_a_root_with_a_mirror_writes_to_the_mirror_only(tmp_path: Path) -> None:
    root, mirror = tmp_path / "root", tmp_path / "mirror"
    root.mkdir()
    mirror.mkdir()
    trees.found(os.fsencode(mirror))
    before = root.stat().st_mtime_ns, mirror.stat().st_mtime_ns

    assert probe(place_at(root, names=mirrored(mirror)), Probe(ticket=5)).ok
    assert root.stat().st_mtime_ns == before[0]
    assert mirror.stat().st_mtime_ns > before[1]
    assert (names(root), names(mirror)) == (set(), {b".watcherd-mirror"})


def test_in_an_earlier_mirror_that_is_away_nothing_is_there(tmp_path: Path) -> None:
    now = tmp_path / "now"
    now.mkdir()
    trees.found(os.fsencode(now))
    layouts = mirrored(now, Layout(tree=os.fsencode(tmp_path / "then"), number=2))

    assert errno_of(trees.open_folder, os.fsencode(tmp_path / "then" / "a"), layouts) == errno.ENOENT
    assert errno_of(trees.open_folder, os.fsencode(now / "a"), layouts) == errno.ENOENT
    assert errno_of(trees.open_folder, b"/somewhere/else", layouts) == errno.ENOENT


def test_no_way_leads_out_of_a_mirror(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    trees.found(os.fsencode(mirror))
    (tmp_path / "outside").mkdir()
    (mirror / "link").symlink_to("../outside")

    paths = [b"/link", b"/../outside", b"/a/../../outside"]
    numbers = [errno_of(trees.open_folder, os.fsencode(mirror) + path, mirrored(mirror)) for path in paths]
    assert numbers[0] in {errno.ELOOP, errno.ENOTDIR}
    assert numbers[1:] == [errno.EINVAL, errno.EINVAL]
