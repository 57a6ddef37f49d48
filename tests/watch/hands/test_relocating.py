"""After a change of layout the derivatives come to their new place, whatever happens in between."""

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.places import KNOWN, RIGHT, STALE, mounted, names, no_leak, picture, place_at, read, write
from watcherd.derivatives.renaming import Judgement
from watcherd.model import Derivative, Disturbed, Stamp, Vanished
from watcherd.naming import SIBLING, Layout, Names
from watcherd.watch import trees
from watcherd.watch.hands.hands import Displaced, Fault, Refused, Relocate, Relocated, relocating
from watcherd.watch.hands.relocating import relocate

HIDDEN = Layout(folder=b".derivatives", number=1)
SOURCE = b"sub/a.jpg"


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


class Site:
    """A root with one source, its derivative under one layout, and the order to bring it to another."""

    def __init__(self, root: Path, now: Layout, *earlier: Layout) -> None:
        self.root = root
        (root / "sub").mkdir(parents=True)
        self.stamp = write(root, SOURCE, b"source")
        self.names = Names(layouts=(now, *earlier), known=KNOWN)
        self.place = place_at(root, names=self.names)
        self.new = now.path_of(SOURCE, "thumbnail", "jpg")
        self.old = earlier[0].path_of(SOURCE, "thumbnail", "jpg")
        self.recorded = self.put(self.old, picture(RIGHT))

    def full(self, path: bytes) -> bytes:
        return os.path.join(os.fsencode(self.root), path)

    def put(self, path: bytes, data: bytes) -> Stamp:
        os.makedirs(os.path.dirname(self.full(path)), exist_ok=True)
        return write(self.root, path, data)

    def order(self) -> Relocate:
        derivative = Derivative(
            variant="thumbnail",
            fingerprint=7,
            size_bytes=self.recorded.size_bytes,
            mtime_ns=self.recorded.mtime_ns,
            width=200,
            height=150,
        )
        ways = self.names.ways_of(SOURCE, "thumbnail")
        item = Displaced(derivative=derivative, mark=RIGHT, ways=ways)
        return Relocate(ticket=5, path=SOURCE, stamp=self.stamp, displaced=(item,))

    def carry_out(self) -> tuple[Derivative, ...]:
        reply = relocate(self.place, self.order())
        assert isinstance(reply, Relocated), reply
        return reply.derivatives

    def stands(self) -> tuple[bool, bool]:
        """Whether something stands at the old place, and at the new one."""
        return os.path.lexists(self.full(self.old)), os.path.lexists(self.full(self.new))


@pytest.fixture
def mirror(tmp_path: Path) -> Layout:
    (tmp_path / "mirror").mkdir()
    trees.found(os.fsencode(tmp_path / "mirror"))
    return Layout(tree=os.fsencode(tmp_path / "mirror"), number=2)


@pytest.fixture(params=["to subfolder", "to sibling", "to mirror", "from mirror", "between folders"])
def site(request: pytest.FixtureRequest, tmp_path: Path, mirror: Layout) -> Site:
    now, then = {
        "to subfolder": (HIDDEN, SIBLING),
        "to sibling": (SIBLING, HIDDEN),
        "to mirror": (mirror, HIDDEN),
        "from mirror": (HIDDEN, mirror),
        "between folders": (Layout(folder=b".d", number=3), HIDDEN),
    }[request.param]
    return Site(tmp_path / "root", now, then)


def test_a_derivative_goes_to_its_new_place_and_leaves_no_folder_behind(site: Site) -> None:
    inode = os.stat(site.full(site.old)).st_ino
    (moved,) = site.carry_out()

    assert site.stands() == (False, True)
    assert os.stat(site.full(site.new)).st_ino == inode
    assert (moved.size_bytes, moved.mtime_ns) == (site.recorded.size_bytes, site.recorded.mtime_ns)
    old_folder = os.path.dirname(site.full(site.old))
    assert os.path.lexists(old_folder) == (site.names.layouts[1] == SIBLING)


def test_a_repeat_finds_it_in_place(site: Site) -> None:
    first = site.carry_out()
    assert site.carry_out() == first
    assert site.stands() == (False, True)


