import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.places import RIGHT, as_nobody, errno_of, no_leak, picture, public_folder, write
from watcherd.derivatives.standing import NotRegularError, Standing, look, open_over_link, open_regular


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    with no_leak():
        descriptor = os.open(tmp_path, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)


@pytest.mark.parametrize("size", [200, 64 * 1024, 300_000])
def test_a_mark_is_found(folder: int, tmp_path: Path, size: int) -> None:
    stamp = write(tmp_path, b"a", picture(RIGHT, size=size))
    expected = Standing(mark=RIGHT, size_bytes=size, mtime_ns=stamp.mtime_ns, inode=stamp.inode)
    assert look(folder, b"a") == expected


@pytest.mark.parametrize("size", [200, 300_000])
def test_a_file_of_ours_that_was_cut_off_is_ours_but_of_nothing(folder: int, tmp_path: Path, size: int) -> None:
    write(tmp_path, b"a", picture(RIGHT, size=size)[:-1])
    standing = look(folder, b"a")
    assert standing is not None
    assert standing.mark == replace(RIGHT, digest=bytes(32))


def test_nothing_is_none(folder: int) -> None:
    assert look(folder, b"a") is None


@pytest.mark.parametrize("data", [b"", picture(), b"watcherd/1 thumbnail"])
def test_a_file_without_a_mark_is_not_ours(folder: int, tmp_path: Path, data: bytes) -> None:
    write(tmp_path, b"a", data)
    standing = look(folder, b"a")
    assert standing is not None
    assert (standing.mark, standing.size_bytes) == (None, len(data))


def test_a_link_to_a_file_of_ours_is_not_ours(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"a", picture(RIGHT))
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nothing")
    marks = [standing.mark for name in (b"link", b"dangling") if (standing := look(folder, name))]
    assert marks == [None, None]


def test_what_is_no_file_is_named_and_never_waited_for(folder: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "socket"))
    for kind in ("fifo", "folder", "link", "socket"):
        with pytest.raises(NotRegularError, match=kind):
            open_regular(folder, kind.encode())


def test_over_a_link_the_file_is_opened_that_was_asked_about(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"a", b"first")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("a")

    def bend(handle: int, _: os.stat_result) -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(handle, 1)
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to("fifo")

    descriptor, found = open_over_link(folder, b"link", bend)
    assert (os.read(descriptor, 10), found.st_ino) == (b"first", os.stat(tmp_path / "a").st_ino)
    os.close(descriptor)
    with pytest.raises(NotRegularError, match="fifo"):
        open_over_link(folder, b"link", bend)


def test_over_a_link_nothing_is_opened_that_is_refused(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"a", b"first")
    (tmp_path / "link").symlink_to("a")

    def refuse(*_: object) -> None:
        raise NotRegularError("refused")

    with pytest.raises(NotRegularError, match="refused"):
        open_over_link(folder, b"link", refuse)


def test_an_unreadable_file_cannot_be_proved_ours() -> None:
    with public_folder() as root, no_leak():
        write(root, b"a", picture(RIGHT))
        (root / "a").chmod(0)
        folder = os.open(root, os.O_RDONLY)
        with as_nobody():
            standing = look(folder, b"a")
            number = errno_of(open_regular, folder, b"a")
        os.close(folder)
    assert standing is not None
    assert (standing.mark, number) == (None, 13)


def test_an_opened_file_does_not_outlive_an_exec(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"a", b"data")
    descriptor, found = open_regular(folder, b"a")
    assert found.st_size == 4
    assert os.get_inheritable(descriptor) is False
    os.close(descriptor)
