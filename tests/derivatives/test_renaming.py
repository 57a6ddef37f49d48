import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.places import RIGHT, STALE, errno_of, names, no_leak, picture, read, write
from watcherd.derivatives import renaming
from watcherd.derivatives.renaming import At, Judgement, bring, judge, rename_to_free, sync_folder
from watcherd.derivatives.standing import Standing

Names = tuple[At, At]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Names]:
    """An old name in one folder (with a file of ours), a new one in another."""
    with no_leak():
        for name in ("here", "there"):
            (tmp_path / name).mkdir()
        write(tmp_path, b"here/old", picture(RIGHT))
        here, there = (os.open(tmp_path / name, os.O_RDONLY) for name in ("here", "there"))
        yield At(directory=here, name=b"old"), At(directory=there, name=b"new")
        os.close(here)
        os.close(there)


def no_renameat2(*_: object) -> int:
    """A file system that does not know the flag: NFS says so."""
    renaming.ctypes.set_errno(errno.EINVAL)
    return -1


def no_link(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "no hard links here")


@pytest.fixture(params=["renameat2", "without renameat2 in the C library", "link and unlink", "look and rename"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the ways in turn, by file systems (and a C library) that lack the better ones."""
    if request.param.startswith("without"):
        monkeypatch.setattr(renaming, "_renameat2", None)
    elif request.param != "renameat2":
        monkeypatch.setattr(renaming, "_renameat2", no_renameat2)
    if request.param == "look and rename":
        monkeypatch.setattr(os, "link", no_link)
    return str(request.param)


@pytest.mark.usefixtures("way")
class TestEachWay:
    def test_a_file_gets_its_name(self, ends: Names, tmp_path: Path) -> None:
        assert rename_to_free(*ends) is True
        assert (names(tmp_path / "here"), names(tmp_path / "there")) == (set(), {b"new"})
        assert read(tmp_path, b"there/new") == picture(RIGHT)

    def test_what_stands_there_stays(self, ends: Names, tmp_path: Path) -> None:
        write(tmp_path, b"there/new", b"theirs")
        assert rename_to_free(*ends) is False
        assert (read(tmp_path, b"there/new"), names(tmp_path / "here")) == (b"theirs", {b"old"})

    def test_a_dangling_link_stands_there_as_well(self, ends: Names, tmp_path: Path) -> None:
        (tmp_path / "there" / "new").symlink_to("nothing")
        assert rename_to_free(*ends) is False
        assert os.readlink(tmp_path / "there" / "new") == "nothing"

    def test_an_error_is_raised(self, ends: Names) -> None:
        old, new = ends
        assert errno_of(rename_to_free, At(directory=old.directory, name=b"missing"), new) == errno.ENOENT


@pytest.mark.parametrize(
    ("mark", "judgement"), [(RIGHT, Judgement.RIGHT), (STALE, Judgement.STALE), (None, Judgement.FOREIGN)]
)
def test_what_stands_is_judged_by_its_mark(mark: renaming.Mark | None, judgement: Judgement) -> None:
    assert judge(Standing(mark=mark, size_bytes=1, mtime_ns=1, inode=1), RIGHT) == judgement


def test_nothing_is_a_free_name() -> None:
    assert judge(None, RIGHT) == Judgement.FREE


@pytest.mark.parametrize(
    ("there", "judgement", "result"),
    [
        (None, Judgement.FREE, picture(RIGHT)),
        (picture(STALE), Judgement.STALE, picture(RIGHT)),
        (picture(RIGHT, size=5_000), Judgement.RIGHT, picture(RIGHT, size=5_000)),
        (picture(), Judgement.FOREIGN, picture()),
        (b"", Judgement.FOREIGN, b""),
    ],
)
def test_only_a_free_name_or_a_stale_file_of_ours_is_taken(
    ends: Names, tmp_path: Path, there: bytes | None, judgement: Judgement, result: bytes
) -> None:
    if there is not None:
        write(tmp_path, b"there/new", there)
    assert bring(*ends, RIGHT) == judgement
    assert read(tmp_path, b"there/new") == result


def test_a_name_that_is_taken_at_the_last_moment_is_left(
    ends: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really: Callable[..., object] = renaming.rename_to_free

    def somebody_was_quicker(old: At, new: At) -> object:
        write(tmp_path, b"there/new", b"theirs")
        return really(old, new)

    monkeypatch.setattr(renaming, "rename_to_free", somebody_was_quicker)
    assert bring(*ends, RIGHT) == Judgement.FOREIGN
    assert read(tmp_path, b"there/new") == b"theirs"


def test_a_folder_that_cannot_be_synced_is_none_of_our_business() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    assert errno_of(os.fsync, descriptor) == errno.EINVAL
    assert errno_of(sync_folder, descriptor) == 0
    os.close(descriptor)


def test_a_failing_sync_is_told() -> None:
    descriptor = os.open("/", os.O_PATH)
    assert errno_of(sync_folder, descriptor) == errno.EBADF
    os.close(descriptor)
