"""`watcherd metrics`: the files are printed as they are, and a daemon that does not run is told."""

import json
from pathlib import Path

import pytest

from watcherd.cli import main


def metrics(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["metrics", *arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_dashboard_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = metrics(capsys, "dashboard")
    assert code == 0
    assert json.loads(out)["title"] == "watcherd"


def test_the_alert_rules_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = metrics(capsys, "alerts")
    assert code == 0
    assert "\ngroups:\n" in out


def test_without_a_daemon_the_code_is_69(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = metrics(capsys, "show", "--state-dir", str(tmp_path))
    assert (code, out) == (69, "")
    assert f"no daemon gives metrics at {tmp_path}/metrics.sock" in err
