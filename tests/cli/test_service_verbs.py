"""`watcherd service` as it is typed; that it works on a machine is shown in tests/chaos/test_service.py."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watcherd.cli import watcherd
from watcherd.cli.exits import Exit


@pytest.fixture
def verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `watcherd service` for a user with an empty home and no service manager."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    (tmp_path / "home").mkdir()
    (tmp_path / "photos").mkdir()
    return lambda *arguments: CliRunner().invoke(watcherd, ["service", *arguments])


def test_a_dry_run_says_all_and_does_nothing(verb: Callable[..., Result], tmp_path: Path) -> None:
    done = verb("install", "--user", "--watch", str(tmp_path / "photos"), "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert f"write {tmp_path}/home/.config/systemd/user/watcherd.service: the unit" in lines
    assert f"write {tmp_path}/home/.config/watcherd/config.toml: the configuration" in lines
    assert any(line.startswith("run systemctl --user enable watcherd") for line in lines)
    assert os.listdir(tmp_path / "home") == []


def test_a_folder_that_is_not_there_is_a_wrong_configuration(verb: Callable[..., Result], tmp_path: Path) -> None:
    done = verb("install", "--user", "--watch", str(tmp_path / "away"), "--dry-run")
    assert done.exit_code == Exit.CONFIGURATION
    assert "away is not a folder" in done.stderr


def test_no_folder_at_all_is_one_too(verb: Callable[..., Result]) -> None:
    done = verb("install", "--user", "--dry-run")
    assert done.exit_code == Exit.CONFIGURATION
    assert "--watch DIR" in done.stderr


def test_nothing_installed_is_nothing_to_remove(verb: Callable[..., Result]) -> None:
    done = verb("uninstall", "--user", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing to do" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_the_machines_service_wants_root(verb: Callable[..., Result], tmp_path: Path) -> None:
    done = verb("install", "--watch", str(tmp_path / "photos"))
    assert done.exit_code == Exit.USAGE
    assert "needs root" in done.stderr
