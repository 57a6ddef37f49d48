"""The library's pool beside the standard library's pools, on the same function and the same images.

Run: python tests/bench/library.py [--photos DIR] [--images N] [--repeat N]

Each pool makes a standard PNG within 1024 pixels and the hashes of each image, with 1, 2 and 4 workers; the images and
pictures travel between the processes in each pool's own way. The function in the standard pools' workers is what
watcherd's workers do, without the fence, deadlines, admission and retries. Start-up is not measured: every pool does a
few images first. Throughput in images a second of wall time, medians of interleaved repetitions, and CPU milliseconds
an image, of all processes. Then the latency of one image on an idle warm pool.
"""

import argparse
import hashlib
import io
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import psutil
from PIL import Image

from watcherd import ImageProcessingPool, ProcessedImage
from watcherd.imaging import warm
from watcherd.imaging.decode import identify
from watcherd.imaging.render import Rendering, render
from watcherd.model import ColourPolicy, Header, OutputFormat, Variant
from watcherd.pool.library.result import without_metadata
from watcherd.settings import LimitSettings

WORKERS = (1, 2, 4)
WARM_UP = 8
LATENCIES = 50
PAUSE_S = 0.02
STANDARD = Variant(name="standard", width=1024, height=1024, format=OutputFormat.PNG, colour=ColourPolicy.RGB)

Work = Callable[[list[bytes]], int]


def process(image: bytes) -> tuple[str, str, bytes]:
    """What one of watcherd's workers does with an image."""
    limits = LimitSettings()
    header = identify(image, variants=(STANDARD,), limits=limits, has_holes=False, tolerant=False)
    if not isinstance(header, Header):
        raise TypeError(header)
    digest = hashlib.sha256(image).digest()
    made = render(image, header, variants=(STANDARD,), digest=digest, limits=limits, tolerant=False)
    if not isinstance(made, Rendering):
        raise TypeError(made)
    return f"{made.phash:016x}", f"{made.dhash:016x}", without_metadata(made.pictures[0].data)


@contextmanager
def ours(workers: int) -> Iterator[Work]:
    """The library's pool."""
    with ImageProcessingPool(workers) as pool:
        yield lambda images: sum(isinstance(result, ProcessedImage) for result in pool.map(images))


@contextmanager
def executor(workers: int) -> Iterator[Work]:
    """concurrent.futures, as it is by default."""
    with ProcessPoolExecutor(workers, initializer=warm.warm_up) as pool:
        yield lambda images: sum(1 for _ in pool.map(process, images))


@contextmanager
def standard_pool(workers: int) -> Iterator[Work]:
    """multiprocessing, as it is by default."""
    with multiprocessing.Pool(workers, warm.warm_up) as pool:
        yield lambda images: sum(1 for _ in pool.imap(process, images))


POOLS = {"ImageProcessingPool": ours, "ProcessPoolExecutor": executor, "multiprocessing.Pool": standard_pool}


def drawn(count: int) -> list[bytes]:
    """Something like photos of 2 megapixels, some 400 kB each."""
    chance = random.Random(0)
    images = []
    for _ in range(min(count, 16)):
        coarse = Image.frombytes("RGB", (96, 64), chance.randbytes(96 * 64 * 3)).resize((1800, 1200))
        picture = Image.blend(coarse, Image.effect_noise((1800, 1200), 30).convert("RGB"), 0.2)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=85)
        images.append(stream.getvalue())
    return images


def cpu_s() -> float:
    """CPU seconds of this process and of its living children."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = [child.cpu_times() for child in psutil.Process().children()]
    return own.ru_utime + own.ru_stime + sum(times.user + times.system for times in children)


def throughput(images: list[bytes], repeat: int) -> None:
    """The first table."""
    for workers in WORKERS:
        seen: dict[str, list[tuple[float, float]]] = {name: [] for name in POOLS}
        for _ in range(repeat):
            for name, pool in POOLS.items():
                with pool(workers) as work:
                    work(images[: WARM_UP * workers])
                    before, started = cpu_s(), time.perf_counter()
                    work(images)
                    seen[name].append((time.perf_counter() - started, cpu_s() - before))
        wall = {name: median(run[0] for run in runs) for name, runs in seen.items()}
        for name, runs in seen.items():
            speed, cost = len(images) / wall[name], median(run[1] for run in runs) / len(images) * 1e3
            ratios = ", ".join(
                f"{wall[peer] / wall[name]:.2f} x {peer}"
                for peer in POOLS
                if peer != name and name == next(iter(POOLS))
            )
            print(f"{workers} workers  {name:20} {speed:6.1f} images/s  {cost:6.1f} ms CPU  {ratios}")


def latency(image: bytes) -> None:
    """The second."""

    def told(name: str, work: Callable[[], object]) -> None:
        taken = []
        for _ in range(LATENCIES):
            time.sleep(PAUSE_S)
            started = time.perf_counter()
            work()
            taken.append((time.perf_counter() - started) * 1e3)
        print(f"one image, idle  {name:20} median {median(taken):6.2f} ms  p95 {quantiles(taken, n=20)[-1]:6.2f} ms")

    for name, pool in POOLS.items():
        with pool(1) as work:
            work([image] * WARM_UP)
            told(name, lambda work=work: work([image]))  # type: ignore[misc]
    warm.warm_up()  # last: nothing may fork any more once libvips has threads
    told("in this process", lambda: process(image))


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photos; by default some are drawn")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    os.environ["VIPS_CONCURRENCY"] = "1"  # before libvips starts: as watcherd's workers have it
    given = options()
    some = [path.read_bytes() for path in sorted(given.photos.glob("*.jpg"))] if given.photos else drawn(given.images)
    images = [some[number % len(some)] for number in range(given.images)]
    print(f"{os.cpu_count()} CPUs, {len(images)} images of {sum(map(len, images)) // len(images) // 1024} kB")
    throughput(images, given.repeat)
    latency(images[0])


if __name__ == "__main__":
    main()
