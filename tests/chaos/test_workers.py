"""Workers that leak, hang for good, or do not start: what the daemon makes of them, seen from outside."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos import faulty_worker as faulty
from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, command, eventually
from tests.chaos.pictures import fill, jpeg, put

FAULTY = {"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker"}
TWO_WORKERS = """
[pool]
workers = 2
timeout_s = 2
[retry]
first_delay_s = 0.2
"""
Daemons = Callable[..., Daemon]
FREEZER = Path("/sys/fs/cgroup/freezer")


# -------------------------------------------------------------------------------------------------------- leaking


def test_a_worker_that_leaks_is_replaced_and_costs_no_job(watched: Path, daemon_at: Daemons) -> None:
    leaky = [put(watched / f"leaky{n}.jpg", jpeg(n, marker=faulty.LEAK_ON_RENDER)) for n in range(40)]
    config = '[pool]\nworkers = 1\nrecycle_above_bytes = "250MiB"\n[log]\nlevel = "debug"\n'
    daemon = daemon_at(watched, config=config, extra=FAULTY).start()
    largest = 0

    def done() -> int:
        nonlocal largest
        largest = max([largest, *(_rss_bytes(worker) for worker in daemon.workers())])
        return len(daemon.outcomes()) and sum(daemon.outcomes().values()) == len(leaky)

    eventually(done, within_s=60, what="all are done")
    replaced = [line for line in daemon.lines("worker.ended") if line["stop_reason"] == "bloated"]
    print(f"{len(replaced)} workers replaced; the largest that was seen had {largest >> 20} MiB")
    assert daemon.outcomes() == {"rendered": len(leaky)}
    assert len(replaced) >= 5
    assert largest < (250 << 20) + 3 * faulty.LEAKED_BYTES
    assert daemon.lines("worker.exited") == []
    daemon.rested(sources=len(leaky))  # the last end is in the log a moment before it is in the ledger
    assert audit(watched, daemon.state).problems == []


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


# -------------------------------------------------------------------------------------- hanging, dying or not


@pytest.fixture
def freezer() -> Iterator[Callable[[int], Callable[[], None]]]:
    """Freezes a process so that not even SIGKILL ends it; gives what thaws it."""
    folder = FREEZER / f"watcherd-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "freezer.state").write_text("THAWED")
    except OSError as error:
        pytest.skip(f"there is no freezer of cgroup v1 to be used here: {error}")

    def thaw() -> None:
        (folder / "freezer.state").write_text("THAWED")

    def freeze(pid: int) -> Callable[[], None]:
        (folder / "cgroup.procs").write_text(str(pid))
        (folder / "freezer.state").write_text("FROZEN")
        frozen = folder / "freezer.state"
        eventually(lambda: frozen.read_text() == "FROZEN\n", within_s=5, what="it is frozen")
        return thaw

    try:
        yield freeze
    finally:
        thaw()
        eventually(lambda: not (folder / "cgroup.procs").read_text(), within_s=10, what="it has gone")
        folder.rmdir()


@pytest.mark.timeout(180)
def test_a_worker_that_not_even_sigkill_ends_is_lost_and_its_place_is_filled(
    watched: Path, daemon_at: Daemons, freezer: Callable[[int], Callable[[], None]]
) -> None:
    config = TWO_WORKERS.replace("workers = 2", "workers = 1")
    daemon = daemon_at(watched, config=config, extra=FAULTY).start()
    slow = put(watched / "slow.jpg", jpeg("slow", marker=faulty.SLOW_ON_RENDER))
    (worker,) = eventually(lambda: _held(daemon, slow), within_s=20, what="a worker holds it")
    thaw = freezer(worker.pid)
    fill(watched, 10)
    lost = daemon.wait_for("worker.lost", within_s=30)
    assert lost["pid"] == worker.pid
    counts = daemon.rested(sources=11)
    assert counts["done"] == 11
    assert [line["outcome"] for line in daemon.lines("job.done") if line["source"] == str(slow)] == [
        "timedout",
        "rendered",
    ]
    thaw()
    eventually(lambda: worker.status() == psutil.STATUS_ZOMBIE, within_s=10, what="it dies at last")
    for other in daemon.workers():
        other.kill()
    put(watched / "later.jpg", jpeg("later"))
    daemon.rested(sources=12)
    assert [child.pid for child in psutil.Process(daemon.pid).children() if child.pid == worker.pid] == []
    assert daemon.stop() == 0


def _held(daemon: Daemon, source: Path) -> list[psutil.Process]:
    """The only worker, once it holds the source."""
    status = daemon.status().get("daemon") or {"in_hand": []}
    held = [one for one in status["in_hand"] if one["source"] == str(source) and one["phase"] == "rendering"]
    return daemon.workers() if held else []


# -------------------------------------------------------------------------------------------------- not starting


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"WATCHERD_WORKER_MODULE": "no.such.module"}, "No module named 'no'"),
        (FAULTY | {faulty.NO_START: "/"}, "not today"),
    ],
)
def test_workers_that_do_not_start_end_the_daemon_with_1_and_the_reason(
    watched: Path, daemon_at: Daemons, extra: dict[str, str], words: str
) -> None:
    fill(watched, 3)
    daemon = daemon_at(watched, config="", extra=extra).start(ready=False)
    started = time.monotonic()
    assert daemon.ended() == 1
    print(f"ended after {time.monotonic() - started:.1f} s")
    (failed,) = daemon.lines("daemon.failed")
    assert failed["cause"].startswith("3 workers in a row could not start: ")
    assert words in failed["cause"]
    assert daemon.lines("daemon.ready") == daemon.lines("job.done") == []
    assert daemon.lines()[-1] | {"uptime_s": 0} == daemon.lines("daemon.stopped")[0] | {"uptime_s": 0, "exit_code": 1}


@pytest.mark.timeout(180)
def test_a_daemon_of_which_one_worker_stands_is_degraded_says_so_and_returns_to_full_strength(
    watched: Path, place: Path, daemon_at: Daemons
) -> None:
    broken = place / "broken"
    daemon = daemon_at(watched, config=TWO_WORKERS, extra=FAULTY | {faulty.NO_START: str(broken)}).start()
    broken.touch()
    slow = [put(watched / f"slow{n}.jpg", jpeg(n, marker=faulty.SLOW_ON_RENDER)) for n in range(20)]
    degraded = daemon.wait_for("pool.degraded", within_s=20)
    assert (degraded["level"], degraded["workers"]) == ("warning", 1)
    assert "not today" in degraded["reason"]
    status = daemon.status()["daemon"]
    assert (status["workers"]["degraded"], "not today" in status["workers"]["trouble"]) == (True, True)
    assert "degraded" in status["summary"]
    before = daemon.outcomes()["rendered"]
    eventually(lambda: daemon.outcomes()["rendered"] > before + 1, within_s=15, what="one worker goes on")
    assert len(daemon.workers()) <= 2  # the one that stands, and the next that tries

    broken.unlink()
    daemon.wait_for("pool.restored", within_s=15)
    status = eventually(
        lambda: (now := daemon.status()["daemon"])["workers"]["busy"] == 2 and now, within_s=15, what="both work"
    )
    assert (status["workers"]["degraded"], status["workers"]["trouble"]) == (False, "")
    assert daemon.rested(sources=len(slow))["done"] == len(slow)
    assert daemon.lines("job.retry") == []
    assert [line["event"] for line in daemon.lines() if line["event"].startswith("pool.")] == [
        "pool.degraded",
        "pool.restored",
    ]


def test_idle_workers_that_do_not_stay_alive_end_the_daemon_with_1_and_the_reason(
    watched: Path, daemon_at: Daemons
) -> None:
    daemon = daemon_at(watched, config=TWO_WORKERS).start()
    ended: set[int] = set()

    def end_one() -> Any:
        for worker in daemon.workers():
            if worker.pid not in ended and worker.num_threads() and _is_fenced(worker.pid):
                worker.send_signal(signal.SIGBUS)
                ended.add(worker.pid)
        return daemon.process.poll() is not None

    eventually(end_one, within_s=60, what="it gives up")
    print(f"{len(ended)} idle workers ended")
    assert daemon.ended() == 1
    assert "idle workers died within 60 s (SIGBUS)" in daemon.lines("daemon.failed")[0]["cause"]
    assert len(ended) >= 22
    assert len(daemon.lines("worker.exited")) >= 5  # then their like is left out, and counted


def _is_fenced(pid: int) -> bool:
    """Whether a worker has closed its fence, the last thing that it does before it is ready."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "\nSeccomp:\t2\n" in text


