"""What the unit and its drop-in allow and forbid, seen at work under a real systemd; and further instances of it."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.harness import eventually
from tests.chaos.machine import PACKAGE, Machine
from tests.chaos.pictures import fill, jpeg
from tests.chaos.service import (
    COMMAND,
    CONFIG,
    STATE,
    UP,
    all_done,
    changes,
    install,
    main_pid,
    status,
)

INSTANCE = "/etc/systemd/system/watcherd@photos.service.d"
PHOTOS = "/srv/photos"
LITTLE = 500 << 20
PYTHON = "/usr/bin/python3"

SLOW = """
import sys, time
from watcherd.imaging import render
from watcherd.pool import worker

made = render.render

def slowly(*arguments, **named):
    time.sleep(SECONDS)
    return made(*arguments, **named)

if __name__ == "__main__":
    render.render = slowly
    worker.main(sys.argv[1:])
"""
GREEDY = """
import sys
from watcherd.imaging import render
from watcherd.pool import worker

made = render.render

def greedily(content, *arguments, **named):
    hoard = []
    while content.find(b"<<greed>>") >= 0:
        hoard.append(bytearray(b"x" * (16 << 20)))
    return made(content, *arguments, **named)

if __name__ == "__main__":
    render.render = greedily
    worker.main(sys.argv[1:])
"""


def other_worker(machine: Machine, text: str) -> str:
    """Put a worker with a weakness beside the package; the line of the unit that has the daemon use it."""
    machine.write(f"/opt/watcherd/{PACKAGE}/odd_worker.py", text)
    return "Environment=WATCHERD_WORKER_MODULE=odd_worker\n"


def inside(machine: Machine, unit: str, script: str) -> str:
    """What a Python script says that runs as another service under the rules of a unit, as its account."""
    rules = machine.run("systemctl", "cat", unit).stdout
    kept = ("User=", "Group=", "RestrictAddressFamilies=", "IPAddress", "ProtectSystem=", "SystemCall", "NoNewPriv")
    lines = [line for line in rules.splitlines() if line.startswith(kept)]
    machine.write("/opt/probe.py", script)
    machine.write(
        "/etc/systemd/system/probe.service",
        f"[Service]\nType=oneshot\nStandardOutput=file:/run/probe\nStandardError=file:/run/probe.err\n"
        f"ExecStart={PYTHON} /opt/probe.py\n" + "\n".join(lines),
    )
    machine.run("rm", "-f", "/run/probe", "/run/probe.err")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe", check=False)
    return machine.path("/run/probe").read_text() + machine.path("/run/probe.err").read_text()


CONNECT = """
import socket
for family, address in (
    (socket.AF_UNIX, ""),
    (socket.AF_INET, ("127.0.0.1", 9464)),
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("::1", 9)),
    (socket.AF_NETLINK, None),
    (socket.AF_PACKET, None),
):
    try:
        with socket.socket(family, socket.SOCK_STREAM if address is not None else socket.SOCK_RAW) as one:
            one.settimeout(2)
            if isinstance(address, tuple):
                one.connect(address)
        said = "ok"
    except OSError as error:
        said = type(error).__name__ if error.errno != 97 else "no such family"
    print(family.name, address[0] if address else "", said)
"""


def test_the_unit_has_no_network_and_with_a_port_of_the_metrics_this_machine_alone(machine: Machine) -> None:
    install(machine, UP)
    said = inside(machine, "watcherd", CONNECT).splitlines()
    assert said[0] == "AF_UNIX  ok"
    assert [line.rpartition(" ")[2] for line in said[1:]] == ["family"] * 5

    machine.run(COMMAND, "service", "uninstall")
    machine.run("rm", CONFIG)
    install(machine, UP, settings="[metrics]\nport = 9464\n")
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics', timeout=10).read().decode())"
    assert "watcherd_build_info" in machine.run(PYTHON, "-c", ask).stdout
    said = inside(machine, "watcherd", CONNECT).splitlines()
    assert said[:2] == ["AF_UNIX  ok", "AF_INET 127.0.0.1 ok"]
    assert not said[2].endswith("ok")
    assert [line.rpartition(" ")[2] for line in said[3:]] == ["family"] * 3


def test_workers_cannot_make_a_socket_either(machine: Machine) -> None:
    """Not even of the family that the unit allows: what the workers' own fence denies."""
    install(machine, UP)
    fill(machine.path(UP), 1)
    all_done(machine, 1)
    for pid in machine.run("pgrep", "-f", "watcherd.pool.worker").stdout.split():
        rights = machine.path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^Seccomp:\s*2$", rights, re.MULTILINE)
        filters = re.search(r"^Seccomp_filters:\s*(\d+)$", rights, re.MULTILINE)
        assert filters is None or int(filters[1]) > len(_filters(machine, main_pid(machine)))


