"""The first contact with a library: how much of it is wanted, how long it will take, and room that has to stay free."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, derivative_of
from tests.chaos.harness import Daemon, command, eventually
from tests.chaos.pictures import fill, jpeg, put

Mount = Callable[..., Path]
MEBIBYTE = 1024 * 1024


def _root(folder: Path, **settings: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    return f'[[roots]]\npath = "{folder}"\n{lines}'


def _thumbnail(source: Path) -> Path:
    return Path(os.fsdecode(derivative_of(os.fsencode(source), "thumbnail")))


def test_what_was_there_before_is_left_out_and_what_comes_later_is_done(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    old = fill(watched / "old", 3)
    daemon = daemon_at(config=_root(watched, backfill="none")).start()
    daemon.wait_for("scan.ended", within_s=10)
    uploaded = put(watched / "new.jpg", jpeg("new"))
    eventually(_thumbnail(uploaded).exists, within_s=15, what="an upload is done")
    assert daemon.stop() == 0
    meanwhile = put(watched / "old" / "meanwhile.jpg", jpeg("meanwhile"))
    daemon.start()
    eventually(_thumbnail(meanwhile).exists, within_s=15, what="what came while nobody watched is done")
    eventually(lambda: len(daemon.rendered()) == 2, within_s=5, what="both are in the log")
    assert not any(_thumbnail(path).exists() for path in old)

    done = command("scan", watched, "--state-dir", daemon.state)
    assert done.returncode == 0, done.stderr
    assert all(_thumbnail(path).exists() for path in old)
    assert audit(watched, daemon.state).problems == []


def test_neither_a_folder_moved_in_nor_other_permissions_nor_a_lost_ledger_mislead_the_backfill(
    watched: Path, place: Path, daemon_at: Callable[..., Daemon]
) -> None:
    old = fill(watched / "old", 3)
    album = fill(place / "album", 2, first=100)
    daemon = daemon_at(config=_root(watched, backfill="none")).start()
    daemon.wait_for("scan.ended", within_s=10)
    assert daemon.stop() == 0
    os.rename(place / "album", watched / "album")  # the times of what is in it stay as they were
    for path in old:
        path.chmod(0o600)
    daemon.start()
    moved_in = [watched / "album" / path.name for path in album]
    eventually(lambda: all(_thumbnail(path).exists() for path in moved_in), within_s=15, what="the album is done")
    assert daemon.stop() == 0
    assert not any(_thumbnail(path).exists() for path in old)
    for path in daemon.state.glob("ledger.db*"):
        path.unlink()
    late = put(watched / "late.jpg", jpeg("late"))
    daemon.start()
    eventually(_thumbnail(late).exists, within_s=15, what="what came before the ledger was lost is done")
    assert daemon.stop() == 0


def test_all_of_it_is_done_when_the_setting_says_so_later(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    fill(watched, 3)
    daemon = daemon_at(config=_root(watched, backfill="none")).start()
    daemon.wait_for("scan.ended", within_s=10)
    assert daemon.stop() == 0
    assert daemon.rendered() == {}
    daemon.config = _root(watched, backfill="all")
    daemon.start()
    daemon.rested(sources=3)
    assert audit(watched, daemon.state).problems == []


def test_the_first_look_is_followed_by_a_forecast_and_later_ones_are_not(watched: Path, daemon: Daemon) -> None:
    pictures = fill(watched, 12)
    daemon.start()
    told = daemon.wait_for("backfill.forecast", within_s=10)
    assert (told["sources"], told["bytes_in"]) == (12, sum(path.stat().st_size for path in pictures))
    assert told["bytes_out"] > 0
    daemon.rested(sources=12)
    assert daemon.stop() == 0
    fill(watched, 2, first=100)
    daemon.start()
    daemon.rested(sources=14)
    assert daemon.lines("backfill.forecast") == []


def test_a_dry_run_does_nothing_and_says_what_it_would(watched: Path, place: Path) -> None:
    fill(watched / "in", 20)
    done = command("scan", "--dry-run", "--json", watched, "--state-dir", place / "state")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["sources"], told["resting"], told["measured"]) == (20, 0, True)
    assert told["seconds"] > 0
    assert told["bytes_out"] > 0
    assert len(os.listdir(watched / "in")) == 20
    command("scan", watched, "--state-dir", place / "state")
    told = json.loads(command("scan", "--dry-run", "--json", watched, "--state-dir", place / "state").stdout)
    assert (told["sources"], told["resting"]) == (0, 20)


@pytest.mark.timeout(120)
def test_room_that_shall_stay_free_stays_free(mounts: Mount, daemon_at: Callable[..., Daemon]) -> None:
    small = mounts("small", "-t", "tmpfs", "-o", "size=20m", "tmpfs")
    filler = small / "filler.bin"
    filler.write_bytes(b"\x55" * 12 * MEBIBYTE)
    fill(small, 3)
    daemon = daemon_at(config=_root(small, min_free_bytes="10MiB")).start()
    line = daemon.wait_for("root.away", within_s=15)
    assert (line["state"], "min_free_bytes" in line["reason"]) == ("paused", True)
    assert len(os.listdir(small)) == 4
    filler.unlink()
    counts = daemon.rested(sources=3, within_s=90)
    assert (counts["done"], counts["failed"]) == (3, 0)


def test_a_scan_where_too_little_is_free_ends_with_1(mounts: Mount, place: Path) -> None:
    small = mounts("small", "-t", "tmpfs", "-o", "size=20m", "tmpfs")
    fill(small, 3)
    file = place / "floor.toml"
    file.write_text(_root(small, min_free_bytes="30MiB") + "[settle]\nopen_quiet_s = 0.5\n")
    done = command("scan", small, "--state-dir", place / "state", "--config", file)
    assert done.returncode == 1
    assert "min_free_bytes" in done.stderr
    assert len(os.listdir(small)) == 3
