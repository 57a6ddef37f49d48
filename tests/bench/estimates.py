"""How good the memory estimates are: what the header promises against what a worker really takes at its peak.

Run: python tests/bench/estimates.py [--photos DIR] [--megapixels 24] [--other-decoder]

Each picture gets a fresh worker with the default variants. The peak is the worker's largest resident size (VmHWM) less
its size when it was ready, less the bytes of the file, which are counted for themselves. An estimate that is too low
lets more be admitted than the budget holds; one that is too high lets pictures wait that need not.
"""

import argparse
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyvips
from PIL import Image

from watcherd.derivatives.memfds import seal
from watcherd.model import PREVIEW, THUMBNAIL, Rendered
from watcherd.pool.frames import Ended, FromWorker, Identified, Ready, Work, grant, parse_from_worker
from watcherd.pool.processes import Workers
from watcherd.settings import LimitSettings

WITHIN_S = 120.0
MIB = 1 << 20
SLOT = 0


class Measured(NamedTuple):
    """Bytes: what was estimated, what was taken."""

    name: str
    megapixels: float
    estimate: int
    peak: int

    @property
    def ratio(self) -> float:
        """Above 1: more was estimated than was taken."""
        return self.estimate / max(1, self.peak)


class NotDone(Exception):  # noqa: N818  a condition, told and lived with
    """The picture was not rendered; the text says why."""


# ------------------------------------------------------------------------------------------------------- measuring


def measured(name: str, data: bytes, *, other_decoder: bool = False) -> Measured:
    """One picture in a worker of its own. Raises NotDone."""
    workers = Workers()
    try:
        pid = workers.spawn(SLOT).pid
        if not isinstance(_message(workers), Ready):
            raise NotDone("its worker did not get ready")
        idle = sizes_of(pid)["VmRSS"]
        _give(workers, data, other_decoder=other_decoder)
        seen = _message(workers)
        if not isinstance(seen, Identified):
            raise NotDone(str(seen))
        workers.send(SLOT, grant(1, [THUMBNAIL.name, PREVIEW.name]))
        ended = _message(workers)
        if not isinstance(ended, Ended) or not isinstance(ended.outcome, Rendered):
            raise NotDone(str(ended))
        peak = sizes_of(pid)["VmHWM"] - idle - len(data)
    finally:
        workers.close()
    return Measured(name, seen.header.pixels / 1e6, seen.header.memory_bytes, peak)


def sizes_of(pid: int) -> dict[str, int]:
    """The sizes in /proc/PID/status, in bytes."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
        fields = [line.split() for line in lines if line.startswith("Vm")]
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, _ in fields}


def _message(workers: Workers) -> FromWorker:
    """What a worker says next; pictures that come with it are let go of."""
    poll = select.poll()
    poll.register(workers[SLOT].connection.fileno(), select.POLLIN)
    if not poll.poll(WITHIN_S * 1000):
        raise NotDone("its worker says nothing")
    frames, wrong = workers.receive(SLOT)
    if not frames:
        raise NotDone(wrong or "its worker ended")
    for descriptor in frames[0].descriptors:
        os.close(descriptor)
    return parse_from_worker(frames[0])


def _give(workers: Workers, data: bytes, *, other_decoder: bool) -> None:
    descriptor = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seal(descriptor)
    work = Work(
        job=1,
        variants=(THUMBNAIL, PREVIEW),
        limits=LimitSettings(),
        has_holes=False,
        tolerant=False,
        other_decoder=other_decoder,
    )
    workers.send(SLOT, work.body(), [descriptor])
    os.close(descriptor)


# -------------------------------------------------------------------------------------------------------- pictures


def drawn(megapixels: float) -> Image.Image:
    """A picture with some detail, 4:3."""
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5)
    small = Image.effect_noise((width // 8, width * 3 // 32), 90).convert("RGB")
    return small.resize((width, width * 3 // 4), Image.Resampling.BICUBIC)


def by_pillow(form: str, mode: str = "RGB", **options: object) -> Callable[[Image.Image], bytes]:
    """A way to save."""

    def save(picture: Image.Image) -> bytes:
        stream = io.BytesIO()
        picture.convert(mode).save(stream, form, **options)
        return stream.getvalue()

    return save


def by_vips(suffix: str, form: str = "uchar", **options: object) -> Callable[[Image.Image], bytes]:
    """A way to save what Pillow cannot write."""

    def save(picture: Image.Image) -> bytes:
        image = pyvips.Image.new_from_memory(picture.tobytes(), picture.width, picture.height, 3, "uchar")
        image = image if form == "uchar" else (image.cast("ushort") * 257).cast("ushort")
        return bytes(
            image.copy(interpretation="srgb" if form == "uchar" else "rgb16").write_to_buffer(suffix, **options)
        )

    return save


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": by_pillow("JPEG"),
    "JPEG, grey": by_pillow("JPEG", "L"),
    "JPEG, progressive": by_pillow("JPEG", progressive=True),
    "JPEG, progressive 4:4:4": by_pillow("JPEG", progressive=True, subsampling=0),
    "PNG": by_pillow("PNG", compress_level=1),
    "PNG with alpha": by_pillow("PNG", "RGBA", compress_level=1),
    "PNG, 16 bits": by_vips(".png", "ushort", compression=1),
    "PNG, interlaced": by_vips(".png", interlace=True, compression=1),
    "WebP": by_pillow("WEBP", method=0),
    "WebP, lossless": by_pillow("WEBP", lossless=True, method=0),
    "GIF": by_pillow("GIF", "P"),
    "TIFF": by_pillow("TIFF"),
    "TIFF, deflated": by_pillow("TIFF", compression="tiff_adobe_deflate"),
    "TIFF, 16 bits": by_vips(".tif", "ushort"),
    "AVIF": by_pillow("AVIF", speed=10),
    "BMP": by_pillow("BMP"),
    "JPEG 2000": by_pillow("JPEG2000"),
    "PPM": by_pillow("PPM"),
}


def pictures(megapixels: float, photos: Path | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names, and how to get the bytes."""
    picture = drawn(megapixels)
    for name, save in KINDS.items():
        yield name, lambda save=save: save(picture)  # type: ignore[misc]
    for path in sorted(photos.glob("*.jpg")) if photos else ():
        yield path.name, path.read_bytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photos to measure as well")
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--other-decoder", action="store_true", help="by the decoder that is asked after a crash")
    given = parser.parse_args()
    print("| picture | megapixels | estimate MiB | peak MiB | estimate : peak |")
    print("|---|---:|---:|---:|---:|")
    seen = []
    for name, data in pictures(given.megapixels, given.photos):
        try:
            one = measured(name, data(), other_decoder=given.other_decoder)
        except NotDone as reason:
            print(f"{name}: left out: {reason}", file=sys.stderr)
            continue
        seen.append(one)
        print(
            f"| {name} | {one.megapixels:.1f} | {one.estimate / MIB:.0f} | {one.peak / MIB:.0f} | {one.ratio:.2f} |",
            flush=True,
        )
    ratios = [one.ratio for one in seen]
    low = [one.name for one in seen if one.ratio < 1]
    print(f"{len(seen)} pictures: least {min(ratios):.2f}, median {median(ratios):.2f}, most {max(ratios):.2f}")
    print(f"too low: {', '.join(low) or 'none'}")


if __name__ == "__main__":
    main()
