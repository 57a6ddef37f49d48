"""The status of a real daemon: on a terminal, where it is shown again and again, and in the log after SIGUSR1."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.harness import COMMAND, Daemon, environment
from tests.chaos.pictures import fill

SUMMARY = re.compile(r"up for ([0-9.]+) s")


def test_a_signal_puts_the_status_into_the_log(watched: Path, daemon: Daemon) -> None:
    fill(watched, 3)
    daemon.start()
    daemon.rested(sources=3)
    daemon.signal(signal.SIGUSR1)
    told, asked = daemon.wait_for("daemon.status", within_s=10)["status"], daemon.status()["daemon"]
    assert set(told) == set(asked)
    assert told["roots"][str(watched)]["state"] == "online"
    assert daemon.stop() == 0


def test_on_a_terminal_the_status_is_shown_again_until_it_is_interrupted(watched: Path, daemon: Daemon) -> None:
    daemon.start()
    ours, theirs = pty.openpty()
    shown = subprocess.Popen(
        [COMMAND, "status", "--watch", "--state-dir", str(daemon.state)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment({"TERM": "xterm", "COLUMNS": "200", "LINES": "40"}),
        start_new_session=True,
    )
    os.close(theirs)
    try:
        seen = _until(ours, lambda text: len(set(SUMMARY.findall(text))) >= 3)
        fill(watched, 2)
        seen = _until(ours, lambda text: "2 done" in text, seen)
        shown.send_signal(signal.SIGINT)
        assert shown.wait(20) in {0, 130}
    finally:
        shown.kill()
        shown.wait()
        os.close(ours)
    assert str(watched) in seen


def _until(terminal: int, enough: Callable[[str], bool], seen: str = "") -> str:
    """Read what a terminal shows until it is enough."""
    give_up_at = time.monotonic() + 60
    while not enough(seen):
        assert time.monotonic() < give_up_at, seen[-2_000:]
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 65_536).decode(errors="replace")
    return seen
