"""A folder's listing: what it holds, and a digest that tells when any of it has changed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from watcherd.watch.files import stamp_of
from watcherd.watch.scanning import listing
from watcherd.watch.scanning.listing import Listing, Stopped, name_of


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(folder: Path, *, keeps_identity: bool = True, most: int = listing.MOST_FILES) -> Listing:
    with opened(folder) as descriptor:
        return Listing.read(descriptor, lambda: False, keeps_identity=keeps_identity, most=most)


def fill(folder: Path, names: list[bytes]) -> None:
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(b"x" * len(name))


NAMES = [b"b.jpg", b"a.jpg", b"a.jpg.thumbnail.jpg", b"no \xff text.jpg", "größe.jpg".encode(), b".watcherd-1.tmp"]


@pytest.mark.parametrize("block", [1, 2, 500])
def test_rows_are_the_regular_files_in_the_order_of_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(listing, "BLOCK_ENTRIES", block)
    fill(tmp_path, NAMES)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe")

    found = read(tmp_path)
    assert [name_of(row) for row in found.rows] == sorted(NAMES)
    assert [found.stamp_of(row) for row in found.rows] == [
        stamp_of(os.stat(os.path.join(os.fsencode(tmp_path), name))) for name in sorted(NAMES)
    ]
    assert (found.files, found.folders, found.own, found.is_whole) == (6, [b"folder"], [b".watcherd-1.tmp"], True)
    assert found.find(b"a.jpg") == stamp_of(os.stat(tmp_path / "a.jpg"))
    assert [found.find(name) for name in (b"a", b"a.jpg.", b"zz", b"folder", b"link.jpg")] == [None] * 5


def touch(path: Path) -> None:
    os.utime(path, ns=(0, 1_000_000_001))


def rewrite(path: Path) -> None:
    times = path.stat()
    path.write_bytes(b"other")  # of the same length
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace_by_another_inode(path: Path) -> None:
    times = path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.rename(path)


CHANGES: list[Callable[[Path], object]] = [
    touch,
    rewrite,
    replace_by_another_inode,
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_name("c.jpg")),
    lambda path: path.with_name("c.jpg").touch(),
    lambda path: os.truncate(path, 1),
    lambda path: os.link(path, path.with_name("c.jpg")),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("most", [0, 100])
def test_any_change_of_a_file_changes_the_digest_whether_rows_are_kept_or_not(
    tmp_path: Path, change: Callable[[Path], object], most: int
) -> None:
    fill(tmp_path, [b"a.jpg", b"b.jpg"])
    before = read(tmp_path, most=most)
    assert read(tmp_path, most=100 - most).digest(1) == before.digest(1)
    change(tmp_path / "a.jpg")
    assert read(tmp_path, most=most).digest(1) != before.digest(1)
    assert before.digest(1) != before.digest(2)


def test_what_two_files_exchange_changes_the_digest(tmp_path: Path) -> None:
    fill(tmp_path, [b"a.jpg", b"b.jpg"])
    for number, name in enumerate(("a.jpg", "b.jpg")):
        os.utime(tmp_path / name, ns=(0, number))
    before = read(tmp_path, keeps_identity=False).digest(1)
    for number, name in enumerate(("b.jpg", "a.jpg")):
        os.utime(tmp_path / name, ns=(0, number))
    assert read(tmp_path, keeps_identity=False).digest(1) != before


@pytest.mark.parametrize("change", [rewrite, replace_by_another_inode, lambda path: path.chmod(0o600)])
def test_where_ctime_and_inode_are_not_kept_they_are_not_in_the_digest(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    fill(tmp_path, [b"a.jpg", b"b.jpg"])
    before = read(tmp_path, keeps_identity=False).digest(1)
    assert before != read(tmp_path).digest(1)
    change(tmp_path / "a.jpg")
    assert read(tmp_path, keeps_identity=False).digest(1) == before
    touch(tmp_path / "a.jpg")
    assert read(tmp_path, keeps_identity=False).digest(1) != before


@pytest.mark.parametrize("block", [1, 2, 3])
def test_sub_folders_and_the_size_of_blocks_are_not_in_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    fill(tmp_path, NAMES)
    before = read(tmp_path).digest(1)
    monkeypatch.setattr(listing, "BLOCK_ENTRIES", block)
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    assert read(tmp_path).digest(1) == before


def test_of_more_files_than_are_kept_only_the_digest_is_known(tmp_path: Path) -> None:
    fill(tmp_path, NAMES)
    (tmp_path / "folder").mkdir()
    found = read(tmp_path, most=5)
    assert (found.files, found.is_whole) == (6, False)
    assert (found.folders, found.own) == ([b"folder"], [b".watcherd-1.tmp"])
    assert read(tmp_path, most=6).is_whole


def test_times_beyond_64_bits_are_exact_and_in_the_digest(tmp_path: Path) -> None:
    fill(tmp_path, [b"a.jpg", b"b.jpg"])
    before = read(tmp_path).digest(1)
    far = 15_000_000_000
    os.utime(tmp_path / "a.jpg", (far, far))
    if (tmp_path / "a.jpg").stat().st_mtime_ns < 2**63:
        pytest.skip("this file system holds no such times")
    found = read(tmp_path)
    assert found.find(b"a.jpg") == stamp_of((tmp_path / "a.jpg").stat())
    assert found.find(b"b.jpg") == stamp_of((tmp_path / "b.jpg").stat())
    assert found.digest(1) != before


def test_a_file_that_vanishes_while_its_folder_is_read_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, [b"a.jpg", b"b.jpg"])
    really = listing.islice

    def removing(*args: object) -> object:
        entries = list(really(*args))  # type: ignore[call-overload]
        (tmp_path / "a.jpg").unlink(missing_ok=True)
        return entries

    monkeypatch.setattr(listing, "islice", removing)
    found = read(tmp_path)
    assert ([name_of(row) for row in found.rows], found.unreadable) == ([b"b.jpg"], {})


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    fill(tmp_path, [b"a.jpg"])
    with opened(tmp_path) as descriptor, pytest.raises(Stopped):
        Listing.read(descriptor, lambda: True)


def test_links_are_sorted_by_what_they_lead_to_where_they_are_followed(tmp_path: Path) -> None:
    fill(tmp_path, [b"a.jpg"])
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("b.jpg", "a.jpg"), ("way", "folder"), ("tap", "pipe"), ("no", "nothing"), ("me", "me")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / ".watcherd-2.tmp").symlink_to("a.jpg")
    with opened(tmp_path) as descriptor:
        found = Listing.read(descriptor, lambda: False, follows=True)
    assert [name_of(row) for row in found.rows] == [b"a.jpg", b"b.jpg"]
    assert found.find(b"b.jpg") == stamp_of(os.stat(tmp_path / "a.jpg"))
    assert (found.files, found.linked, found.links, found.folders) == (2, {b"b.jpg"}, [b"way"], [b"folder"])
    assert (found.dangling, found.own, found.unreadable) == ({b"no", b"me"}, [], {})


@pytest.mark.parametrize("most", [listing.MOST_FILES, 1])
def test_a_link_counts_in_the_digest_also_while_it_leads_nowhere(tmp_path: Path, most: int) -> None:
    def digest() -> int:
        with opened(tmp_path) as descriptor:
            return Listing.read(descriptor, lambda: False, most=most, follows=True).digest(1)

    fill(tmp_path, [b"a.jpg", b"c.jpg"])
    seen = [digest()]
    (tmp_path / "b.jpg").symlink_to("no.jpg")
    seen.append(digest())
    fill(tmp_path, [b"no.jpg"])
    seen.append(digest())
    (tmp_path / "no.jpg").unlink()
    assert (len(set(seen)), digest()) == (3, seen[1])
    (tmp_path / "b.jpg").unlink()
    assert digest() == seen[0]
