import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.places import errno_of, first_block, mounted, no_leak
from watcherd.derivatives import copying
from watcherd.derivatives.memfds import CHUNK_BYTES

SIZES = [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5]
REFUSALS = [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM]
NO_ROOM = [errno.ENOSPC, errno.EDQUOT, errno.EIO]


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def refusing(number: int) -> Callable[..., int]:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return refuse


def copied(folder: Path, data: bytes, *, size: int | None = None) -> bytes:
    """What is in a file after another was copied to it; `size`: what the other was taken to have."""
    (folder / "a").write_bytes(data)
    with (folder / "a").open("rb") as source, (folder / "b").open("w+b") as target:
        wanted = len(data) if size is None else size
        count = copying.copy(source.fileno(), target.fileno(), wanted, step=lambda: None)
        assert count == os.fstat(target.fileno()).st_size
    return (folder / "b").read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_a_copy_is_whole(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert copied(tmp_path, data) == data


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", REFUSALS)
def test_where_blocks_cannot_be_shared_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, size: int
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refusing(number))
    data = os.urandom(size)
    assert copied(tmp_path, data) == data


@pytest.mark.parametrize("number", REFUSALS)
def test_where_the_file_system_does_not_copy_memory_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refusing(errno.EOPNOTSUPP))
    monkeypatch.setattr(os, "copy_file_range", refusing(number))
    data = os.urandom(2 * CHUNK_BYTES + 5)
    assert copied(tmp_path, data) == data


@pytest.mark.parametrize("fails_after", [0, 1, 2])
@pytest.mark.parametrize("ends_by", [0, errno.EXDEV])
def test_a_copy_that_ends_early_is_taken_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_after: int, ends_by: int
) -> None:
    copy_file_range = os.copy_file_range
    calls: list[int] = []

    def early(*arguments: int) -> int:
        calls.append(1)
        if len(calls) <= fails_after:
            return copy_file_range(*arguments)
        return refusing(ends_by)() if ends_by else 0

    monkeypatch.setattr(fcntl, "ioctl", refusing(errno.EOPNOTSUPP))
    monkeypatch.setattr(os, "copy_file_range", early)
    data = os.urandom(3 * CHUNK_BYTES + 5)
    assert copied(tmp_path, data) == data
    assert len(calls) == fails_after + 1


@pytest.mark.parametrize("number", NO_ROOM)
@pytest.mark.parametrize("way", ["ioctl", "copy_file_range"])
def test_an_error_of_the_disk_is_no_reason_for_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, number: int
) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refusing(number if way == "ioctl" else errno.ENOTTY))
    monkeypatch.setattr(os, "copy_file_range", refusing(number))
    assert errno_of(copied, tmp_path, b"12345") == number


def test_a_source_that_became_shorter_gives_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refusing(errno.EOPNOTSUPP))
    assert copied(tmp_path, b"12345", size=1_000) == b"12345"


def test_each_chunk_is_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", refusing(errno.EOPNOTSUPP))
    steps: list[int] = []
    (tmp_path / "a").write_bytes(bytes(2 * CHUNK_BYTES + 1))
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("w+b") as target:
        copying.copy(source.fileno(), target.fileno(), 2 * CHUNK_BYTES + 1, step=lambda: steps.append(1))
    assert len(steps) == 1 + 3


@pytest.mark.parametrize(("kind", "mebibytes"), [("btrfs", 120), ("xfs", 320)])
def test_where_the_file_system_can_the_blocks_are_shared(tmp_path: Path, kind: str, mebibytes: int) -> None:
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        data = os.urandom(2 * CHUNK_BYTES + 5)
        assert copied(disk, data) == data
        assert first_block(disk / "a") == first_block(disk / "b") != 0
        (disk / "b").write_bytes(b"another")
        assert (disk / "a").read_bytes() == data
