"""rsync as people use it to fill a watched folder: each picture is done once, and again only when rsync changed it.

It writes under hidden names or in place, gives each file the time of its original, and with `--delete` takes away
whatever its source does not have: our derivatives too.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import fill, jpeg, padded, put

MANY = 60
LARGE_BYTES = 4_000_000
CONFIG = "[daemon]\nforget_after_s = 1\nbrake_share = 1.0\n"
"""Deletions are believed soon, however many there are."""
OURS_KEPT = ("--exclude=*.thumbnail.jpg", "--exclude=*.preview.jpg")
WAYS = pytest.mark.parametrize("way", [(), ("--inplace",)], ids=["usual", "inplace"])


@pytest.fixture
def origin(place: Path) -> Path:
    """A tree that is synced from: folders in folders, and one large picture."""
    folder = place / "origin"
    for number in range(6):
        fill(folder / f"{number % 2}" / f"d{number}", MANY // 6, first=100 * number)
    put(folder / "large.jpg", padded(jpeg("large"), LARGE_BYTES))
    return folder


@pytest.fixture
def daemon(daemon: Daemon) -> Daemon:
    daemon.config = CONFIG
    return daemon


def sync(origin: Path, target: Path, *options: str) -> None:
    """Run rsync to its end; it has to succeed."""
    program = shutil.which("rsync")
    if program is None:
        pytest.skip("not installed: rsync")
    command = [program, "-a", *options, f"{origin}/", f"{target}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def in_order(watched: Path, daemon: Daemon, sources: int) -> None:
    """Wait until every source has its two derivatives, and there are no others."""

    def problems() -> list[str]:
        try:
            report = audit(watched, daemon.state)
        except FileNotFoundError as error:  # the daemon still removes what has no source
            return [str(error)]
        return report.problems or [f"{report.derivatives} derivatives"] * (report.derivatives != 2 * sources)

    eventually(lambda: not problems(), within_s=60, what=f"{sources} sources are in order", every_s=0.5)


def decodes(daemon: Daemon) -> int:
    return sum(daemon.rendered().values())


@WAYS
def test_a_tree_that_is_synced_twice_is_done_once_and_what_changed_again(
    origin: Path, watched: Path, daemon: Daemon, way: tuple[str, ...]
) -> None:
    daemon.start()
    sync(origin, watched, *way)
    assert daemon.rested(sources=MANY + 1)["done"] == MANY + 1
    ended = len(daemon.lines("job.done"))
    sync(origin, watched, *way)
    put(origin / "0" / "d0" / "p000001.jpg", jpeg("edited there", (80, 60)))
    put(origin / "new" / "a.jpg", jpeg("new there"))
    sync(origin, watched, *way)
    in_order(watched, daemon, MANY + 2)
    assert decodes(daemon) == MANY + 3
    assert [line["outcome"] for line in daemon.lines("job.done")][ended:] == ["rendered", "rendered"]


@WAYS
def test_a_large_file_that_comes_slowly_is_done_when_it_is_whole(
    origin: Path, watched: Path, daemon: Daemon, way: tuple[str, ...]
) -> None:
    daemon.start()
    sync(origin, watched, "--bwlimit=1000", *way)
    in_order(watched, daemon, MANY + 1)
    put(origin / "large.jpg", padded(jpeg("large, edited", (80, 60)), LARGE_BYTES))
    sync(origin, watched, "--bwlimit=1000", "--whole-file", *way)
    in_order(watched, daemon, MANY + 1)
    assert set(daemon.outcomes()) <= {"rendered", "disturbed"}
    assert decodes(daemon) == MANY + 2


@WAYS
def test_what_rsync_deletes_loses_its_derivatives(
    origin: Path, watched: Path, daemon: Daemon, way: tuple[str, ...]
) -> None:
    daemon.start()
    sync(origin, watched, *way)
    assert daemon.rested(sources=MANY + 1)["done"] == MANY + 1
    shutil.rmtree(origin / "1")
    (origin / "large.jpg").unlink()
    sync(origin, watched, "--delete", *OURS_KEPT, *way)
    in_order(watched, daemon, MANY // 2)
    assert decodes(daemon) == MANY + 1


@pytest.mark.parametrize("when", ["--delete-before", "--delete-during", "--delete-after"])
def test_derivatives_that_rsync_deletes_are_made_again_once_it_has_gone(
    origin: Path, watched: Path, daemon: Daemon, when: str
) -> None:
    daemon.start()
    sync(origin, watched)
    assert daemon.rested(sources=MANY + 1)["done"] == MANY + 1
    for number in range(2):
        put(origin / "0" / "d2" / f"more{number}.jpg", jpeg(f"more {number}"))
        sync(origin, watched, "--delete", when)
        in_order(watched, daemon, MANY + 2 + number)
        assert half_made(watched) == []
    assert daemon.lines("source.gone") == []
    assert decodes(daemon) >= 3 * MANY, "rsync took all of them twice"
