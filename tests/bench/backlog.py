"""How busy the workers are behind a backlog, in the daemon's own words: `utilisation` in `pool.metrics`.

Run: python tests/bench/backlog.py [--photos DIR] [--copies N] [--scratch DIR]

A daemon with two workers finds a folder full of photos (copies of them, no two alike), or of images of 10 kB without
`--photos`. The share of the time that its workers held a job is printed for each interval of two seconds that began and
ended with jobs in the queue. The first one is left out: the workers start in it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench_scan import copies
from tiny import images

WORKERS = 2
INTERVAL_S = 2
IMAGES = 10_000
CONFIG = f"""
[pool]
workers = {WORKERS}
[daemon]
metrics_interval_s = {INTERVAL_S}
[log]
format = "json"
"""


def shares(folder: Path, scratch: Path) -> Iterator[float]:
    """The share of each interval behind a backlog, until there is none any more."""
    config = scratch / "config.toml"
    config.write_text(CONFIG)
    program = [sys.executable, "-P", "-c", "from watcherd.cli import main; main()"]
    options = ["run", "--watch", folder, "--config", config, "--state-dir", scratch / "state"]
    with subprocess.Popen([*program, *options], cwd="/", stderr=subprocess.PIPE, text=True) as daemon:
        try:
            queued = 0
            for line in daemon.stderr or ():
                event = json.loads(line)
                if event["event"] != "pool.metrics":
                    continue
                if queued and event["queued"]:
                    yield event["utilisation"]
                elif queued:
                    return
                queued = event["queued"]
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate()


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photos; small images without it")
    parser.add_argument("--copies", type=int, default=8, help="how often they are copied")
    parser.add_argument("--scratch", help="on a disk: fsync costs nothing on a tmpfs")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    given = options()
    with tempfile.TemporaryDirectory(dir=given.scratch, prefix="watcherd-bench-") as temporary:
        scratch = Path(temporary)
        folder = scratch / "images"
        if given.photos:
            copies(sorted(path for path in given.photos.iterdir() if path.is_file()), folder, given.copies)
        else:
            folder.mkdir()
            images(folder, IMAGES)
        seen = list(shares(folder, scratch))
    print(*(f"{share:.3f}" for share in seen))
    if seen:
        print(f"busy: median {median(seen):.1%}, least {min(seen):.1%}, {len(seen)} intervals, {os.cpu_count()} CPUs")


if __name__ == "__main__":
    main()
