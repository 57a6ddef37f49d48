"""What changes under a running or a stopped daemon: folders, files, settings, the ledger."""

import random
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import fill, jpeg, put

FORGETFUL = """
[daemon]
forget_after_s = 1
rescan_interval_s = 10
"""


def _sources(daemon: Daemon, count: int) -> None:
    eventually(lambda: sum(daemon.status()["sources"].values()) == count, within_s=40, what="rows", every_s=0.5)
    daemon.rested(sources=count)


def test_a_folder_renamed_while_it_is_worked_on_is_complete_under_its_last_name(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    fill(watched / "one", 150, size=(1200, 900))
    daemon = daemon_at(watched, config=FORGETFUL).start()
    daemon.wait_for("job.done", within_s=15)
    for before, after in (("one", "two"), ("two", "three")):
        (watched / before).rename(watched / after)
        time.sleep(0.7)
    _sources(daemon, 150)
    assert audit(watched, daemon.state).problems == []
    assert len(list((watched / "three").iterdir())) == 450
    assert sum(daemon.rendered().values()) < 300


def test_files_deleted_while_they_are_worked_on_leave_nothing_behind(
    watched: Path, daemon_at: Callable[..., Daemon], chance: random.Random
) -> None:
    pictures = fill(watched / "some", 150, size=(1200, 900))
    daemon = daemon_at(watched, config=FORGETFUL).start()
    daemon.wait_for("job.done", within_s=15)
    for picture in chance.sample(pictures, 75):
        picture.unlink()
        time.sleep(0.005)
    _sources(daemon, 75)
    eventually(lambda: len(list((watched / "some").iterdir())) == 225, within_s=15, what="no orphans are left")
    assert audit(watched, daemon.state).problems == []


def test_two_files_that_swap_their_names_swap_their_derivatives(watched: Path, daemon: Daemon) -> None:
    one, two = put(watched / "a.jpg", jpeg(1)), put(watched / "b.jpg", jpeg(2))
    daemon.start().rested(sources=2)
    one.rename(watched / "c.jpg")
    two.rename(one)
    (watched / "c.jpg").rename(two)
    eventually(lambda: audit(watched, daemon.state).problems == [], within_s=15, what="right derivatives", every_s=0.5)
    assert len(list(watched.iterdir())) == 6


def test_what_was_moved_while_the_daemon_was_away_is_not_rendered_again(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    daemon = daemon_at(watched, config=FORGETFUL)
    fill(watched / "whole", 10)
    fill(watched / "alone", 10, first=100)
    daemon.start().rested(sources=20)
    assert daemon.stop() == 0
    (watched / "whole").rename(watched / "moved")
    for number in range(10):
        (watched / "alone" / f"p{100 + number:06d}.jpg").rename(watched / "moved" / f"q{number}.jpg")
    daemon.start()
    eventually(lambda: audit(watched, daemon.state).problems == [], within_s=20, what="all in place", every_s=0.5)
    assert daemon.outcomes()["rendered"] == 0
    assert len(list((watched / "moved").iterdir())) == 60


def test_a_changed_setting_makes_that_variant_anew_and_no_other(watched: Path, daemon: Daemon) -> None:
    fill(watched, 5, size=(400, 300))
    daemon.start().rested(sources=5)
    assert daemon.stop() == 0
    daemon.config = "[variants.thumbnail]\nquality = 70\n[variants.preview]\n"
    daemon.start().rested(sources=5)
    made = Counter((tuple(line["variants"]), line["outcome"]) for line in daemon.lines("job.done"))
    assert made == {(("thumbnail",), "rendered"): 5}
    assert audit(watched, daemon.state).problems == []


def test_a_damaged_ledger_is_set_aside_and_built_again_without_rendering(watched: Path, daemon: Daemon) -> None:
    fill(watched, 5)
    daemon.start().rested(sources=5)
    assert daemon.stop() == 0
    with (daemon.state / "ledger.db").open("r+b") as ledger:
        ledger.write(b"\x55" * 4_096)
    daemon.start().rested(sources=5)
    assert daemon.outcomes() == {"reused": 5}
    assert daemon.lines("ledger.problem")[0]["operation"] == "open"
    assert len(list(daemon.state.glob("ledger.db.damaged-*"))) == 1
    assert audit(watched, daemon.state).problems == []


def test_a_ledger_damaged_where_opening_does_not_look_ends_one_run_and_no_other(watched: Path, daemon: Daemon) -> None:
    fill(watched, 40)
    daemon.start().rested(sources=40)
    assert daemon.stop() == 0
    path = daemon.state / "ledger.db"
    with sqlite3.connect(path) as ledger:
        (page,) = ledger.execute("SELECT rootpage FROM sqlite_master WHERE name = 'source'").fetchone()
    ledger.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4_096)
        file.write(b"\x55" * 4_096)
    daemon.start(ready=False)
    assert daemon.ended() == 1
    assert len(list(daemon.state.glob("ledger.db.damaged-*Z"))) == 1
    daemon.start().rested(sources=40)
    assert daemon.outcomes() == {"reused": 40}
    assert audit(watched, daemon.state).problems == []


def test_a_hundred_equal_files_are_rendered_once(watched: Path, daemon: Daemon) -> None:
    data = jpeg(7, (1200, 900))
    for number in range(100):
        put(watched / f"d{number % 5}" / f"{number}.jpg", data)
    assert daemon.start().rested(sources=100)["done"] == 100
    assert daemon.outcomes() == {"rendered": 1, "reused": 99}
    assert audit(watched, daemon.state).problems == []


def test_descriptors_do_not_leak(watched: Path, daemon: Daemon) -> None:
    daemon.start().rested(sources=0)
    before = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    fill(watched, 150)
    for number in range(20):
        put(watched / f"twin{number}.jpg", jpeg(number))
        put(watched / f"cut{number}.jpg", jpeg(1_000 + number)[:600])
        put(watched / f"text{number}.txt", b"text")
    daemon.rested(sources=210)
    subprocess.run(["rm", "-r", str(watched / "twin1.jpg")], check=True)
    assert len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) <= before + 6  # a worker more, and SQLite's own
