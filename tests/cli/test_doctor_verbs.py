"""`watcherd doctor`: it tries for real, says what is wrong with the command that mends it, and ends with 0 or 1."""

import hashlib
import json
import os
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.places import mounted
from watcherd.cli import main
from watcherd.daemon.doctor import installation, state, system
from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.doctor.roots import roots
from watcherd.daemon.statedir import VARIABLES, StateDirectory, claim
from watcherd.daemon.trial import Trial, TrialError
from watcherd.imaging import decoders
from watcherd.imaging.samples import sample_of
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.ledger.ledger import Ledger
from watcherd.model import THUMBNAIL, Entry, Source, State
from watcherd.settings import LayoutKind, RootSettings

CHECKS = [
    *("versions", "sandbox", "reading", "writing", "configuration", "environment", "inotify", "open files", "clock"),
    *("state directory", "ledger", "instance"),
]


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_a_sound_installation_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = doctor(capsys, "--state-dir", str(tmp_path / "state"), "--json")
    checks = {check["check"]: check for check in json.loads(out)["checks"]}
    assert list(checks) == CHECKS
    assert code == 0
    assert checks["reading"]["items"]["jpeg"] == checks["writing"]["items"]["webp"] == "ok"
    assert checks["reading"]["items"]["svg"] == "ok"
    assert "svg (in roots with svg = true)" in checks["reading"]["detail"]
    assert set(checks["reading"]["items"]) == {kind.value for kind in Kind}


def test_checks_are_numbered_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = doctor(capsys, "--state-dir", str(tmp_path))
    numbered = [line.split(".")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert numbered == [str(number) for number in range(1, len(CHECKS) + 1)]


def test_a_format_whose_encoder_is_missing_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "find_spec", lambda _: None)
    writing = {check.name: check for check in installation.pictures()}["writing"]
    assert writing.finding is Finding.OK
    assert dict(writing.items)["jxl"] == "pip install 'watcherd[jxl]'"
    assert writing.detail == "writes jpeg, webp, avif, png; not installed: jxl (pip install 'watcherd[jxl]')"


@pytest.mark.parametrize("kind", Kind)
def test_there_is_a_sample_of_each_kind(kind: Kind) -> None:
    data = sample_of(kind)
    assert kind_of(data, data[-32:], len(data)) is kind


def test_a_decoder_that_does_not_decode_fails_with_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Trial):
        def attempt(self, content: bytes, variants: Any) -> Any:
            if kind_of(content) is Kind.TIFF:
                raise TrialError("its worker ended: SIGSEGV")
            return super().attempt(content, variants)

    monkeypatch.setattr(installation, "Trial", Broken)
    reading = {check.name: check for check in installation.pictures()}["reading"]
    assert reading.finding is Finding.FAIL
    assert "tiff: its worker ended: SIGSEGV" in reading.detail
    assert "pip install" in reading.mend


def test_an_extra_that_is_not_installed_is_named_and_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_is_installed", lambda _: False)
    reading = {check.name: check for check in installation.pictures()}["reading"]
    assert reading.finding is Finding.OK
    assert "heic (pip install 'watcherd[heif]')" in reading.detail


def test_a_worker_that_does_not_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(Trial):
        def start(self) -> Any:
            raise TrialError("its worker ended: exit 1: ImportError: no such library")

    monkeypatch.setattr(installation, "Trial", Dead)
    (check,) = installation.pictures()
    assert (check.name, check.finding) == ("worker", Finding.FAIL)
    assert "ImportError" in check.detail


def test_layers_that_are_missing_are_a_warning() -> None:
    check = installation._sandbox(("landlock_scope",))
    assert check.finding is Finding.WARN
    assert "landlock_scope" in check.detail


@pytest.mark.parametrize(
    ("watches", "instances", "folders", "finding", "mend"),
    [
        (524_288, 128, 1_000, Finding.OK, ""),
        (8_192, 128, 100, Finding.WARN, "sysctl fs.inotify.max_user_watches=1048576"),
        (70_000, 128, 65_000, Finding.WARN, "sysctl fs.inotify.max_user_watches=1048576"),
        (524_288, 128, 2_000_000, Finding.FAIL, "sysctl fs.inotify.max_user_watches=3000000"),
        (524_288, 16, 10, Finding.WARN, "sysctl fs.inotify.max_user_instances=1025"),
    ],
)
def test_watches_must_do_for_all_folders(
    tmp_path: Path, watches: int, instances: int, folders: int, finding: Finding, mend: str
) -> None:
    for name, number in (
        ("max_user_watches", watches),
        ("max_user_instances", instances),
        ("max_queued_events", 16384),
    ):
        (tmp_path / name).write_text(f"{number}\n")
    check = system.inotify(folders, 1, f"{tmp_path}/")
    assert (check.finding, check.mend) == (finding, mend)


