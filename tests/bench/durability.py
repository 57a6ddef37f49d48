"""What `durability = "fast"` spares: publishing with and without its syncs.

Run: python tests/bench/durability.py [--scratch DIR] [--sources 300] [--fsync-ms 0]

`--scratch` decides which disk is measured. `--fsync-ms 20` has each fsync take as long besides as a spinning disk's;
everything else stays what it is. Each source has two derivatives, of 8 and 170 KiB. The two ways are interleaved, each
of the five rounds in a new folder, and the disk is written out between them (not in the figures); the median counts.
With fast, the syncfs that follows after 30 s is measured by itself.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from watcherd.derivatives.memfds import sealed_copy
from watcherd.derivatives.publish import Item
from watcherd.naming import Mark, Names
from watcherd.watch.files import stamp_of
from watcherd.watch.hands.place import Place
from watcherd.watch.hands.salvaging import Sync, Synced, sync
from watcherd.watch.hands.writing import Publish, Published, publish

ROUNDS = 5
BYTES = {"thumbnail": 8 * 1024, "preview": 170 * 1024}


def slow_down(milliseconds: float) -> None:
    """Have each fsync of this process take longer."""
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(milliseconds / 1000)
        fsync(descriptor)

    os.fsync = slow


def derivative(mark: Mark, size_bytes: int) -> bytes:
    text = str(mark).encode()
    head = b"\xff\xd8\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + b"\xff\xda"
    return head + os.urandom(size_bytes - len(head) - 2) + b"\xff\xd9"


def publish_all(folder: Path, sources: int, *, durable: bool) -> tuple[float, float]:
    """Seconds for publishing, and for the sync that follows."""
    place = Place(
        root=1, path=os.fsencode(folder), instance="0" * 8, run="0" * 8, kind_of=lambda _: "jpeg", names=Names()
    )
    requests = []
    for number in range(sources):
        name = b"IMG_%05d.JPG" % number
        (folder / os.fsdecode(name)).write_bytes(b"source")
        requests.append((name, stamp_of(os.lstat(folder / os.fsdecode(name)))))
    os.sync()
    spent = 0.0
    for name, stamp in requests:
        items = tuple(item(name, variant, size) for variant, size in BYTES.items())
        started = time.perf_counter()
        reply = publish(place, Publish(ticket=1, path=name, stamp=stamp, items=items, durable=durable))
        spent += time.perf_counter() - started
        assert isinstance(reply, Published), reply
        for one in items:
            os.close(one.fd)
    started = time.perf_counter()
    assert isinstance(sync(place, Sync(ticket=2, folders=(b"",))), Synced)
    return spent, time.perf_counter() - started


def item(name: bytes, variant: str, size_bytes: int) -> Item:
    mark = Mark(variant=variant, digest=os.urandom(32), fingerprint=1)
    with tempfile.TemporaryFile() as file:
        file.write(derivative(mark, size_bytes))
        file.flush()
        fd = sealed_copy(file.fileno(), size_bytes, step=lambda: None)
    return Item(variant=variant, path=name + f".{variant}.jpg".encode(), fd=fd, mark=mark, width=1, height=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--sources", type=int, default=300)
    parser.add_argument("--fsync-ms", type=float, default=0.0)
    options = parser.parse_args()
    if options.fsync_ms:
        slow_down(options.fsync_ms)
    took: dict[str, list[tuple[float, float]]] = {"full": [], "fast": []}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for number in range(ROUNDS):
            for durability, rounds in took.items():
                folder = Path(scratch) / f"{durability}-{number}"
                folder.mkdir()
                rounds.append(publish_all(folder, options.sources, durable=durability == "full"))
                shutil.rmtree(folder)
    each = {
        name: [1000 * statistics.median(one) / options.sources for one in zip(*rounds, strict=True)]
        for name, rounds in took.items()
    }
    for name, (published, synced) in each.items():
        print(f"{name}: {published:.3f} ms a source to publish, {synced:.3f} ms a source for the syncfs afterwards")
    print(f"full / fast: {each['full'][0] / each['fast'][0]:.1f}")
    print(f"full / fast with its syncfs: {sum(each['full']) / sum(each['fast']):.1f}")
    print(f"load: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
