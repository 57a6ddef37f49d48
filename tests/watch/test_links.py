"""The way over links: to the very folder that a scan has allowed, and nowhere else."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from watcherd.watch import links
from watcherd.watch.linking import NOT_FOLLOWED, Links, Refusal, Target
from watcherd.watch.links import SEVERED, is_link, led_to, look_at, open_beside, open_folder

Opener = Callable[[int, bytes, Links], int]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root with a link to an album beside it."""
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "album" / "deep").mkdir(parents=True)
    (tmp_path / "root" / "in" / "link").symlink_to(tmp_path / "album")
    descriptor = os.open(tmp_path / "root", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def to(folder: Path, link: bytes = b"in/link") -> Links:
    found = os.stat(folder)
    links = Links(follows=True)
    links.set(link, Target(path=os.fsencode(folder), device=found.st_dev, inode=found.st_ino))
    return links


@contextmanager
def opened(descriptor: int) -> Iterator[os.stat_result]:
    try:
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def failure(root: int, path: bytes, links: Links, opener: Opener = open_folder) -> int:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r".*") as raised:
        opener(root, path, links)
    assert len(os.listdir("/proc/self/fd")) == before
    return raised.value.errno or 0


@pytest.mark.parametrize("below", ["", "/deep"])
def test_a_link_that_a_scan_allowed_is_followed(root: int, tmp_path: Path, below: str) -> None:
    with opened(open_folder(root, b"in/link" + below.encode(), to(tmp_path / "album"))) as found:
        assert found.st_ino == os.stat(f"{tmp_path}/album{below}").st_ino


@pytest.mark.parametrize("path", [b"in/link", b"in/link/deep"])
def test_where_links_are_not_followed_nothing_is_over_there(root: int, path: bytes) -> None:
    assert failure(root, path, NOT_FOLLOWED) in {errno.ELOOP, errno.ENOTDIR}


def test_a_link_that_was_refused_is_as_if_links_were_not_followed(root: int) -> None:
    links = Links(follows=True)
    links.set(b"in/link", Refusal.REACHED)
    assert failure(root, b"in/link/deep", links) == errno.ELOOP


def test_a_link_that_no_scan_has_seen_is_not_followed_yet(root: int) -> None:
    assert failure(root, b"in/link", Links(follows=True)) == SEVERED


def bent(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("target", ["/etc", "/nothing", "/etc/passwd", "link"], ids=["else", "no", "file", "loop"])
def test_a_link_that_was_bent_is_not_followed_and_is_not_nothing(root: int, tmp_path: Path, target: str) -> None:
    allowed = to(tmp_path / "album")
    bent(tmp_path / "root" / "in" / "link", target)
    assert failure(root, b"in/link/deep", allowed) == SEVERED


def test_an_allowed_folder_that_was_moved_is_not_followed_to_its_new_place(root: int, tmp_path: Path) -> None:
    allowed = to(tmp_path / "album")
    (tmp_path / "another").mkdir()
    (tmp_path / "album").rename(tmp_path / "another" / "album")
    bent(tmp_path / "root" / "in" / "link", "../../another/album")
    assert failure(root, b"in/link/deep", allowed) == SEVERED


@pytest.mark.usefixtures("root")
def test_where_a_link_leads_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("root/in")
    found = os.stat(tmp_path / "album")
    expected = Target(path=os.fsencode(tmp_path / "album"), device=found.st_dev, inode=found.st_ino)
    assert led_to(os.fsencode(tmp_path / "way" / "link")) == expected


def test_a_folder_that_was_removed_is_led_to_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    descriptor = os.open(tmp_path / "folder", os.O_RDONLY)
    (tmp_path / "folder").rmdir()
    try:
        with pytest.raises(FileNotFoundError):
            led_to(b"/proc/self/fd/%d" % descriptor)
    finally:
        os.close(descriptor)


def test_what_is_not_there_is_told_from_what_a_link_leads_to(root: int, tmp_path: Path) -> None:
    allowed = to(tmp_path / "album")
    assert failure(root, b"in/link/nothing", allowed) == errno.ENOENT
    (tmp_path / "root" / "in" / "link").unlink()
    assert failure(root, b"in/link/deep", allowed) == errno.ENOENT
    (tmp_path / "root" / "in" / "link").write_bytes(b"a file")
    assert failure(root, b"in/link/deep", allowed) == errno.ENOTDIR


def test_links_behind_links_are_allowed_one_by_one(root: int, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "album" / "more").symlink_to(tmp_path / "other")
    allowed = to(tmp_path / "album")
    assert failure(root, b"in/link/more", allowed) == SEVERED
    found = os.stat(tmp_path / "other")
    target = Target(path=os.fsencode(tmp_path / "other"), device=found.st_dev, inode=found.st_ino)
    allowed.set(b"in/link/more", target)
    with opened(open_folder(root, b"in/link/more", allowed)) as there:
        assert there.st_ino == found.st_ino


@pytest.mark.parametrize("has_openat2", [True, False])
def test_it_is_the_same_where_the_kernel_has_no_openat2(
    root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_openat2: bool
) -> None:
    monkeypatch.setattr(links.files, "has_openat2", lambda: has_openat2)
    with opened(open_folder(root, b"in/link/deep", to(tmp_path / "album"))) as behind:
        assert os.path.samestat(behind, os.stat(tmp_path / "album" / "deep"))
    with opened(open_folder(root, b"in", to(tmp_path / "album"))) as plain:
        assert os.path.samestat(plain, os.stat(tmp_path / "root" / "in"))


def test_a_folder_of_ours_is_never_a_link_but_may_lie_behind_one(root: int, tmp_path: Path) -> None:
    (tmp_path / "album" / ".derivatives").mkdir()
    allowed = to(tmp_path / "album")
    with opened(open_beside(root, b"in/link/.derivatives", allowed)):
        pass
    (tmp_path / "root" / ".derivatives").symlink_to(tmp_path / "album")
    allowed.set(b".derivatives", allowed.target(b"in/link"))
    for kind in (allowed, NOT_FOLLOWED):
        assert failure(root, b".derivatives", kind, open_beside) in {errno.ELOOP, errno.ENOTDIR}


def test_a_source_is_looked_at_through_its_link(root: int, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"0123456789")
    for name, target in (("a.jpg", "../picture"), ("b.jpg", "nothing"), ("c.jpg", "c.jpg")):
        (tmp_path / "root" / name).symlink_to(target)
    follows = Links(follows=True)
    assert look_at(root, b"a.jpg", follows).st_size == 10
    assert look_at(root, b"a.jpg", NOT_FOLLOWED).st_size == len("../picture")
    codes = []
    for name in (b"b.jpg", b"c.jpg", b"d.jpg"):
        with pytest.raises(OSError, match=r".*") as raised:
            look_at(root, name, follows)
        codes.append(raised.value.errno)
    assert codes == [SEVERED, SEVERED, errno.ENOENT]
    assert [is_link(root, name) for name in (b"b.jpg", b"in", b"in/link", b"d.jpg")] == [True, False, True, False]
