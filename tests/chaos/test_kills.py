"""SIGKILL at any moment: for the daemon, and for its workers."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made, prints, temporary_files
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import fill
from watcherd.telemetry.repeats import FREELY

KILLS = 20
BATCH = 25
SIZE = (1300, 1000)
QUICK = """
[retry]
first_delay_s = 0.2
"""


@pytest.mark.timeout(240)
def test_a_daemon_killed_at_20_random_moments_completes_its_backlog(
    watched: Path, daemon: Daemon, chance: random.Random
) -> None:
    count = 0
    for kill in range(KILLS):
        fill(watched / f"batch{kill}", BATCH, first=count, size=SIZE)
        count += BATCH
        daemon.start(ready=False)
        if chance.random() < 0.7:
            daemon.wait_for("job.done", within_s=15)
        time.sleep(chance.uniform(0.0, 0.5))
        daemon.kill()
        assert half_made(watched) == []
    before = {path: one for path, one in prints(watched).items() if path.endswith(b".jpg") and b".jpg." not in path}
    done_before = sum(daemon.rendered().values())
    daemon.start()
    counts = daemon.rested(sources=count, within_s=120)
    report = audit(watched, daemon.state, untouched=before)
    print(
        f"{done_before} of {count} rendered between kills; {dict(counts)}; rendered {sum(daemon.rendered().values())}"
    )
    assert 0 < done_before < count
    assert report.problems == []
    assert counts["done"] == count
    assert temporary_files(watched) == []


def test_a_temporary_file_left_by_a_kill_is_swept_by_the_next_run(watched: Path, daemon: Daemon) -> None:
    fill(watched, 10)
    daemon.start().rested(sources=10)
    daemon.stop()
    instance = (daemon.state / "instance").read_text().strip()
    ours = watched / f".watcherd-{instance}-0badf00d-0123456789ab.tmp"
    foreign = watched / ".watcherd-ffffffff-0badf00d-0123456789ab.tmp"
    for file in (ours, foreign):
        file.write_bytes(b"half")
    daemon.start()
    eventually(lambda: not ours.exists(), within_s=10, what="our temporary file is swept")
    assert foreign.exists()


@pytest.mark.timeout(180)
def test_workers_killed_at_random_cost_nothing_but_time(
    watched: Path, daemon_at: Callable[..., Daemon], chance: random.Random
) -> None:
    count, killed = 400, set()
    fill(watched, count, size=SIZE)
    daemon = daemon_at(watched, config=QUICK).start()
    while len(killed) < 25:
        seen = daemon.outcomes()["rendered"]
        eventually(lambda seen=seen: daemon.outcomes()["rendered"] > seen + 2, within_s=30, what="work goes on")
        time.sleep(chance.uniform(0.0, 0.1))
        worker = chance.choice(daemon.workers())
        worker.send_signal(signal.SIGKILL)
        killed.add(worker.pid)
    counts = daemon.rested(sources=count, within_s=90)
    assert counts["done"] == count
    assert audit(watched, daemon.state).problems == []
    exits = {line["pid"]: line for line in daemon.lines("worker.exited")}
    assert {line["how"] for line in exits.values()} == {"SIGKILL"}
    hit = [line["source"] for line in exits.values() if line["source"]]
    idle = len(exits) - len(hit)  # lines that say the same: after some, the rest are only counted
    assert killed <= set(exits) or idle >= FREELY
    print(f"{len(killed)} workers killed, {len(hit)} of them at work")
    assert len(hit) >= len(killed) // 3
    crashed = [line["source"] for line in daemon.lines("job.done") if line["outcome"] == "crashed"]
    assert sorted(hit) == sorted(crashed)
    assert daemon.lines("job.quarantined") == []
