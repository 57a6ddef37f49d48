"""The loop hears of a mount at once, and of nothing else."""

import selectors
import subprocess
from pathlib import Path

import pytest

from tests.places import no_leak
from watcherd.daemon.roots.mounting import MountTable
from watcherd.watch.mounts import MountsChanged

SOON_S = 5.0


def test_a_table_that_does_not_change_never_wakes_the_loop() -> None:
    """Others may mount things on this machine meanwhile; a descriptor that is always readable would wake each time."""
    with no_leak(), selectors.DefaultSelector() as selector:
        table = MountTable(selector)
        wakes = []
        for _ in range(20):
            ready = selector.select(0.05)
            for key, _ in ready:
                key.data()
            wakes.append(bool(ready))
        assert table.read()
        table.close()
    assert not all(wakes)


def until_listed(selector: selectors.BaseSelector, folder: Path, *, is_listed: bool) -> bool:
    """Whether the loop is woken with a table that has, or has not, something mounted at a folder."""
    while ready := selector.select(SOON_S):
        ((key, _),) = ready
        (item,) = key.data()
        assert isinstance(item, MountsChanged)
        if (str(folder).encode() in {mount.point for mount in item.table}) == is_listed:
            return True
    return False


def test_each_mount_and_each_unmount_wakes_the_loop(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with selectors.DefaultSelector() as selector:
        table = MountTable(selector)
        selector.select(0)
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False)
        if done.returncode != 0:
            table.close()
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode()}")
        mounted = until_listed(selector, folder, is_listed=True)
        subprocess.run(["umount", str(folder)], check=True)
        unmounted = until_listed(selector, folder, is_listed=False)
        table.close()
    assert (mounted, unmounted) == (True, True)