# -------------------------------------------------------------------------------------------------------- sandbox

POOR = {"WATCHERD_WORKER_MODULE": "tests.pool.unfenced"}
ALL_LAYERS = ["no_new_privileges", "not_dumpable", "landlock", "seccomp"]


@pytest.mark.parametrize(
    ("sandbox", "extra", "missing"),
    [("auto", POOR, ["landlock", "seccomp"]), ("off", {}, ALL_LAYERS)],
    ids=["auto_on_a_poor_kernel", "off"],
)
def test_layers_that_are_missing_are_named_by_the_status_and_work_goes_on(
    watched: Path, daemon_at: Daemons, sandbox: str, extra: dict[str, str], missing: list[str]
) -> None:
    fill(watched, 5)
    daemon = daemon_at(watched, config=f'[pool]\nsandbox = "{sandbox}"\n', extra=extra).start()
    assert daemon.rested(sources=5)["done"] == 5
    assert daemon.status()["daemon"]["workers"]["missing_layers"] == missing
    shown = command("status", "--state-dir", daemon.state).stdout.splitlines()
    assert f"sandbox: without {', '.join(missing)}" in shown


def test_a_sandbox_that_is_required_and_cannot_be_had_ends_the_daemon_with_1_and_the_layers(
    watched: Path, daemon_at: Daemons
) -> None:
    fill(watched, 5)
    daemon = daemon_at(watched, config='[pool]\nsandbox = "require"\n', extra=POOR).start(ready=False)
    assert daemon.ended() == 1
    (failed,) = daemon.lines("daemon.failed")
    assert "the sandbox is required, but landlock, seccomp cannot be had here" in failed["cause"]
    assert 'sandbox = "auto"' in failed["cause"]
    assert daemon.lines("job.done") == []
