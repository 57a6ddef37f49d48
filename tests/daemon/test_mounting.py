"""The loop hears of a mount at once, and of nothing else."""

import selectors
import subprocess
from pathlib import Path

import pytest

from tests.places import no_leak
from watcherd.daemon.mounting import MountTable
from watcherd.watch.mounts import MountsChanged

SOON_S = 5.0


def test_a_table_that_does_not_change_never_wakes_the_loop() -> None:
    with no_leak(), selectors.DefaultSelector() as selector:
        table = MountTable(selector)
        selector.select(0)  # what happened before it was opened
        assert selector.select(0.05) == []
        assert table.read()
        table.close()


def test_each_mount_and_each_unmount_wakes_the_loop_once(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with selectors.DefaultSelector() as selector:
        table = MountTable(selector)
        selector.select(0)
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False)
        if done.returncode != 0:
            table.close()
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode()}")
        points = []
        for command in ((), ("umount", str(folder))):
            if command:
                subprocess.run(command, check=True)
            ((key, _),) = selector.select(SOON_S)
            (item,) = key.data()
            assert isinstance(item, MountsChanged)
            points.append(str(folder).encode() in {mount.point for mount in item.table})
        table.close()
    assert points == [True, False]
