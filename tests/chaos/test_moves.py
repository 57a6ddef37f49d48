"""Sources that are moved about, with a real daemon: their derivatives follow, and nothing is decoded.

`WATCHERD_CHAOS_FULL=1` renames a folder of 10,000.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, command, eventually
from tests.chaos.pictures import fill, jpeg, put
from tests.places import first_block

FULL = os.environ.get("WATCHERD_CHAOS_FULL") == "1"
MANY = 10_000 if FULL else 600
PATIENCE_S = 1800 if FULL else 60
QUICK = "[daemon]\nforget_after_s = 1\n"
BRAKE = "[daemon]\nforget_after_s = 1\nbrake_floor = 5\nbrake_share = 0.3\n"


def in_order(folder: Path, daemon: Daemon, sources: int) -> None:
    """Wait until all derivatives are in their places, and nothing else is there."""

    def complete() -> bool:
        found = [name for _, _, names in os.walk(folder) for name in names]
        return len(found) == 3 * sources and audit(folder, daemon.state).problems == []

    eventually(complete, within_s=PATIENCE_S, what=f"{sources} sources with their derivatives", every_s=0.5)


@pytest.mark.timeout(3 * PATIENCE_S)
@pytest.mark.parametrize("running", [True, False])
def test_a_renamed_folder_costs_no_read_and_no_decode(watched: Path, daemon: Daemon, *, running: bool) -> None:
    fill(watched / "2008", MANY)
    daemon.start().rested(sources=MANY, within_s=PATIENCE_S)
    if not running:
        assert daemon.stop() == 0
    (watched / "archive").mkdir()
    (watched / "2008").rename(watched / "archive" / "older")
    began = time.monotonic()
    if not running:
        daemon.start()
    what = "all are followed"
    eventually(lambda: len(daemon.lines("source.moved")) == MANY, within_s=PATIENCE_S, what=what, every_s=0.5)
    print(f"{MANY} moved pictures followed after {time.monotonic() - began:.1f} s")
    in_order(watched, daemon, MANY)
    assert daemon.outcomes() == ({"rendered": MANY} if running else {})


@pytest.mark.parametrize("running", [True, False])
def test_every_file_of_a_folder_renamed_by_itself(watched: Path, daemon: Daemon, *, running: bool) -> None:
    pictures = fill(watched / "a", 100)
    (watched / "b").mkdir()
    daemon.start().rested(sources=100)
    if not running:
        assert daemon.stop() == 0
    for number, picture in enumerate(pictures):
        picture.rename(watched / ("a" if number % 2 else "b") / f"renamed {number}.jpg")
    if not running:
        daemon.start()
    in_order(watched, daemon, 100)
    assert daemon.outcomes() == ({"rendered": 100} if running else {})


def test_between_roots_and_file_systems_nothing_is_decoded(
    watched: Path, place: Path, daemon_at: Callable[..., Daemon], mounts: Callable[..., Path]
) -> None:
    other = place / "other"
    other.mkdir()
    elsewhere = mounts("elsewhere", "-t", "tmpfs", "tmpfs")
    daemon = daemon_at(watched, other, elsewhere, config=QUICK)
    fill(watched / "folder", 20)
    put(watched / "alone.jpg", jpeg("alone"))
    daemon.start().rested(sources=21)
    for origin, target in ((watched, other), (other, elsewhere), (elsewhere, watched)):
        shutil.move(origin / "folder", target / "folder")
        shutil.move(origin / "alone.jpg", target / "alone.jpg")
        in_order(target, daemon, 21)
        eventually(lambda origin=origin: not list(origin.iterdir()), within_s=20, what="nothing is left", every_s=0.5)  # type: ignore[misc]
    assert daemon.outcomes()["rendered"] == 21


def test_derivatives_of_copies_share_their_blocks(
    place: Path, daemon_at: Callable[..., Daemon], mounts: Callable[..., Path]
) -> None:
    if shutil.which("mkfs.btrfs") is None:
        pytest.skip("mkfs.btrfs is not installed")
    image = place / "image"
    with image.open("wb") as file:
        file.truncate(120 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    disk = mounts("disk", "-o", "loop", str(image))
    roots = [disk / "one", disk / "two"]
    for root in roots:
        root.mkdir()
    daemon = daemon_at(*roots, config=QUICK)
    put(roots[0] / "first.jpg", jpeg("first", (3_000, 2_000)))
    daemon.start().rested(sources=1)
    for copy in (roots[0] / "copy.jpg", roots[1] / "copy.jpg"):
        put(copy, (roots[0] / "first.jpg").read_bytes())
    daemon.rested(sources=3)
    assert daemon.outcomes() == {"rendered": 1, "reused": 2}
    first = first_block(roots[0] / "first.jpg.preview.jpg")
    assert first != 0
    for root in roots:
        assert first_block(root / "copy.jpg.preview.jpg") == first
        assert audit(root, daemon.state).problems == []


def test_an_old_name_that_is_taken_at_once_and_editors_that_save_safely(watched: Path, daemon: Daemon) -> None:
    for name in ("moved", "over", "tilde"):
        put(watched / f"{name}.jpg", jpeg(name, (800, 600)))
    daemon.start().rested(sources=3)
    daemon.signal(signal.SIGSTOP)  # it hears of all that at once, as it does where this machine is quick
    (watched / "moved.jpg").rename(watched / "away.jpg")
    put(watched / "moved.jpg", jpeg("newcomer", (800, 600)))
    put(watched / ".over.jpg.tmp", jpeg("saved", (800, 600))).rename(watched / "over.jpg")
    (watched / "tilde.jpg").rename(watched / "tilde.jpg~")
    put(watched / "tilde.jpg", jpeg("edited", (800, 600)))
    (watched / "tilde.jpg~").unlink()
    daemon.signal(signal.SIGCONT)
    in_order(watched, daemon, 4)
    again = {"moved.jpg": 2, "over.jpg": 2, "tilde.jpg": 2}  # away.jpg is the old moved.jpg
    assert {os.path.basename(name): times for name, times in daemon.rendered().items()} == again


def _held(daemon: Daemon) -> int:
    roots = daemon.status().get("roots") or [{}]
    return (roots[0].get("held") or {"gone": 0})["gone"]


def test_too_many_deletions_at_once_are_held_until_they_are_confirmed(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    pictures = fill(watched, 20)
    daemon = daemon_at(watched, config=BRAKE).start()
    daemon.rested(sources=20)
    for picture in pictures[:8]:
        picture.unlink()
    daemon.wait_for("brake.engaged", within_s=20)
    eventually(lambda: _held(daemon) == 8, within_s=20, what="all that are gone are held")
    assert daemon.stop() == 0
    daemon.start().wait_for("scan.ended", within_s=20)
    assert len(list(watched.iterdir())) == 52

    pruned = command("prune", "--state-dir", daemon.state)
    assert pruned.returncode == 0
    in_order(watched, daemon, 12)


def test_damaged_derivatives_are_found_and_made_again_and_an_edited_one_is_left(watched: Path, daemon: Daemon) -> None:
    fill(watched, 4, size=(400, 300))
    daemon.start().rested(sources=4)
    made = sorted(watched.glob("*.preview.jpg"))
    made[0].unlink()
    made[1].write_bytes(made[1].read_bytes()[:-500])
    made[2].write_bytes(b"a person's")
    found = command("verify", "--deep", "--state-dir", daemon.state)
    assert found.returncode == 3
    eventually(
        lambda: made[0].exists() and made[1].read_bytes().endswith(b"\xff\xd9"), within_s=20, what="they are made again"
    )
    assert made[2].read_bytes() == b"a person's"
