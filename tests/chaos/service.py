"""The service on a machine of its own, as the tests of it use it: installing, asking, waiting.

Responsible for: what several of these tests need. Not responsible for: the machine (`machine.py`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.chaos.harness import QUICK_SETTLE, eventually
from tests.chaos.machine import Machine

COMMAND = "/opt/watcherd/bin/watcherd"
CONFIG, STATE, UP = "/etc/watcherd/config.toml", "/var/lib/watcherd", "/srv/up"
DROP_IN = "/etc/systemd/system/watcherd.service.d/90-test.conf"
NO_WORKERS = "WATCHERD_WORKER_MODULE=no.such.module\n"
QUICK_RESTART = "RestartSec=100ms\n"
CHANGES_ANYWAY = re.compile(
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/\.pwd\.lock|/var/(log|cache|tmp)(/.*)?|.*/__pycache__(/.*)?"
)
"""What the system's own tools leave behind: copies of what they changed, locks, logs; and compiled modules."""


def install(machine: Machine, *roots: str, settings: str = "", unit: str = "") -> str:
    """Install the service with a quick settling and what a test wants besides. Returns what it said."""
    if not machine.path(CONFIG).exists():
        machine.write(CONFIG, QUICK_SETTLE + settings)
    if unit:
        machine.write(DROP_IN, f"[Service]\n{unit}" if "[Unit]" not in unit else unit)
    watch = [argument for root in roots for argument in ("--watch", root)]
    return machine.run(COMMAND, "service", "install", *watch).stdout


def status(machine: Machine) -> dict[str, Any]:
    done = machine.run(COMMAND, "status", "--json", "--state-dir", STATE, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def all_done(machine: Machine, sources: int, within_s: float = 60) -> None:
    """Wait until so many sources are done."""

    def done() -> bool:
        return bool(status(machine).get("sources", {}).get("done") == sources)

    try:
        eventually(done, within_s=within_s, what=f"{sources} sources are done", every_s=0.3)
    except AssertionError as error:
        error.add_note(f"{status(machine)}\n{machine.journal('watcherd')[-4000:]}")
        raise


def main_pid(machine: Machine) -> str:
    return machine.show("watcherd", "MainPID")


def settled(machine: Machine, *, result: str) -> None:
    """Wait until the unit has come to a certain end."""

    def ended() -> bool:
        return (machine.show("watcherd", "ActiveState"), machine.show("watcherd", "Result")) == ("failed", result)

    try:
        eventually(ended, within_s=30, what=f"the unit has failed with {result}", every_s=0.2)
    except AssertionError as error:
        error.add_note(machine.run("systemctl", "status", "--no-pager", "watcherd", check=False).stdout)
        raise


def restarted(machine: Machine, before: str) -> None:
    """Wait until the unit runs as another process."""

    def runs() -> bool:
        return machine.show("watcherd", "SubState") == "running" and main_pid(machine) != before

    try:
        eventually(runs, within_s=30, what="the unit runs again", every_s=0.2)
    except AssertionError as error:
        error.add_note(machine.journal("watcherd")[-4000:])
        raise


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The paths that differ, less those that the system's tools change of their own accord, and the program's own."""
    different = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(path for path in different if not CHANGES_ANYWAY.fullmatch(path))
