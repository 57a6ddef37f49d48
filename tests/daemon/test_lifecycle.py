"""What a daemon says at its end, whatever ended it."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def test_what_nobody_has_foreseen_ends_in_the_log_like_everything_else(tmp_path: Path) -> None:
    """Here a folder in the place of a file of the state directory."""
    state, root = tmp_path / "state", tmp_path / "root"
    (state / "instance").mkdir(parents=True)
    root.mkdir()

    command = [sys.executable, "-m", "watcherd", "run", "--watch", str(root), "--state-dir", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    failed, stopped = lines[-2:]
    assert (failed["event"], failed["level"]) == ("daemon.failed", "error")
    assert "IsADirectoryError" in failed["cause"]
    assert "Traceback" in failed["exception"]
    assert (stopped["event"], stopped["exit_code"], done.returncode) == ("daemon.stopped", 1, 1)


def test_as_many_files_may_be_open_as_the_system_lets() -> None:
    code = (
        "import resource\n"
        "from watcherd.daemon import openfiles\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))\n"
        "openfiles.raise_limit()\n"
        "print(openfiles.limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "300 300\n"


class Started:
    """A daemon, and its log until now. `before` is what whoever starts it does to its signals: an expression."""

    def __init__(self, place: Path, before: str) -> None:
        (place / "root").mkdir()
        program = f"import signal\n{before}\nfrom watcherd.cli import main\nmain()"
        command = [sys.executable, "-c", program, "run", "--watch", str(place / "root")]
        self.process = subprocess.Popen([*command, "--state-dir", str(place / "state")], stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self._log = self.process.stderr.fileno()
        self._came = b""

    def until(self, event: str) -> dict[str, object]:
        """Its next line about this event."""
        while True:
            line, end, rest = self._came.partition(b"\n")
            if not end:
                assert select.select([self._log], [], [], 60)[0], event
                data = os.read(self._log, 1 << 16)
                assert data, f"it ended without {event}"
                self._came += data
                continue
            self._came = rest
            found: dict[str, object] = json.loads(line)
            if found["event"] == event:
                return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], Started]]:
    made: list[Started] = []

    def start(before: str) -> Started:
        made.append(Started(tmp_path, before))
        return made[0]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()


def test_a_daemon_that_was_started_with_its_signals_blocked_can_be_ended(
    started: Callable[[str], Started],
) -> None:
    daemon = started("signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})")
    daemon.until("daemon.ready")

    daemon.process.terminate()

    assert daemon.until("daemon.draining")["signal"] == "SIGTERM"
    assert daemon.process.wait(60) == 0


def test_a_daemon_that_was_started_by_nohup_outlives_its_terminal(
    started: Callable[[str], Started],
) -> None:
    daemon = started("signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    daemon.until("daemon.ready")

    daemon.process.send_signal(signal.SIGHUP)
    daemon.process.send_signal(signal.SIGUSR1)

    daemon.until("daemon.status")
    daemon.process.terminate()
    assert daemon.until("daemon.draining")["signal"] == "SIGTERM"
