"""What supervision costs where pictures cost next to nothing: `watcherd scan` against a plain `multiprocessing.Pool`.

Run: python tests/bench/tiny.py [--images 5000] [--repeat 3] [--scratch DIR] [--profile FILE]

Both read, hash and render the same images of 10 kB with the same code (`watcherd.imaging`), with two workers, and
publish two derivatives each in the same way: temporary file, fsync, rename, fsync of the folder. The pool does it in
its workers, by `imap_unordered`. watcherd does more: ledger, settling, marks, isolation, sealed memory, admission,
deadlines. CPU seconds are those of the whole process tree, medians of interleaved repetitions; their parts are
those of the process itself by threads (/proc, so not to the last moment), and of its children.

Nothing is removed while it runs: ext4 without a journal looks for five minutes and more past every inode number that
has become free, which cost both programs more than all their other system calls together. Each run moves what it made
out of the way.

`--profile FILE` has the daemon's own process run under cProfile once more (its loop is the main thread, which is what
cProfile sees), and prints where its time goes.
"""

import argparse
import hashlib
import io
import multiprocessing
import os
import pstats
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import Image

from watcherd.imaging import warm
from watcherd.imaging.decode import identify
from watcherd.imaging.render import Rendering, render
from watcherd.model import PREVIEW, THUMBNAIL, Header
from watcherd.settings import LimitSettings

WORKERS = 2
SIZE_BYTES = 10_000
QUALITY = 66  # with which 400x300 pixels of little detail are just below that
IN_A_FOLDER = 500
SETTLE_S = 5.0
DERIVATIVES = 2
SCAN = "from watcherd.cli import main; main()"
PROFILED = """
import cProfile, sys
from watcherd.cli import main
profile = cProfile.Profile()
try:
    profile.runcall(main)
finally:
    profile.dump_stats({file!r})
"""


class Cost(NamedTuple):
    """What one run took, in seconds; `by_part` splits the CPU time up, as far as it was seen."""

    cpu_s: float
    wall_s: float
    by_part: dict[str, float]


# -------------------------------------------------------------------------------------------------------- the peer


def start_worker() -> None:
    """What a worker of watcherd does at its start."""
    warm.warm_up()


def one(path: str) -> int:
    """Read, hash, render, publish; how many derivatives."""
    with open(path, "rb") as file:
        data = file.read()
        mode = os.fstat(file.fileno()).st_mode & 0o666
    variants, limits = (THUMBNAIL, PREVIEW), LimitSettings()
    header = identify(data, variants=variants, limits=limits, has_holes=False, tolerant=False)
    digest = hashlib.sha256(data).digest()
    if not isinstance(header, Header):
        return 0
    made = render(data, header, variants=variants, digest=digest, limits=limits, tolerant=False)
    if not isinstance(made, Rendering):
        return 0
    for picture in made.pictures:
        publish(f"{path}.{picture.variant}.jpg", picture.data, mode)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)
    return len(made.pictures)


def publish(target: str, data: bytes, mode: int) -> None:
    """Whole or not at all; its folder is synced once for all."""
    temporary = f"{target}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(descriptor, data)
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(temporary, target)


def peer(folder: str) -> None:
    """The whole other program."""
    paths = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
    with multiprocessing.Pool(WORKERS, start_worker) as pool:
        made = sum(pool.imap_unordered(one, paths))
    if made != DERIVATIVES * len(paths):
        sys.exit(f"{made} derivatives of {len(paths)} images")


# ---------------------------------------------------------------------------------------------------------- running


def images(folder: Path, count: int) -> None:
    """So many JPEGs of 10 kB, no two alike, 500 to a folder."""
    chance = random.Random(0)
    bases = []
    for _ in range(20):
        small = Image.frombytes("RGB", (12, 9), chance.randbytes(12 * 9 * 3))
        stream = io.BytesIO()
        small.resize((400, 300), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=QUALITY)
        bases.append(stream.getvalue())
    for number in range(count):
        below = folder / f"{number // IN_A_FOLDER:03d}"
        below.mkdir(exist_ok=True)
        comment = f"image {number}".encode()
        base = bases[number % len(bases)]
        comment = comment.ljust(max(0, SIZE_BYTES - len(base) - 4), b".")
        data = base[:20] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + base[20:]
        (below / f"{number:05d}.jpg").write_bytes(data)


