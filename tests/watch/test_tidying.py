import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import (
    INSTANCE,
    RIGHT,
    STALE,
    STRANGE_NAMES,
    as_nobody,
    names,
    no_leak,
    picture,
    place_at,
    public_folder,
    read,
    write,
)
from watcherd.naming import temporary_name
from watcherd.watch.hands import Fate, Fault, Remove, Removed, Rename, Renamed
from watcherd.watch.tidying import Fates, remove, rename


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def removed(root: Path, *items: tuple[bytes, int | None, int | None]) -> Fates:
    reply = remove(place_at(root), Remove(ticket=5, items=items))
    assert isinstance(reply, Removed)
    assert (reply.root, reply.ticket) == (3, 5)
    return reply.results


def renamed(root: Path, *pairs: tuple[bytes, bytes]) -> Fates:
    reply = rename(place_at(root), Rename(ticket=5, pairs=pairs))
    assert isinstance(reply, Renamed)
    assert (reply.root, reply.ticket) == (3, 5)
    return reply.results


# -------------------------------------------------------------------------------------------------------------- remove


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_derivative_of_any_name_is_removed(tmp_path: Path, name: bytes) -> None:
    stamp = write(tmp_path, name, picture(RIGHT))
    assert removed(tmp_path, (name, stamp.size_bytes, stamp.mtime_ns)) == ((Fate.DONE, 0),)
    assert names(tmp_path) == set()


def test_each_item_has_its_fate_in_the_order_of_asking(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    left = temporary_name(INSTANCE, "0000000b", "0" * 12)
    write(tmp_path, b"sub/foreign", b"notes")
    write(tmp_path, b"sub/ours", picture(STALE))
    write(tmp_path, b"sub/" + left, b"half")
    fates = removed(
        tmp_path,
        (b"sub/foreign", 1, 1),
        (b"sub/ours", 1_000, 1),
        (b"sub/missing", 1, 1),
        (b"gone/ours", 1, 1),
        (b"link/ours", 1, 1),
        (b"sub/" + left, None, None),
    )
    expected = [Fate.FOREIGN, Fate.DONE, Fate.DONE, Fate.MISSING, Fate.MISSING, Fate.DONE]
    assert fates == tuple((fate, 0) for fate in expected)
    assert names(tmp_path / "sub") == {b"foreign"}


def test_a_folder_closed_to_us_fails_alone() -> None:
    with public_folder() as root:
        (root / "closed").mkdir()
        for name in (b"a", b"closed/a"):
            write(root, name, picture(RIGHT))
        (root / "closed").chmod(0o555)
        with as_nobody():
            fates = removed(root, (b"closed/a", 1_000, 1), (b"a", 1_000, 1))
        (root / "closed").chmod(0o755)
        left = names(root), names(root / "closed")
    assert fates == ((Fate.FAILED, errno.EACCES), (Fate.DONE, 0))
    assert left == ({b"closed"}, {b"a"})


def test_nothing_is_removed_where_the_root_is_absent(tmp_path: Path) -> None:
    reply = remove(place_at(tmp_path / "gone"), Remove(ticket=5, items=((b"a", 1, 1),)))
    assert reply == Fault(root=3, ticket=5, path=b"", errno=errno.ENOENT, operation="open_root")


# -------------------------------------------------------------------------------------------------------------- rename


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_derivative_follows_into_another_folder(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, b"old", picture(RIGHT))
    assert renamed(tmp_path, (b"old", b"sub/" + name)) == ((Fate.DONE, 0),)
    assert (read(tmp_path, b"sub/" + name), names(tmp_path)) == (picture(RIGHT), {b"sub"})


def test_each_pair_has_its_fate(tmp_path: Path) -> None:
    for name in (b"one", b"two", b"three", b"four"):
        write(tmp_path, name, picture(RIGHT))
    write(tmp_path, b"foreign", picture())
    write(tmp_path, b"taken", b"notes")
    write(tmp_path, b"same", picture(RIGHT))
    write(tmp_path, b"stale", picture(STALE))
    fates = renamed(
        tmp_path,
        (b"one", b"new"),
        (b"missing", b"new2"),
        (b"foreign", b"new3"),
        (b"two", b"taken"),
        (b"three", b"same"),
        (b"four", b"stale"),
        (b"two", b"gone/two"),
    )
    expected = [Fate.DONE, Fate.MISSING, Fate.FOREIGN, Fate.TAKEN, Fate.DONE, Fate.DONE, Fate.MISSING]
    assert fates == tuple((fate, 0) for fate in expected)
    assert names(tmp_path) == {b"new", b"foreign", b"two", b"taken", b"same", b"stale"}
    assert (read(tmp_path, b"taken"), read(tmp_path, b"stale")) == (b"notes", picture(RIGHT))


def test_a_derivative_renamed_to_its_own_name_stays(tmp_path: Path) -> None:
    write(tmp_path, b"a", picture(RIGHT))
    assert renamed(tmp_path, (b"a", b"a")) == ((Fate.DONE, 0),)
    assert names(tmp_path) == {b"a"}


def test_a_link_is_not_renamed(tmp_path: Path) -> None:
    write(tmp_path, b"a", picture(RIGHT))
    (tmp_path / "link").symlink_to("a")
    assert renamed(tmp_path, (b"link", b"new")) == ((Fate.FOREIGN, 0),)
    assert os.readlink(tmp_path / "link") == "a"
