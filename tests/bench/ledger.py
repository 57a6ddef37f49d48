"""What the ledger costs: bytes a source, CPU and wall time a pass. Run: python tests/bench/ledger.py [SOURCES]."""

import os
import sys
import tempfile
import time
from collections.abc import Callable

from watcherd.ledger.ledger import Ledger
from watcherd.model import PREVIEW, THUMBNAIL, Derivative, Entry, JobClass, Source, Stamp, State

FOLDER_FILES = 500
NOW_NS = 1_763_780_000_123_456_789


def entry(number: int, state: State) -> Entry:
    """A photo with the names and numbers of a camera's library."""
    source = Source(1, b"Photos/2024/2024-%04d/IMG_%06d.JPG" % (number // FOLDER_FILES, number))
    stamp = Stamp(4_300_000 + number % 999_983, NOW_NS + number, NOW_NS + number * 7, 12_000_000 + number, 1)
    if state is State.PENDING:
        return Entry(source=source, state=state, stamp=stamp, job_class=JobClass.BACKLOG, sequence=number + 1)
    derivatives = tuple(
        Derivative(
            variant=variant.name,
            fingerprint=variant.fingerprint,
            size_bytes=size + number % 5000,
            mtime_ns=NOW_NS + number,
            width=side,
            height=side * 3 // 4,
        )
        for variant, size, side in ((THUMBNAIL, 9_000, 200), (PREVIEW, 180_000, 1200))
    )
    return Entry(
        source=source,
        state=state,
        stamp=stamp,
        digest=os.urandom(32),
        first_seen_at_s=NOW_NS / 1e9 + number,
        seen_by=hash((number % 3, "decoders")),
        width=4000,
        height=3000,
        phash=int.from_bytes(os.urandom(8), "big"),
        dhash=int.from_bytes(os.urandom(8), "big"),
        captured=f"2024-05-{1 + number % 28:02}T15:{number % 60:02}:01",
        derivatives=derivatives,
    )


def timed(label: str, count: int, work: Callable[[], object]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{label:58} {cpu / count * 1e6:9.1f} us CPU  {wall / count * 1e6:9.1f} us wall")


def main() -> None:
    sources = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, Ledger.open(f"{folder}/ledger") as ledger:
        ledger.note_variants([("thumbnail", "jpg"), ("preview", "jpg")])

        def fill(state: State) -> None:
            for number in range(sources):
                ledger.record(entry(number, state))
                if number % 1000 == 0:
                    ledger.commit()
            ledger.commit()

        timed("make an entry (not the ledger's work)", sources, lambda: [entry(n, State.DONE) for n in range(sources)])
        timed("record pending, 1000 a commit", sources, lambda: fill(State.PENDING))
        timed("record done over it, 1000 a commit", sources, lambda: fill(State.DONE))
        pages = ledger._connection.execute(
            "SELECT name, sum(pgsize), sum(unused) FROM dbstat GROUP BY name ORDER BY 2 DESC"
        ).fetchall()
        total = sum(size for _, size, _ in pages)
        print(f"{total / sources:.0f} bytes a source with two derivatives:")
        for name, size, unused in pages[:8]:
            print(f"    {name:30} {size / sources:6.1f}, of which {unused / sources:5.1f} unused")

        passes = 2000
        chosen = [entry(n * (sources // passes), State.DONE) for n in range(passes)]

        def one_pass(each: Entry) -> None:
            ledger.begin_attempt(each.source)
            ledger.record(each)

        def run(*, durable: bool) -> None:
            for each in chosen:
                one_pass(each)
                if durable:
                    ledger.commit()
            ledger.commit()

        timed("pass: begin_attempt + record, without its commit", passes, lambda: run(durable=False))
        timed("pass: begin_attempt + record, committed (FULL)", passes, lambda: run(durable=True))
        timed("entry()", passes, lambda: [ledger.entry(each.source) for each in chosen])
        timed(
            "entries(), a source",
            sources,
            lambda: [ledger.entries(1, b"Photos/2024/2024-%04d" % n) for n in range(sources // FOLDER_FILES)],
        )
        timed(
            "listing()",
            sources // FOLDER_FILES,
            lambda: [ledger.listing(1, b"Photos/2024/2024-%04d" % n) for n in range(sources // FOLDER_FILES)],
        )
        timed("counts()", 100, lambda: [ledger.counts() for _ in range(100)])
        timed("sources_below(), a source", sources, lambda: sum(1 for _ in ledger.sources_below(1, b"")))


if __name__ == "__main__":
    main()