def test_each_root_takes_an_instance(tmp_path: Path) -> None:
    for name, number in (("max_user_watches", 524_288), ("max_user_instances", 128), ("max_queued_events", 16384)):
        (tmp_path / name).write_text(f"{number}\n")
    check = system.inotify(500, 500, f"{tmp_path}/")
    assert (check.finding, check.mend) == (Finding.WARN, "sysctl fs.inotify.max_user_instances=1524")


def test_a_system_without_inotify_fails(tmp_path: Path) -> None:
    assert system.inotify(1, 1, f"{tmp_path}/").finding is Finding.FAIL


def test_a_state_directory_that_is_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert state.state_directory(str(tmp_path / "state")).finding is Finding.FAIL
    assert state.state_directory(str(tmp_path / "none" / "yet")).finding is Finding.OK


def test_a_ledger_is_read_and_counted(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        ledger.record(Entry(source=Source(1, b"deep/a.jpg"), state=State.DONE))
        ledger.commit()
    assert state.ledger(str(tmp_path)).detail.endswith("1 sources")
    assert state.known_folders(str(tmp_path)) == 2


def test_a_damaged_ledger_fails_with_the_command_that_sets_it_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    check = state.ledger(str(tmp_path))
    assert check == Check(
        name="ledger",
        finding=Finding.FAIL,
        detail=check.detail,
        mend=f"mv {tmp_path}/ledger.db {tmp_path}/ledger.db.aside",
    )
    assert doctor(capsys, "--state-dir", str(tmp_path))[0] == 1


def test_a_trial_survives_a_worker_that_dies() -> None:
    sample = sample_of(Kind.PNG)
    with Trial() as trial:
        trial.start()
        trial._workers[0].process.kill()
        trial._workers[0].process.wait()
        with pytest.raises(TrialError, match="SIGKILL"):
            trial.attempt(sample, (THUMBNAIL,))
        assert type(trial.attempt(sample, (THUMBNAIL,)).outcome).__name__ == "Rendered"


def test_variables_that_nobody_reads_are_told() -> None:
    check = system.environment({"WATCHERD_CONFIG": "x", "WATCHERD_STATE_DIRS": "y", "HOME": "z"})
    assert (check.finding, check.mend) == (Finding.WARN, "unset WATCHERD_STATE_DIRS")
    assert check.detail == "nobody reads WATCHERD_STATE_DIRS; did you mean WATCHERD_STATE_DIR?"
    assert system.environment({"WATCHERD_CONFIG": "x"}).finding is Finding.OK


def test_every_variable_that_the_package_reads_is_known() -> None:
    package = Path(system.__file__).parents[2]
    read = {name for file in package.rglob("*.py") for name in re.findall(r"\bWATCHERD_[A-Z_]+", file.read_text())}
    assert read == set(VARIABLES)


def test_few_open_files_fail_with_the_number_to_set() -> None:
    assert system.open_files(2, limit=1024).finding is Finding.OK
    check = system.open_files(100, limit=1024)
    assert check.finding is Finding.FAIL
    assert "LimitNOFILE=13056" in check.mend


def test_a_clock_before_the_last_write_is_told(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"")
    assert system.clock(str(ledger)).finding is Finding.OK
    check = system.clock(str(ledger), now_s=86_400.0)
    assert check.finding is Finding.WARN
    assert "1970-01-02 00:00:00 UTC" in check.detail


def test_who_works_with_the_state_directory_is_told(tmp_path: Path) -> None:
    assert state.instance(str(tmp_path)).items == ()
    held = StateDirectory(str(tmp_path)).take()
    try:
        assert state.instance(str(tmp_path)).items == (("process", str(os.getpid())),)
    finally:
        os.close(held)
    assert state.instance(str(tmp_path)).items == ()


def test_a_configuration_that_is_wrong_fails_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "watcherd.toml"
    file.write_text("[pool]\nworker = 2\n")
    code, out = doctor(capsys, "--state-dir", str(tmp_path / "state"), "--config", str(file), "--json")
    check = next(one for one in json.loads(out)["checks"] if one["check"] == "configuration")
    assert (code, check["result"]) == (1, "fail")
    assert f'{file}:2: unknown key "worker" in [pool]' in check["detail"]
    assert check["mend"] == f"watcherd config check {file}"


@pytest.mark.parametrize(
    ("roots_of", "says"),
    [
        (["photos", "photos/deep"], "lies inside the root"),
        (["photos", "link"], "is the same folder as"),
        (["."], "holds the state directory"),
        (["never there"], "does not exist"),
        (["a file"], "is not a folder"),
    ],
)
def test_folders_that_a_run_would_refuse_fail_here_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], roots_of: list[str], says: str
) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "a file").touch()
    watched = [argument for name in roots_of for argument in ("--watch", str(tmp_path / name))]
    code, out = doctor(capsys, "--state-dir", str(tmp_path / "state"), *watched, "--json")
    check = next(one for one in json.loads(out)["checks"] if one["check"] == "configuration")
    assert (code, check["result"]) == (1, "fail")
    assert says in check["detail"]
    assert "--watch" in check["mend"]


