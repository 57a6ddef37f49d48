"""Sources that hurt their workers, and sources that were only near."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.chaos import faulty_worker as faulty
from tests.chaos import harness
from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, command, environment, eventually, summary_of
from tests.chaos.pictures import fill, jpeg, put

QUICK = """
[retry]
first_delay_s = 0.2
[pool]
timeout_s = 2
"""
Scan = Callable[..., subprocess.CompletedProcess[str]]
FAULTY = {"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker"}


@pytest.fixture
def weak(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """A daemon whose workers fall over marked contents, started."""
    return daemon_at(watched, config=QUICK, extra=FAULTY).start()


@pytest.fixture
def patient(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """The same, and none of its deadlines is near."""
    return daemon_at(watched, config="[retry]\nfirst_delay_s = 0.2\n", extra=FAULTY).start()


def _ends(daemon: Daemon, source: Path) -> list[str]:
    return [line["outcome"] for line in daemon.all_lines("job.done") if line["source"] == str(source)]


@pytest.mark.parametrize(
    ("marker", "outcome", "reason"),
    [
        (faulty.CRASH_ON_LOOK, "crashed", "crashed"),
        (faulty.CRASH_ON_RENDER, "crashed", "crashed"),
        (faulty.ABORT_ON_RENDER, "crashed", "crashed"),
        (faulty.EXIT_ON_RENDER, "crashed", "crashed"),
        (faulty.HANG_ON_RENDER, "timedout", "timed_out"),
    ],
)
def test_a_source_that_ends_its_worker_each_time_is_quarantined_after_three_and_others_go_on(
    watched: Path, weak: Daemon, marker: bytes, outcome: str, reason: str
) -> None:
    poison = put(watched / "poison.jpg", jpeg("poison", (300, 200), marker=marker))
    fill(watched, 40)
    counts = weak.rested(sources=41)
    assert (counts["done"], counts["quarantined"]) == (40, 1)
    assert _ends(weak, poison) == [outcome] * 3
    told = weak.status_of(poison)
    print(told["explanation"])
    assert (told["state"], told["reason"], told["faults"]) == ("quarantined", reason, 3)
    assert told["detail"]
    assert audit(watched, weak.state).problems == []
    quarantined = weak.lines("job.quarantined")
    assert [line["source"] for line in quarantined] == [str(poison)]

    assert weak.stop() == 0
    weak.start().rested(sources=41)
    assert weak.lines("job.done") == []


def test_a_quarantined_content_is_not_tried_again_under_another_name(watched: Path, weak: Daemon) -> None:
    data = jpeg("poison", (300, 200), marker=faulty.CRASH_ON_RENDER)
    put(watched / "poison.jpg", data)
    assert weak.rested(sources=1)["quarantined"] == 1
    copy = put(watched / "sub" / "other.jpg", data)
    assert weak.rested(sources=2)["quarantined"] == 2
    assert "crashed" not in _ends(weak, copy)


def test_retry_releases_a_quarantined_source_and_a_good_content_ends_it(watched: Path, weak: Daemon) -> None:
    poison = put(watched / "poison.jpg", jpeg("poison", (300, 200), marker=faulty.CRASH_ON_RENDER))
    assert weak.rested(sources=1)["quarantined"] == 1
    assert command("retry", "--failed", "--state-dir", weak.state).returncode == 0
    eventually(lambda: len(_ends(weak, poison)) >= 6, within_s=20, what="three more attempts")
    assert weak.rested(sources=1)["quarantined"] == 1
    put(poison, jpeg("cured", (300, 200)))
    eventually(lambda: weak.state_of(poison) == "done", within_s=15, what="the new content is done", every_s=0.3)
    assert audit(watched, weak.state).problems == []


def test_a_released_source_has_all_its_attempts_again_and_a_restart_with_other_limits_tries_it_by_itself(
    watched: Path, weak: Daemon
) -> None:
    poison = put(watched / "poison.jpg", jpeg("poison", (300, 200), marker=faulty.CRASH_ON_RENDER))
    good = fill(watched, 10)
    assert weak.rested(sources=11)["quarantined"] == 1
    listed = command("quarantine", "list", "--json", "--state-dir", weak.state)
    assert [one["source"] for one in json.loads(listed.stdout)["quarantined"]] == [str(poison)]

    assert command("quarantine", "release", poison, "--state-dir", weak.state).returncode == 0
    eventually(lambda: len(_ends(weak, poison)) >= 6, within_s=20, what="three more attempts")
    assert weak.rested(sources=11)["quarantined"] == 1

    assert weak.stop() == 0
    weak.start().rested(sources=11)
    assert len(_ends(weak, poison)) == 6  # a restart alone changes nothing
    assert weak.stop() == 0
    weak.config = f"{QUICK}[limits]\nmax_side = 60_000\n"
    weak.start()
    eventually(lambda: len(_ends(weak, poison)) >= 9, within_s=20, what="three attempts under other limits")
    assert weak.rested(sources=11)["quarantined"] == 1
    assert weak.status_of(poison)["faults"] == 3
    assert all(_ends(weak, one) == ["rendered"] for one in good)


def test_what_crashes_the_usual_decoder_is_done_by_the_other_one(watched: Path, weak: Daemon) -> None:
    odd = put(watched / "odd.jpg", jpeg("odd", (300, 200), marker=faulty.CRASH_USUAL_DECODER))
    fill(watched, 10)
    assert weak.rested(sources=11)["done"] == 11
    assert _ends(weak, odd) == ["crashed", "rendered"]
    (last,) = [line for line in weak.lines("job.done") if line["source"] == str(odd) and line["notes"]]
    assert last["notes"] == ["read by pillow, as the usual decoder did not end well"]
    assert audit(watched, weak.state).problems == []


def test_a_source_in_hand_while_others_kill_workers_is_not_to_blame(watched: Path, patient: Daemon) -> None:
    slow = put(watched / "slow.jpg", jpeg("slow", (300, 200), marker=faulty.LONG_ON_RENDER))
    killed = 0
    while killed < 5:
        at_work = eventually(lambda: _holder_of(patient, slow), within_s=30, what="a worker holds it", every_s=0.2)
        for worker in at_work:
            worker.send_signal(signal.SIGKILL)
        killed += 1
        eventually(lambda n=killed: len(_ends(patient, slow)) >= n, within_s=10, what="the kill was seen")
    assert patient.rested(sources=1)["done"] == 1
    assert _ends(patient, slow) == ["crashed"] * 5 + ["rendered"]
    assert {line["reason"] for line in patient.lines("job.done") if line["outcome"] == "crashed"} == {"interrupted"}
    assert [line["source"] for line in patient.lines("worker.exited") if line["source"]] == [str(slow)] * 5


def _holder_of(daemon: Daemon, source: Path) -> list[psutil.Process]:
    """All workers, if one of them holds the source now."""
    status = daemon.status().get("daemon") or {"in_hand": []}
    held = [one for one in status["in_hand"] if one["source"] == str(source) and one["phase"] == "rendering"]
    return daemon.workers() if held else []


def test_a_kill_of_the_daemon_is_not_held_against_what_was_in_hand(watched: Path, patient: Daemon) -> None:
    slow = put(watched / "slow.jpg", jpeg("slow", (300, 200), marker=faulty.LONG_ON_RENDER))
    for _ in range(4):
        eventually(lambda: _holder_of(patient, slow), within_s=30, what="a worker holds it", every_s=0.2)
        patient.kill()
        patient.start(ready=False)
    assert patient.rested(sources=1)["done"] == 1
    assert audit(watched, patient.state).problems == []


def test_a_scan_ends_though_a_source_crashes_its_workers(
    watched: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "environment", lambda: environment(FAULTY))
    put(watched / "poison.jpg", jpeg("poison", (300, 200), marker=faulty.CRASH_ON_RENDER))
    fill(watched, 10)
    done = scan(watched)
    summary = summary_of(done)
    print(summary)
    assert done.returncode == 3
    assert (summary["sources"], summary["rendered"], summary["quarantined"]) == (11, 10, 1)
