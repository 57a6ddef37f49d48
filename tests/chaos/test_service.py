"""The service under a real systemd, on a machine of its own: installed, used, hurt in all ways, and taken away again.

What `watcherd service install` puts in place is what is tested, unit, drop-in and all. Each test boots a machine
(`machine.py`), which takes a second; they are skipped where none can be booted.
"""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import half_made, temporary_files
from tests.chaos.harness import QUICK_SETTLE, eventually
from tests.chaos.machine import Machine
from tests.chaos.pictures import fill, jpeg
from tests.chaos.service import (
    COMMAND,
    CONFIG,
    DROP_IN,
    NO_WORKERS,
    QUICK_RESTART,
    STATE,
    UP,
    all_done,
    changes,
    install,
    main_pid,
    restarted,
    settled,
    status,
)
from watcherd.cli import VERBS

# ------------------------------------------------------------------------------------------- installing, uninstalling


def test_from_nothing_to_a_running_service_and_back_to_nothing(machine: Machine) -> None:
    before = machine.written()
    planned = machine.run(COMMAND, "service", "install", "--watch", UP, "--dry-run").stdout
    assert changes(before, machine.written()) == []
    said = machine.run(COMMAND, "service", "install", "--watch", UP).stdout
    assert said == planned
    assert machine.show("watcherd", "SubState") == "running"
    assert machine.run("systemctl", "is-enabled", "watcherd").stdout.strip() == "enabled"
    assert machine.run("watcherd", "--version").stdout.startswith("watcherd ")
    installed = machine.written()
    made = changes(before, installed)
    assert {CONFIG, "/etc/systemd/system/watcherd.service", "/usr/local/bin/watcherd"} <= set(made)
    unsaid = [path for path in made if path not in said and not path.startswith((STATE, "/etc/systemd/system/multi"))]
    assert [path for path in unsaid if path not in {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"}] == []

    again = machine.run(COMMAND, "service", "install", "--watch", UP)
    assert (again.stdout, "nothing to do" in again.stderr) == ("", True)
    assert [path for path in changes(installed, machine.written()) if not path.startswith(STATE)] == []

    machine.run(COMMAND, "service", "uninstall")
    assert changes(before, machine.written()) == []
    assert machine.show("watcherd", "LoadState") == "not-found"
    assert "nothing to do" in machine.run(COMMAND, "service", "uninstall").stderr


def test_an_installation_that_stopped_half_way_goes_on_and_ends_the_same(machine: Machine) -> None:
    before = machine.written()
    machine.run("chmod", "a-x", "/usr/bin/systemd-tmpfiles")
    stopped = machine.run(COMMAND, "service", "install", "--watch", UP, check=False)
    machine.run("chmod", "a+x", "/usr/bin/systemd-tmpfiles")
    assert stopped.returncode == 1
    assert "could not run systemd-tmpfiles" in stopped.stderr
    machine.run(COMMAND, "service", "install", "--watch", UP)
    assert machine.show("watcherd", "SubState") == "running"
    machine.run(COMMAND, "service", "uninstall")
    assert changes(before, machine.written()) == []


def test_data_that_is_kept_is_used_by_the_next_installation(machine: Machine) -> None:
    install(machine, UP)
    fill(machine.path(UP), 3)
    all_done(machine, 3)
    machine.run(COMMAND, "service", "uninstall", "--keep-data")
    assert machine.show("watcherd", "LoadState") == "not-found"
    install(machine)
    all_done(machine, 3)
    assert machine.journal("watcherd").count('"outcome": "rendered"') == 3


def test_a_second_folder_is_added_to_what_is_there(machine: Machine) -> None:
    install(machine, UP)
    machine.run("install", "--directory", "--mode=777", "/srv/more")
    install(machine, "/srv/more")
    fill(machine.path(UP), 2)
    fill(machine.path("/srv/more"), 2, first=10)
    all_done(machine, 4)
    assert [root["path"] for root in status(machine)["roots"]] == [UP, "/srv/more"]


def test_a_folder_in_a_home_and_one_in_tmp_are_reached(machine: Machine) -> None:
    machine.run("chmod", "711", "/home/ann")
    for folder in ("/home/ann/photos", "/tmp/photos"):
        machine.run("install", "--directory", "--mode=777", folder)
    install(machine, "/home/ann/photos", "/tmp/photos")
    fill(machine.path("/home/ann/photos"), 1)
    fill(machine.path("/tmp/photos"), 1, first=10)
    all_done(machine, 2)
    thumbnails = [folder.glob("*.thumbnail.jpg") for folder in map(machine.path, ("/home/ann/photos", "/tmp/photos"))]
    assert [len(list(found)) for found in thumbnails] == [1, 1]


def test_a_folder_that_the_account_cannot_enter_is_named_with_the_command_that_helps(machine: Machine) -> None:
    machine.run("install", "--directory", "--mode=700", "/srv/closed")
    done = machine.run(COMMAND, "service", "install", "--watch", "/srv/closed", check=False)
    grant = "setfacl -R -m u:watcherd:rwX,d:u:watcherd:rwX /srv/closed"
    assert grant in done.stdout
    assert done.returncode == 1
    assert machine.show("watcherd", "ExecMainStatus") == "78"
    machine.run("chmod", "777", "/srv/closed")
    install(machine)
    fill(machine.path("/srv/closed"), 1)
    all_done(machine, 1)


def test_a_users_own_service(machine: Machine) -> None:
    uid = machine.run("id", "-u", "ann").stdout.strip()
    machine.run("systemctl", "start", "systemd-logind", f"user@{uid}")
    home = {"HOME": "/home/ann", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    machine.run("mkdir", "/home/ann/photos", user="ann")
    before = machine.written()
    machine.write("/home/ann/.config/watcherd/config.toml", QUICK_SETTLE)
    machine.run("chown", "-R", "ann:", "/home/ann/.config")
    machine.run(COMMAND, "service", "install", "--user", "--watch", "/home/ann/photos", user="ann", environ=home)
    machine.run("install", "--owner=ann", "/dev/null", "/home/ann/photos/empty.txt")
    machine.write("/home/ann/photos/a.jpg", jpeg(1))
    derivative = machine.path("/home/ann/photos/a.jpg.thumbnail.jpg")
    eventually(derivative.exists, within_s=30, what="the derivative is there")
    machine.run(COMMAND, "service", "uninstall", "--user", user="ann", environ=home)
    left = [path for path in changes(before, machine.written()) if not path.startswith("/home/ann/photos/")]
    assert left == ["/home/ann/.config", "/home/ann/.config/watcherd", "/home/ann/.config/watcherd/config.toml"]


# -------------------------------------------------------------------------------------------------------- as it works


def test_it_starts_says_that_it_is_ready_and_how_it_goes(machine: Machine) -> None:
    fill(machine.path(UP), 5)
    install(machine, UP)
    assert machine.show("watcherd", "SubState") == "running"
    assert "daemon.ready" in machine.journal("watcherd")
    all_done(machine, 5)
    eventually(lambda: "5 attempts" in machine.show("watcherd", "StatusText"), within_s=40, what="the status tells")


def test_an_upload_of_somebody_else_gets_derivatives_of_its_mode_and_group_without_any_capability(
    machine: Machine,
) -> None:
    install(machine, UP)
    machine.write("/home/ann/a.jpg", jpeg(1), mode=0o644)
    machine.run("sh", "-c", f"umask 007 && cp /home/ann/a.jpg {UP}/a.jpg", user="ann")
    all_done(machine, 1)
    shown = machine.run("stat", "--format=%n %U:%G %a", *(f"{UP}/a.jpg{end}" for end in ("", *ENDS))).stdout.split("\n")
    assert shown[:-1] == [f"{UP}/a.jpg ann:uploaders 640", *(f"{UP}/a.jpg{end} watcherd:uploaders 640" for end in ENDS)]
    machine.run("cat", f"{UP}/a.jpg.preview.jpg", user="ann")
    for pid in machine.run("systemctl", "show", "--value", "-p", "MainPID", "watcherd").stdout.split():
        rights = machine.path(f"/proc/{pid}/status").read_text()
        assert set(re.findall(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s*(\w+)$", rights, re.MULTILINE)) == {"0" * 16}
        assert re.search(r"^NoNewPrivs:\s*1$", rights, re.MULTILINE)


ENDS = (".thumbnail.jpg", ".preview.jpg")


def test_it_can_write_to_its_folders_and_its_state_and_to_nothing_else(machine: Machine) -> None:
    machine.run("install", "--directory", "--mode=777", "/srv/other")
    install(machine, UP)
    pid = main_pid(machine)
    script = 'for d in "$@"; do if touch "$d/x" 2>/dev/null; then echo "$d"; rm "$d/x"; fi; done'
    places = [UP, STATE, "/srv/other", "/etc", "/usr", "/var", "/home", "/opt/watcherd"]
    done = machine.run("nsenter", "--target", pid, "--mount", "sh", "-c", script, "sh", *places)
    assert done.stdout.split() == [UP, STATE]


def test_every_kind_of_picture_is_read_inside_both_sandboxes(machine: Machine) -> None:
    """What `doctor` finds from inside the unit is what it finds without it, and no layer of the workers is missing."""
    install(machine, UP, settings='[pool]\nsandbox = "require"\n')
    checked = "Type=oneshot\nRestart=no\nWatchdogSec=0\nStandardOutput=file:/var/lib/watcherd/doctor.json\nExecStart=\n"
    machine.write(
        "/etc/systemd/system/watcherd@doctor.service.d/test.conf",
        f"[Service]\n{checked}ExecStart={COMMAND} doctor --json\nSuccessExitStatus=1\n",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "watcherd@doctor")
    inside = _checks(machine.path("/var/lib/watcherd/doctor.json").read_text())
    outside = _checks(machine.run(COMMAND, "doctor", "--json", check=False).stdout)
    formats = [name for name in outside if "read" in name or "write" in name or "sandbox" in name or "worker" in name]
    print({name: inside[name] for name in formats})
    assert formats
    assert {name: inside[name] for name in formats} == {name: outside[name] for name in formats}
    assert status(machine)["daemon"]["workers"]["missing_layers"] == []


def _checks(text: str) -> dict[str, tuple[str, str]]:
    return {
        check["check"]: (check["result"], json.dumps(check["items"], sort_keys=True))
        for check in json.loads(text)["checks"]
    }


@pytest.mark.timeout(240)
def test_real_files_of_many_formats_end_as_they_do_without_the_unit(
    machine_with: Callable[..., Machine], corpus: Path
) -> None:
    if not (corpus / "formats").is_dir():
        pytest.skip("the collection has no formats")
    machine = machine_with(f"{corpus}/formats:/formats")
    machine.run("install", "--directory", "--mode=777", UP, "/srv/plain")
    machine.run("sh", "-c", f"cp /formats/* {UP} && cp /formats/* /srv/plain")
    settings = '[pool]\nsandbox = "require"\n'
    machine.write("/root/plain.toml", QUICK_SETTLE + settings)
    plain = ("--state-dir", "/var/lib/plain", "--json")
    machine.run(COMMAND, "scan", "/srv/plain", "--config", "/root/plain.toml", *plain, check=False)
    wanted = json.loads(machine.run(COMMAND, "status", *plain).stdout)["sources"]
    assert wanted["done"] > 0
    install(machine, UP, settings=settings)
    eventually(lambda: status(machine).get("sources") == wanted, within_s=150, what=f"{wanted}", every_s=0.5)
    assert sorted(os.listdir(machine.path(UP))) == sorted(os.listdir(machine.path("/srv/plain")))


def test_metrics_on_a_port_and_in_a_file_pass_both_doors(machine: Machine) -> None:
    machine.run("install", "--directory", "--mode=777", "/srv/collected")
    metrics = '[metrics]\nport = 9464\ntextfile = "/srv/collected/w.prom"\n[daemon]\nmetrics_interval_s = 1.0\n'
    install(machine, UP, settings=metrics)
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics', timeout=10).read().decode())"
    assert "watcherd_build_info" in machine.run("/usr/bin/python3", "-c", ask).stdout
    eventually(machine.path("/srv/collected/w.prom").exists, within_s=20, what="the file is written")


def test_several_instances_run_beside_each_other(machine: Machine) -> None:
    install(machine, UP)
    machine.run("install", "--directory", "--mode=777", "/srv/other")
    machine.write("/etc/watcherd/other.toml", QUICK_SETTLE + '[[roots]]\npath = "/srv/other"\n')
    machine.write("/etc/systemd/system/watcherd@other.service.d/r.conf", "[Service]\nReadWritePaths=/srv/other\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "watcherd@other")
    fill(machine.path(UP), 1)
    fill(machine.path("/srv/other"), 1, first=10)
    all_done(machine, 1)
    eventually(machine.path("/srv/other/p000010.jpg.preview.jpg").exists, within_s=20, what="the other instance works")
    refused = machine.run(COMMAND, "service", "uninstall", check=False)
    assert (refused.returncode, "other.toml" in refused.stderr) == (78, True)


# -------------------------------------------------------------------------------------------------- when things happen


def _root_state(machine: Machine, root: str) -> str:
    daemon = status(machine).get("daemon") or {}
    return str(daemon.get("roots", {}).get(root, {}).get("state", ""))


@pytest.mark.parametrize("inside", ["", "/photos"], ids=["the mount point", "a folder on the disk"])
def test_a_root_is_unmounted_and_mounted_again_under_the_unit(
    machine_with: Callable[..., Machine], disk: str, inside: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    machine = machine_with(disk)
    root = f"/mnt/disk{inside}"
    machine.run("mkdir", "-p", "/mnt/disk")
    machine.run("mount", disk, "/mnt/disk")
    machine.run("install", "--directory", "--mode=777", root)
    install(machine, root)
    assert "ReadWritePaths=-/mnt\n" in machine.path("/etc/systemd/system/watcherd.service.d/10-roots.conf").read_text()
    pid = main_pid(machine)
    fill(machine.path(root), 3)
    all_done(machine, 3)
    before = sorted(os.listdir(machine.path(root)))

    machine.run("umount", "/mnt/disk")
    eventually(lambda: _root_state(machine, root) == "offline", within_s=40, what="the root is offline", every_s=0.5)
    time.sleep(2)
    assert main_pid(machine) == pid
    assert not list(machine.path("/mnt/disk").iterdir())
    machine.run("blockdev", "--flushbufs", disk)
    claim = f"import os; os.open({disk!r}, os.O_RDWR | os.O_EXCL)"  # only a disk that nothing holds can be had alone
    machine.run("/usr/bin/python3", "-c", claim)

    machine.run("mount", disk, "/mnt/disk")
    eventually(lambda: _root_state(machine, root) == "online", within_s=40, what="the root is online", every_s=0.5)
    assert sorted(os.listdir(machine.path(root))) == before
    fill(machine.path(root), 2, first=100)
    all_done(machine, 5)
    assert main_pid(machine) == pid
    assert machine.journal("watcherd").count('"outcome": "rendered"') == 5


def test_it_starts_without_a_disk_that_it_knows(machine_with: Callable[..., Machine], disk: str) -> None:
    machine = machine_with(disk)
    machine.run("mkdir", "-p", "/mnt/disk")
    machine.run("mount", disk, "/mnt/disk")
    machine.run("chmod", "777", "/mnt/disk")
    install(machine, "/mnt/disk")
    fill(machine.path("/mnt/disk"), 2)
    all_done(machine, 2)
    machine.run("systemctl", "stop", "watcherd")
    machine.run("umount", "/mnt/disk")
    machine.run("systemctl", "start", "watcherd")
    assert machine.show("watcherd", "SubState") == "running"
    again = machine.run(COMMAND, "service", "install", "--watch", "/mnt/disk")
    assert (again.stdout, "nothing to do" in again.stderr) == ("", True)
    machine.run("mount", disk, "/mnt/disk")
    fill(machine.path("/mnt/disk"), 1, first=100)
    all_done(machine, 3)


def test_a_stop_under_load_ends_in_time_with_nothing_half_made(machine: Machine) -> None:
    fill(machine.path(UP), 200, size=(2400, 1800))
    install(machine, UP, settings="[daemon]\ndrain_timeout_s = 10.0\n", unit="TimeoutStopSec=20\n")
    eventually(lambda: status(machine).get("sources", {}).get("done", 0) >= 3, within_s=30, what="it is at work")
    started = time.monotonic()
    machine.run("systemctl", "stop", "watcherd")
    took = time.monotonic() - started
    print(f"stopped within {took:.2f} s, with {status(machine)['sources']}")
    assert machine.show("watcherd", "Result") == "success"
    assert status(machine)["sources"]["pending"] > 0
    folder = machine.path(UP)
    assert temporary_files(folder) == []
    assert half_made(folder) == []
    assert "daemon.stopped" in machine.journal("watcherd")


def test_it_is_started_again_after_a_kill_and_goes_on(machine: Machine) -> None:
    fill(machine.path(UP), 60, size=(1600, 1200))
    install(machine, UP, unit=QUICK_RESTART)
    eventually(lambda: status(machine).get("sources", {}).get("done", 0) >= 3, within_s=30, what="it is at work")
    pid = main_pid(machine)
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "watcherd")
    restarted(machine, pid)
    all_done(machine, 60)
    assert machine.show("watcherd", "NRestarts") == "1"
    assert temporary_files(machine.path(UP)) == []
    assert half_made(machine.path(UP)) == []


def test_a_loop_that_hangs_is_ended_by_the_watchdog_and_started_again(machine: Machine) -> None:
    install(machine, UP, unit=f"WatchdogSec=2\n{QUICK_RESTART}")
    pid = main_pid(machine)
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "watcherd")
    restarted(machine, pid)
    assert "Watchdog timeout (limit 2s)!" in machine.journal("watcherd")
    fill(machine.path(UP), 1)
    all_done(machine, 1)


def test_a_loop_that_turns_is_left_alone_by_the_watchdog(machine: Machine) -> None:
    fill(machine.path(UP), 60, size=(2400, 1800))
    install(machine, UP, unit="WatchdogSec=2\n")
    all_done(machine, 60, within_s=90)
    assert machine.show("watcherd", "NRestarts") == "0"


@pytest.mark.timeout(180)
def test_a_root_that_hangs_is_no_reason_for_the_watchdog(machine_with: Callable[..., Machine], disk: str) -> None:
    """A frozen file system holds up whoever writes to it, in the kernel, where no signal reaches."""
    machine = machine_with(disk)
    machine.run("install", "--directory", "--mode=777", UP)
    machine.run("mkdir", "-p", "/mnt/disk")
    machine.run("mount", disk, "/mnt/disk")
    machine.run("chmod", "777", "/mnt/disk")
    install(machine, UP, "/mnt/disk", unit=f"WatchdogSec=3\n{QUICK_RESTART}")
    pid = main_pid(machine)
    fill(machine.path("/mnt/disk"), 1)
    machine.run("fsfreeze", "--freeze", "/mnt/disk")
    try:
        eventually(lambda: _root_state(machine, "/mnt/disk") == "hung", within_s=60, what="the root hangs", every_s=1)
        fill(machine.path(UP), 3, first=10)
        all_done(machine, 3)
        assert main_pid(machine) == pid
    finally:
        machine.run("fsfreeze", "--unfreeze", "/mnt/disk")
    all_done(machine, 4)
    assert (main_pid(machine), machine.show("watcherd", "NRestarts")) == (pid, "0")


def test_a_crash_loop_comes_to_the_start_limit(machine: Machine) -> None:
    machine.write("/etc/environment-of-test", NO_WORKERS)
    machine.write(CONFIG, QUICK_SETTLE)
    machine.write(
        DROP_IN,
        "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=100ms\nEnvironmentFile=/etc/environment-of-test\n",
    )
    failed = machine.run(COMMAND, "service", "install", "--watch", UP, check=False)
    assert failed.returncode == 1
    assert "journalctl" in failed.stderr
    settled(machine, result="exit-code")
    assert "Start request repeated too quickly" in machine.journal("watcherd")
    assert machine.journal("watcherd").count('"daemon.starting"') == 3

    machine.write("/etc/environment-of-test", "")
    assert machine.run("systemctl", "start", "watcherd", check=False).returncode != 0
    install(machine)
    assert machine.show("watcherd", "SubState") == "running"


def test_a_service_that_is_about_to_start_again_can_be_removed(machine: Machine) -> None:
    machine.write(CONFIG, QUICK_SETTLE)
    machine.write(DROP_IN, f"[Service]\nRestartSec=60s\nEnvironment={NO_WORKERS}")
    assert machine.run(COMMAND, "service", "install", "--watch", UP, check=False).returncode == 1
    eventually(lambda: machine.show("watcherd", "SubState") == "auto-restart", within_s=30, what="it waits")
    machine.run("rm", DROP_IN)
    machine.run(COMMAND, "service", "uninstall")
    assert machine.show("watcherd", "LoadState") == "not-found"
    assert machine.show("watcherd", "ActiveState") == "inactive"


def test_a_wrong_configuration_is_tried_once(machine: Machine) -> None:
    install(machine, UP, unit=QUICK_RESTART)
    machine.write(CONFIG, '[[roots]]\npath = "/srv/up"\n[pool]\nworkres = 3\n')
    machine.run("systemctl", "restart", "watcherd", check=False)
    settled(machine, result="exit-code")
    assert machine.show("watcherd", "ExecMainStatus") == "78"
    time.sleep(1)
    assert machine.show("watcherd", "NRestarts") == "0"
    journal = machine.journal("watcherd")
    assert 'did you mean "workers"?' in journal
    assert journal.count(f"{CONFIG}:4: ") == 1


can_reload = pytest.mark.skipif("reload" not in VERBS, reason="this version has no reload")


@can_reload
def test_a_reload_is_in_force_at_once_in_the_same_process(machine: Machine) -> None:
    install(machine, UP)
    fill(machine.path(UP), 2)
    all_done(machine, 2)
    pid = main_pid(machine)
    machine.write(CONFIG, f"{machine.path(CONFIG).read_text()}\n[variants.thumbnail]\n[variants.medium]\n")
    machine.run("systemctl", "reload", "watcherd")
    made = [machine.path(f"{UP}/p{number:06}.jpg.medium.jpg") for number in range(2)]
    eventually(lambda: all(path.exists() for path in made), within_s=30, what="the new variant is made")
    assert (main_pid(machine), machine.show("watcherd", "SubState")) == (pid, "running")


@can_reload
def test_a_reload_of_a_wrong_configuration_fails_visibly_and_changes_nothing(machine: Machine) -> None:
    install(machine, UP)
    pid, right = main_pid(machine), machine.path(CONFIG).read_text()
    machine.write(CONFIG, f"{right}\n[pool]\nworkres = 3\n")
    refused = machine.run("systemctl", "reload", "watcherd", check=False)
    assert refused.returncode != 0
    assert 'did you mean "workers"?' in machine.journal("watcherd")
    for level in ("warning", "err"):
        severe = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", "watcherd", "-p", level).stdout
        told = [
            line.partition('"event": "')[2].partition('"')[0] for line in severe.splitlines() if line.startswith("{")
        ]
        assert told == ["config.refused"]
    assert machine.run(COMMAND, "reload", "--state-dir", STATE, check=False).returncode == 78
    assert (main_pid(machine), machine.show("watcherd", "SubState")) == (pid, "running")
    fill(machine.path(UP), 1)
    all_done(machine, 1)
    machine.write(CONFIG, right)
    machine.run("systemctl", "reload", "watcherd")
    assert machine.show("watcherd", "NRestarts") == "0"
