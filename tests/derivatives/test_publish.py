import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.places import (
    INSTANCE,
    NOBODY,
    RIGHT,
    RUN,
    STALE,
    STRANGE_NAMES,
    as_nobody,
    errno_of,
    item,
    memory,
    names,
    no_leak,
    picture,
    public_folder,
    read,
    write,
)
from watcherd.derivatives.memfds import seal
from watcherd.derivatives.publish import (
    MAX_DERIVATIVE_BYTES,
    Item,
    Result,
    Terms,
    defect,
    publish,
    remove,
    remove_temporary,
)
from watcherd.derivatives.renaming import At
from watcherd.model import Derivative, Disturbed, Outcome
from watcherd.naming import Mark, temporary_name

PREVIEW_MARK = Mark(variant="preview", digest=bytes(range(32)), fingerprint=-8)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """An open folder with a source in it."""
    with no_leak():
        write(tmp_path, b"a.jpg", b"source")
        descriptor = os.open(tmp_path, os.O_RDONLY)
        yield descriptor
        os.close(descriptor)


def temporaries() -> Callable[[], bytes]:
    numbers = count()
    return lambda: temporary_name(INSTANCE, RUN, f"{next(numbers):012x}")


def terms(folder: int, **changes: object) -> Terms:
    like = os.stat(b"a.jpg", dir_fd=folder)
    usual = Terms(like=like, temporary=temporaries(), hindrance=lambda: None, step=lambda _: None)
    return replace(usual, **changes)  # type: ignore[arg-type]


def published(folder: int, *items: Item, **changes: object) -> Result | Outcome:
    """Publish into one folder, and close the items as their owner does."""
    try:
        return publish([(folder, one) for one in items], terms(folder, **changes))
    finally:
        for one in items:
            os.close(one.fd)


def derivative(folder: int, one: Item) -> Derivative:
    """The derivative as it stands at its name."""
    found = os.stat(one.path, dir_fd=folder)
    return Derivative(
        variant=one.variant,
        fingerprint=one.mark.fingerprint,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        width=200,
        height=150,
    )


# ------------------------------------------------------------------------------------------------------------- publish


def test_derivatives_appear_under_their_names(folder: int, tmp_path: Path) -> None:
    items = item(b"t.jpg"), item(b"p.jpg", mark=PREVIEW_MARK, data=picture(PREVIEW_MARK, size=3_000_000))
    result = published(folder, *items)
    expected = tuple(derivative(folder, one) for one in items)
    assert result == Result(derivatives=expected, adopted=(), taken=())
    assert names(tmp_path) == {b"a.jpg", b"t.jpg", b"p.jpg"}
    assert read(tmp_path, b"p.jpg") == picture(PREVIEW_MARK, size=3_000_000)


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_derivative_may_be_called_anything(folder: int, tmp_path: Path, name: bytes) -> None:
    published(folder, item(name))
    assert read(tmp_path, name) == picture(RIGHT)


def test_everything_is_durable_before_it_is_visible(folder: int, tmp_path: Path) -> None:
    steps: list[tuple[str, bool]] = []

    def step(operation: str) -> None:
        steps.append((operation, b"t.jpg" in names(tmp_path) or b"p.jpg" in names(tmp_path)))

    published(folder, item(b"t.jpg"), item(b"p.jpg", mark=PREVIEW_MARK), step=step)
    one = [("look", False), ("create", False), ("write", False), ("dress", False)]
    syncs = [("fsync", False), ("fsync", False), ("stat", False)]
    assert steps == [*one, *one, *syncs, ("rename", False), ("rename", True), ("fsync_folder", True)]


def test_a_right_derivative_is_adopted_as_it_stands(folder: int, tmp_path: Path) -> None:
    stamp = write(tmp_path, b"t.jpg", picture(RIGHT, size=5_000))
    one = item(b"t.jpg")
    result = published(folder, one)
    assert result == Result(derivatives=(derivative(folder, one),), adopted=("thumbnail",), taken=())
    assert (tmp_path / "t.jpg").stat().st_ino == stamp.inode


def of_twin(tmp_path: Path, data: bytes) -> Item:
    """An item whose bytes are those of a twin's derivative, as it lies on the disk."""
    write(tmp_path, b"twin", data)
    fd = os.open(tmp_path / "twin", os.O_RDONLY)
    return Item(variant="thumbnail", path=b"t.jpg", fd=fd, mark=RIGHT, width=200, height=150, of_twin=True)


def test_a_twins_derivative_is_copied_from_its_file(folder: int, tmp_path: Path) -> None:
    one = of_twin(tmp_path, picture(RIGHT, size=200_000))
    assert defect(one) is None
    done = published(folder, one)
    assert done == Result(derivatives=(derivative(folder, one),), adopted=(), taken=())
    assert read(tmp_path, b"t.jpg") == picture(RIGHT, size=200_000)
    assert names(tmp_path) == {b"a.jpg", b"twin", b"t.jpg"}


