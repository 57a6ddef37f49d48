"""What the chaos tests share: a place of their own, daemons that are ended whatever happens, a seed that is printed.

Each test has one place: a folder that others may enter (pytest's own are closed to user nobody), with `watched` in it.
`WATCHERD_CHAOS_SEED=n` repeats a run's random choices; `WATCHERD_CHAOS_FULL=1` asks for the full sizes.
"""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness import COMMAND, NOBODY, Daemon

HERE = Path(__file__).parent
MaxQueuedEvents = Path("/proc/sys/fs/inotify/max_queued_events")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chaos)


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not os.path.exists(COMMAND):
        pytest.skip(f"the command is not installed at {COMMAND}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for one test, with an empty folder `watched` in it."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="watcherd-chaos-")))
    folder.chmod(0o755)
    (folder / "watched").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(os.fsencode(folder), ignore_errors=True)


@pytest.fixture
def watched(place: Path) -> Path:
    """The folder that is watched."""
    return place / "watched"


@pytest.fixture
def daemon_at(place: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons (not started yet) with a folder each; all are ended when the test is."""
    made: list[Daemon] = []

    def make(*roots: Path, **options: Any) -> Daemon:
        folder = place / f"daemon-{len(made)}"
        folder.mkdir()
        if options.get("user") is not None:
            os.chown(folder, options["user"], options["user"])
        made.append(Daemon(folder=folder, roots=roots, **options))
        return made[-1]

    try:
        yield make
    finally:
        for daemon in made:
            daemon.clean_up()


@pytest.fixture
def daemon(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """A daemon for `watched` without a configuration file, not started yet."""
    return daemon_at(watched)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random choices that can be repeated."""
    seed = int(os.environ.get("WATCHERD_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"seed of {request.node.name}: WATCHERD_CHAOS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def corpus() -> Path:
    """The folder of real pictures."""
    folder = Path(os.environ.get("WATCHERD_CORPUS") or HERE.parents[2] / "shared" / "corpus")
    if not (folder / "photos").is_dir():
        pytest.skip(f"there are no real pictures at {folder}; WATCHERD_CORPUS names another folder")
    return folder


@pytest.fixture
def nobody() -> int:
    """The user id of somebody without rights who can run the daemon; only root can become that."""
    if os.geteuid() != 0:
        pytest.skip("only root can run the daemon as another user")
    tried = subprocess.run([COMMAND, "--version"], user=NOBODY, group=NOBODY, capture_output=True, check=False, cwd="/")
    if tried.returncode != 0:
        pytest.skip(f"user nobody cannot run {COMMAND}: {tried.stderr!r}")
    return NOBODY


@pytest.fixture
def short_event_queue() -> Iterator[int]:
    """The kernel keeps 256 events for a watcher that starts now; put back afterwards."""
    before = MaxQueuedEvents.read_text()
    try:
        MaxQueuedEvents.write_text("256")
    except OSError as error:
        pytest.skip(f"fs.inotify.max_queued_events cannot be set here: {error}")
    try:
        yield 256
    finally:
        MaxQueuedEvents.write_text(before)


@pytest.fixture
def mounts(place: Path) -> Iterator[Callable[..., Path]]:
    """Mounts things at new folders of the place, and takes them down; skips where that is not permitted."""
    made: list[Path] = []

    def mount(name: str, *arguments: str) -> Path:
        folder = place / name
        folder.mkdir()
        done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    try:
        yield mount
    finally:
        for folder in made:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
