import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.places import errno_of, no_leak, write
from watcherd.model import Stamp
from watcherd.watch import files

Way = Callable[[int, bytes], int]


def walk(root: int, path: bytes) -> int:
    return files.walk_to_folder(root, path.split(b"/"))


@pytest.fixture(params=["openat2", "walk", "open_folder"])
def way(request: pytest.FixtureRequest) -> Way:
    if request.param == "openat2" and not files.has_openat2():
        pytest.skip("this kernel has no openat2")
    ways: dict[str, Way] = {"openat2": files.openat2_folder, "walk": walk, "open_folder": files.open_folder}
    return ways[request.param]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    with no_leak():
        descriptor = files.open_root(os.fsencode(tmp_path), None)
        yield descriptor
        os.close(descriptor)


def inode_of(descriptor: int) -> int:
    try:
        assert not os.get_inheritable(descriptor)
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def test_a_nested_folder_is_opened(root: int, tmp_path: Path, way: Way) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert inode_of(way(root, b"a/b")) == (tmp_path / "a" / "b").stat().st_ino


def test_a_folder_may_be_called_anything(root: int, tmp_path: Path, way: Way) -> None:
    name = b"caf\xe9\n" + b"x" * 249
    os.mkdir(os.path.join(os.fsencode(tmp_path), name))
    assert inode_of(way(root, name)) == os.stat(os.path.join(os.fsencode(tmp_path), name)).st_ino


@pytest.mark.parametrize("path", [b"link", b"link/inner", b"a/link"])
def test_no_link_on_the_way_is_followed(root: int, tmp_path: Path, way: Way, path: bytes) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "link").symlink_to("inner")
    assert errno_of(way, root, path) in files.NOT_THERE


@pytest.mark.parametrize("path", [b"nothing", b"file", b"file/below", b"fifo"])
def test_what_is_no_folder_is_not_there(root: int, tmp_path: Path, way: Way, path: bytes) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    assert errno_of(way, root, path) in files.NOT_THERE


def test_the_empty_path_is_the_root(root: int, tmp_path: Path) -> None:
    assert inode_of(files.open_folder(root, b"")) == tmp_path.stat().st_ino


@pytest.mark.parametrize("path", [b"..", b"a/../b", b"/etc", b"a//b", b"a/", b".", b"a\0b"])
def test_a_path_that_could_leave_the_root_is_refused(root: int, path: bytes) -> None:
    assert errno_of(files.open_folder, root, path) == errno.EINVAL


def test_a_path_longer_than_the_kernel_takes_at_once_is_opened(root: int) -> None:
    name = b"d" * 200
    folder = os.dup(root)
    for _ in range(25):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    expected = inode_of(folder)
    assert inode_of(files.open_folder(root, b"/".join([name] * 25))) == expected


def test_a_name_longer_than_file_systems_take_is_not_there(root: int) -> None:
    assert errno_of(files.open_folder, root, b"x" * 256) in files.NOT_THERE


def test_another_folder_at_the_roots_path_is_stale(tmp_path: Path) -> None:
    with no_leak():
        assert errno_of(files.open_root, os.fsencode(tmp_path), tmp_path.stat().st_ino + 1) == errno.ESTALE


def test_a_root_that_became_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    with no_leak():
        assert errno_of(files.open_root, os.fsencode(tmp_path / "root"), None) in files.NOT_THERE


def test_a_stamp_holds_what_lstat_says(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"12345")
    found = (tmp_path / "a.jpg").stat()
    assert stamp == Stamp(5, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, 1)


@pytest.mark.parametrize(
    ("changed", "with_identity", "without"),
    [
        ({}, True, True),
        ({"nlink": 2}, True, True),
        ({"size_bytes": 2}, False, False),
        ({"mtime_ns": 2}, False, False),
        ({"ctime_ns": 2}, False, True),
        ({"inode": 2}, False, True),
    ],
)
def test_inode_and_ctime_count_only_where_they_are_kept(
    changed: dict[str, int], with_identity: bool, without: bool
) -> None:
    one = Stamp(1, 1, 1, 1, 1)
    other = one._replace(**changed)
    assert files.is_same_content(one, other, keeps_identity=True) == with_identity
    assert files.is_same_content(one, other, keeps_identity=False) == without