def test_a_file_of_another_at_the_new_place_stays_and_ours_as_well(site: Site) -> None:
    site.put(site.new, b"notes")
    assert site.carry_out() == ()
    assert (read(site.root, site.new), site.stands()) == (b"notes", (True, True))


def test_what_is_not_this_source_s_stays(site: Site) -> None:
    site.put(site.old, picture(STALE))
    assert site.carry_out() == ()
    assert site.stands() == (True, False)


def test_what_was_damaged_since_stays(site: Site) -> None:
    site.put(site.old, picture(RIGHT)[:-100])
    assert site.carry_out() == ()
    assert site.stands() == (True, False)


def test_nothing_is_moved_for_a_source_that_changed_or_went(site: Site) -> None:
    order = replace(site.order(), stamp=site.stamp._replace(mtime_ns=1))
    changed = relocate(site.place, order)
    assert isinstance(changed, Refused)
    assert changed.outcome == Disturbed()
    os.unlink(site.full(SOURCE))
    gone = relocate(site.place, site.order())
    assert isinstance(gone, Refused)
    assert gone.outcome == Vanished()
    assert site.stands() == (True, False)


def test_a_stale_one_of_ours_at_the_new_place_is_replaced(site: Site) -> None:
    site.put(site.new, picture(STALE))
    assert len(site.carry_out()) == 1
    assert (read(site.root, site.new), site.stands()) == (picture(RIGHT), (False, True))


def test_a_mirror_that_is_away_is_a_fault_and_nothing_moves(tmp_path: Path, mirror: Layout) -> None:
    site = Site(tmp_path / "root", mirror, SIBLING)
    (tmp_path / "mirror" / ".watcherd-mirror").unlink()
    reply = relocate(site.place, site.order())
    assert isinstance(reply, Fault)
    assert reply.errno == errno.ENOMEDIUM
    assert site.stands() == (True, False)


# --------------------------------------------------------------------------------------------- to another file system


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Site]:
    """A mirror on another file system, and what goes there."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        trees.found(os.fsencode(disk))
        yield Site(tmp_path / "root", Layout(tree=os.fsencode(disk), number=2), HIDDEN)


def test_it_is_copied_whole_and_then_removed(far: Site) -> None:
    os.chmod(far.full(far.old), 0o640)
    (moved,) = far.carry_out()

    assert (read(far.root, far.new), far.stands()) == (picture(RIGHT), (False, True))
    found = os.stat(far.full(far.new))
    assert (found.st_mtime_ns, found.st_mode & 0o777) == (far.recorded.mtime_ns, 0o640)
    assert moved.mtime_ns == far.recorded.mtime_ns
    assert not os.path.lexists(os.path.dirname(far.full(far.old)))


def test_a_full_disk_is_a_fault_that_leaves_the_old_one_and_no_part_of_a_new_one(far: Site, tmp_path: Path) -> None:
    left = os.statvfs(tmp_path / "disk")
    (tmp_path / "disk" / "filler").write_bytes(bytes(left.f_bavail * left.f_frsize))
    reply = relocate(far.place, far.order())
    assert isinstance(reply, Fault)
    assert reply.errno == errno.ENOSPC
    assert far.stands() == (True, False)
    assert {b".watcherd-mirror", b"filler"} <= names(tmp_path / "disk") <= {b".watcherd-mirror", b"filler", b"sub"}


def test_a_copy_that_was_interrupted_before_the_old_one_was_removed_is_finished(
    far: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(relocating, "discard", lambda _: None)
        far.carry_out()
    assert far.stands() == (True, True)

    assert len(far.carry_out()) == 1
    assert far.stands() == (False, True)


def test_a_copy_that_does_not_carry_the_mark_is_not_used(far: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relocating, "mark_of", lambda *_: STALE)
    assert far.carry_out() == ()
    assert far.stands() == (True, False)
    assert not [name for name in names(Path(os.fsdecode(os.path.dirname(far.full(far.new))))) if b".tmp" in name]


def test_another_error_than_the_file_system_s_boundary_is_no_reason_to_copy(
    far: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Judgement:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(relocating, "bring", refuse)
    reply = relocate(far.place, far.order())
    assert isinstance(reply, Refused)
    assert far.stands() == (True, False)
