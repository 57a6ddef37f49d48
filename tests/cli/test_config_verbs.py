"""The command as a user meets it: the verbs of `config`, help, exit codes, and what it costs to start."""

import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from watcherd import __version__
from watcherd.cli import VERBS, main
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import state_directory


class Ended:
    """How a run of the command ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        self.code = stop.value.code
        self.out, self.err = capsys.readouterr()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "config.toml"
    path.write_text('[[roots]]\npath = "in"\n')
    return path


def test_check_of_a_right_file_says_so_on_standard_error(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    ended = Ended(capsys, ("config", "check", str(config), "--state-dir", str(tmp_path / "state")))
    expected = f"{config}: no errors; roots: 1, variants: thumbnail, preview\n"
    assert (ended.code, ended.out, ended.err) == (Exit.OK, "", expected)


def test_check_of_a_wrong_file_says_everything_and_exits_78(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    config.write_text("[pool]\nworker = 4\n[limts]\n")
    ended = Ended(capsys, ("config", "check", str(config)))
    expected = [
        f'{config}:2: unknown key "worker" in [pool]; did you mean "workers"?',
        f"{config}:3: unknown table [limts]; did you mean [limits]?",
    ]
    assert (ended.code, ended.out, ended.err.splitlines()) == (Exit.CONFIGURATION, "", expected)


def test_check_looks_at_the_folders(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    (tmp_path / "in").rmdir()
    ended = Ended(capsys, ("config", "check", str(config), "--state-dir", str(tmp_path / "state")))
    assert (ended.code, ended.err) == (Exit.CONFIGURATION, f"{config}:2: {tmp_path}/in does not exist\n")


def test_check_looks_at_the_state_directory(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    ended = Ended(capsys, ("config", "check", str(config), "--state-dir", str(tmp_path / "in/state")))
    assert (ended.code, "holds the state directory" in ended.err) == (Exit.CONFIGURATION, True)


def test_show_prints_toml_with_the_defaults(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    shown = tomllib.loads(Ended(capsys, ("config", "show", str(config))).out)
    assert (shown["roots"][0]["path"], shown["pool"]["workers"]) == (str(tmp_path / "in"), 0)


def test_show_without_a_file_prints_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tomllib.loads(Ended(capsys, ("config", "show")).out)["variants"]) == ["thumbnail", "preview"]


def test_show_prints_json_on_request(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert json.loads(Ended(capsys, ("config", "show", "--json", str(config))).out)["pool"]["workers"] == 0


def test_init_prints_a_file_that_check_takes(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    config.write_text(Ended(capsys, ("config", "init")).out)
    assert Ended(capsys, ("config", "check", str(config))).code == Exit.OK


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pool" in json.loads(Ended(capsys, ("config", "schema")).out)["properties"]


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(capsys, ("--help",))
    assert (
        ended.code,
        [name for name, verb in VERBS.items() if f"{name} " not in ended.out or verb.help not in ended.out],
    ) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("stauts",), 'there is no verb "stauts"; did you mean "status"?'),
        (("--verion",), "--version"),
        (("config", "check"), "FILE"),
        (("config", "chek", "x"), "check"),
    ],
)
def test_wrong_usage_exits_2_with_a_hint(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], hint: str
) -> None:
    ended = Ended(capsys, arguments)
    assert (ended.code, ended.out, hint in ended.err) == (Exit.USAGE, "", True)


def test_a_verb_ends_with_the_code_that_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise Stop(Exit.BUSY, "another instance is at work")

    monkeypatch.setattr("watcherd.config.example", busy)
    ended = Ended(capsys, ("config", "init"))
    assert (ended.code, ended.err) == (Exit.BUSY, "Error: another instance is at work\n")


def test_an_interruption_exits_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("watcherd.config.example", interrupted)
    assert Ended(capsys, ("config", "init")).code == Exit.INTERRUPTED


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("watcherd.config.example", fault)
    with pytest.raises(ZeroDivisionError):
        main(["config", "init"])


@pytest.mark.parametrize(
    ("option", "environ", "expected"),
    [
        ("/o", {"WATCHERD_STATE_DIR": "/w"}, "/o"),
        (None, {"WATCHERD_STATE_DIR": "/w", "STATE_DIRECTORY": "/s"}, "/w"),
        (None, {"STATE_DIRECTORY": "/var/lib/watcherd:/var/lib/other"}, "/var/lib/watcherd"),
    ],
)
def test_the_state_directory_is_the_first_that_is_named(
    option: str | None, environ: dict[str, str], expected: str
) -> None:
    assert state_directory(option, environ) == expected


def test_the_state_directory_is_the_users_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/somebody/state")
    assert state_directory(None, {}) == "/home/somebody/state/watcherd"


def test_the_version_imports_next_to_nothing() -> None:
    program = (
        "import sys; sys.argv = ['watcherd', '--version']\n"
        "import atexit; atexit.register(lambda: print(sorted(set(sys.modules) & set(heavy))))\n"
        "heavy = ['pydantic', 'structlog', 'rich', 'sqlite3', 'sqlite_utils', 'PIL', 'pyvips', 'watchdog', 'asyncio']\n"
        "from watcherd.cli import main; main()\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ended.stdout.splitlines() == [f"watcherd {__version__}", "[]"]
    assert cpu_s < 1.0  # 0.04 in fact; the bound is for a busy machine


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-P", "-c", "from watcherd.cli import main; main(['config', 'schema'])"]
    ended = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (Exit.FAILED, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--watch", ""],
        ["run", "--config", ""],
        ["scan", ""],
        ["status", ""],
        ["status", "--state-dir", ""],
        ["pause", ""],
        ["retry", ""],
        ["verify", ""],
        ["prune", "--root", ""],
        ["duplicates", ""],
        ["quarantine", "release", ""],
        ["doctor", "--watch", ""],
        ["service", "install", "--watch", ""],
        ["config", "check", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """As of a script's variable that is not set."""
    ended = Ended(capsys, tuple(arguments))
    assert (ended.code, "it is empty" in ended.err) == (Exit.USAGE, True)
