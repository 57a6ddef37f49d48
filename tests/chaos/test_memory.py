"""Little memory: giants among many small pictures, and workers that take more than there is.

The limit is a cgroup's where one can be made (as root), and a budget from the configuration where not.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.chaos import faulty_worker as faulty
from tests.chaos.audit import audit
from tests.chaos.harness import REPOSITORY, Daemon, environment
from tests.chaos.pictures import encoded, fill, jpeg, put

FAULTY = {"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker"}
FULL = os.environ.get("WATCHERD_CHAOS_FULL") == "1"
SMALL = 3_000 if FULL else 600
LIMIT_BYTES = 700 << 20
QUICK = "[retry]\nfirst_delay_s = 0.2\n"
Daemons = Callable[..., Daemon]
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Group:
    """A cgroup with a limit. `prefix` runs a command in it."""

    folder: Path
    peak: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    def peak_bytes(self) -> int:
        return int((self.folder / self.peak).read_text())


@pytest.fixture
def group() -> Iterator[Group]:
    """A cgroup with little memory and no swap."""
    made = _made(V1, "memory.limit_in_bytes") or _made(V2, "memory.max")
    if made is None:
        pytest.skip("no cgroup with a limit on memory can be made here")
    try:
        yield made
    finally:
        for pid in (made.folder / "cgroup.procs").read_text().split():
            psutil.Process(int(pid)).kill()
        subprocess.run(
            ["sh", "-c", f"until rmdir {made.folder} 2>/dev/null; do sleep 0.1; done"], check=True, timeout=20
        )


def _made(parent: Path, limit: str) -> Group | None:
    folder = parent / f"watcherd-test-{os.getpid()}"
    if not (parent / "cgroup.procs").exists():
        return None
    try:
        folder.mkdir()
    except OSError:
        return None
    if not (folder / limit).exists():  # this hierarchy has no memory controller
        folder.rmdir()
        return None
    (folder / limit).write_text(str(LIMIT_BYTES))
    return Group(folder, "memory.max_usage_in_bytes" if parent == V1 else "memory.peak")


def giant(unique: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG: its decoder holds all of its coefficients, six bytes a pixel here."""
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    return encoded(picture, progressive=True, subsampling=0, comment=b"%d" % unique)


@pytest.mark.timeout(300)
def test_giants_among_many_small_ones_are_done_or_refused_with_the_number(
    watched: Path, daemon_at: Daemons, group: Group
) -> None:
    small = fill(watched, SMALL)
    carried = [put(watched / f"giant{n}.jpg", giant(n, (5000, 4000))) for n in range(4)]
    refused = put(watched / "refused.jpg", giant(9, (12000, 9000)))
    daemon = daemon_at(watched, config=QUICK, prefix=group.prefix).start()
    counts = daemon.rested(sources=SMALL + 5, within_s=200)
    budget = daemon.status()["daemon"]["memory"]["budget_bytes"]
    print(f"budget {budget >> 20} MiB, peak of all {group.peak_bytes() >> 20} of {LIMIT_BYTES >> 20} MiB, {counts}")
    assert LIMIT_BYTES * 0.4 < budget <= LIMIT_BYTES * 0.5
    assert (counts["done"], counts["rejected"]) == (len(small) + len(carried), 1)
    told = daemon.status_of(refused)
    assert (told["state"], told["reason"]) == ("rejected", "too_much_memory")
    assert f"more than the budget of {budget >> 20} MiB" in told["detail"]
    assert daemon.lines("worker.exited") == daemon.lines("job.retry") == []
    assert audit(watched, daemon.state).problems == []
    assert daemon.stop() == 0


@pytest.mark.timeout(300)
def test_two_giants_on_two_workers_do_not_hold_a_thousand_small_ones(watched: Path, daemon_at: Daemons) -> None:
    data = [giant(n, (9000, 7000)) for n in range(2)]
    daemon = daemon_at(watched, config='[pool]\nworkers = 2\nmemory_bytes = "500MiB"\n').start()
    daemon.signal(signal.SIGSTOP)  # it hears of all of them at once, however long they take to be written
    for number, content in enumerate(data):
        put(watched / f"giant{number}.jpg", content)
    fill(watched, 1_000)
    daemon.signal(signal.SIGCONT)
    counts = daemon.rested(sources=1_002, within_s=200)
    assert counts["done"] == 1_002
    order = [Path(line["source"]).name for line in daemon.lines("job.done")]
    first, second = sorted(order.index(f"giant{n}.jpg") for n in range(2))
    print(f"the giants ended as numbers {first} and {second} of {len(order)}")
    assert second - first >= 10  # they were not at work together, and small ones went past the second
    peaks = [line["memory_bytes"] for line in daemon.lines("pool.metrics")]
    assert all(peak <= 500 << 20 for peak in peaks)


@pytest.mark.timeout(180)
def test_a_worker_ended_by_the_kernel_for_memory_is_told_from_other_kills_and_the_daemon_lives(
    watched: Path, daemon_at: Daemons, group: Group
) -> None:
    bloat = put(watched / "bloat.jpg", jpeg("bloat", marker=faulty.BLOAT_ON_RENDER))
    fill(watched, 40)
    daemon = daemon_at(watched, config=QUICK, extra=FAULTY, prefix=group.prefix).start()
    counts = daemon.rested(sources=41, within_s=120)
    told = daemon.status_of(bloat)
    assert (counts["done"], counts["quarantined"]) == (40, 1)
    assert (told["reason"], told["faults"]) == ("out_of_memory", 3)
    assert "for want of memory" in told["detail"]
    assert [line["how"] for line in daemon.lines("worker.exited")] == ["out of memory"] * 3
    assert audit(watched, daemon.state).problems == []
    assert daemon.stop() == 0


@pytest.mark.timeout(180)
def test_a_worker_that_takes_more_than_its_address_space_fails_its_job_and_lives(
    watched: Path, daemon_at: Daemons
) -> None:
    bloat = put(watched / "bloat.jpg", jpeg("bloat", marker=faulty.BLOAT_ON_RENDER))
    fill(watched, 40)
    config = QUICK + '[pool]\nmemory_bytes = "100MiB"\nworkers = 1\nrecycle_above_bytes = "100GiB"\n'
    daemon = daemon_at(watched, config=config, extra=FAULTY).start()
    counts = daemon.rested(sources=41, within_s=120)
    told = daemon.status_of(bloat)
    assert (counts["done"], counts["quarantined"]) == (40, 1)
    assert (told["reason"], told["faults"]) == ("out_of_memory", 3)
    assert [line["outcome"] for line in daemon.lines("job.done") if line["source"] == str(bloat)] == ["failed"] * 3
    assert daemon.lines("worker.exited") == []


def test_the_library_sizes_itself_by_the_cgroup_too(group: Group) -> None:
    code = (
        "from watcherd.pool import machine, sizing\n"
        "from watcherd.settings import PoolSettings\n"
        "print(sizing.memory_budget(PoolSettings(), machine.look()))"
    )
    done = subprocess.run(
        [*group.prefix, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env=environment(),
    )
    assert LIMIT_BYTES * 0.4 < int(done.stdout) <= LIMIT_BYTES * 0.5
