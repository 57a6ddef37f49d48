"""Disks that are full or read-only, files and folders without permission: a clear reason, and others go on."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made, temporary_files
from tests.chaos.harness import Daemon, command, eventually, summary_of
from tests.chaos.pictures import fill, jpeg, put

Mount = Callable[..., Path]
OFTEN = """
[daemon]
rescan_interval_s = 10
"""


def _state_of_root(daemon: Daemon, root: Path) -> tuple[str, str]:
    told = (daemon.status().get("daemon") or {"roots": {}})["roots"].get(str(root), {})
    return told.get("state", ""), told.get("reason", "")


@pytest.mark.timeout(180)
def test_a_full_disk_pauses_its_root_and_loses_nothing(
    watched: Path, mounts: Mount, daemon_at: Callable[..., Daemon]
) -> None:
    small = mounts("small", "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    filler = small / "filler.bin"
    fill(small / "in", 20, size=(640, 480))
    with filler.open("wb") as file:
        left = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        file.write(b"\x55" * max(0, left - 60_000))
    daemon = daemon_at(small, watched, config="").start()
    line = daemon.wait_for("root.away", within_s=15, where=lambda line: line["state"] == "paused")
    assert line["root"] == str(small)
    assert "space" in line["reason"]
    state, reason = _state_of_root(daemon, small)
    print(state, reason)
    assert (state, "space" in reason) == ("paused", True)
    assert half_made(small) == []

    fill(watched, 10, first=1_000)
    eventually(lambda: daemon.outcomes()["rendered"] >= 10, within_s=20, what="the other root goes on")
    assert _state_of_root(daemon, watched) == ("online", "")

    filler.unlink()
    counts = daemon.rested(sources=30, within_s=90)
    assert (counts["done"], counts["failed"], counts["quarantined"]) == (30, 0, 0)
    for root in (small, watched):
        assert audit(root, daemon.state).problems == []
    assert _state_of_root(daemon, small) == ("online", "")


@pytest.mark.timeout(120)
def test_a_read_only_file_system_pauses_its_root_and_resumes(mounts: Mount, daemon_at: Callable[..., Daemon]) -> None:
    root = mounts("changing", "-t", "tmpfs", "-o", "size=20m", "tmpfs")
    fill(root, 5)
    daemon = daemon_at(root, config="").start()
    daemon.rested(sources=5)
    fill(root, 5, first=10)
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    daemon.wait_for("root.away", within_s=15, where=lambda line: line["state"] == "paused")
    state, reason = _state_of_root(daemon, root)
    assert (state, "read-only" in reason) == ("paused", True)
    subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    counts = daemon.rested(sources=10, within_s=60)
    assert (counts["done"], counts["failed"]) == (10, 0)
    assert audit(root, daemon.state).problems == []


def test_a_scan_of_a_full_disk_ends_with_1_and_a_later_one_completes_it(
    mounts: Mount, place: Path, scan: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    small = mounts("small", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    fill(small / "in", 10, size=(640, 480))
    filler = small / "filler.bin"
    with filler.open("wb") as file:
        left = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        file.write(b"\x55" * max(0, left - 20_000))
    done = scan(small)
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert "space" in done.stderr
    assert temporary_files(small) == []
    filler.unlink()
    done = scan(small)
    assert done.returncode == 0
    assert summary_of(done)["failed"] == 0
    assert audit(small, place / "state").problems == []


@pytest.fixture
def powerless(watched: Path, daemon_at: Callable[..., Daemon], without_powers: tuple[str, ...]) -> Daemon:
    """A daemon for which permissions count."""
    return daemon_at(watched, prefix=without_powers, config=OFTEN)


def _retried(daemon: Daemon, file: Path) -> None:
    assert command("retry", file, "--state-dir", daemon.state).returncode == 0
    eventually(lambda: daemon.state_of(file) == "done", within_s=15, what=f"{file} is done", every_s=0.3)


def test_a_folder_that_cannot_be_written_gives_a_reason_and_others_go_on(watched: Path, powerless: Daemon) -> None:
    locked = put(watched / "locked" / "a.jpg", jpeg(1))
    put(watched / "open" / "b.jpg", jpeg(2))
    (watched / "locked").chmod(0o555)
    powerless.start()
    counts = powerless.rested(sources=2)
    told = powerless.status_of(locked)
    print(counts, told["explanation"])
    assert counts["done"] == 1
    assert (told["state"], told["reason"]) == ("rejected", "not_permitted")
    assert _state_of_root(powerless, watched)[0] == "online"
    assert audit(watched, powerless.state).problems == []
    (watched / "locked").chmod(0o755)
    _retried(powerless, locked)


def test_a_file_that_cannot_be_read_gives_a_reason_and_others_go_on(watched: Path, powerless: Daemon) -> None:
    secret = put(watched / "secret.jpg", jpeg(1))
    put(watched / "open" / "b.jpg", jpeg(2))
    secret.chmod(0)
    powerless.start()
    counts = powerless.rested(sources=2)
    told = powerless.status_of(secret)
    print(counts, told["explanation"])
    assert counts["done"] == 1
    assert (told["state"], told["reason"]) == ("rejected", "not_permitted")
    assert told["detail"]
    secret.chmod(0o644)
    _retried(powerless, secret)


def test_a_file_that_may_be_read_now_is_found_by_the_next_rescan(watched: Path, powerless: Daemon) -> None:
    secret = put(watched / "secret.jpg", jpeg(1))
    secret.chmod(0)
    powerless.start()
    assert powerless.rested(sources=1)["rejected"] == 1
    secret.chmod(0o644)
    eventually(lambda: powerless.state_of(secret) == "done", within_s=25, what="the rescan finds it", every_s=1.0)


def test_a_folder_that_cannot_be_entered_is_named_and_others_go_on(watched: Path, powerless: Daemon) -> None:
    put(watched / "closed" / "a.jpg", jpeg(1))
    put(watched / "open" / "b.jpg", jpeg(2))
    (watched / "closed").chmod(0)
    powerless.start()
    powerless.rested(sources=1)
    line = powerless.wait_for("scan.unreadable", within_s=5)
    assert (line["directory"], line["errno"]) == ("closed", 13)
    assert powerless.status()["sources"]["done"] == 1
    assert "a.jpg" not in powerless.raw()
