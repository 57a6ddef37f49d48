"""Random steps on a tree and its daemon; in the end all promises hold, as the auditor sees it.

A failing seed is repeated with WATCHERD_CHAOS_SEED, and stays below as a test. WATCHERD_CHAOS_STEPS sets how many steps
there are; the suite's own runs are short.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, half_made, temporary_files
from tests.chaos.driver import Driver
from tests.chaos.harness import QUICK_SETTLE, Daemon, eventually

CONFIG = (
    QUICK_SETTLE
    + "incomplete_grace_s = 1\n[daemon]\nforget_after_s = 2\nrescan_interval_s = 10\n[retry]\nfirst_delay_s = 0.2\n"
)
STEPS = int(os.environ.get("WATCHERD_CHAOS_STEPS", "60"))
SEEDS: tuple[int, ...] = ()
"""Seeds that once showed a fault."""


def _run(driver: Driver, steps: int) -> None:
    """The steps, with looks in between at what can be seen at any moment."""
    for number in range(steps):
        driver.step()
        time.sleep(driver.chance.choice((0.0, 0.02, 0.1, 0.4)))
        if number % 10 == 9:
            assert half_made(driver.root) == []


def _check(driver: Driver) -> None:
    daemon, root = driver.daemon, driver.root
    what = f"all promises hold after {driver.done}"
    problems: list[str] = []

    def none_left() -> bool:
        try:
            problems[:] = audit(root, daemon.state).problems
        except FileNotFoundError as error:  # the daemon still removes what has no source
            problems[:] = [str(error)]
        return not problems

    try:
        eventually(none_left, within_s=60, every_s=1.0, what=what)
    except AssertionError as error:
        error.add_note("\n".join(problems[:20]))
        raise
    assert temporary_files(root) == []
    assert {path: path.read_bytes() for path in driver.foreign} == driver.foreign
    moved_in_hand = sum(name in {"move", "rename_folder", "freeze", "restart"} for name in driver.done)
    most = (
        driver.contents + 2 * driver.kills + moved_in_hand
    )  # a source that is moved out of a worker's hands is done anew
    assert sum(daemon.rendered().values()) <= most, "something was rendered more than once"


@pytest.mark.timeout(900)
def test_random_steps_leave_no_promise_broken(
    watched: Path, daemon_at: Callable[..., Daemon], chance: random.Random
) -> None:
    daemon = daemon_at(watched, config=CONFIG).start()
    driver = Driver(watched, daemon, chance)
    _run(driver, STEPS)
    _check(driver)
    assert daemon.stop() == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_that_once_showed_a_fault_shows_none(watched: Path, daemon_at: Callable[..., Daemon], seed: int) -> None:
    driver = Driver(watched, daemon_at(watched, config=CONFIG).start(), random.Random(seed))
    _run(driver, 60)
    _check(driver)
