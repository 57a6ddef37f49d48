"""Disks mounted below a root: what lies on one that is not mounted is away, and nothing of it is gone."""

import os
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.disks import Disk, Disks
from tests.chaos.harness import QUICK_SETTLE, Daemon, command, eventually
from tests.chaos.pictures import fill, jpeg, put

CONFIG = QUICK_SETTLE + "[daemon]\nforget_after_s = 1\nrescan_interval_s = 10\nbrake_share = 1.0\n"
"""What is gone would be forgotten soon, and nothing would hold its derivatives back."""
MANY = 12


@pytest.fixture
def disk(watched: Path, disk_at: Disks) -> Disk:
    """A disk with pictures at a folder of the root, in which there are others."""
    found = disk_at("card", watched / "mnt")
    found.mount()
    (found.point / "lost+found").rmdir()
    fill(found.point / "in" / "deep", MANY)
    fill(watched / "local", 3, first=500)
    return found


def daemon_of(daemon: Daemon) -> Daemon:
    daemon.config = CONFIG
    return daemon


def decodes(daemon: Daemon) -> int:
    return sum(daemon.rendered().values())


def scanned_whole(daemon: Daemon) -> None:
    """Wait for two more scans of the whole root: what one of them finds missing, the next would have forgotten."""
    before = len(whole_scans(daemon))
    eventually(lambda: len(whole_scans(daemon)) >= before + 2, within_s=40, what="two more scans", every_s=0.3)


def whole_scans(daemon: Daemon) -> list[object]:
    return [line for line in daemon.lines("scan.ended") if line["directory"] == ""]


def all_right(watched: Path, daemon: Daemon, *, sources: int, decoded: int) -> None:
    assert daemon.rested(sources=sources)["done"] == sources
    assert decodes(daemon) == decoded
    report = audit(watched, daemon.state)
    assert (report.problems, report.derivatives) == ([], 2 * sources)


@pytest.mark.timeout(180)
def test_a_disk_below_a_root_that_is_unmounted_and_mounted_again_loses_nothing(
    watched: Path, disk: Disk, daemon: Daemon
) -> None:
    daemon_of(daemon).start().rested(sources=MANY + 3)
    disk.unmount()
    daemon.wait_for("mount.away", within_s=5, where=lambda line: line["directory"] == "mnt")
    told = command("status", "--state-dir", daemon.state).stdout
    assert "; its disk is away: mnt" in told, told
    put(watched / "local" / "meanwhile.jpg", jpeg(700))
    put(watched / "mnt" / "misplaced.jpg", jpeg(701))
    scanned_whole(daemon)
    assert daemon.rested(sources=MANY + 4)["done"] == MANY + 4, "the disk's are kept, and the others go on"
    assert os.listdir(watched / "mnt") == ["misplaced.jpg"], "nothing is done in the place of a disk"
    (watched / "mnt" / "misplaced.jpg").unlink()

    disk.mount()
    daemon.wait_for("mount.back", within_s=5)
    put(disk.point / "in" / "new.jpg", jpeg(702))
    all_right(watched, daemon, sources=MANY + 5, decoded=MANY + 5)
    assert daemon.lines("source.gone") == []
    (disk.point / "in" / "deep" / "p000000.jpg").unlink()
    eventually(lambda: daemon.lines("source.gone"), within_s=20, what="a deletion is one again")
    assert daemon.stop() == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("has_folder", [True, False])
def test_a_disk_below_a_root_that_is_unmounted_while_the_daemon_is_stopped_loses_nothing(
    watched: Path, disk: Disk, daemon: Daemon, *, has_folder: bool
) -> None:
    daemon_of(daemon).start().rested(sources=MANY + 3)
    assert daemon.stop() == 0
    disk.unmount()
    if not has_folder:  # as udisks leaves it
        disk.point.rmdir()
    daemon.start()
    scanned_whole(daemon)
    assert daemon.status()["sources"]["done"] == MANY + 3
    scanned = command("scan", str(watched), "--state-dir", daemon.state)
    assert daemon.status()["sources"]["done"] == MANY + 3, scanned.stderr
    assert daemon.stop() == 0
    alone = command("scan", str(watched), "--state-dir", daemon.state)
    assert alone.returncode == 3, "what could not be looked at is told"
    disk.point.mkdir(exist_ok=True)
    disk.mount()
    daemon.start()
    all_right(watched, daemon, sources=MANY + 3, decoded=MANY + 3)
    assert daemon.all_lines("source.gone") == []


@pytest.mark.timeout(180)
def test_a_disk_that_is_unmounted_with_work_to_do_is_done_when_it_is_back(
    watched: Path, disk: Disk, daemon: Daemon
) -> None:
    daemon_of(daemon).start().rested(sources=MANY + 3)
    fill(disk.point / "many", 300, first=1_000)
    daemon.wait_for("job.done", within_s=20, where=lambda line: "/many/" in line["source"])
    disk.unmount()
    daemon.wait_for("mount.away", within_s=5)
    scanned_whole(daemon)
    disk.mount()
    assert daemon.rested(sources=MANY + 303, within_s=90)["done"] == MANY + 303
    assert audit(watched, daemon.state).problems == []
    assert decodes(daemon) <= MANY + 303 + 4, "only what was in hand is done again"


@pytest.mark.timeout(180)
def test_another_disk_at_the_same_folder_is_left_alone(
    watched: Path, disk: Disk, disk_at: Disks, daemon: Daemon
) -> None:
    other = disk_at("other", watched / "mnt2")
    other.mount()
    put(other.point / "strange.jpg", jpeg(50))
    other.unmount()
    other.point.rmdir()
    other.point = disk.point
    daemon_of(daemon).start().rested(sources=MANY + 3)
    disk.unmount()
    other.mount()
    scanned_whole(daemon)
    assert daemon.status()["sources"]["done"] == MANY + 3
    assert sorted(os.listdir(other.point)) == ["lost+found", "strange.jpg"]
    other.unmount()
    disk.mount()
    all_right(watched, daemon, sources=MANY + 3, decoded=MANY + 3)


@pytest.mark.timeout(180)
def test_a_disk_that_will_not_come_back_is_given_up_by_name(watched: Path, disk: Disk, daemon: Daemon) -> None:
    daemon_of(daemon).start().rested(sources=MANY + 3)
    disk.unmount()
    daemon.wait_for("mount.away", within_s=5)
    busy = command("prune", "--root", disk.point, "--state-dir", daemon.state)
    assert busy.returncode == 75, busy.stderr
    assert daemon.stop() == 0
    given_up = command("prune", "--root", disk.point, "--state-dir", daemon.state)
    assert given_up.returncode == 0, given_up.stderr
    daemon.start()
    eventually(lambda: len(daemon.lines("source.gone")) == MANY, within_s=30, what="its pictures count as deleted")
    put(disk.point / "on the folder below.jpg", jpeg(800))
    all_right(watched, daemon, sources=4, decoded=MANY + 4)