@pytest.mark.parametrize("data", [b"", b"\0" * 1_000, picture(STALE), picture(), picture(RIGHT)[:-2]])
def test_a_twins_derivative_that_changed_while_it_was_copied_is_not_published(
    folder: int, tmp_path: Path, data: bytes
) -> None:
    assert published(folder, of_twin(tmp_path, data)) == Disturbed()
    assert names(tmp_path) == {b"a.jpg", b"twin"}


def test_a_stale_derivative_is_replaced(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"t.jpg", picture(STALE))
    one = item(b"t.jpg")
    result = published(folder, one)
    assert result == Result(derivatives=(derivative(folder, one),), adopted=(), taken=())
    assert read(tmp_path, b"t.jpg") == picture(RIGHT)


@pytest.mark.parametrize("data", [b"", b"my notes", picture()])
def test_a_foreign_file_is_left_and_the_others_are_published(folder: int, tmp_path: Path, data: bytes) -> None:
    write(tmp_path, b"t.jpg", data)
    other = item(b"p.jpg", mark=PREVIEW_MARK)
    result = published(folder, item(b"t.jpg"), other)
    assert result == Result(derivatives=(derivative(folder, other),), adopted=(), taken=(b"t.jpg",))
    assert (read(tmp_path, b"t.jpg"), len(names(tmp_path))) == (data, 3)


def test_a_link_planted_at_a_derivatives_name_is_neither_followed_nor_replaced(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"victim", picture(STALE))
    (tmp_path / "t.jpg").symlink_to("victim")
    result = published(folder, item(b"t.jpg"))
    assert result == Result(derivatives=(), adopted=(), taken=(b"t.jpg",))
    assert (read(tmp_path, b"victim"), os.readlink(tmp_path / "t.jpg")) == (picture(STALE), "victim")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_fifo_at_a_derivatives_name_is_left(
    folder: int, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "t.jpg")
    assert published(folder, item(b"t.jpg")) == Result(derivatives=(), adopted=(), taken=(b"t.jpg",))


def test_a_link_planted_at_the_temporary_name_is_not_followed(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"victim", b"precious")
    (tmp_path / "planted").symlink_to("victim")
    number = errno_of(lambda: published(folder, item(b"t.jpg"), temporary=lambda: b"planted"))
    assert number == errno.EEXIST
    assert (read(tmp_path, b"victim"), (tmp_path / "planted").is_symlink()) == (b"precious", True)


def test_a_name_taken_while_we_wrote_is_left(folder: int, tmp_path: Path) -> None:
    def meddle() -> None:
        write(tmp_path, b"t.jpg", b"theirs")

    assert published(folder, item(b"t.jpg"), hindrance=meddle) == Result(derivatives=(), adopted=(), taken=(b"t.jpg",))
    assert (read(tmp_path, b"t.jpg"), len(names(tmp_path))) == (b"theirs", 2)


def test_a_hindrance_leaves_everything_as_it_was(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"t.jpg", picture(STALE))
    result = published(folder, item(b"t.jpg"), item(b"p.jpg", mark=PREVIEW_MARK), hindrance=Disturbed)
    assert result == Disturbed()
    assert (names(tmp_path), read(tmp_path, b"t.jpg")) == ({b"a.jpg", b"t.jpg"}, picture(STALE))


@pytest.mark.parametrize("fails_at", ["create", "write", "dress", "fsync", "stat", "rename"])
@pytest.mark.parametrize("which", [1, 2])
def test_an_error_at_any_step_leaves_no_temporary_file(folder: int, tmp_path: Path, fails_at: str, which: int) -> None:
    passed: list[str] = []

    def step(operation: str) -> None:
        passed.append(operation)
        if passed.count(fails_at) == min(which, 1 if fails_at == "stat" else 2):
            raise OSError(errno.EIO, "")

    number = errno_of(lambda: published(folder, item(b"t.jpg"), item(b"p.jpg", mark=PREVIEW_MARK), step=step))
    expected = {b"a.jpg", b"t.jpg"} if (fails_at, which) == ("rename", 2) else {b"a.jpg"}
    assert (number, names(tmp_path)) == (errno.EIO, expected)


# ------------------------------------------------------------------------------------------------------ mode and owner


@pytest.mark.parametrize(
    ("source", "expected"),
    [(0o644, 0o644), (0o640, 0o640), (0o600, 0o600), (0o777, 0o666), (0o6755, 0o644), (0o444, 0o444)],
)
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_the_mode_is_the_sources_whatever_the_umask(
    folder: int, tmp_path: Path, source: int, expected: int, umask: int
) -> None:
    (tmp_path / "a.jpg").chmod(source)
    before = os.umask(umask)
    try:
        published(folder, item(b"t.jpg"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "t.jpg").stat().st_mode) == expected


def test_nobody_else_reads_a_derivative_before_it_is_dressed(folder: int, tmp_path: Path) -> None:
    modes: list[int] = []

    def step(operation: str) -> None:
        if operation == "dress":
            modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob(".watcherd-*"))

    published(folder, item(b"t.jpg"), step=step)
    assert modes == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_a_derivative_to_the_sources_owner(folder: int, tmp_path: Path) -> None:
    os.chown(tmp_path / "a.jpg", 1234, 5678)
    published(folder, item(b"t.jpg"))
    found = (tmp_path / "t.jpg").stat()
    assert (found.st_uid, found.st_gid) == (1234, 5678)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of another user")
