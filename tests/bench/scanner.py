"""What a scan costs against a bare walk of the same tree. Run: python tests/bench/scanner.py [FILES] [FILES A FOLDER].

The files are empty, with names and numbers of a camera's library; each is a done source without derivatives.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Stamp, State
from watcherd.naming import Names
from watcherd.watch.foldertimes import RIPE_NS
from watcherd.watch.reports import Found, Listed, Manner, ScanEnded
from watcherd.watch.scanning.compare import Wanted
from watcherd.watch.scanning.scanner import Scanner

WANTED = Wanted(recipe_set=1, fingerprints={}, seen_by=1, names=Names(known=(("thumbnail", "jpg"), ("preview", "jpg"))))


def judge(stamp: Stamp, entry: Entry | None, _present: Mapping[str, tuple[int, int]], _wanted: Wanted) -> State | None:
    return entry.state if entry is not None and entry.stamp == stamp else None


def make(root: str, files: int, folder_files: int) -> None:
    for number in range(files):
        folder = f"{root}/2024-{number // folder_files:05d}"
        if number % folder_files == 0:
            os.mkdir(folder)
        os.close(os.open(f"{folder}/IMG_{number:07d}.JPG", os.O_CREAT | os.O_WRONLY))


def bare_walk(root: str) -> int:
    """What any comparison has to do at least: list every folder and stat every file."""
    count, waiting = 0, [os.fsencode(root)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    count += entry.stat(follow_symlinks=False).st_size >= 0
    return count


def timed(label: str, files: int, work: Callable[[], object]) -> float:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{label:44} {cpu:7.2f} s CPU {wall:7.2f} s wall {cpu / files * 1e6:6.2f} us a file, peak {peak} MB")
    return cpu


def scan(
    scanner: Scanner, reports: "SimpleQueue[object]", take: Callable[[object], None], manner: Manner = Manner.SWEEP
) -> None:
    scanner.request(manner=manner)
    while True:
        report = reports.get()
        if isinstance(report, Found):
            scanner.acknowledge()
        take(report)
        if isinstance(report, ScanEnded):
            return


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    folder_files = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    with tempfile.TemporaryDirectory() as folder, Ledger.open(f"{folder}/ledger") as ledger:
        root = f"{folder}/root"
        os.mkdir(root)
        make(root, files, folder_files)
        reports: SimpleQueue[object] = SimpleQueue()
        scanner = Scanner(
            1,
            os.fsencode(root),
            reader=lambda: Ledger.open(f"{folder}/ledger", read_only=True),
            wanted=lambda _: WANTED,
            judge=judge,
            why_ignored=lambda _path: None,
            prunes=lambda _name: None,
            post=reports.put,
            instance="00000000",
            run="00000000",
        )
        scanner.start()

        def record(report: object) -> None:
            if isinstance(report, Found):
                for change in report.changes:
                    ledger.record(Entry(source=change.source, state=State.DONE, stamp=change.stamp))
                ledger.commit()

        def remember(report: object) -> None:
            if isinstance(report, Listed):
                ledger.set_listing(report.root, report.directory, report.digest, report.done, report.ignored)

        bare_walk(root)
        bare = timed("bare walk", files, lambda: bare_walk(root))
        timed("first scan, all recorded by this thread", files, lambda: scan(scanner, reports, record))
        rows = timed("scan, every row compared", files, lambda: scan(scanner, reports, remember))
        ledger.commit()
        rest = timed("scan, all folders rest", files, lambda: scan(scanner, reports, remember))
        time.sleep(RIPE_NS / 1e9 + 1)  # until the folders' times prove something
        scan(scanner, reports, remember)
        full = timed("full sweep", files, lambda: scan(scanner, reports, remember))
        quick = timed("quick sweep", files, lambda: scan(scanner, reports, remember, Manner.QUICK_SWEEP))
        print(f"rows compared / bare walk {rows / bare:.2f}; resting / bare walk {rest / bare:.2f}")
        print(f"quick sweep / full sweep {quick / full:.3f}")
        scanner.stop()
        scanner.join(10)


if __name__ == "__main__":
    main()
