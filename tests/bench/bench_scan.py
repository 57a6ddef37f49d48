"""What `watcherd scan` costs for a folder of photos, beside what one would otherwise write and beside the floor.

Run: python tests/bench/bench_scan.py [--six] [--photos DIR] [--peers DIR] [--repeat N] (see the README.md beside it).

Every program gets the same copies of the same photos, each copy with other bytes at its end (so that nothing can be
reused), two workers, and makes the same two derivatives; with `--six`, watcherd and sharp make six. The repetitions are
interleaved, and the medians are printed.
CPU seconds are those of the whole process tree: every program waits for its children, so they arrive in
`RUSAGE_CHILDREN`. A program's start costs something that a daemon pays once, so the marginal cost is printed as well:
the CPU time of the large folder less that of the small one, divided by the photos between them.

What watcherd does beside the pictures is included: hashing, ledger, marks, fsync of every derivative and its folder.
The others write without any of that.

Nothing is removed while it runs, but moved out of the way: ext4 without a journal looks past inode numbers that have
become free for minutes, at a cost to whoever makes files next.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
WORKERS = 2
TIMES = (1, 4)
"""How often the photos are copied into the small and into the large folder."""
SETTLE_S = 5.0
"""A scan takes files at once that have not changed for so long; the photos are made older than that beforehand."""
REFERENCE = "sharp"
TWO = (".thumbnail.jpg", ".preview.jpg")
SIX = (*(f".{name}{end}" for name in ("thumbnail", "medium", "large") for end in (".jpg", "-webp.webp")),)
SIX_VARIANTS = """
[variants.thumbnail]
[variants.medium]
[variants.large]
[variants.thumbnail-webp]
effort = 6  # WebP's method 4, which is sharp's
[variants.medium-webp]
effort = 6
[variants.large-webp]
effort = 6
"""


class Cost(NamedTuple):
    """What one run took, in seconds."""

    cpu_s: float
    wall_s: float


class Program(NamedTuple):
    """`command` gives the command line for a folder of photos and an empty folder of its own."""

    name: str
    command: Callable[[Path, Path], Sequence[str | Path]]
    writes_beside: bool = False
    writes_nothing: bool = False
    cwd: Path | None = None
    makes: Sequence[str] = TWO


class Missing(Exception):  # noqa: N818  a condition, told and lived with
    """A program cannot be had here; the text says why."""


# ---------------------------------------------------------------------------------------------------------- programs


def watcherd(_peers: Path, scratch: Path) -> Program:
    """The project's own one-shot scan, with a state directory that is new each time."""
    config = scratch / "config.toml"
    config.write_text(f"[pool]\nworkers = {WORKERS}\n")
    script = "from watcherd.cli import main; main()"

    def command(photos: Path, out: Path) -> Sequence[str | Path]:
        return [sys.executable, "-P", "-c", script, "scan", photos, "--config", config, "--state-dir", out / "state"]

    return Program("watcherd", command, writes_beside=True)


def watcherd_six(peers: Path, scratch: Path) -> Program:
    """The same with six variants."""
    program = watcherd(peers, scratch)
    with (scratch / "config.toml").open("a") as config:
        config.write(SIX_VARIANTS)
    return program._replace(makes=SIX)


def sharp_six(_peers: Path, scratch: Path) -> Program:
    """Sharp, six outputs one after the other."""
    program = sharp(Path(__file__).parent, scratch, script="six_sharp.js")
    return program._replace(makes=SIX)


def sharp(peers: Path, scratch: Path, script: str = "peer_sharp.js") -> Program:
    """Node's sharp, in worker threads. Installed for the run where it is not at hand."""
    node, npm = _tool("node"), _tool("npm")
    folder = Path(os.environ.get("WATCHERD_NODE", scratch / "node"))
    if not (folder / "node_modules/sharp").is_dir():
        folder.mkdir(exist_ok=True)
        done = subprocess.run([npm, "install", "sharp"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Missing(f"npm install sharp: {done.stderr.strip().splitlines()[-1:]}")
    path = _script(peers, script)
    return Program("sharp", lambda photos, out: [node, path, photos, out, str(WORKERS)], cwd=folder)


def vipsthumbnail(peers: Path, _scratch: Path) -> Program:
    """The command line tool of libvips, once a size."""
    _tool("vipsthumbnail")
    script = _script(peers, "peer_vipsthumbnail.sh")
    return Program("vipsthumbnail", lambda photos, out: ["bash", script, photos, out, str(WORKERS)])


def pillow(peers: Path, _scratch: Path) -> Program:
    """Pillow in a pool of processes."""
    script = _script(peers, "peer_pillow.py")
    return Program("pillow", lambda photos, out: [sys.executable, script, photos, out, str(WORKERS)])


def floor(peers: Path, _scratch: Path) -> Program:
    """The least that anybody has to do: decode once, resize, encode; nothing is written."""
    script = _script(peers, "floor.py")
    return Program("floor", lambda photos, _out: [sys.executable, script, photos, str(WORKERS)], writes_nothing=True)


PROGRAMS = (watcherd, sharp, vipsthumbnail, pillow, floor)
WITH_SIX = (watcherd_six, sharp_six)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


def _script(peers: Path, name: str) -> Path:
    if not (peers / name).is_file():
        raise Missing(f"{peers / name} is not there")
    return (peers / name).resolve()


# ----------------------------------------------------------------------------------------------------------- running


def copies(photos: Sequence[Path], folder: Path, times: int) -> Path:
    """The photos so many times, no two alike: each copy has a line of its own behind its end marker."""
    folder.mkdir()
    for number in range(times):
        for photo in photos:
            tail = f"\ncopy {number} of {photo.name}\n".encode()
            (folder / f"{number}-{photo.name}").write_bytes(photo.read_bytes() + tail)
    return folder


def measured(program: Program, photos: Path, scratch: Path) -> Cost:
    """Run once. Ends the benchmark where the program did not make everything it should have."""
    count = len(list(photos.iterdir()))
    out = Path(tempfile.mkdtemp(dir=scratch))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = program.command(photos, out)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=program.cwd or out, env=environment, capture_output=True, text=True, check=False)
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    places = (photos if program.writes_beside else out).iterdir()
    made = [path for path in places if path.name.endswith(tuple(program.makes))]
    for number, path in enumerate(made if program.writes_beside else []):
        path.rename(out / str(number))
    wanted = 0 if program.writes_nothing else count * len(program.makes)
    if done.returncode != 0 or len(made) != wanted:
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        sys.exit(f"{program.name}: exit code {done.returncode}, {len(made)} of {wanted} derivatives")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s, wall_s)