def _filters(machine: Machine, pid: str) -> range:
    found = re.search(r"^Seccomp_filters:\s*(\d+)$", machine.path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return range(int(found[1]))


def test_the_work_gives_way_to_what_else_the_machine_does(machine: Machine) -> None:
    install(machine, UP)
    fill(machine.path(UP), 1)
    all_done(machine, 1)
    pid = main_pid(machine)
    workers = machine.run("pgrep", "-f", "watcherd.pool.worker").stdout.split()
    assert workers
    for process in (pid, *workers):
        fields = machine.path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        assert fields[16] == "5"  # nice
        assert machine.run("ionice", "-p", process).stdout.strip() == "best-effort: prio 6"
    assert (machine.show("watcherd", "CPUWeight"), machine.show("watcherd", "IOWeight")) == ("50", "50")
    group = machine.show("watcherd", "ControlGroup")
    weights = {
        name: path.read_text().split()[-1]
        for name in ("cpu.weight", "io.weight")
        if (path := machine.path(f"/sys/fs/cgroup{group}/{name}")).exists()
    }
    print(f"in the control group: {weights or 'no such controllers here'}")
    assert set(weights.values()) <= {"50"}


@pytest.fixture
def little_memory(machine: Machine) -> Iterator[str]:
    """Lines for the unit that limit its memory; where a machine's control groups hold none, all of it is limited.

    In the second case the kernel ends a worker as well, but systemd hears nothing of it.
    """
    controllers = machine.path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and "memory" in controllers.read_text().split():
        yield f"MemoryMax={LITTLE}\nMemorySwapMax=0\n"
        return
    group = Path("/sys/fs/cgroup/memory") / machine.name
    if not (group.parent / "memory.limit_in_bytes").exists():
        pytest.skip("no control group with a limit on memory can be had here")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LITTLE))
        (group / "cgroup.procs").write_text(str(machine.leader))
        yield ""
    finally:
        machine.power_off()
        eventually(lambda: not (group / "cgroup.procs").read_text(), within_s=20, what="nothing is in the group")
        group.rmdir()


def test_a_worker_that_the_kernel_ends_for_its_memory_does_not_end_the_service(
    machine: Machine, little_memory: str
) -> None:
    settings = "[pool]\nworkers = 1\nmemory_bytes = 2147483648\n[retry]\nfirst_delay_s = 0.5\n"
    install(machine, UP, settings=settings, unit=little_memory + other_worker(machine, GREEDY))
    pid = main_pid(machine)
    machine.write(f"{UP}/giant.jpg", jpeg(1, marker=b"<<greed>>"))
    fill(machine.path(UP), 3, size=(100, 80), first=10)
    eventually(
        lambda: status(machine).get("sources", {}).get("quarantined") == 1,
        within_s=90,
        what="the giant is given up",
        every_s=0.5,
    )
    all_done(machine, 3)
    assert machine.show("watcherd", "OOMPolicy") == "continue"
    assert (main_pid(machine), machine.show("watcherd", "NRestarts")) == (pid, "0")
    told = [line for line in machine.journal("watcherd").splitlines() if "giant.jpg" in line and "job.retry" in line]
    print(f"limited by {'systemd' if little_memory else 'a group around the machine'}: {told[0]}")
    assert all("the kernel ended its worker for want of memory" in line for line in told), told


def test_a_disk_that_is_required_brings_the_service_and_takes_it_along(
    machine_with: Callable[..., Machine], disk: str
) -> None:
    """`RequiresMountsFor=` in a drop-in, as the unit's head proposes it for disks that it shall not run without."""
    machine = machine_with(disk)
    machine.run("mkdir", "-p", "/mnt/disk")
    mount = f"[Mount]\nWhat={disk}\nWhere=/mnt/disk\nType=ext4\n"
    machine.write("/etc/systemd/system/mnt-disk.mount", mount)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "mnt-disk.mount")
    machine.run("install", "--directory", "--mode=777", "/mnt/disk/up")
    install(machine, "/mnt/disk/up", unit="[Unit]\nRequiresMountsFor=/mnt/disk\n")
    fill(machine.path("/mnt/disk/up"), 1)
    all_done(machine, 1)

    machine.run("systemctl", "stop", "mnt-disk.mount")
    assert machine.show("watcherd", "ActiveState") == "inactive"
    assert machine.run("mountpoint", "--quiet", "/mnt/disk", check=False).returncode != 0

    machine.run("systemctl", "start", "watcherd")
    assert machine.run("mountpoint", "--quiet", "/mnt/disk", check=False).returncode == 0
    fill(machine.path("/mnt/disk/up"), 1, first=10)
    all_done(machine, 2)