def test_a_root_is_told_with_its_kind_and_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = doctor(capsys, "--state-dir", str(tmp_path / "state"), "--watch", str(tmp_path), "--json")
    check = json.loads(out)["checks"][-1]
    assert check["check"] == f"root {tmp_path}"
    assert re.search(r"^\S+, mode \w+.*, [0-9.,]+ GB free", check["detail"]) or "free)" in check["detail"]


def test_a_root_that_is_not_there_or_is_anothers_fails(tmp_path: Path) -> None:
    (missing,) = roots((RootSettings(path=str(tmp_path / "none")),), in_use=False)
    assert (missing.finding, missing.mend.split(",")[0]) == (Finding.FAIL, f"mkdir -p {tmp_path}/none")
    (tmp_path / "file").touch()
    (no_folder,) = roots((RootSettings(path=str(tmp_path / "file")),), in_use=False)
    assert (no_folder.finding, "mkdir" in no_folder.mend) == (Finding.FAIL, False)
    with claim(os.fsencode(tmp_path)):
        (taken,) = roots((RootSettings(path=str(tmp_path)),), in_use=False)
        (ours,) = roots((RootSettings(path=str(tmp_path)),), in_use=True)
    assert taken.finding is Finding.FAIL
    assert "another watcherd works in" in taken.detail
    assert "another watcherd" not in ours.detail


def test_a_name_that_somebody_else_keeps_is_a_warning(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("\0watcherd-root-" + hashlib.sha256(bytes(tmp_path)).hexdigest()[:32])
        (warned,) = roots((RootSettings(path=str(tmp_path)),), in_use=False)
    assert warned.finding is Finding.WARN
    assert "an unknown process may work here as well" in warned.detail


@pytest.mark.parametrize(
    ("mode", "follows", "finding"),
    [(0o755, True, Finding.OK), (0o775, True, Finding.WARN), (0o757, True, Finding.WARN), (0o777, False, Finding.OK)],
)
def test_links_that_others_may_make_are_a_warning_where_they_are_followed(
    tmp_path: Path, mode: int, *, follows: bool, finding: Finding
) -> None:
    with mounted(tmp_path / "root", "-t", "tmpfs", "-o", "size=2g", "tmpfs") as root:  # one with room
        root.chmod(mode)
        (check,) = roots((RootSettings(path=str(root), follow_symlinks=follows),), in_use=True)
    assert (check.finding, "links are followed" in check.detail) == (finding, finding is Finding.WARN)


def test_of_a_root_with_a_mirror_only_the_mirror_has_to_be_writable(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    with mounted(tmp_path / "root", "-t", "tmpfs", "-o", "ro", "tmpfs") as root:
        plain = RootSettings(path=str(root))
        mirrored = replace(plain, layout=LayoutKind.MIRROR, mirror=str(tmp_path / "mirror"))
        away = replace(mirrored, mirror=str(tmp_path / "none"))
        found = {one: check for one in (plain, mirrored, away) for check in roots((one,), in_use=True)}
    assert (found[plain].finding, "read-only" in found[plain].detail) == (Finding.FAIL, True)
    assert "read-only" not in found[mirrored].detail
    assert (found[away].finding, "its mirror" in found[away].detail) == (Finding.FAIL, True)


def test_before_the_first_run_the_folders_that_are_there_are_counted(tmp_path: Path) -> None:
    for name in ("a/b", "c"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    roots_given = [str(tmp_path / "photos"), str(tmp_path / "away")]
    assert state.folders_of(roots_given, known=0) == 4
    assert state.folders_of(roots_given, known=7) == 7
    assert state.folders_of(roots_given, known=0, within_s=-1.0) == 1


def test_a_state_directory_with_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, finding in ((0, Finding.FAIL), (10, Finding.WARN), (1 << 20, Finding.OK)):
        there = os.statvfs_result((4096, 4096, free, free, free, 0, 0, 0, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _, there=there: there)
        check = state.state_directory(str(tmp_path))
        assert (check.finding, bool(check.mend)) == (finding, finding is not Finding.OK)


def test_folders_nested_deeper_than_calls_are_counted(tmp_path: Path) -> None:
    folders = [str(tmp_path) + "/d" * number for number in range(1, 1_201)]
    for folder in folders:
        os.mkdir(folder)
    try:
        assert state.folders_of([str(tmp_path)], 0, within_s=60) == 1_201
    finally:
        for folder in reversed(folders):  # what tidies up after the tests would not get so deep either
            os.rmdir(folder)