@pytest.mark.parametrize(("source", "expected"), [(0o664, 0o644), (0o640, 0o600), (0o044, 0o444), (0o004, 0o404)])
def test_where_the_group_stays_ours_it_reads_no_more_than_everybody(source: int, expected: int) -> None:
    with public_folder() as root, no_leak():
        write(root, b"a.jpg", b"source")
        (root / "a.jpg").chmod(source)
        folder = os.open(root, os.O_RDONLY)
        with as_nobody():
            published(folder, item(b"t.jpg"))
        os.close(folder)
        found = (root / "t.jpg").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (expected, NOBODY, NOBODY)


# -------------------------------------------------------------------------------------------------------------- defect


def with_fd(fd: int) -> Item:
    return Item(variant="thumbnail", path=b"t.jpg", fd=fd, mark=RIGHT, width=1, height=1)


def test_sealed_memory_with_its_mark_has_no_defect() -> None:
    one = item(b"t.jpg")
    assert defect(one) is None
    os.close(one.fd)


def test_an_untrusted_descriptor_is_refused_for_what_it_is(tmp_path: Path) -> None:
    write(tmp_path, b"file", picture(RIGHT))
    too_large = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(too_large, MAX_DERIVATIVE_BYTES + 1)
    seal(too_large)
    unsealed = "thumbnail: what the worker handed back is no sealed memory file"
    allowed = f"allowed are 1 to {MAX_DERIVATIVE_BYTES}"
    cases = [
        (memory(picture(RIGHT), sealed=False), unsealed),
        (os.open(tmp_path / "file", os.O_RDONLY), unsealed),
        (os.open("/dev/zero", os.O_RDONLY), unsealed),
        (memory(b""), f"thumbnail: the worker handed back 0 bytes, {allowed}"),
        (too_large, f"thumbnail: the worker handed back {MAX_DERIVATIVE_BYTES + 1} bytes, {allowed}"),
        (memory(picture()), "thumbnail: the derivative does not carry its mark"),
        (memory(picture(STALE)), "thumbnail: the derivative does not carry its mark"),
    ]
    assert [defect(with_fd(fd)) for fd, _ in cases] == [text for _, text in cases]
    for fd, _ in cases:
        os.close(fd)


# -------------------------------------------------------------------------------------------------------------- remove


def test_a_derivative_as_it_was_recorded_is_removed(folder: int, tmp_path: Path) -> None:
    stamp = write(tmp_path, b"t.jpg", b"its mark was stripped")
    at = At(directory=folder, name=b"t.jpg")
    assert remove(at, size_bytes=stamp.size_bytes, mtime_ns=stamp.mtime_ns) is True
    assert names(tmp_path) == {b"a.jpg"}


def test_a_derivative_with_our_mark_is_removed_whatever_its_times(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"t.jpg", picture(STALE))
    assert remove(At(directory=folder, name=b"t.jpg"), size_bytes=1_000, mtime_ns=1) is True
    assert names(tmp_path) == {b"a.jpg"}


def test_another_derivative_of_ours_at_the_same_name_is_not_removed(folder: int, tmp_path: Path) -> None:
    """What was to be removed is gone already; this one was made since, of another content."""
    write(tmp_path, b"t.jpg", picture(STALE, size=2_000))
    assert remove(At(directory=folder, name=b"t.jpg"), size_bytes=1_000, mtime_ns=1) is False
    assert names(tmp_path) == {b"a.jpg", b"t.jpg"}


def test_anothers_file_is_not_removed(folder: int, tmp_path: Path) -> None:
    write(tmp_path, b"t.jpg", picture())
    assert remove(At(directory=folder, name=b"t.jpg"), size_bytes=1, mtime_ns=1) is False
    assert names(tmp_path) == {b"a.jpg", b"t.jpg"}


def test_a_link_is_not_removed_even_as_recorded(folder: int, tmp_path: Path) -> None:
    (tmp_path / "t.jpg").symlink_to("a.jpg")
    found = (tmp_path / "t.jpg").lstat()
    at = At(directory=folder, name=b"t.jpg")
    assert remove(at, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns) is False


def test_what_is_gone_is_removed(folder: int) -> None:
    assert remove(At(directory=folder, name=b"t.jpg"), size_bytes=1, mtime_ns=1) is True


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        (temporary_name(INSTANCE, "0000000b", "0" * 12), True),
        (temporary_name(INSTANCE, RUN, "0" * 12), False),
        (temporary_name("00000002", "0000000b", "0" * 12), False),
        (b"a.jpg.thumbnail.jpg", False),
        (b".watcherd-notes", False),
    ],
)
def test_only_temporary_files_of_earlier_runs_of_this_instance_are_swept(
    folder: int, tmp_path: Path, name: bytes, removed: bool
) -> None:
    write(tmp_path, name, b"half")
    assert remove_temporary(At(directory=folder, name=name), instance=INSTANCE, run=RUN) == removed
    assert (name not in names(tmp_path)) == removed
