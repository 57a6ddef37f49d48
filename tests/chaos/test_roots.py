"""Disks that come and go, roots that are renamed, replaced or not there yet: nothing is lost, nothing decoded again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.disks import Disk, Disks
from tests.chaos.harness import QUICK_SETTLE, Daemon, eventually
from tests.chaos.pictures import fill, jpeg, put

CONFIG = QUICK_SETTLE + "[daemon]\nforget_after_s = 1\n"
"""What is gone would be forgotten soon."""


def state_of_root(daemon: Daemon, root: Path) -> tuple[str, str]:
    told = (daemon.status().get("daemon") or {"roots": {}})["roots"].get(str(root), {})
    return told.get("state", ""), told.get("reason", "")


def until_state(daemon: Daemon, root: Path, state: str, *, within_s: float = 20) -> str:
    """Wait for a state of a root; gives the reason."""
    what = f"{root} is {state}"
    eventually(lambda: state_of_root(daemon, root)[0] == state, within_s=within_s, what=what, every_s=0.3)
    return state_of_root(daemon, root)[1]


def decodes(daemon: Daemon) -> int:
    return sum(daemon.rendered().values())


def take_its_number(disk: Disk, disk_at: Disks) -> None:
    """Mount others until one has the device number that this disk had, unless a test in another process has it."""
    for number in range(8):
        blocker = disk_at(f"blocker{number}", f"blocker{number}", disk.kind)
        blocker.mount()
        if blocker.devices == disk.devices[-1:]:
            return


KINDS = pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs"])


@pytest.mark.timeout(180)
@KINDS
def test_a_disk_that_is_unmounted_and_mounted_again_costs_one_scan_and_no_decode(
    watched: Path, disk_at: Disks, daemon_at: Callable[..., Daemon], kind: str
) -> None:
    disk = disk_at("photos", kind=kind)
    disk.mount()
    fill(disk.point / "in", 10)
    daemon = daemon_at(disk.point, watched, config=CONFIG).start()
    daemon.rested(sources=10)
    disk.unmount()
    line = daemon.wait_for("root.away", within_s=5)
    assert (line["root"], line["state"]) == (str(disk.point), "offline")

    put(watched / "other.jpg", jpeg(99))
    counts = daemon.rested(sources=11)
    assert counts["done"] == 11, "the disk's are not forgotten, and the other root goes on"

    take_its_number(disk, disk_at)
    scans = len(daemon.lines("scan.ended"))
    disk.mount()
    until_state(daemon, disk.point, "online")
    eventually(lambda: len(daemon.lines("scan.ended")) > scans, within_s=15, what="the scan on its return")
    put(disk.point / "in" / "new.jpg", jpeg(100))
    counts = daemon.rested(sources=12)
    assert counts["done"] == 12
    print("device numbers", disk.devices)
    assert len(set(disk.devices)) == 2
    assert decodes(daemon) == 12
    roots = [line for line in daemon.lines("scan.ended")[scans:] if line["root"] == str(disk.point)]
    assert [line["directory"] for line in roots].count("") == 1
    for root in (disk.point, watched):
        assert audit(root, daemon.state).problems == []
    assert daemon.stop() == 0


@pytest.mark.timeout(180)
def test_a_disk_that_is_mounted_while_the_daemon_is_stopped_and_another_time_not(
    disk_at: Disks, daemon_at: Callable[..., Daemon]
) -> None:
    disk = disk_at("photos")
    disk.mount()
    fill(disk.point, 5)
    daemon = daemon_at(disk.point, config=CONFIG).start()
    daemon.rested(sources=5)
    assert daemon.stop() == 0
    disk.unmount()
    daemon.start()
    assert "empty" in until_state(daemon, disk.point, "offline")
    assert daemon.status()["sources"]["done"] == 5
    disk.mount()
    until_state(daemon, disk.point, "online")
    put(disk.point / "new.jpg", jpeg(100))
    assert daemon.rested(sources=6)["done"] == 6
    assert decodes(daemon) == 6
    assert audit(disk.point, daemon.state).problems == []


@pytest.mark.timeout(180)
@KINDS
def test_another_disk_in_the_same_place_is_left_alone(
    disk_at: Disks, daemon_at: Callable[..., Daemon], kind: str
) -> None:
    disk, other = disk_at("photos", kind=kind), disk_at("other", kind=kind)
    other.mount()
    put(other.point / "strange.jpg", jpeg(50))
    other.unmount()
    disk.mount()
    fill(disk.point, 5)
    daemon = daemon_at(disk.point, config=CONFIG).start()
    daemon.rested(sources=5)
    disk.unmount()
    other.mount()
    assert "another" in until_state(daemon, disk.point, "offline")
    eventually(lambda: daemon.status()["sources"]["done"] == 5, within_s=5, what="nothing is forgotten")
    assert set(os.listdir(other.point)) - {"lost+found"} == {"strange.jpg"}
    other.unmount()
    disk.mount()
    until_state(daemon, disk.point, "online")
    assert daemon.rested(sources=5)["done"] == 5
    assert decodes(daemon) == 5
    assert audit(disk.point, daemon.state).problems == []


@pytest.mark.timeout(180)
def test_a_root_that_is_renamed_and_comes_back_loses_nothing(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    fill(watched / "in", 5)
    daemon = daemon_at(watched, config=CONFIG).start()
    daemon.rested(sources=5)
    away = watched.with_name("away")
    watched.rename(away)
    daemon.wait_for("root.away", within_s=90)
    watched.mkdir()
    put(watched / "meanwhile.jpg", jpeg(60))
    daemon.wait_for("root.away", within_s=30, where=lambda line: "another" in line["reason"])
    assert os.listdir(watched) == ["meanwhile.jpg"]
    (watched / "meanwhile.jpg").unlink()
    watched.rmdir()
    away.rename(watched)
    until_state(daemon, watched, "online", within_s=30)
    put(watched / "in" / "new.jpg", jpeg(61))
    assert daemon.rested(sources=6)["done"] == 6
    assert decodes(daemon) == 6
    assert audit(watched, daemon.state).problems == []


@pytest.mark.timeout(180)
def test_a_known_root_that_is_absent_at_the_start_is_waited_for(
    watched: Path, place: Path, daemon_at: Callable[..., Daemon]
) -> None:
    other = place / "other"
    other.mkdir()
    fill(watched, 5)
    daemon = daemon_at(watched, other, config=CONFIG).start()
    daemon.rested(sources=5)
    assert daemon.stop() == 0
    watched.rename(place / "away")
    daemon.start()  # and is ready
    until_state(daemon, watched, "offline")
    put(other / "a.jpg", jpeg(70))
    eventually(lambda: daemon.state_of(other / "a.jpg") == "done", within_s=20, what="the other root goes on")
    (place / "away").rename(watched)
    until_state(daemon, watched, "online", within_s=30)
    put(watched / "new.jpg", jpeg(71))
    assert daemon.rested(sources=7)["done"] == 7
    assert decodes(daemon) == 7
    assert audit(watched, daemon.state).problems == []
