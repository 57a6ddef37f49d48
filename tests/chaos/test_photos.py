"""The 62 real photos: made once, then never again without need."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chaos.audit import audit, prints
from tests.chaos.harness import Daemon

REST_S = 6.0


def _check(watched: Path, daemon: Daemon, *, done: int) -> None:
    report = audit(watched, daemon.state)
    assert report.problems == []
    assert (report.states["done"], report.derivatives) == (done, 2 * done)


def _decoded(daemon: Daemon) -> int:
    return daemon.outcomes()["rendered"]


def test_an_idle_daemon_does_next_to_nothing(plain_daemon: Daemon, secluded: tuple[str, ...]) -> None:
    daemon = plain_daemon
    daemon.prefix = secluded
    daemon.start().rested(sources=0)
    rest = daemon.rest(REST_S)
    print(rest)
    assert rest.main_wakeups < rest.seconds, "it wakes less than once a second"
    assert rest.all_wakeups <= 12
    assert rest.cpu_s <= 0.05


@pytest.mark.timeout(240)
def test_photos_are_rendered_once_and_never_again(
    watched: Path, plain_daemon: Daemon, corpus: Path, secluded: tuple[str, ...]
) -> None:
    daemon = plain_daemon
    daemon.prefix = secluded
    photos = sorted((corpus / "photos").glob("*.[jJ][pP][gG]"))
    count = len(photos)
    daemon.start()
    subprocess.run(["cp", "-r", str(corpus / "photos"), str(watched)], check=True)
    before = {path: one for path, one in prints(watched).items() if b".jpg." not in path.lower()}
    daemon.rested(sources=count, within_s=90)
    _check(watched, daemon, done=count)
    assert audit(watched, daemon.state, untouched=before).problems == []
    assert len(before) == count
    assert _decoded(daemon) == count
    assert max(daemon.rendered().values()) == 1

    rest = daemon.rest(REST_S)
    print(rest)
    assert rest.main_wakeups < rest.seconds, "it wakes less than once a second"
    assert rest.cpu_s <= 0.05

    assert daemon.stop() == 0
    daemon.start().rested(sources=count)
    assert daemon.lines("job.done") == []

    for photo in (watched / "photos").iterdir():
        if ".thumbnail." not in photo.name and ".preview." not in photo.name:
            os.utime(photo)
    assert daemon.stop() == 0
    daemon.start().rested(sources=count, within_s=60)
    assert _decoded(daemon) == 0

    subprocess.run(["cp", "-r", str(watched / "photos"), str(watched / "copy")], check=True)
    daemon.rested(sources=2 * count, within_s=60)
    _check(watched, daemon, done=2 * count)
    assert _decoded(daemon) == 0

    assert daemon.stop() == 0
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (daemon.state / name).unlink(missing_ok=True)
    daemon.start().rested(sources=2 * count, within_s=60)
    assert _decoded(daemon) == 0
    _check(watched, daemon, done=2 * count)


def test_every_orientation_comes_out_upright(watched: Path, daemon: Daemon, corpus: Path) -> None:
    shutil.copytree(corpus / "orientation", watched / "turned")
    pictures = [p for p in (watched / "turned").rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"}]
    daemon.start().rested(sources=len(pictures))
    report = audit(watched, daemon.state)
    assert report.problems == []
    assert report.states["done"] == len(pictures)
