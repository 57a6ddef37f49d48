import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import content, errno_of, memory, no_leak
from watcherd.derivatives import memfds
from watcherd.derivatives.memfds import CHUNK_BYTES


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
def test_a_copy_is_whole_and_sealed(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    with (tmp_path / "a").open("rb") as source:
        copy = memfds.sealed_copy(source.fileno(), size, step=lambda: None)
    assert (content(copy), memfds.is_sealed(copy), os.get_inheritable(copy)) == (data, True, False)
    os.close(copy)


def test_a_source_that_became_shorter_gives_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with (tmp_path / "a").open("rb") as source:
        copy = memfds.sealed_copy(source.fileno(), 1_000, step=lambda: None)
    assert content(copy) == b"12345"
    os.close(copy)


def test_a_growing_source_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with (tmp_path / "a").open("rb") as source:
        copy = memfds.sealed_copy(source.fileno(), 3, step=lambda: None)
    assert content(copy) == b"123"
    os.close(copy)


def test_each_chunk_is_a_step(tmp_path: Path) -> None:
    steps: list[int] = []
    (tmp_path / "a").write_bytes(bytes(2 * CHUNK_BYTES + 1))
    with (tmp_path / "a").open("rb") as source:
        os.close(memfds.sealed_copy(source.fileno(), 2 * CHUNK_BYTES + 1, step=lambda: steps.append(1)))
    assert sum(steps) == 3


def test_a_source_without_sendfile_is_read_and_written() -> None:
    with open("/proc/self/status", "rb") as source:
        copy = memfds.sealed_copy(source.fileno(), 100_000, step=lambda: None)
    assert content(copy).startswith(b"Name:")
    os.close(copy)


def test_what_cannot_be_read_raises_and_leaves_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as source:
        assert errno_of(lambda: memfds.sealed_copy(source.fileno(), 10, step=lambda: None)) != 0


def test_only_a_sealed_memory_file_counts_as_sealed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    reading, writing = os.pipe()
    opened = [
        memory(b"data"),
        memory(b"data", sealed=False),
        os.open(tmp_path / "file", os.O_RDONLY),
        os.open(tmp_path, os.O_RDONLY),
        os.open("/dev/shm", os.O_PATH),
        reading,
        writing,
    ]
    assert [memfds.is_sealed(descriptor) for descriptor in opened] == [True] + [False] * 6
    for descriptor in opened:
        os.close(descriptor)
    assert memfds.is_sealed(opened[0]) is False
