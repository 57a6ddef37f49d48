import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import RIGHT, STALE, mounted, names, no_leak, picture, place_at, read, write
from watcherd.derivatives.wrecks import Suspect
from watcherd.watch.hands.hands import Fault, Salvage, Salvaged, Sync, Synced, salvaging
from watcherd.watch.hands.salvaging import salvage, sync

WRITTEN = picture(RIGHT, size=200_000)
NAME = b"a.jpg.thumbnail.jpg"


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def suspect(path: bytes = NAME, **changes: object) -> Suspect:
    return Suspect(**{"paths": (path,), "checksum": zlib.crc32(WRITTEN), **changes})  # type: ignore[arg-type]


def salvaged(folder: Path, *suspects: Suspect) -> tuple[int, ...]:
    reply = salvage(place_at(folder), Salvage(ticket=5, suspects=suspects))
    assert isinstance(reply, Salvaged)
    return reply.wrecks


def test_what_was_written_is_sound(tmp_path: Path) -> None:
    write(tmp_path, NAME, WRITTEN)
    assert salvaged(tmp_path, suspect()) == ()
    assert read(tmp_path, NAME) == WRITTEN


@pytest.mark.parametrize(
    "left",
    [
        b"",
        bytes(200_000),
        bytes(17),
        WRITTEN[:4096],
        WRITTEN[:100_000] + bytes(100_000),
        WRITTEN[:8192] + bytes(4096) + WRITTEN[12288:],
        picture(STALE),
    ],
    ids=["empty", "zeros", "few zeros", "cut", "zero tail", "zero block", "stale"],
)
def test_what_a_power_cut_left_is_removed(tmp_path: Path, left: bytes) -> None:
    write(tmp_path, NAME, left)
    assert salvaged(tmp_path, suspect()) == (0,)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("checksum", [zlib.crc32(WRITTEN), None], ids=["written", "begun"])
@pytest.mark.parametrize("zeros", [4096, 3 << 20])
def test_a_file_that_begins_with_zeros_and_holds_something_behind_them_stays(
    tmp_path: Path, zeros: int, checksum: int | None
) -> None:
    write(tmp_path, NAME, bytes(zeros) + b"what somebody has written")
    assert salvaged(tmp_path, suspect(checksum=checksum)) == ()
    write(tmp_path, NAME, bytes(zeros))
    assert salvaged(tmp_path, suspect(checksum=checksum)) == (0,)


@pytest.mark.parametrize("left", [b"old blocks of the disk" * 1_000, bytes(4096) + WRITTEN[4096:]])
def test_what_cannot_be_told_by_its_content_is_told_by_its_time(tmp_path: Path, left: bytes) -> None:
    stamp = write(tmp_path, NAME, left)
    assert salvaged(tmp_path, suspect(recorded=(200_000, stamp.mtime_ns + 1))) == ()
    assert salvaged(tmp_path, suspect(recorded=(200_000, stamp.mtime_ns))) == (0,)


@pytest.mark.parametrize("kind", ["edited", "link", "folder", "fifo", "missing", "nowhere"])
def test_what_is_not_provably_ours_stays(tmp_path: Path, kind: str) -> None:
    full = tmp_path / os.fsdecode(NAME)
    match kind:
        case "edited":
            full.write_bytes(picture())
        case "link":
            full.symlink_to("/dev/zero")
        case "folder":
            full.mkdir()
        case "fifo":
            os.mkfifo(full)
    before = names(tmp_path)
    assert salvaged(tmp_path, suspect(b"no/where" if kind == "nowhere" else NAME)) == ()
    assert names(tmp_path) == before


def test_only_what_is_in_doubt_is_read(tmp_path: Path) -> None:
    stamp = write(tmp_path, NAME, WRITTEN)
    steps: list[str] = []
    place = place_at(tmp_path)
    place.steps.clock = lambda: steps.append(place.steps.operation) or 0.0  # type: ignore[func-returns-value]
    before = suspect(checksum=None, recorded=(stamp.size_bytes, stamp.mtime_ns))
    salvage(place, Salvage(ticket=5, suspects=(before,)))
    assert "read" not in steps
    assert names(tmp_path) == {NAME}


def test_wrecks_are_told_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, b"sub/a", b"")
    write(tmp_path, b"b", WRITTEN)
    write(tmp_path, b"c", bytes(9))
    assert salvaged(tmp_path, suspect(b"sub/a"), suspect(b"b"), suspect(b"c")) == (0, 2)


def test_a_root_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    place = place_at(tmp_path / "absent")
    assert isinstance(salvage(place, Salvage(ticket=5, suspects=(suspect(),))), Fault)
    assert isinstance(sync(place, Sync(ticket=5, folders=(b"",))), Fault)


def test_each_file_system_is_written_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(salvaging, "_syncfs", lambda descriptor: done.append(os.fstat(descriptor).st_dev))
    (tmp_path / "sub").mkdir()
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        folders = (b"", b"sub", b"disk", b"gone")
        assert sync(place_at(tmp_path), Sync(ticket=5, folders=folders)) == Synced(root=3, ticket=5)
        assert done == [os.stat(tmp_path).st_dev, os.stat(disk).st_dev]


def test_what_is_not_on_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "broken")

    assert isinstance(sync(place_at(tmp_path), Sync(ticket=5, folders=(b"",))), Synced)
    monkeypatch.setattr(salvaging, "_syncfs", fail)
    reply = sync(place_at(tmp_path), Sync(ticket=5, folders=(b"",)))
    assert isinstance(reply, Fault)
    assert (reply.errno, reply.operation) == (5, "syncfs")
