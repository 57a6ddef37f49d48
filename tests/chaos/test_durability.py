"""Power cuts with `durability = "fast"`: what had not reached the disk is made again, and nothing else is read."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon
from tests.chaos.pictures import fill

FAST = '[daemon]\ndurability = "fast"\n'
SIZE = (640, 480)
SHUTDOWN = 0x8004587D
"""ext4's and XFS's ioctl of that name (_IOR('X', 125, __u32)): from now on nothing reaches the disk."""
NO_LOG_FLUSH = 2
LAST_BLOCK = 4096


def damage(file: Path, change: Callable[[bytearray], None]) -> None:
    """Change a file as a power cut does, without a trace in its times."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def zeros(start: int, end: int | None) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[start:end] = bytes(len(data[start:end]))

    return change


WAYS: tuple[Callable[[bytearray], None], ...] = (
    bytearray.clear,
    zeros(0, None),
    zeros(-LAST_BLOCK, None),
    zeros(LAST_BLOCK, 2 * LAST_BLOCK),
    zeros(0, LAST_BLOCK),
)


def test_what_a_power_cut_left_half_made_is_made_again_and_older_derivatives_are_not_read(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    daemon = daemon_at(watched, config="")
    (old,) = fill(watched / "old", 1, size=SIZE)
    daemon.start().rested(sources=1)
    assert daemon.stop() == 0

    daemon.config = FAST
    new = fill(watched / "new", 12, first=1, size=SIZE)
    daemon.start().rested(sources=13)
    daemon.kill()
    for file, way in zip(new, WAYS, strict=False):
        damage(file.with_name(file.name + ".preview.jpg"), way)
    damage(new[0].with_name(new[0].name + ".thumbnail.jpg"), bytearray.clear)
    older = old.with_name(old.name + ".preview.jpg")
    whole, times = older.read_bytes(), older.stat()
    damage(older, zeros(LAST_BLOCK, 2 * LAST_BLOCK))
    touched = older.read_bytes()

    daemon.start().rested(sources=13)
    (line,) = daemon.lines("root.salvaged")
    assert (line["derivatives"], line["lost"]) == (24, len(WAYS) + 1)
    assert daemon.outcomes() == {"rendered": len(WAYS)}
    assert older.read_bytes() == touched
    older.write_bytes(whole)
    os.utime(older, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert audit(watched, daemon.state).problems == []


@pytest.fixture
def disk(place: Path) -> Iterator[Callable[[], Path]]:
    """Mounts an ext4 of its own, as often as it is called, in place of what was mounted before."""
    image, point = place / "image", place / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    except FileNotFoundError:
        pytest.skip("mkfs.ext4 is not installed")
    point.mkdir()

    def mount() -> Path:
        if os.path.ismount(point):
            subprocess.run(["umount", point], check=True)
        done = subprocess.run(["mount", "-o", "loop", image, point], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        return point

    yield mount
    while os.path.ismount(point):
        subprocess.run(["umount", "--lazy", point], check=True)


@pytest.mark.parametrize("durability", ["full", "fast"])
def test_a_disk_that_loses_its_power_has_every_derivative_after_the_next_start(
    disk: Callable[[], Path], daemon_at: Callable[..., Daemon], durability: str
) -> None:
    root = disk()
    fill(root, 30, size=SIZE)
    os.sync()
    daemon = daemon_at(root, config=f'[daemon]\ndurability = "{durability}"\n')
    daemon.start().rested(sources=30)
    daemon.kill()
    folder = os.open(root, os.O_RDONLY)
    fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    os.close(folder)

    disk()
    daemon.start().rested(sources=30)
    again = daemon.outcomes()["rendered"]
    print(f"durability {durability}: {again} of 30 were made again")
    assert audit(root, daemon.state).problems == []
    assert again == 0 or durability == "fast"
