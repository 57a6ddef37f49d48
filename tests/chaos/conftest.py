"""What the chaos tests share: a place of their own, daemons that are ended whatever happens, a seed that is printed.

Each test has one place: a folder that others may enter (pytest's own are closed to user nobody), with `watched` in it.
`WATCHERD_CHAOS_SEED=n` repeats a run's random choices; `WATCHERD_CHAOS_FULL=1` asks for the full sizes;
`WATCHERD_CHAOS_SLOWNESS=n` multiplies the time that is waited before a test fails.
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

from tests.chaos.disks import Disk, Disks
from tests.chaos.harness import COMMAND, QUICK_SETTLE, SLOWNESS, Daemon, command
from tests.chaos.machine import Machine, why_not
from tests.chaos.service import UP

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            own = item.get_closest_marker("timeout")
            limit_s = own.args[0] if own else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit_s * SLOWNESS), append=False)


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
        made.append(Daemon(folder=folder, roots=roots, **options))
        return made[-1]

    try:
        yield make
    finally:
        for daemon in made:
            daemon.clean_up()


@pytest.fixture
def daemon(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """A daemon for `watched` that settles quickly, not started yet."""
    return daemon_at(watched, config="")


@pytest.fixture
def plain_daemon(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """A daemon for `watched` as a new user starts it: without a configuration file. Not started yet."""
    return daemon_at(watched)


@pytest.fixture
def secluded() -> tuple[str, ...]:
    """The prefix of a command that hears nothing of what others mount; empty where that is not permitted."""
    prefix = ("unshare", "--mount", "--propagation", "private")
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else ()


@pytest.fixture
def scan(place: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `watcherd scan --json` with a quick settling, on the place's own state directory unless told otherwise."""

    def run(*places: Path, state: Path | None = None) -> subprocess.CompletedProcess[str]:
        file = place / "scan.toml"
        file.write_text(QUICK_SETTLE)
        return command("scan", *places, "--state-dir", state or place / "state", "--config", file, "--json")

    return run


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
def without_powers() -> tuple[str, ...]:
    """What to put before a command so that permissions count for it: root gives up its powers, others have none."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv (util-linux) to run the daemon without its powers")
    tried = subprocess.run([*prefix, COMMAND, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"root cannot run the daemon without its powers here: {tried.stderr.strip()}")
    return prefix


@pytest.fixture
def disk_at(place: Path) -> Iterator[Disks]:
    """Makes disks (not mounted yet); all are unmounted when the test is over."""
    made: list[Disk] = []

    def make(name: str, point: str | Path = "disk", kind: str = "ext4") -> Disk:
        disk = Disk(place / f"{name}.img", place / point, kind)
        disk.make()
        made.append(disk)
        return disk

    try:
        yield make
    finally:
        for disk in made:
            disk.clean_up()


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


@pytest.fixture
def machine_with() -> Iterator[Callable[..., Machine]]:
    """Boots machines; all are taken down when the test is over."""
    reason = why_not()
    if reason:
        pytest.skip(f"no machine can be booted here: {reason}")
    made: list[Machine] = []

    def boot(*binds: str) -> Machine:
        made.append(Machine(binds=binds))
        return made[-1].boot()

    try:
        yield boot
    finally:
        for machine in made:
            machine.power_off()


@pytest.fixture
def machine(machine_with: Callable[..., Machine]) -> Machine:
    """A machine with a folder for uploads that its group `uploaders` may write to, and ann, who is in that group."""
    machine = machine_with()
    machine.run("groupadd", "uploaders")
    machine.run("useradd", "--create-home", "--groups", "uploaders", "ann")
    machine.run("install", "--directory", "--group=uploaders", "--mode=2770", UP)
    return machine


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A block device with an ext4 file system on it."""
    image = tmp_path / "disk.ext4"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-E", "root_owner=0:0", str(image)], check=True)
    done = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop device can be had: {done.stderr.strip()}")
    try:
        yield done.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)
