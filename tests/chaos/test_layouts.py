"""Layouts with the real daemon: hidden folders, mirrors, read-only roots, and the way from one layout to another."""

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import BESIDE, Where, audit, half_made, prints, temporary_files
from tests.chaos.harness import QUICK_SETTLE, Daemon, command, eventually, summary_of
from tests.chaos.pictures import fill, jpeg, put

Mount = Callable[..., Path]
HIDDEN = Where(subfolder=b".derivatives")
QUICK = """
[daemon]
rescan_interval_s = 10
forget_after_s = 1
"""
LONG_NAME = "é" * 120 + "x" * 11 + ".jpg"
KILLS = 6


def root_table(root: Path, layout: str = "sibling", mirror: Path | None = None, subfolder: str = "") -> str:
    lines = ["[[roots]]", f'path = "{root}"', f'layout = "{layout}"']
    lines += [f'mirror = "{mirror}"'] if mirror else []
    lines += [f'subfolder = "{subfolder}"'] if subfolder else []
    return "\n".join(lines) + "\n"


@pytest.fixture
def mirror(place: Path) -> Path:
    folder = place / "mirror"
    folder.mkdir()
    return folder


def in_mirror(mirror: Path) -> Where:
    return Where(mirror=os.fsencode(mirror))


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(params=["subfolder", "other name", "mirror"])
def laid_out(
    request: pytest.FixtureRequest, watched: Path, mirror: Path, daemon_at: Callable[..., Daemon]
) -> tuple[Daemon, Where]:
    """A daemon with a layout, not started yet, and where the derivatives are to lie."""
    if request.param == "mirror":
        return daemon_at(config=root_table(watched, "mirror", mirror) + QUICK), in_mirror(mirror)
    if request.param == "other name":
        text = root_table(watched, "subfolder", subfolder=".thumbs")
        return daemon_at(config=text + QUICK), Where(subfolder=b".thumbs")
    return daemon_at(config=root_table(watched, "subfolder") + QUICK), HIDDEN


@pytest.mark.timeout(120)
def test_uploads_get_their_derivatives_where_the_layout_has_them_and_lose_them_there(
    watched: Path, laid_out: tuple[Daemon, Where]
) -> None:
    daemon, where = laid_out
    fill(watched / "before" / "deep", 5)
    daemon.start()
    fill(watched / "after", 5, first=10)
    put(watched / LONG_NAME, jpeg("long"))
    counts = daemon.rested(sources=11)
    assert counts["done"] == 11
    assert audit(watched, daemon.state, where=where).problems == []
    told = daemon.status_of(watched / "after" / "p000010.jpg")
    assert all(Path(one["path"]).is_file() for one in told["derivatives"])

    shutil.rmtree(watched / "after")
    for picture in (watched / "before" / "deep").glob("*.jpg"):
        picture.unlink()
    (watched / LONG_NAME).unlink()
    eventually(lambda: not any(daemon.status()["sources"].values()), within_s=30, what="all is forgotten", every_s=0.5)
    assert everything_below(watched) == {"before", "before/deep"}
    assert audit(watched, daemon.state, where=where).problems == []


@pytest.mark.timeout(120)
def test_a_derivative_that_somebody_deleted_or_damaged_aside_is_made_again_by_the_scan(
    watched: Path, laid_out: tuple[Daemon, Where]
) -> None:
    daemon, where = laid_out
    pictures = fill(watched / "in", 3)
    daemon.start().rested(sources=3)
    derivatives = [Path(one["path"]) for picture in pictures for one in daemon.status_of(picture)["derivatives"]]
    assert len(derivatives) == 6
    derivatives[0].unlink()
    derivatives[2].write_bytes(derivatives[2].read_bytes()[:-200])
    eventually(derivatives[0].exists, within_s=30, what="the rescan finds it", every_s=0.5)
    daemon.rested(sources=3)
    assert audit(watched, daemon.state, where=where).problems == []
    shutil.rmtree(derivatives[0].parent)
    eventually(
        lambda: [one for one in derivatives if not one.exists()] == [],
        within_s=30,
        what="the folder is back",
        every_s=0.5,
    )
    daemon.rested(sources=3)
    assert audit(watched, daemon.state, where=where).problems == []


@pytest.mark.timeout(120)
def test_one_scan_and_another_with_a_layout(place: Path, watched: Path, mirror: Path) -> None:
    fill(watched / "in", 6)
    file, state = place / "scan.toml", place / "state"
    layouts = [("subfolder", HIDDEN), ("mirror", in_mirror(mirror)), ("sibling", BESIDE)]
    for number, (layout, where) in enumerate(layouts):
        file.write_text(
            "[settle]\nopen_quiet_s = 0.5\n" + root_table(watched, layout, mirror if "mir" in layout else None)
        )
        done = command("scan", watched, "--state-dir", state, "--config", file, "--json")
        assert done.returncode == 0, done.stderr
        summary = summary_of(done)
        assert (summary["rendered"], summary["reused"]) == ((6, 0) if number == 0 else (0, 6))
        assert audit(watched, state, where=where).problems == []
    assert everything_below(mirror) == {".watcherd-mirror"}


