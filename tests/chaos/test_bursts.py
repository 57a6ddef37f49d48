"""Many files at once: all complete, none twice, also when the kernel's queue runs over.

`WATCHERD_CHAOS_FULL=1` asks for 240,000 files by 4 writers, twice: hours on two cores.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import REPOSITORY, Daemon
from tests.chaos.pictures import fill, jpeg, put

FOLDERS = 200
FULL = os.environ.get("WATCHERD_CHAOS_FULL") == "1"
FILES = 20_000 if FULL else 4_000
WRITERS = 4
EACH = 60_000 if FULL else 1_000
BURST_S = 4 * 3600 if FULL else 300
MOST_MEMORY_KIB = 200 * 1024
WRITER = """
import sys
from pathlib import Path
from tests.chaos.pictures import jpeg, put
folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    put(folder / f"d{number // 500}" / f"p{number}.jpg", jpeg(number, (8, 8)))
"""
"""A new folder for every 500 tiny pictures."""


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


def _written_by_many(folder: Path) -> None:
    """So many files by so many writers, as fast as they can."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, folder, str(n * EACH), str(EACH)], cwd=REPOSITORY)
        for n in range(WRITERS)
    ]
    assert [writer.wait(timeout=BURST_S) for writer in writers] == [0] * WRITERS


def _memory_kib(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])


@pytest.mark.timeout(2 * BURST_S)
@pytest.mark.parametrize("queue", ["usual", "short"])
def test_a_burst_by_four_writers_is_complete(watched: Path, daemon: Daemon, queue: str) -> None:
    if queue == "short":
        daemon.start_with_short_queue()
    else:
        daemon.start()
    idle_kib, files = _memory_kib(daemon.pid, "VmRSS"), WRITERS * EACH
    began, began_s = time.monotonic(), time.time()
    _written_by_many(watched)
    written = time.monotonic()
    counts = daemon.rested(sources=files, within_s=BURST_S)
    peak_kib, rested = _memory_kib(daemon.pid, "VmHWM"), time.monotonic()
    times = [datetime.fromisoformat(line["timestamp"]).timestamp() - began_s for line in daemon.lines("job.done")]
    overflows = [line for line in daemon.lines("root.doubt") if line["reason"] == "overflow"]
    print(
        f"{files} files written in {written - began:.1f} s, complete {rested - written:.1f} s after the last;"
        f" the first after {min(times):.1f} s; {len(overflows)} overflows, {len(daemon.lines('scan.ended'))} scans;"
        f" memory {idle_kib} KiB at rest before, {peak_kib} KiB at most"
    )
    assert counts["done"] == files
    report = audit(watched, daemon.state)
    assert report.problems == []
    assert report.derivatives == 2 * files
    _once_each(daemon, files)
    assert peak_kib < MOST_MEMORY_KIB
    assert overflows or queue == "usual"


def test_an_overflow_of_the_kernels_queue_loses_nothing(watched: Path, daemon: Daemon) -> None:
    fill(watched / "old", 50)
    daemon.start_with_short_queue().rested(sources=50)
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
