"""Disks that come and go: file systems in files, mounted by loop devices."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.harness import eventually

MEBIBYTE = 1024 * 1024
SIZES = {"ext4": 64 * MEBIBYTE, "btrfs": 160 * MEBIBYTE, "xfs": 320 * MEBIBYTE}
"""About the least that each of them can be made with; the files are sparse."""
_QUIETLY = {"ext4": ("-q", "-F"), "btrfs": ("-q",), "xfs": ("-q",)}


@dataclass(slots=True)
class Disk:
    """A file system in a file, mounted and unmounted as often as one likes."""

    image: Path
    point: Path
    kind: str = "ext4"
    devices: list[str] = field(default_factory=list)
    """The device numbers that it had."""

    def make(self) -> None:
        """Make the file system. Skips where the program for that is not installed."""
        program = shutil.which(f"mkfs.{self.kind}")
        if program is None:
            pytest.skip(f"mkfs.{self.kind} is not installed")
        with self.image.open("wb") as file:
            file.truncate(SIZES[self.kind])
        subprocess.run([program, *_QUIETLY[self.kind], self.image], check=True)
        self.point.mkdir(exist_ok=True)

    def mount(self) -> None:
        """Put it in its place. Skips where that is not permitted, or not known to the kernel."""
        done = subprocess.run(
            ["mount", "-o", "loop", self.image, self.point], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"{self.kind} cannot be mounted here: {done.stderr.strip()}")
        self.devices.append(str(os.stat(self.point).st_dev))

    def unmount(self) -> None:
        """Take it away, as soon as nobody has a file of it open."""
        what = f"{self.point} is not busy"
        eventually(lambda: subprocess.run(["umount", self.point], check=False).returncode == 0, within_s=20, what=what)

    def clean_up(self) -> None:
        """Leave nothing mounted."""
        while os.path.ismount(self.point):
            subprocess.run(["umount", "--lazy", self.point], check=True)


Disks = Callable[..., Disk]
