"""Many files at once: all complete, none twice, also when the kernel's queue runs over."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon
from tests.chaos.pictures import fill, jpeg, put

FOLDERS = 200
FILES = 20_000 if os.environ.get("WATCHERD_CHAOS_FULL") else 4_000


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory where there is such a folder: to take down 12,000 synced files again costs a disk 20 s."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="watcherd-chaos-", dir=memory) as name:
        folder = Path(os.path.realpath(name))
        (folder / "watched").mkdir()
        yield folder


def _tree(folder: Path, files: int) -> None:
    """`FOLDERS` folders in nests of ten, with small pictures of different contents."""
    for number in range(files):
        at = number % FOLDERS
        put(folder / f"n{at // 10}" / f"d{at % 10}" / f"p{number}.jpg", jpeg(number))


def _once_each(daemon: Daemon, files: int) -> None:
    times = daemon.rendered()
    assert sum(times.values()) == files
    assert max(times.values()) == 1


@pytest.mark.timeout(900)
def test_a_tree_copied_in_is_complete_and_nothing_is_done_twice(place: Path, watched: Path, daemon: Daemon) -> None:
    _tree(place / "outside", FILES)
    daemon.start()
    shutil.copytree(place / "outside", watched / "inside", copy_function=shutil.copyfile)
    copied = time.monotonic()
    counts = daemon.rested(sources=FILES, within_s=600)
    print(f"{FILES} files in {FOLDERS} folders complete {time.monotonic() - copied:.1f} s after the copy's end")
    assert counts["done"] == FILES
    report = audit(watched, daemon.state)
    assert report.problems == []
    assert report.derivatives == 2 * FILES
    _once_each(daemon, FILES)


def test_cp_of_a_tree_is_complete(place: Path, watched: Path, daemon: Daemon) -> None:
    _tree(place / "outside", 1_000)
    daemon.start()
    subprocess.run(["cp", "-r", str(place / "outside"), str(watched / "inside")], check=True)
    assert daemon.rested(sources=1_000, within_s=90)["done"] == 1_000
    assert audit(watched, daemon.state).problems == []
    _once_each(daemon, 1_000)


@pytest.mark.usefixtures("short_event_queue")
def test_an_overflow_of_the_kernels_queue_loses_nothing(watched: Path, daemon: Daemon) -> None:
    fill(watched / "old", 50)
    daemon.start().rested(sources=50)
    daemon.signal(signal.SIGSTOP)
    try:
        fill(watched / "old", 400, first=1_000)
        for number in range(20):
            fill(watched / "new" / f"d{number}" / "deep", 30, first=2_000 + 100 * number)
    finally:
        daemon.signal(signal.SIGCONT)
    daemon.wait_for("root.doubt", within_s=10, where=lambda line: line["reason"] == "overflow")
    counts = daemon.rested(sources=1_050, within_s=60)
    assert counts["done"] == 1_050
    assert audit(watched, daemon.state).problems == []
    _once_each(daemon, 1_050)
