"""What a restart costs over a library in which nothing has changed, against a bare walk of the same tree.

Run: python tests/bench/restart.py [--sources 1000000] [--folder 500] [--pending] [--scratch DIR] [--keep]

The tree and the ledger are made by this program: empty sources with a camera's names, each with two derivatives that
are links to a few small files, every folder with `--folder` sources (0: all of them in one). `--pending` makes every
row one that is still to do, and measures the memory of that alone. The daemon itself is the real one, with two roots'
worth of nothing to do: it is started once so that it knows the folders, and then measured from its start to the end of
its first scan. CPU is that of the daemon's own process; the workers have nothing to do. Where `perf` is installed,
instructions are counted as well, of all processes and with the daemon's end: on a busy machine they tell more.

`--keep` leaves the tree and the ledger in `--scratch`, and takes those that a run before left there.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from watcherd.ledger.ledger import Ledger
from watcherd.model import PREVIEW, THUMBNAIL, Derivative, Entry, JobClass, Source, State
from watcherd.naming import derivative_name
from watcherd.watch.files import stamp_of

VARIANTS = (THUMBNAIL, PREVIEW)
LINKS = 60_000
"""A file of ext4 has 65,000 names at the most."""
COMMIT = 10_000
COMMAND = [sys.executable, "-P", "-c", "from watcherd.cli import main; main()"]
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What one restart took."""

    cpu_s: float
    wall_s: float
    peak_mb: int
    instructions: int
    """In the kernel and outside of it; 0 where they are not counted."""


def names(sources: int, folder: int) -> Iterator[tuple[str, list[bytes]]]:
    """Each folder with the names of its sources."""
    size = folder or sources
    for first in range(0, sources, size):
        name = f"2024-{first // size:05d}" if folder else "."
        yield name, [b"IMG_%07d.JPG" % number for number in range(first, min(first + size, sources))]


def make_tree(root: Path, sources: int, folder: int) -> None:
    for name, files in names(sources, folder):
        os.makedirs(root / name, exist_ok=True)
        directory = os.fsencode(root / name)
        for number, file in enumerate(files):
            if number % LINKS == 0:
                made = {variant.name: _template(root.parent, variant.name) for variant in VARIANTS}
            os.close(os.open(directory + b"/" + file, os.O_CREAT | os.O_WRONLY))
            for variant in VARIANTS:
                ours = derivative_name(file, variant.name, variant.format.extension)
                os.link(made[variant.name], directory + b"/" + ours)
    aged = time.time() - 3600
    for name, files in names(sources, folder):
        for file in files:
            os.utime(os.fsencode(root / name) + b"/" + file, (aged, aged))


def _template(folder: Path, name: str) -> Path:
    path = folder / f"{name}.template"
    path.unlink(missing_ok=True)
    path.write_bytes(b"a small picture")
    os.utime(path, ns=(10**18, 10**18))
    return path


def fill_ledger(path: Path, root: Path, sources: int, folder: int, *, pending: bool) -> None:
    with Ledger.open(str(path)) as ledger:
        number = ledger.root_id(os.fsencode(root))
        ledger.note_variants([(variant.name, variant.format.extension) for variant in VARIANTS])
        derivatives = tuple(
            Derivative(
                variant=variant.name,
                fingerprint=variant.fingerprint,
                size_bytes=15,
                mtime_ns=10**18,
                width=variant.width or 0,
                height=variant.height or 0,
            )
            for variant in VARIANTS
        )
        for name, files in names(sources, folder):
            for number_in_folder, file in enumerate(files):
                below = file if name == "." else os.fsencode(name) + b"/" + file
                entry = Entry(
                    source=Source(number, below),
                    state=State.PENDING if pending else State.DONE,
                    stamp=stamp_of(os.stat(os.fsencode(root / name) + b"/" + file)),
                    digest=hashlib.sha256(below).digest(),
                    job_class=JobClass.BACKLOG if pending else None,
                    sequence=ledger.next_sequence() if pending else 0,
                    first_seen_at_s=time.time(),
                    width=4000,
                    height=3000,
                    phash=hash(below) & (2**63 - 1),
                    dhash=hash(file) & (2**63 - 1),
                    captured="2024-05-30T15:56:01",
                    derivatives=() if pending else derivatives,
                )
                ledger.record(entry)
                if number_in_folder % COMMIT == 0:
                    ledger.commit()
            ledger.commit()


