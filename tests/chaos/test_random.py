"""Random steps on a tree and its daemon; in the end all promises hold, as the auditor sees it.

A failing seed is repeated with WATCHERD_CHAOS_SEED, and stays below as a test. WATCHERD_CHAOS_STEPS sets how many steps
there are; the suite's own runs are short.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made, temporary_files
from tests.chaos.disks import Disks
from tests.chaos.driver import Driver
from tests.chaos.harness import QUICK_SETTLE, Daemon, eventually

CONFIG = (
    QUICK_SETTLE
    + "incomplete_grace_s = 1\n[retry]\nfirst_delay_s = 0.2\n"
    + "[daemon]\nforget_after_s = 2\nrescan_interval_s = 10\nbrake_share = 1.0\n"
)
"""Without the brake on mass deletions: it would keep derivatives of what is gone for days."""
STEPS = int(os.environ.get("WATCHERD_CHAOS_STEPS", "60"))
QUEUE = 256
"""So many events the kernel keeps for each root: an overflow needs no more files than that."""
IN_HAND = 4
"""So many sources are at most on their way through the workers."""
MOVING = ("move", "rename_folder", "move_folder", "freeze", "overflow", "restart")
SEEDS = (("beside", 22), ("below", 101))
"""Seeds that once showed a fault, and where their disk lies. 22: a folder moved to another disk while derivatives are
published in it. 101: the disk below the root goes while the rest of an upload on it is waited for."""


def _run(driver: Driver, steps: int) -> None:
    """The steps, with looks in between at what can be seen at any moment."""
    for number in range(steps):
        driver.step()
        time.sleep(driver.chance.choice((0.0, 0.02, 0.1, 0.4)))
        if number % 10 == 9:
            assert [half_made(root) for root in driver.roots] == [[] for _ in driver.roots]


def _check(driver: Driver) -> None:
    daemon = driver.daemon
    what = f"all promises hold after {driver.done}"
    problems: list[str] = []

    def none_left() -> bool:
        try:
            problems[:] = [problem for root in driver.roots for problem in audit(root, daemon.state).problems]
        except FileNotFoundError as error:  # the daemon still removes what has no source
            problems[:] = [str(error)]
        return not problems

    try:
        eventually(none_left, within_s=60, every_s=1.0, what=what)
    except AssertionError as error:
        error.add_note("\n".join(problems[:20]))
        raise
    assert [temporary_files(root) for root in driver.roots] == [[] for _ in driver.roots]
    assert {path: path.read_bytes() for path in driver.foreign} == driver.foreign
    steps = Counter(driver.done)
    interrupted = 2 * driver.kills + IN_HAND * (steps["unmount"] + steps["unmount_while_stopped"])
    moved_in_hand = sum(steps[name] for name in MOVING)  # what is moved out of a worker's hands is done anew
    most = driver.contents + interrupted + moved_in_hand
    assert sum(daemon.rendered().values()) <= most, "something was rendered more than once"


@pytest.fixture
def driver_for(watched: Path, disk_at: Disks, daemon_at: Callable[..., Daemon]) -> Callable[..., Driver]:
    """A driver with a daemon that runs: for a folder, and for a disk beside it or below it where one may be mounted."""

    def make(chance: random.Random, where: str = "beside") -> Driver:
        durability = ("full", "fast")[chance.getstate()[1][1] % 2]  # nothing drawn: a seed stays what it is
        print(f"durability {durability}")
        config = CONFIG + f'durability = "{durability}"\n'
        if os.geteuid() != 0:
            driver = Driver(daemon_at(watched, config=config), chance)
        else:
            disk = disk_at("photos", watched / "card" if where == "below" else "disk")
            disk.mount()
            (disk.point / "lost+found").rmdir()  # nobody puts pictures there
            roots = (watched,) if where == "below" else (watched, disk.point)
            driver = Driver(daemon_at(*roots, config=config), chance, disk, queue=QUEUE)
        driver.start()
        return driver

    return make


@pytest.mark.timeout(900)
@pytest.mark.parametrize("where", ["beside", "below"])
def test_random_steps_leave_no_promise_broken(
    driver_for: Callable[..., Driver], chance: random.Random, where: str
) -> None:
    driver = driver_for(chance, where)
    _run(driver, STEPS)
    _check(driver)
    assert driver.daemon.stop() == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("where", "seed"), SEEDS)
def test_a_seed_that_once_showed_a_fault_shows_none(driver_for: Callable[..., Driver], where: str, seed: int) -> None:
    driver = driver_for(random.Random(seed), where)
    _run(driver, 60)
    _check(driver)