@pytest.mark.timeout(120)
def test_a_read_only_root_with_a_mirror_is_never_written_to(
    watched: Path, mirror: Path, mounts: Mount, daemon_at: Callable[..., Daemon]
) -> None:
    fill(watched / "in", 5)
    read_only = mounts("readonly", "--bind", str(watched))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(read_only)], check=True)
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "probe").touch()
    before, stamped = prints(watched), watched.stat().st_mtime_ns
    daemon = daemon_at(config=root_table(read_only, "mirror", mirror) + QUICK).start()
    daemon.rested(sources=5)
    fill(watched / "in" / "later", 5, first=10)
    counts = daemon.rested(sources=10)
    assert counts["done"] == 10
    assert daemon.lines("root.away") == []
    report = audit(read_only, daemon.state, where=in_mirror(mirror), untouched=before)
    assert (report.problems, report.derivatives) == ([], 20)
    assert watched.stat().st_mtime_ns == stamped
    assert temporary_files(watched) == []


@pytest.mark.timeout(180)
def test_a_mirror_that_is_not_mounted_is_waited_for_and_its_mount_point_stays_empty(
    watched: Path, mounts: Mount, daemon_at: Callable[..., Daemon]
) -> None:
    fill(watched, 4)
    disk = mounts("mirror-disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    point = mounts("mirror-point", "--bind", str(disk))
    daemon = daemon_at(config=root_table(watched, "mirror", point) + QUICK).start()
    daemon.rested(sources=4)

    subprocess.run(["umount", str(point)], check=True)
    line = daemon.wait_for("root.away", within_s=20)
    assert (line["state"], "mirror" in line["reason"]) == ("offline", True)
    fill(watched, 4, first=10)
    time.sleep(3)
    daemon.stop()
    daemon.start(ready=False)
    daemon.wait_for("root.away", within_s=20, where=lambda line: "mirror" in line["reason"])
    time.sleep(2)
    assert os.listdir(point) == []

    subprocess.run(["mount", "--bind", str(disk), str(point)], check=True)
    daemon.rested(sources=8, within_s=60)
    assert audit(watched, daemon.state, where=in_mirror(point)).problems == []
    assert max(daemon.rendered().values()) == 1


@pytest.mark.timeout(120)
def test_a_full_mirror_pauses_its_root_and_no_other(
    place: Path, watched: Path, mounts: Mount, daemon_at: Callable[..., Daemon]
) -> None:
    small = mounts("small", "-t", "tmpfs", "-o", "size=3m", "tmpfs")
    other = place / "other"
    filler = small / "filler.bin"
    left = os.statvfs(small)
    filler.write_bytes(b"\x55" * (left.f_bavail * left.f_frsize - 30_000))
    fill(watched / "in", 10, size=(640, 480))
    daemon = daemon_at(config=root_table(watched, "mirror", small) + root_table(other) + QUICK)
    other.mkdir()
    daemon.start()
    line = daemon.wait_for("root.away", within_s=20)
    assert (line["root"], line["state"], "space" in line["reason"]) == (str(watched), "paused", True)
    fill(other, 5, first=100)
    eventually(lambda: daemon.outcomes()["rendered"] >= 5, within_s=20, what="the other root goes on")
    assert [line["root"] for line in daemon.lines("root.away")] == [str(watched)]
    assert temporary_files(watched) == []
    filler.unlink()
    daemon.rested(sources=15, within_s=60)
    assert audit(watched, daemon.state, where=in_mirror(small)).problems == []
    assert audit(other, daemon.state).problems == []


@pytest.mark.timeout(180)
@pytest.mark.parametrize("keeps_ledger", [True, False])
def test_a_changed_layout_moves_everything_and_renders_nothing(
    watched: Path, mirror: Path, daemon_at: Callable[..., Daemon], keeps_ledger: bool
) -> None:
    for number in range(4):
        fill(watched / f"sub{number}" / "deep", 10, first=number * 10)
    put(watched / LONG_NAME, jpeg("long"))
    daemon = daemon_at(config=root_table(watched) + QUICK)
    daemon.start().rested(sources=41)
    daemon.stop()
    there = [("subfolder", HIDDEN), ("mirror", in_mirror(mirror)), ("subfolder", HIDDEN), ("sibling", BESIDE)]
    if not keeps_ledger:
        there = [("subfolder", HIDDEN), ("mirror", in_mirror(mirror))]
    for layout, where in there:
        if not keeps_ledger:
            for file in daemon.state.glob("ledger.db*"):
                file.unlink()
        daemon.config = root_table(watched, layout, mirror if layout == "mirror" else None) + QUICK
        daemon.start()
        counts = daemon.rested(sources=41, within_s=60)
        eventually(lambda: daemon.outcomes()["reused"] == 41, within_s=30, what="all are moved")
        daemon.rested(sources=41)
        assert (counts["done"], daemon.outcomes()["rendered"]) == (41, 0)
        assert audit(watched, daemon.state, where=where).problems == []
        daemon.stop()
    if keeps_ledger:
        assert everything_below(mirror) == {".watcherd-mirror"}


@pytest.mark.timeout(120)
def test_a_reload_moves_everything_to_another_layout_while_the_daemon_runs(
    watched: Path, mirror: Path, daemon_at: Callable[..., Daemon]
) -> None:
    fill(watched / "in", 4)
    daemon = daemon_at(config=QUICK_SETTLE + root_table(watched) + QUICK).start()
    daemon.rested(sources=4)
    for table, where in (
        (root_table(watched, "subfolder"), HIDDEN),
        (root_table(watched, "mirror", mirror), in_mirror(mirror)),
        (root_table(watched), BESIDE),
    ):
        (daemon.folder / "watcherd.toml").write_text(QUICK_SETTLE + table + QUICK)
        done = command("reload", "--state-dir", daemon.state)
        assert done.returncode == 0, done.stderr
        what = f"all lies in the new layout {where}"
        eventually(lambda: audit(watched, daemon.state, where=where).problems == [], within_s=20, what=what)  # noqa: B023
    assert sum(daemon.rendered().values()) == 4
    assert not any((watched / "in" / ".derivatives").glob("*"))


@pytest.mark.timeout(240)
def test_killed_in_the_middle_of_a_change_of_layout_over_file_systems_it_goes_on(
    watched: Path, mounts: Mount, daemon_at: Callable[..., Daemon], chance: random.Random
) -> None:
    """There and back again between a hidden folder and a mirror on another disk, with kills on the way."""
    disk = mounts("mirror-disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs")
    count = 400
    for number in range(8):
        fill(watched / f"sub{number}", count // 8, first=number * 100)
    daemon = daemon_at(config=root_table(watched, "subfolder") + QUICK)
    daemon.start().rested(sources=count)
    daemon.stop()
    before = {path: one for path, one in prints(watched).items() if b".derivatives" not in path}
    rendered, cut_short = sum(daemon.rendered().values()), 0
    for way in range(KILLS):
        layout, where = ("mirror", in_mirror(disk)) if way % 2 == 0 else ("subfolder", HIDDEN)
        daemon.config = root_table(watched, layout, disk if layout == "mirror" else None) + QUICK
        daemon.start(ready=False)
        eventually(lambda: daemon.outcomes()["reused"] > 0, within_s=20, what="the move has begun", every_s=0.01)
        time.sleep(chance.uniform(0.0, 0.15))
        daemon.kill()
        cut_short += 0 < daemon.outcomes()["reused"] < count
        assert half_made(watched, where=where) == []
        if way < KILLS - 2:
            continue
        daemon.start().rested(sources=count, within_s=60)
        eventually(lambda: _all_in_one(daemon), within_s=60, what="all are moved", every_s=0.5)
        daemon.stop()
        assert audit(watched, daemon.state, where=where, untouched=before).problems == []
    print(f"{cut_short} of {KILLS} kills came in the middle")
    assert cut_short > 0
    assert sum(daemon.rendered().values()) == rendered
    assert temporary_files(watched) == temporary_files(disk) == []


def _all_in_one(daemon: Daemon) -> bool:
    """Whether every derivative is recorded under one layout, and nothing is to be done."""
    connection = sqlite3.connect(f"file:{daemon.state / 'ledger.db'}?mode=ro", uri=True, timeout=10)
    try:
        layouts = connection.execute("SELECT count(DISTINCT layout) FROM derivative").fetchone()[0]
        pending = connection.execute("SELECT count(*) FROM source WHERE state = 0").fetchone()[0]
    finally:
        connection.close()
    return (layouts, pending) == (1, 0)


@pytest.mark.timeout(180)
def test_killed_while_it_publishes_into_folders_of_its_own_it_leaves_nothing_behind(
    watched: Path, laid_out: tuple[Daemon, Where], chance: random.Random
) -> None:
    daemon, where = laid_out
    count = 0
    for kill in range(KILLS):
        fill(watched / f"batch{kill}", 15, first=count, size=(1300, 1000))
        count += 15
        daemon.start(ready=False)
        daemon.wait_for("job.done", within_s=20)
        time.sleep(chance.uniform(0.0, 0.4))
        daemon.kill()
        assert half_made(watched, where=where) == []
    daemon.start()
    counts = daemon.rested(sources=count, within_s=90)
    assert counts["done"] == count
    assert audit(watched, daemon.state, where=where).problems == []


@pytest.mark.timeout(60)
def test_a_mirror_that_cannot_be_is_refused_with_its_line(place: Path, watched: Path, mirror: Path) -> None:
    file = place / "wrong.toml"
    cases = [
        (watched / "inside", "overlaps the root"),
        (place / "none", "does not exist"),
        (place / "state", "state directory"),
    ]
    (watched / "inside").mkdir()
    (place / "state").mkdir()
    for target, told in cases:
        file.write_text(root_table(watched, "mirror", target))
        done = command("run", "--config", file, "--state-dir", place / "state")
        assert done.returncode == 78
        assert f"{file}:4: " in done.stderr
        assert told in done.stderr
    assert everything_below(watched) == {"inside"}
    assert everything_below(mirror) == set()
