"""Disks that are full or read-only, files and folders without permission: a clear reason, and everybody else goes on."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made, temporary_files
from tests.chaos.harness import Daemon, eventually
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
    daemon = daemon_at(small, watched).start()
    line = daemon.wait_for("root.state_changed", within_s=15, where=lambda line: line["state"] == "paused")
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
    daemon = daemon_at(root).start()
    daemon.rested(sources=5)
    fill(root, 5, first=10)
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    daemon.wait_for("root.state_changed", within_s=15, where=lambda line: line["state"] == "paused")
    state, reason = _state_of_root(daemon, root)
    assert (state, "read-only" in reason) == ("paused", True)
    subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    counts = daemon.rested(sources=10, within_s=60)
    assert (counts["done"], counts["failed"]) == (10, 0)
    assert audit(root, daemon.state).problems == []


def test_a_scan_of_a_full_disk_ends_with_1_and_a_later_one_completes_it(mounts: Mount, place: Path) -> None:
    from tests.chaos.harness import command, summary_of

    small = mounts("small", "-t", "tmpfs", "-o", "size=1m", "tmpfs")
    fill(small / "in", 10, size=(640, 480))
    filler = small / "filler.bin"
    with filler.open("wb") as file:
        left = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
        file.write(b"\x55" * max(0, left - 20_000))
    done = command("scan", small, "--state-dir", place / "state", "--json")
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert temporary_files(small) == []
    filler.unlink()
    done = command("scan", small, "--state-dir", place / "state", "--json")
    assert done.returncode == 0
    assert summary_of(done)["failed"] == 0
    assert audit(small, place / "state").problems == []


@pytest.fixture
def of_nobody(watched: Path, nobody: int, daemon_at: Callable[..., Daemon]) -> Daemon:
    """A daemon of user nobody, who owns the watched folder."""
    os.chown(watched, nobody, nobody)
    return daemon_at(watched, user=nobody, config=OFTEN)


def _picture_of(folder: Path, name: str, owner: int, unique: object) -> Path:
    path = put(folder / name, jpeg(unique))
    os.chown(folder, owner, owner)
    os.chown(path, owner, owner)
    return path


def test_a_folder_that_cannot_be_written_gives_a_reason_and_others_go_on(
    watched: Path, of_nobody: Daemon, nobody: int
) -> None:
    locked = _picture_of(watched / "locked", "a.jpg", nobody, 1)
    (watched / "locked").chmod(0o555)
    _picture_of(watched / "open", "b.jpg", nobody, 2)
    of_nobody.start()
    counts = of_nobody.rested(sources=2)
    told = of_nobody.status_of(locked)
    print(counts, told["explanation"])
    assert counts["done"] == 1
    assert told["state"] in {"rejected", "failed"}
    assert told["reason"] == "not_permitted"
    assert _state_of_root(of_nobody, watched)[0] == "online"
    assert audit(watched, of_nobody.state).problems == []

    (watched / "locked").chmod(0o755)
    assert _retried(of_nobody, locked) == "done"


def test_a_file_that_cannot_be_read_gives_a_reason_and_others_go_on(
    watched: Path, of_nobody: Daemon, nobody: int
) -> None:
    secret = put(watched / "secret.jpg", jpeg(1))
    secret.chmod(0o600)
    _picture_of(watched / "open", "b.jpg", nobody, 2)
    of_nobody.start()
    counts = of_nobody.rested(sources=2)
    told = of_nobody.status_of(secret)
    print(counts, told["explanation"])
    assert counts["done"] == 1
    assert (told["state"], told["reason"]) == ("rejected", "not_permitted")
    assert told["detail"]
    secret.chmod(0o644)
    assert _retried(of_nobody, secret) == "done"


def test_a_file_that_may_be_read_now_is_found_by_the_next_rescan(watched: Path, of_nobody: Daemon) -> None:
    secret = put(watched / "secret.jpg", jpeg(1))
    secret.chmod(0o600)
    of_nobody.start()
    assert of_nobody.rested(sources=1)["rejected"] == 1
    secret.chmod(0o644)
    eventually(lambda: of_nobody.state_of(secret) == "done", within_s=25, what="the rescan finds it", every_s=1.0)


def test_a_folder_that_cannot_be_entered_is_named_and_others_go_on(
    watched: Path, of_nobody: Daemon, nobody: int
) -> None:
    put(watched / "closed" / "a.jpg", jpeg(1))
    (watched / "closed").chmod(0o700)
    _picture_of(watched / "open", "b.jpg", nobody, 2)
    of_nobody.start()
    of_nobody.rested(sources=1)
    line = of_nobody.wait_for("scan.unreadable", within_s=5)
    assert (line["directory"], line["errno"]) == ("closed", 13)
    assert of_nobody.status()["sources"]["done"] == 1


def _retried(daemon: Daemon, file: Path) -> str:
    from tests.chaos.harness import command

    assert command("retry", file, "--state-dir", daemon.state).returncode == 0
    eventually(lambda: daemon.state_of(file) == "done", within_s=15, what=f"{file} is done", every_s=0.3)
    return daemon.state_of(file)


@pytest.mark.timeout(120)
def test_a_root_that_goes_away_and_comes_back_is_watched_again(watched: Path, daemon: Daemon) -> None:
    fill(watched, 5)
    daemon.start().rested(sources=5)
    away = watched.with_name("away")
    watched.rename(away)
    eventually(lambda: _state_of_root(daemon, watched)[0] == "offline", within_s=30, what="offline", every_s=0.5)
    fill(away, 3, first=100)
    shutil.move(away, watched)
    eventually(lambda: _state_of_root(daemon, watched)[0] == "online", within_s=40, what="online", every_s=0.5)
    assert daemon.rested(sources=8, within_s=60)["done"] == 8
    fill(watched, 2, first=200)
    assert daemon.rested(sources=10)["done"] == 10
    assert audit(watched, daemon.state).problems == []