def bare_walk(root: Path, count: "Count") -> Cost:
    """What any comparison has to do at least: list every folder and stat every file; in a program of its own."""
    program = (
        "import os, sys\n"
        "waiting = [os.fsencode(sys.argv[1])]\n"
        "while waiting:\n"
        "    with os.scandir(waiting.pop()) as entries:\n"
        "        for entry in entries:\n"
        "            if entry.is_dir(follow_symlinks=False):\n"
        "                waiting.append(entry.path)\n"
        "            else:\n"
        "                entry.stat(follow_symlinks=False)\n"
    )
    before, started = os.times(), time.perf_counter()
    subprocess.run([*count.command(), sys.executable, "-c", program, str(root)], check=True)
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu_s, time.perf_counter() - started, 0, count.taken())


def restart(scratch: Path, root: Path, state: Path, count: "Count") -> Cost:
    """One run of the daemon, from its start to the end of its first scan."""
    log = scratch / "log.jsonl"
    with log.open("wb") as stream:
        started = time.perf_counter()
        command = [*COMMAND, "run", "--watch", str(root), "--state-dir", str(state)]
        process = subprocess.Popen([*count.command(), *command], stderr=stream)
    pid = process.pid
    try:
        while not _ended(log):
            if process.poll() is not None:
                raise SystemExit(f"the daemon ended: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        wall_s = time.perf_counter() - started
        if count.command():
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
        status = Path(f"/proc/{pid}/status").read_text()
        peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    finally:
        os.kill(pid, signal.SIGTERM)
        process.wait(120)
    return Cost(cpu_s, wall_s, peak_kb // 1024, count.taken())


class Count:
    """Counts a program's instructions, where that can be done."""

    def __init__(self, scratch: Path) -> None:
        self._perf, self._file = shutil.which("perf"), scratch / "instructions"

    def command(self) -> list[str]:
        """What to put before the program."""
        return [self._perf, "stat", "-x,", "-e", "instructions", "-o", str(self._file)] if self._perf else []

    def taken(self) -> int:
        """The instructions of the program that has just ended."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return sum(int(line.partition(",")[0]) for line in lines if line[:1].isdigit())


def _ended(log: Path) -> bool:
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.endswith("}"))
    return any(line["event"] == "scan.ended" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=1_000_000)
    parser.add_argument("--folder", type=int, default=500)
    parser.add_argument("--pending", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.keep:
        scratch = options.scratch / f"restart-{options.sources}-{options.folder}"
        scratch.mkdir(exist_ok=True)
        measure(scratch, options)
        return
    with tempfile.TemporaryDirectory(prefix="restart-", dir=options.scratch) as folder:
        measure(Path(folder), options)


def measure(scratch: Path, options: argparse.Namespace) -> None:
    root, state = scratch / "root", scratch / ("pending" if options.pending else "done")
    ledger = state / "ledger.db"
    if not root.exists():
        make_tree(root, options.sources, options.folder)
    if options.pending:  # a run uses it up
        shutil.rmtree(state, ignore_errors=True)
    if not state.exists():
        state.mkdir()
        fill_ledger(ledger, root, options.sources, options.folder, pending=options.pending)
    size_bytes = sum(file.stat().st_size for file in state.glob("ledger.db*"))
    shape = f"{options.sources:,} sources, {options.folder or 'all'} in a folder"
    print(f"{shape}; {size_bytes / options.sources:.0f} bytes a source in the ledger", flush=True)
    count = Count(scratch)
    first = restart(scratch, root, state, count)
    print(f"first run: {first.cpu_s:.2f} s CPU, {first.wall_s:.2f} s wall, peak {first.peak_mb} MB", flush=True)
    if options.pending:
        return
    for _ in range(options.repeat):
        bare, ours = bare_walk(root, count), restart(scratch, root, state, count)
        print(
            f"bare walk {bare.cpu_s:.2f} s CPU {bare.wall_s:.2f} s wall; restart {ours.cpu_s:.2f} s CPU "
            f"{ours.wall_s:.2f} s wall, peak {ours.peak_mb} MB; ratios {ours.cpu_s / bare.cpu_s:.2f} CPU, "
            f"{ours.wall_s / bare.wall_s:.2f} wall, {ours.instructions / max(1, bare.instructions):.2f} instructions",
            flush=True,
        )


if __name__ == "__main__":
    main()
