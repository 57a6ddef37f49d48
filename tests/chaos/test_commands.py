"""The command as a user and a service manager meet it: its verbs, their exit codes, how it begins and ends."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import faulty_worker as faulty
from tests.chaos.audit import audit, half_made, temporary_files
from tests.chaos.harness import (
    COMMAND,
    QUICK_SETTLE,
    SUMMARY_KEYS,
    Daemon,
    command,
    environment,
    eventually,
    summary_of,
)
from tests.chaos.pictures import broken_png, fill, jpeg, put

Scan = Callable[..., subprocess.CompletedProcess[str]]
FAULTY = {"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker"}


# ---------------------------------------------------------------------------------------------------- begin and end


def test_a_second_instance_ends_with_75_and_names_the_first(watched: Path, daemon: Daemon) -> None:
    daemon.start()
    done = command("run", "--watch", watched, "--state-dir", daemon.state)
    assert done.returncode == 75
    assert str(daemon.pid) in done.stderr
    daemon.kill()
    daemon.start()
    assert daemon.stop() == 0


def test_sigterm_finishes_what_is_in_hand_and_starts_nothing(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    slow = [put(watched / f"slow{n}.jpg", jpeg(n, marker=faulty.SLOW_ON_RENDER)) for n in range(40)]
    daemon = daemon_at(watched, extra=FAULTY, config="").start()
    daemon.wait_for("job.done", within_s=15)
    assert daemon.stop() == 0
    done = daemon.outcomes()["rendered"]
    assert 0 < done < len(slow)
    assert [line["event"] for line in daemon.lines()][-1] == "daemon.stopped"
    assert daemon.lines("daemon.draining")[0]["running"] > 0
    assert set(daemon.outcomes()) == {"rendered"}
    assert temporary_files(watched) == half_made(watched) == []
    states = audit(watched, daemon.state).states
    assert (states["done"], states["done"] + states["pending"]) == (done, len(slow))


def test_a_second_sigterm_halts_at_once_and_the_next_run_completes(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    stuck = put(watched / "stuck.jpg", jpeg(1, marker=faulty.HANG_ON_RENDER))
    fill(watched, 5)
    daemon = daemon_at(watched, extra=FAULTY, config="[daemon]\ndrain_timeout_s = 600\n").start()
    eventually(lambda: daemon.outcomes()["rendered"] >= 5, within_s=20, what="the others are done")
    eventually(
        lambda: any(one["source"] == str(stuck) for one in daemon.status()["daemon"]["in_hand"]),
        within_s=10,
        what="a worker hangs",
    )
    daemon.signal(signal.SIGTERM)
    daemon.wait_for("daemon.draining", within_s=5)
    time.sleep(0.5)
    assert daemon.process.poll() is None
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == 0
    assert len(daemon.lines("daemon.halting")) == 1
    assert temporary_files(watched) == []
    daemon.extra = {}
    daemon.start()
    assert daemon.rested(sources=6)["done"] == 6
    told = daemon.status_of(stuck)
    assert (told["faults"], told["interruptions"]) == (0, 0)
    assert audit(watched, daemon.state).problems == []


def test_sigint_ends_it_as_well(watched: Path, daemon: Daemon) -> None:
    fill(watched, 3)
    daemon.start().rested(sources=3)
    daemon.signal(signal.SIGINT)
    assert daemon.ended() == 0


# ------------------------------------------------------------------------------------------------------------- scan


def test_a_scan_renders_once_and_a_second_one_decodes_nothing(watched: Path, place: Path, scan: Scan) -> None:
    fill(watched / "sub", 12)
    put(watched / "sub" / "twin.jpg", jpeg(3))
    put(watched / "notes.txt", b"text")
    first = scan(watched)
    summary = summary_of(first)
    print(summary)
    assert first.returncode == 0
    assert tuple(summary) == SUMMARY_KEYS
    assert (summary["rendered"], summary["reused"], summary["ignored"], summary["derivatives"]) == (12, 1, 1, 26)
    assert summary["sources"] == 14
    second = summary_of(scan(watched))
    assert (second["unchanged"], second["rendered"], second["derivatives"], second["ignored"]) == (13, 0, 0, 1)
    assert "nothing was decoded" in command("scan", watched, "--state-dir", place / "state").stderr
    assert audit(watched, place / "state").problems == []


def test_a_scan_with_a_bad_file_ends_with_3(watched: Path, scan: Scan) -> None:
    fill(watched, 2)
    put(watched / "bad.png", broken_png())
    put(watched / "cut.jpg", jpeg(6, (400, 300))[:3_000])
    done = scan(watched)
    summary = summary_of(done)
    print(summary)
    assert done.returncode == 3
    assert (summary["rendered"], summary["incomplete"], summary["rejected"]) == (2, 1, 1)
    again = scan(watched)
    assert (again.returncode, summary_of(again)["rendered"]) == (3, 0)


def test_scans_of_a_file_and_of_two_folders(watched: Path, place: Path, scan: Scan) -> None:
    one = put(watched / "a" / "one.jpg", jpeg(1))
    put(watched / "a" / "other.jpg", jpeg(2))
    put(watched / "b" / "two.jpg", jpeg(3))
    summary = summary_of(scan(one))
    assert (summary["sources"], summary["rendered"]) == (1, 1)
    summary = summary_of(scan(watched / "a", watched / "b", state=place / "other"))
    assert (summary["sources"], summary["derivatives"]) == (3, 4)


def test_a_scan_asks_the_running_daemon(watched: Path, daemon: Daemon, scan: Scan) -> None:
    fill(watched, 5)
    daemon.start().rested(sources=5)
    done = scan(watched, state=daemon.state)
    assert (done.returncode, summary_of(done)["unchanged"]) == (0, 5)
    assert [line["verb"] for line in daemon.lines("control.request") if line["verb"] == "scan"] == ["scan"]
    (watched / "p000001.jpg.preview.jpg").unlink()
    assert summary_of(scan(watched, state=daemon.state))["sources"] == 5
    assert (watched / "p000001.jpg.preview.jpg").exists(), "by the scan, or by the daemon before it was asked"


def test_a_scan_beside_another_scan_ends_with_75(watched: Path, place: Path, scan: Scan) -> None:
    fill(watched, 400, size=(800, 600))
    file = put(place / "first.toml", QUICK_SETTLE.encode())
    arguments = [COMMAND, "scan", str(watched), "--state-dir", str(place / "state"), "--config", str(file), "--json"]
    first = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
    try:
        eventually(lambda: list(watched.glob("*.preview.jpg")), within_s=20, what="the first scan is at work")
        second = scan(watched)
        assert (second.returncode, str(first.pid) in second.stderr) == (75, True)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=20)
        assert first.returncode == 130, said
    finally:
        first.kill()
        first.communicate()
    assert temporary_files(watched) == half_made(watched) == []


# ---------------------------------------------------------------------------------------------- wrong configurations


@pytest.mark.parametrize("verb", ["run", "scan"])
def test_a_wrong_configuration_ends_with_78_before_anything_is_started(place: Path, watched: Path, verb: str) -> None:
    file = place / "wrong.toml"
    file.write_text('[settle]\nclosed_quite_s = 1\n[pool]\nworkers = "many"\n')
    places = ("--watch", watched) if verb == "run" else (watched,)
    done = command(verb, *places, "--config", file, "--state-dir", place / "state")
    print(done.stderr)
    assert done.returncode == 78
    assert f"{file}:2" in done.stderr
    assert f"{file}:4" in done.stderr
    assert "closed_quiet_s" in done.stderr
    assert not (place / "state").exists()


def test_impossible_folders_end_with_78(place: Path, watched: Path) -> None:
    (watched / "inner").mkdir()
    cases = {
        "missing": ["--watch", place / "nowhere", "--state-dir", place / "state"],
        "overlapping": ["--watch", watched, "--watch", watched / "inner", "--state-dir", place / "state"],
        "state inside": ["--watch", watched, "--state-dir", watched / "state"],
    }
    ends = {case: command("run", *arguments) for case, arguments in cases.items()}
    for case, done in ends.items():
        print(case, done.stderr)
    assert {case: done.returncode for case, done in ends.items()} == dict.fromkeys(cases, 78)
    assert all(done.stderr.strip() and "Traceback" not in done.stderr for done in ends.values())
    assert not (place / "state").exists()
    assert not (watched / "state").exists()


def test_a_scan_of_nowhere_ends_with_78(place: Path) -> None:
    done = command("scan", place / "nowhere", "--state-dir", place / "state")
    assert (done.returncode, "Traceback" in done.stderr) == (78, False)


# -------------------------------------------------------------------------------------------------- status and retry


def test_status_says_the_same_with_and_without_a_daemon(watched: Path, daemon: Daemon) -> None:
    fill(watched, 4)
    put(watched / "notes.txt", b"text")
    put(watched / "cut.jpg", jpeg(9, (400, 300))[:3_000])
    daemon.start().rested(sources=6)
    running = daemon.status()
    assert running["daemon"]["pid"] == daemon.pid
    assert daemon.stop() == 0
    stopped = daemon.status()
    assert stopped["daemon"] is None
    assert {key: stopped[key] for key in ("sources", "roots", "failures")} == {
        key: running[key] for key in ("sources", "roots", "failures")
    }
    assert (running["sources"]["done"], running["sources"]["ignored"], running["sources"]["incomplete"]) == (4, 1, 1)
    assert command("status", "--state-dir", daemon.state).returncode == 0


def test_status_of_a_file_says_why(watched: Path, daemon: Daemon) -> None:
    done, text = put(watched / "a.jpg", jpeg(1, (640, 480))), put(watched / "notes.txt", b"text")
    daemon.start().rested(sources=2)
    told = daemon.status_of(done)
    assert told["state"] == "done"
    assert {d["variant"]: (d["width"], d["height"]) for d in told["derivatives"]} == {
        "thumbnail": (200, 150),
        "preview": (640, 480),
    }
    assert daemon.state_of(text) == "ignored"
    unknown = command("status", watched / "never.jpg", "--state-dir", daemon.state)
    assert (unknown.returncode != 0, "Traceback" in unknown.stderr) == (True, False)
    for_people = command("status", done, "--state-dir", daemon.state)
    assert "done" in for_people.stdout


def test_status_of_nothing_is_no_traceback(place: Path) -> None:
    done = command("status", "--json", "--state-dir", place / "state")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_retry_without_a_daemon_is_done_by_the_next_run(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    poison = put(watched / "poison.jpg", jpeg(1, marker=faulty.CRASH_ON_RENDER))
    daemon = daemon_at(watched, extra=FAULTY, config="[retry]\nfirst_delay_s = 0.1\n").start()
    assert daemon.rested(sources=1)["quarantined"] == 1
    assert daemon.stop() == 0
    assert command("retry", poison, "--state-dir", daemon.state).returncode == 0
    assert json.loads(command("status", "--json", "--state-dir", daemon.state).stdout)["sources"]["pending"] == 1
    daemon.extra = {}
    daemon.start()
    assert daemon.rested(sources=1)["done"] == 1


def test_a_deleted_source_takes_its_derivatives_along(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    fill(watched, 3)
    daemon = daemon_at(watched, config="[daemon]\nforget_after_s = 1\n").start()
    daemon.rested(sources=3)
    (watched / "p000001.jpg").unlink()
    eventually(lambda: len(list(watched.iterdir())) == 6, within_s=15, what="its derivatives are removed")
    eventually(lambda: daemon.status()["sources"]["done"] == 2, within_s=10, what="it is forgotten", every_s=0.3)
    assert audit(watched, daemon.state).problems == []


# -------------------------------------------------------------------------------------------------------------- metrics


def test_the_metrics_tell_what_the_daemon_did(watched: Path, daemon: Daemon, tmp_path: Path) -> None:
    text_file = tmp_path / "watcherd.prom"
    daemon.config = f'[daemon]\nmetrics_interval_s = 1\n[metrics]\ntextfile = "{text_file}"\n'
    daemon.start()
    put(watched / "a.jpg", jpeg("a"))
    put(watched / "b.png", broken_png())
    eventually(lambda: len(daemon.lines("job.done")) >= 2, within_s=15, what="both attempts")

    done = command("metrics", "show", "--state-dir", daemon.state)
    assert done.returncode == 0, done.stderr
    assert 'watcherd_attempts_total{outcome="rendered",reason=""} 1.0\n' in done.stdout
    assert 'watcherd_derivatives_total{variant="preview"} 1.0\n' in done.stdout
    assert 'watcherd_root_state{root="1",state="online"} 1.0\n' in done.stdout
    eventually(
        lambda: text_file.exists() and "watcherd_workers_limit" in text_file.read_text(), within_s=10, what="the file"
    )
    assert daemon.stop() == 0
    assert not text_file.exists()
