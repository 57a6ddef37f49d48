"""Past the kernel's limit of watches nothing is missed, and one warning holds the number to set."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import QUICK_SETTLE, Daemon, eventually
from tests.chaos.pictures import jpeg, put

LIMIT = 10
LIMITED = f'echo {LIMIT} > /proc/sys/user/max_inotify_watches && exec "$@"'
"""A limit for this program alone: it counts in the user namespace that the program is given."""


@pytest.fixture
def few_watches() -> tuple[str, ...]:
    """What to put before a command so that it has few watches."""
    prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", LIMITED, "sh")
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (util-linux)")
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no user namespace can be had here: {tried.stderr.strip()}")
    return prefix


@pytest.mark.timeout(180)
def test_folders_without_a_watch_are_found_by_sweeps(
    watched: Path, few_watches: tuple[str, ...], daemon_at: Callable[..., Daemon]
) -> None:
    for number in range(2 * LIMIT):
        put(watched / f"{number:02}" / "a.jpg", jpeg(number))
        (watched / f"{number:02}" / "@eaDir").mkdir()
    roots = f'[[roots]]\npath = "{watched}"\nscan_interval_s = 2\n'
    daemon = daemon_at(prefix=few_watches, config=QUICK_SETTLE + roots).start()
    daemon.rested(sources=20)
    (line,) = daemon.lines("root.watch_limit")
    print(line)
    assert (line["folders"], line["unwatched"], line["limit"]) == (21, 21 - LIMIT, LIMIT)
    assert line["hint"] == "sysctl user.max_inotify_watches=32"
    told = daemon.status()["daemon"]["roots"][str(watched)]
    assert (told["mode"], told["mode_reason"]) == ("hybrid", "11 of 21 folders are not watched")

    for number in range(2 * LIMIT):
        put(watched / f"{number:02}" / "b.jpg", jpeg(100 + number))
    assert daemon.rested(sources=40, within_s=60)["done"] == 40
    put(watched / "new" / "deep" / "c.jpg", jpeg(200))
    done = watched / "new" / "deep" / "c.jpg.preview.jpg"
    eventually(done.exists, within_s=20, what="a new folder for which there is no watch")
    assert daemon.rested(sources=41)["done"] == 41
    assert len(daemon.lines("root.watch_limit")) == 1
    assert audit(watched, daemon.state).problems == []


@pytest.mark.timeout(120)
def test_a_root_that_is_set_to_scan_takes_no_watch_and_misses_nothing(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    roots = f'[[roots]]\npath = "{watched}"\nmode = "scan"\nscan_interval_s = 1\n'
    put(watched / "a.jpg", jpeg(1))
    daemon = daemon_at(config=QUICK_SETTLE + roots).start()
    daemon.rested(sources=1)
    put(watched / "in" / "b.jpg", jpeg(2))
    (watched / "a.jpg").rename(watched / "in" / "c.jpg")
    moved = watched / "in" / "c.jpg.preview.jpg"
    eventually(moved.exists, within_s=30, what="the move is found, and its derivatives come along")
    assert daemon.rested(sources=2, within_s=30)["done"] == 2
    assert daemon.lines("root.watching") == []
    assert sum(daemon.rendered().values()) == 2
