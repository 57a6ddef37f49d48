"""`watcherd service` as it is typed; that it works on a machine is shown in tests/chaos/test_service.py."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watcherd.cli import watcherd
from watcherd.cli.exits import Exit
from watcherd.cli.service_verbs import _written
from watcherd.config import ConfigError
from watcherd.settings import LayoutKind, RootSettings, Settings


@pytest.fixture
def verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `watcherd service` for a user with an empty home and no service manager."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    (tmp_path / "home").mkdir()
    (tmp_path / "photos").mkdir()
    return lambda *arguments: CliRunner(catch_exceptions=False).invoke(watcherd, ["service", *arguments])


def test_a_dry_run_says_all_and_does_nothing(verb: Callable[..., Result], tmp_path: Path) -> None:
    done = verb("install", "--user", "--watch", str(tmp_path / "photos"), "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert f"write {tmp_path}/home/.config/systemd/user/watcherd.service: the unit" in lines
    assert f"write {tmp_path}/home/.config/watcherd/config.toml: the configuration" in lines
    assert any(line.startswith("run systemctl --user enable watcherd") for line in lines)
    assert os.listdir(tmp_path / "home") == []


def test_a_folder_that_is_not_there_is_a_wrong_configuration(verb: Callable[..., Result], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="away does not exist"):
        verb("install", "--user", "--watch", str(tmp_path / "away"), "--dry-run")


def test_folders_that_the_daemon_would_refuse_are_refused(verb: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "photos" / "new").mkdir()
    folders = [argument for name in ("photos", "photos/new") for argument in ("--watch", str(tmp_path / name))]
    with pytest.raises(ConfigError, match="lies inside the root"):
        verb("install", "--user", *folders, "--dry-run")
    state = tmp_path / "home" / ".local" / "state"
    state.mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds the state directory"):
        verb("install", "--user", "--watch", str(state), "--dry-run")


def test_a_folder_that_is_configured_already_is_no_new_one(verb: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "home" / ".config" / "watcherd" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[[roots]]\npath = "{tmp_path}/photos"\n')
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    done = verb("install", "--user", "--watch", str(tmp_path / "link"), "--dry-run")
    assert done.exit_code == 0, done.output
    assert "the configuration" not in done.stdout.replace("manual of the configuration", "")


def test_a_broken_configuration_keeps_nobody_from_uninstalling(verb: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".config" / "watcherd"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[[[")
    (folder / "installed").write_text("configuration\n")
    done = verb("uninstall", "--user", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"remove {folder}/config.toml" in done.stdout
    with pytest.raises(ConfigError, match=r"config\.toml:1"):
        verb("install", "--user", "--dry-run")


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


def test_mirrors_are_folders_that_the_service_writes_to_as_well() -> None:
    mirrored = RootSettings(path="/a", layout=LayoutKind.MIRROR, mirror="/m")
    assert _written(Settings(roots=(mirrored, RootSettings(path="/b")))) == ["/m"]