def runs(programs: Sequence[Program], folders: Sequence[Path], repeat: int) -> Iterator[tuple[int, Program, Path]]:
    """Interleaved, each repetition beginning with another program: a machine that slows down slows all of them."""
    for number in range(repeat):
        turn = number % len(programs)
        for folder in folders:
            for program in (*programs[turn:], *programs[:turn]):
                yield number, program, folder


# ---------------------------------------------------------------------------------------------------------- printing


def machine(scratch: Path) -> str:
    """The machine in a line."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    kind = subprocess.run(["stat", "-f", "-c", "%T", scratch], capture_output=True, text=True, check=True).stdout
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}, {kind.strip()}"


def table(costs: dict[str, dict[int, list[Cost]]]) -> Iterator[str]:
    """One line a program: milliseconds a photo, and what that is against the reference."""
    small, large = sorted(next(iter(costs.values())))
    figures = {}
    for name, by_count in costs.items():
        cpu = {count: median(cost.cpu_s for cost in by_count[count]) for count in by_count}
        wall = median(cost.wall_s for cost in by_count[large])
        figures[name] = (cpu[large] / large, (cpu[large] - cpu[small]) / (large - small), wall / large)
    against = figures.get(REFERENCE)
    yield f"| {'program':13} | CPU ms | marginal CPU ms | wall ms | CPU : {REFERENCE} | marginal CPU : {REFERENCE} |"
    yield f"|{'-' * 15}|-------:|----------------:|--------:|------------:|---------------------:|"
    for name, (cpu_s, marginal_s, wall_s) in figures.items():
        ratios = (f"{cpu_s / against[0]:.2f}", f"{marginal_s / against[1]:.2f}") if against else ("", "")
        shown = f"{cpu_s * 1000:6.1f} | {marginal_s * 1000:15.1f} | {wall_s * 1000:7.1f}"
        yield f"| {name:13} | {shown} | {ratios[0]:>11} | {ratios[1]:>20} |"


def available(peers: Path, scratch: Path, chosen: Sequence[str], *, six: bool) -> Iterator[Program]:
    """The programs that can be had here."""
    for make in WITH_SIX if six else PROGRAMS:
        if chosen and make.__name__ not in chosen:
            continue
        try:
            yield make(peers, scratch)
        except Missing as reason:
            print(f"{make.__name__}: left out: {reason}", file=sys.stderr)


def options() -> argparse.Namespace:
    """The command line."""
    corpus = os.environ.get("WATCHERD_CORPUS", SHARED / "corpus")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, default=Path(corpus) / "photos", help="a folder of JPEG photos")
    parser.add_argument("--peers", type=Path, default=Path(os.environ.get("WATCHERD_PEERS", SHARED / "bench")))
    parser.add_argument("--repeat", type=int, default=3, help="repetitions; the medians are printed")
    parser.add_argument("--six", action="store_true", help="six derivatives a photo, watcherd beside sharp alone")
    parser.add_argument("--only", action="append", default=[], choices=[make.__name__ for make in PROGRAMS])
    parser.add_argument("--scratch", help="where the copies are made: on a disk, as fsync costs nothing on a tmpfs")
    parser.add_argument("--json", action="store_true", help="every single measurement too, as a line of JSON each")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = options()
    photos = sorted(path for path in given.photos.glob("*") if path.is_file()) if given.photos.is_dir() else []
    if not photos:
        sys.exit(f"there are no photos in {given.photos}: give a folder of JPEG photos with --photos")
    with tempfile.TemporaryDirectory(dir=given.scratch, prefix="watcherd-bench-") as name:
        scratch = Path(name)
        programs = list(available(given.peers, scratch, given.only, six=given.six))
        folders = [copies(photos, scratch / f"photos-{times}", times) for times in TIMES]
        time.sleep(SETTLE_S)
        for program in programs:  # once without a look: what has to be compiled and read from the disk
            measured(program, folders[0], scratch)
        costs: dict[str, dict[int, list[Cost]]] = {program.name: {} for program in programs}
        for number, program, folder in runs(programs, folders, given.repeat):
            count = len(list(folder.iterdir()))
            cost = measured(program, folder, scratch)
            costs[program.name].setdefault(count, []).append(cost)
            if given.json:
                print(
                    json.dumps({"run": number, "program": program.name, "photos": count} | cost._asdict()), flush=True
                )
        load = os.getloadavg()[0]
        print(f"{machine(scratch)}; {len(photos)} photos, {given.repeat} repetitions, load {load:.1f}")
        print(*table(costs), sep="\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
