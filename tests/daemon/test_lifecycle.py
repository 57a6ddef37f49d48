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