def watch(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """CPU seconds of the first process' main thread, of its other threads, and of its children, as last seen."""
    seen: dict[str, dict[int, float]] = {"main thread": {}, "other threads": {}, "children": {}}
    while process.poll() is None:
        for path in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            part = "main thread" if path.parent.name == str(process.pid) else "other threads"
            seen[part] |= cpu_of(path)
        for child in children_of(process.pid):
            seen["children"] |= cpu_of(Path(f"/proc/{child}/stat"))
        time.sleep(0.05)
    return {part: sum(by_id.values()) for part, by_id in seen.items()}


def children_of(pid: int) -> set[str]:
    """Process ids."""
    found: set[str] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found |= set(path.read_text().split())
    return found


def cpu_of(path: Path) -> dict[int, float]:
    """The id in a stat file, and its CPU seconds; nothing where it is gone."""
    with suppress(OSError):
        number, _, rest = path.read_text().partition(" ")
        user, system = rest.rpartition(")")[2].split()[11:13]
        return {int(number): (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")}
    return {}


def set_aside(made: Sequence[Path], scratch: Path) -> None:
    """Out of the way, and not removed (see above)."""
    aside = tempfile.mkdtemp(dir=scratch)
    for number, path in enumerate(made):
        path.rename(f"{aside}/{number}")


def measured(command: Sequence[str | Path], folder: Path, count: int) -> Cost:
    """Run once, and take the derivatives away again."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"VIPS_CONCURRENCY": "1"}  # as watcherd's workers have it anyway
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    with tempfile.TemporaryFile("w+") as file:
        process = subprocess.Popen(command, cwd="/", stdout=file, stderr=file, env=environment)
        by_part = watch(process)
        file.seek(0)
        output = file.read()
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    made = [path for path in folder.rglob("*.jpg") if path.name.endswith((".thumbnail.jpg", ".preview.jpg"))]
    set_aside(made, folder.parent)
    if process.returncode != 0 or len(made) != count * DERIVATIVES:
        print(output[-2000:], file=sys.stderr)
        sys.exit(f"{command}: exit code {process.returncode}, {len(made)} derivatives")
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s, by_part)


def watcherd(folder: Path, scratch: Path, program: str = SCAN) -> Sequence[str | Path]:
    """The scan, with a new state directory."""
    config = scratch / "config.toml"
    config.write_text(f"[pool]\nworkers = {WORKERS}\n")
    state = tempfile.mkdtemp(dir=scratch)
    return [sys.executable, "-P", "-c", program, "scan", folder, "--config", config, "--state-dir", state]


def pool(folder: Path, _scratch: Path) -> Sequence[str | Path]:
    """This program again, as the peer."""
    return [sys.executable, __file__, "--peer", folder]


PROGRAMS: dict[str, Callable[[Path, Path], Sequence[str | Path]]] = {"watcherd scan": watcherd, "imap_unordered": pool}


def profile(folder: Path, scratch: Path, count: int, file: str) -> None:
    """Where the daemon's own process spends its time."""
    measured(watcherd(folder, scratch, PROFILED.format(file=os.path.abspath(file))), folder, count)
    stats = pstats.Stats(file)
    stats.sort_stats("tottime").print_stats(35)
    stats.sort_stats("cumulative").print_stats(45)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", help="on a disk: fsync costs nothing on a tmpfs")
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--peer", metavar="DIR", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = options()
    if given.peer:
        peer(given.peer)
        return
    with tempfile.TemporaryDirectory(dir=given.scratch, prefix="watcherd-bench-") as temporary:
        scratch = Path(temporary)
        folder = scratch / "images"
        folder.mkdir()
        images(folder, given.images)
        time.sleep(SETTLE_S)
        for command in PROGRAMS.values():  # once without a look: what has to be compiled and read from the disk
            measured(command(folder, scratch), folder, given.images)
        costs: dict[str, list[Cost]] = {program: [] for program in PROGRAMS}
        for number in range(given.repeat):
            for program in sorted(PROGRAMS, reverse=bool(number % 2)):
                costs[program].append(measured(PROGRAMS[program](folder, scratch), folder, given.images))
        figures = {name: median(cost.cpu_s for cost in runs) for name, runs in costs.items()}
        for name, runs in costs.items():
            cpu_s, wall_s = figures[name], median(cost.wall_s for cost in runs)
            print(f"{name:15} {cpu_s:6.2f} s CPU  {cpu_s / given.images * 1e3:6.3f} ms an image  {wall_s:6.2f} s wall")
            parts = {part: median(cost.by_part[part] for cost in runs) for part in runs[0].by_part}
            print(" " * 15, ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items()))
        print(f"CPU ratio {figures['watcherd scan'] / figures['imap_unordered']:.2f}, {given.images} images")
        if given.profile:
            profile(folder, scratch, given.images, given.profile)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
