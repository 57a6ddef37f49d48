"""From the last byte of an upload to its visible derivatives: on an idle daemon, and behind a backlog.

Run: python tests/bench/latency.py [--uploads N] [--backlog N] [--scratch DIR]

Uploads of 12 megapixels come one at a time into a watched folder. From the moment one is closed until both derivatives
have their names, `quiet_s` and the upload's own decoding and encoding (as the log has them) are taken off. What is left
is what the daemon adds: noticing, reading, hashing, publishing, and under a backlog the waiting for a worker. It is to
be at most 100 ms on an idle daemon, and one running job more while a backlog is worked on, so those jobs' lengths are
printed beside it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from cpu_limit import IN_A_FOLDER, commented, drawn

UPLOAD, BEHIND = (4000, 3000), (1600, 1200)
QUIET_S = 0.5
LOOK_EVERY_S = 0.002
WITHIN_S = 120.0
CONFIG = f"""
[settle]
closed_quiet_s = {QUIET_S}
[pool]
workers = 2
"""

Jobs = dict[str, dict[str, Any]]


def done(log: Path) -> Jobs:
    """The last `job.done` of each source."""
    events = (json.loads(line) for line in log.read_bytes().splitlines() if b'"job.done"' in line)
    return {event["source"]: event for event in events}


@contextmanager
def running(watched: Path, scratch: Path) -> Iterator[Path]:
    """A daemon at work, by its log; ended and waited for."""
    config, log = scratch / "config.toml", scratch / "log"
    config.write_text(CONFIG)
    program = [sys.executable, "-P", "-c", "from watcherd.cli import main; main()"]
    options = ["run", "--watch", watched, "--config", config, "--state-dir", scratch / "state"]
    with log.open("wb") as file:
        process = subprocess.Popen([*program, *options], stderr=file, cwd="/")
    try:
        waited_for(lambda: process.poll() is not None or b'"daemon.ready"' in log.read_bytes(), "the daemon is ready")
        if process.poll() is not None:
            sys.exit(log.read_text())
        yield log
    finally:
        process.terminate()
        process.wait(60)


def waited_for(what: Callable[[], bool], name: str) -> None:
    """Look again and again; ends the program after two minutes."""
    until = time.monotonic() + WITHIN_S
    while not what():
        if time.monotonic() > until:
            sys.exit(f"not seen within {WITHIN_S:.0f} s: {name}")
        time.sleep(LOOK_EVERY_S)


def uploaded(folder: Path, numbers: range, pictures: list[bytes]) -> dict[str, float]:
    """Seconds from the last byte to both derivatives, by source."""
    seconds = {}
    for number in numbers:
        path = folder / f"upload{number:04d}.jpg"
        wanted = [Path(f"{path}.{variant}.jpg") for variant in ("thumbnail", "preview")]
        path.write_bytes(commented(pictures[number % len(pictures)], number))
        closed = time.monotonic()
        waited_for(lambda names=wanted: all(name.exists() for name in names), str(path))
        seconds[str(path)] = time.monotonic() - closed
    return seconds


def added(seconds: dict[str, float], jobs: Jobs) -> list[float]:
    """Milliseconds that the daemon adds to settling and rendering."""
    return [
        1000 * (elapsed - QUIET_S - jobs[source]["decode_s"] - jobs[source]["encode_s"])
        for source, elapsed in seconds.items()
    ]


def row(name: str, figures: list[float]) -> str:
    """Median, 99th percentile and the worst."""
    return f"| {name:28} | {median(figures):6.1f} | {quantiles(figures, n=100)[98]:6.1f} | {max(figures):6.1f} |"


def measure(uploads: int, backlog: int, scratch: Path) -> None:
    """Both tables."""
    pictures, watched = drawn(UPLOAD, 80), scratch / "watched"
    watched.mkdir()
    with running(watched, scratch) as log:
        uploaded(watched, range(3), pictures)
        seconds = uploaded(watched, range(3, 3 + uploads), pictures)
        time.sleep(1)
        print(row("idle: added ms", added(seconds, done(log))), flush=True)
    behind = drawn(BEHIND, 80)
    for number in range(backlog):
        folder = watched / f"behind{number // IN_A_FOLDER:03d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:06d}.jpg").write_bytes(commented(behind[number % len(behind)], number))
    with running(watched, scratch) as log:
        waited_for(lambda: log.read_bytes().count(b'"job.done"') > 100, "the backlog is begun")
        fresh = watched / "fresh"
        fresh.mkdir()
        at = 3 + uploads
        uploaded(fresh, range(at, at + 1), pictures)  # a folder just made may be found by a look instead of an event
        seconds = uploaded(fresh, range(at + 1, at + 1 + uploads), pictures)
        time.sleep(1)
        jobs = done(log)
    others = [1000 * job["total_s"] for source, job in jobs.items() if source not in seconds]
    print(row(f"behind {backlog}: added ms", added(seconds, jobs)))
    print(row("jobs of the backlog, ms", others))
    if len(others) >= backlog:
        sys.exit("the backlog was done before the uploads were: give a larger one")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--backlog", type=int, default=10_000)
    parser.add_argument("--scratch", help="where pictures and ledgers are made")
    given = parser.parse_args()
    print("|                              | median |    p99 |    max |")
    print("|------------------------------|-------:|-------:|-------:|")
    with tempfile.TemporaryDirectory(dir=given.scratch, prefix="watcherd-bench-") as temporary:
        measure(given.uploads, given.backlog, Path(temporary))


if __name__ == "__main__":
    main()
