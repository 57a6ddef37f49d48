"""Whether `cpu_limit` holds: CPU time of the daemon's process tree against what the limit allows, under a backlog.

Run: python tests/bench/cpu_limit.py [--limits 0.3 0.6 0.9] [--seconds 60] [--images photos|tiny] [--scratch DIR]

A daemon is started over a folder with more pictures than it can do in the time; after a warm-up, the CPU time of all
its processes (the dead ones too) is taken twice. The share is that time by cores and seconds. What others took of the
machine meanwhile, and what the hypervisor did not give, are printed beside it: a share below the limit may be their
doing, one above it is ours.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import psutil
from PIL import Image

WARM_UP_S = 5.0
IN_A_FOLDER = 500
TOLERANCE = 0.10
RUN = "from watcherd.cli import main; main()"
CONFIG = """
[settle]
open_quiet_s = 0.5
[pool]
cpu_limit = {limit}
[daemon]
metrics_interval_s = 5
"""


class Use(NamedTuple):
    """CPU seconds so far: of the daemon with all its workers, of the whole machine at work, and stolen from it."""

    ours_s: float
    busy_s: float
    stolen_s: float
    at_s: float


def photos(number: int, base: list[bytes]) -> bytes:
    """Pictures of 12 megapixels, each with a comment of its own."""
    return commented(base[number % len(base)], number)


def drawn(size: tuple[int, int], quality: int) -> list[bytes]:
    """A few smooth pictures: many pixels, few bytes."""
    chance = random.Random(0)
    made = []
    for _ in range(6):
        coarse = Image.frombytes("RGB", (24, 18), chance.randbytes(24 * 18 * 3))
        stream = BytesIO()
        coarse.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=quality)
        made.append(stream.getvalue())
    return made


def commented(data: bytes, number: int) -> bytes:
    """The same picture with other bytes."""
    comment = f"picture {number}".encode()
    return data[:20] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[20:]


IMAGES: dict[str, tuple[tuple[int, int], int, float]] = {
    "photos": ((4000, 3000), 80, 0.03),
    "tiny": ((400, 300), 86, 0.0025),
}
"""Size in pixels, quality, and the least CPU time that one takes: so many are made that they last."""


def fill(folder: Path, kind: str, seconds: float) -> int:
    """Write more pictures than can be done in the time."""
    size, quality, least_s = IMAGES[kind]
    base, count = drawn(size, quality), int(seconds * (os.cpu_count() or 1) / least_s)
    for number in range(count):
        below = folder / f"{number // IN_A_FOLDER:03d}"
        below.mkdir(exist_ok=True)
        (below / f"{number:06d}.jpg").write_bytes(photos(number, base))
    return count


def use(daemon: psutil.Process) -> Use:
    """How much was used until now."""
    own = daemon.cpu_times()
    ours_s = own.user + own.system + own.children_user + own.children_system
    for child in daemon.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            ours_s += times.user + times.system
    machine = psutil.cpu_times()
    busy_s = machine.user + machine.nice + machine.system + machine.irq + machine.softirq
    return Use(ours_s, busy_s, machine.steal, time.monotonic())


@contextmanager
def running(watched: Path, scratch: Path, limit: float) -> Iterator[psutil.Process]:
    """A daemon that works under the limit; ended and waited for."""
    config = scratch / "config.toml"
    config.write_text(CONFIG.format(limit=limit))
    command = [sys.executable, "-P", "-c", RUN, "run", "--watch", watched, "--config", config]
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--state-dir", scratch / "state"], stderr=log, cwd="/")
    try:
        while b'"job.done"' not in (scratch / "log").read_bytes():
            if process.poll() is not None:
                sys.exit((scratch / "log").read_text()[-2000:])
            time.sleep(0.1)
        time.sleep(WARM_UP_S)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def measured(limit: float, kind: str, seconds: float, scratch: Path) -> str:
    """One line of the table."""
    watched = scratch / "watched"
    watched.mkdir()
    count = fill(watched, kind, seconds + 2 * WARM_UP_S)
    with running(watched, scratch, limit) as daemon:
        before = use(daemon)
        time.sleep(seconds)
        after = use(daemon)
    done = (scratch / "log").read_bytes().count(b'"job.done"')
    if done >= count:
        sys.exit(f"all {count} pictures were done before the time was over")
    return line(limit, kind, before, after)


def line(limit: float, kind: str, before: Use, after: Use) -> str:
    """The figures between two looks."""
    whole_s = (after.at_s - before.at_s) * (os.cpu_count() or 1)
    ours = (after.ours_s - before.ours_s) / whole_s
    others = (after.busy_s - before.busy_s) / whole_s - ours
    stolen = (after.stolen_s - before.stolen_s) / whole_s
    kept = "held" if abs(ours - limit) <= TOLERANCE else "NOT HELD" if ours > limit else "not reached"
    return f"| {kind:6} | {limit:9.2f} | {ours:5.2f} | {ours - limit:+6.2f} | {others:6.2f} | {stolen:6.2f} | {kept} |"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limits", type=float, nargs="+", default=[0.3, 0.6, 0.9])
    parser.add_argument("--images", choices=sorted(IMAGES), nargs="+", default=["photos"])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--scratch", help="where pictures and ledgers are made")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = options()
    print(f"{os.cpu_count()} CPUs, {given.seconds:.0f} s each")
    print("| images | cpu_limit | share |    off | others | stolen |       |")
    print("|--------|----------:|------:|-------:|-------:|-------:|-------|")
    for kind in given.images:
        for limit in given.limits:
            with tempfile.TemporaryDirectory(dir=given.scratch, prefix="watcherd-bench-") as temporary:
                print(measured(limit, kind, given.seconds, Path(temporary)), flush=True)


if __name__ == "__main__":
    main()