# --------------------------------------------------------------------------------------------------- beginning, ending


def test_a_reload_is_over_when_systemctl_says_so(machine: Machine) -> None:
    """Each time: when the command comes back, the reload is in the log, and the unit is active again."""
    install(machine, UP)
    before = machine.path(CONFIG).read_text()
    for number in range(5):
        machine.write(CONFIG, f"{before}\n[retry]\nmax_faults = {number + 4}\n")
        machine.run("systemctl", "reload", "watcherd")
        assert machine.show("watcherd", "ActiveState") == "active"
        told = machine.journal("watcherd")
        assert told.count('"config.reloaded"') == number + 1
        assert status(machine)["daemon"]["reload"]["errors"] == []


def test_a_drain_that_takes_longer_than_the_stop_may_is_given_the_time(machine: Machine) -> None:
    slow = other_worker(machine, SLOW.replace("SECONDS", "9"))
    install(
        machine,
        UP,
        settings="[daemon]\ndrain_timeout_s = 40.0\n[pool]\nworkers = 1\n",
        unit=f"TimeoutStopSec=4\n{slow}",
    )
    fill(machine.path(UP), 3)
    eventually(lambda: (status(machine).get("daemon") or {}).get("in_hand"), within_s=30, what="a job is in hand")
    started = time.monotonic()
    machine.run("systemctl", "stop", "watcherd")
    took = time.monotonic() - started
    print(f"stopped after {took:.1f} s")
    assert took > 4
    assert machine.show("watcherd", "Result") == "success"
    assert status(machine)["sources"]["done"] in {1, 2}, "what its worker held: the first, and the next one perhaps"
    assert "daemon.stopped" in machine.journal("watcherd")


def test_a_drain_that_never_ends_is_cut_short_by_the_daemon_itself(machine: Machine) -> None:
    slow = other_worker(machine, SLOW.replace("SECONDS", "600"))
    install(machine, UP, settings="[daemon]\ndrain_timeout_s = 6.0\n", unit=f"TimeoutStopSec=4\n{slow}")
    fill(machine.path(UP), 1)
    eventually(lambda: (status(machine).get("daemon") or {}).get("in_hand"), within_s=30, what="a job is in hand")
    machine.run("systemctl", "stop", "watcherd")
    assert machine.show("watcherd", "Result") == "success"
    assert "daemon.halting" in machine.journal("watcherd")


# ----------------------------------------------------------------------------------------------------------- instances


def test_instances_come_and_go_beside_the_service_and_nothing_is_left(machine: Machine) -> None:
    machine.run("install", "--directory", "--mode=777", PHOTOS)
    before = machine.written()
    photos = ("--instance", "photos")
    said = machine.run(COMMAND, "service", "install", *photos, "--watch", PHOTOS).stdout
    assert "run systemctl start watcherd@photos" in said
    machine.run(COMMAND, "service", "install", "--watch", UP)
    installed = machine.written()
    for arguments in ((), photos):
        again = machine.run(COMMAND, "service", "install", *arguments)
        assert (again.stdout, "nothing to do" in again.stderr) == ("", True)
    assert [path for path in changes(installed, machine.written()) if not path.startswith(STATE)] == []

    fill(machine.path(UP), 1)
    fill(machine.path(PHOTOS), 2, first=10)
    all_done(machine, 1)
    of_photos = ("status", "--json", "--state-dir", f"{STATE}/photos")
    eventually(lambda: '"done": 2' in machine.run(COMMAND, *of_photos).stdout, within_s=30, what="both are done")
    assert f"ReadWritePaths=-{PHOTOS}" in machine.path(f"{INSTANCE}/10-roots.conf").read_text()

    machine.run(COMMAND, "service", "uninstall")
    assert machine.show("watcherd@photos", "SubState") == "running"
    fill(machine.path(PHOTOS), 1, first=20)
    eventually(lambda: '"done": 3' in machine.run(COMMAND, *of_photos).stdout, within_s=30, what="it goes on")
    machine.run(COMMAND, "service", "uninstall", *photos)
    assert [path for path in changes(before, machine.written()) if not path.startswith((f"{PHOTOS}/", f"{UP}/"))] == []
    assert machine.show("watcherd@photos", "ActiveState") == "inactive"
