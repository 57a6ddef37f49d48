"""The unit files and their companions: hardened, explained, complete, and alike where they should be."""

import configparser
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcherd.service.texts import PROGRAM, Folder, Needs, drop_in
from watcherd.settings import DaemonSettings

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "systemd"
SERVICE, TEMPLATE, USER = (
    FOLDER / "watcherd.service",
    FOLDER / "watcherd@.service",
    FOLDER / "user" / "watcherd.service",
)
UNITS = [SERVICE, TEMPLATE, USER]
MOST_EXPOSURE = 1.5
INSTANCE_LINES = {"Description", "ExecStart", "StateDirectory"}

every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: str(path.relative_to(FOLDER)))


@pytest.fixture
def analyze() -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return program


def directives(unit: Path) -> Iterator[tuple[str, str, str]]:
    """(Key, value, the line above) of each directive of a unit."""
    before = ""
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            yield key, value, before
        before = line


def value_of(unit: Path, wanted: str) -> str:
    (value,) = [value for key, value, _ in directives(unit) if key == wanted]
    return value


def exposure(program: str, unit: Path) -> float:
    done = subprocess.run(
        [program, "security", "--offline=true", str(unit)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


@pytest.mark.parametrize("unit", [SERVICE, TEMPLATE], ids=lambda path: path.name)
def test_a_system_unit_leaves_little_open(analyze: str, unit: Path) -> None:
    assert exposure(analyze, unit) <= MOST_EXPOSURE


@pytest.mark.parametrize(
    "folder",
    [
        Folder(path="/srv/uploads", mount_point="/", group="ftp"),
        Folder(path="/data", mount_point="/data"),
        Folder(path="/mnt/disk/photos", mount_point="/mnt/disk"),
        Folder(path="/home/ann/photos", mount_point="/home"),
    ],
    ids=lambda folder: folder.path,
)
def test_what_a_folder_needs_opens_little_more(analyze: str, folder: Folder, tmp_path: Path) -> None:
    unit = tmp_path / SERVICE.name
    shutil.copy(SERVICE, unit)
    (tmp_path / f"{SERVICE.name}.d").mkdir()
    text = drop_in([folder], Needs(), program=PROGRAM, config="/etc/watcherd/config.toml")
    (tmp_path / f"{SERVICE.name}.d" / "10-roots.conf").write_text(text)
    assert exposure(analyze, unit) <= MOST_EXPOSURE


def test_the_measure_itself_can_fail(analyze: str, tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(analyze, bare) > MOST_EXPOSURE


@every_unit
def test_systemd_knows_each_directive(analyze: str, unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name.replace("@", "@one")
    copy.write_text(unit.read_text().replace("/opt/watcherd/bin/watcherd", "/bin/true"))
    done = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False)
    assert [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line] == []


@every_unit
def test_each_directive_has_a_reason_above_it(unit: Path) -> None:
    documented = {"Description", "Documentation"}
    bare = [key for key, _, above in directives(unit) if not above.startswith("# ") and key not in documented]
    assert bare == []


def test_the_template_is_the_service_but_for_what_an_instance_has_of_its_own() -> None:
    service = [pair for *pair, _ in directives(SERVICE)]
    template = [pair for *pair, _ in directives(TEMPLATE)]
    assert {key for key, _ in template if key not in INSTANCE_LINES} == {
        key for key, _ in service if key not in INSTANCE_LINES
    }
    assert [pair for pair in template if pair[0] not in INSTANCE_LINES] == [
        pair for pair in service if pair[0] not in INSTANCE_LINES
    ]
    assert all("%i" in value for key, value in template if key in INSTANCE_LINES)


@every_unit
def test_a_unit_says_what_the_daemon_relies_on(unit: Path) -> None:
    wanted = {"Type": "notify", "Restart": "on-failure", "RestartPreventExitStatus": "78", "KillMode": "mixed"}
    wanted |= {"OOMPolicy": "continue", "ExecReload": "/opt/watcherd/bin/watcherd reload", "NotifyAccess": "main"}
    assert {key: value_of(unit, key) for key in wanted} == wanted
    assert int(value_of(unit, "WatchdogSec")) > 0


@every_unit
def test_the_drain_ends_before_systemd_loses_patience(unit: Path) -> None:
    assert DaemonSettings().drain_timeout_s < int(value_of(unit, "TimeoutStopSec"))


@every_unit
def test_the_start_limit_can_be_reached(unit: Path) -> None:
    longest = int(value_of(unit, "StartLimitBurst")) * int(value_of(unit, "RestartSec"))
    assert longest < int(value_of(unit, "StartLimitIntervalSec"))


def test_the_account_and_the_folders_are_those_of_the_unit() -> None:
    account = value_of(SERVICE, "User")
    lines = [
        line.split() for line in (FOLDER / "watcherd.sysusers").read_text().splitlines() if line and line[0] != "#"
    ]
    assert [line[:2] for line in lines] == [["u", account]]
    mode = value_of(SERVICE, "StateDirectoryMode")
    folders = [
        line.split() for line in (FOLDER / "watcherd.tmpfiles").read_text().splitlines() if line and line[0] != "#"
    ]
    assert folders == [
        ["d", f"/etc/{value_of(SERVICE, 'ConfigurationDirectory')}", "0755", "root", "root", "-"],
        ["d", f"/var/lib/{value_of(SERVICE, 'StateDirectory')}", mode, account, account, "-"],
    ]


def test_the_kernel_settings_raise_what_the_kernel_has_by_itself() -> None:
    text = "[sysctl]\n" + (FOLDER / "60-watcherd-inotify.conf").read_text()
    parser = configparser.ConfigParser()
    parser.read_string(text)
    raised = {key: int(value) for key, value in parser["sysctl"].items()}
    assert raised["fs.inotify.max_user_watches"] >= 1_048_576  # the most that Linux chooses, inotify(7)
    assert raised["fs.inotify.max_user_instances"] > 128
    assert raised["fs.inotify.max_queued_events"] > 16_384
    assert len(raised) == 3


def test_a_wheel_holds_them() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["systemd"] == "watcherd/systemd"
