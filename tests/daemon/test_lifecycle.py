"""What a daemon says at its end, whatever ended it."""

import json
import subprocess
import sys
from pathlib import Path


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
