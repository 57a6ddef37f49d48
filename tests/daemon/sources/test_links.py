"""The daemon's core in a played world: several names (hard links) of one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.outside import File
from tests.daemon.world import World
from watcherd.model import ChangeKind


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


def linked(world: World, *names: bytes) -> None:
    """One file by all of these names, all of them done."""
    world.put(names[0], b"old")
    file = world.disk[names[0]]
    for name in names[1:]:
        world.disk[name] = file
        world.tell(ChangeKind.CREATED, name)
    world.run()


def written(world: World, content: bytes, nlink: int, told: bytes, *names: bytes) -> None:
    """The file is written in place; the kernel tells of the name that it was opened by."""
    inode = world.disk[told].stamp.inode
    stamp = world.stamp_of(content)._replace(inode=inode, nlink=nlink)
    for name in (told, *names):
        world.disk[name] = File(content, stamp)
    world.tell(ChangeKind.CLOSED, told)


def test_a_file_written_in_place_is_done_anew_by_all_of_its_names(world: World) -> None:
    linked(world, b"a.jpg", b"backup/a.jpg", b"third.jpg")
    written(world, b"new", 3, b"a.jpg", b"backup/a.jpg", b"third.jpg")
    world.run()
    digests = {world.entry(name).digest for name in (b"a.jpg", b"backup/a.jpg", b"third.jpg")}
    assert len(digests) == 1
    assert world.rendered == [b"old", b"new"]


def test_a_file_of_one_name_has_nobody_else_looked_at(world: World) -> None:
    linked(world, b"a.jpg", b"b.jpg")
    written(world, b"new", 1, b"a.jpg")
    world.run()
    assert world.entry(b"a.jpg").digest != world.entry(b"b.jpg").digest
    assert world.rendered == [b"old", b"new"]
