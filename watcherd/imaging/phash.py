"""Perceptual hashes: two numbers by which pictures that look alike are found, whatever their bytes are.

Responsible for: the DCT hash and the difference hash of a small upright picture, 64 bits each.
Not responsible for: how that picture came about (`render.py`), nor for searching (`near.py`).

The definitions are those of the ImageHash library's `phash` and `dhash`, bit for bit in the order that it prints, so
that its users' numbers can be compared with ours up to the few bits by which resizing differs. Without numpy: 5,000
multiplications do not pay for importing it. Measured on a thumbnail of 200 pixels (CPU): the two reductions by Pillow
0.37 ms (by libvips 2.1 ms), the transform in plain Python 0.2 ms. Averaging blocks down to less than 200 pixels first
makes it cheaper, but twice as many bits of `dhash` then differ in copies.
"""

import math
from itertools import pairwise
from operator import mul
from statistics import median
from typing import NamedTuple

from PIL import Image

from watcherd.imaging.vips import pixels_of, pyvips, shape_of

_SIDE = 32
_HALF = _SIDE // 2
_KEPT = 8
_NOISE = 1e-6  # rounding of the transform, far below one level of one pixel
_ENOUGH = 200  # pixels of the shorter side; more are averaged first, in whole blocks
_COSINES = tuple(tuple(math.cos(math.pi * k * (2 * x + 1) / (2 * _SIDE)) for x in range(_HALF)) for k in range(_KEPT))


class Hashes(NamedTuple):
    """Unsigned 64-bit numbers. Few different bits (`near.distance`): pictures that look alike.

    Up to some 6 of `phash` for a copy that was resized or encoded anew, around 32 for another picture.
    """

    phash: int
    dhash: int


def hashes(image: pyvips.Image) -> Hashes:
    """The hashes of an upright 8-bit picture in grey or sRGB without transparency; 100 to 400 pixels are best."""
    width, height, bands = shape_of(image)
    mode, size = "L" if bands == 1 else "RGB", (width, height)
    grey = Image.frombuffer(mode, size, pixels_of(image), "raw", mode, 0, 1).convert("L")
    grey = grey.reduce(max(1, min(size) // _ENOUGH))
    square = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    columns = grey.resize((_KEPT + 1, _KEPT), Image.Resampling.LANCZOS)
    return Hashes(_cosine_hash(square.tobytes()), _difference_hash(columns.tobytes()))


def _cosine_hash(pixels: bytes) -> int:
    """Which of the 64 lowest frequencies are above their median, the mean first."""
    rows = [pixels[at : at + _SIDE] for at in range(0, _SIDE * _SIDE, _SIDE)]
    across = list(zip(*(_transformed(row) for row in rows), strict=True))  # by frequency, then by row
    both = [_transformed(column) for column in across]
    levels = [both[column][row] for row in range(_KEPT) for column in range(_KEPT)]
    bound = median(levels) + _NOISE
    return _number([level > bound for level in levels])


def _transformed(values: bytes | tuple[float, ...]) -> list[float]:
    """The first coefficients of the cosine transform (DCT-II, not scaled), half the work by its symmetry."""
    turned = values[: -_HALF - 1 : -1]
    even = [a + b for a, b in zip(values, turned, strict=False)]
    odd = [a - b for a, b in zip(values, turned, strict=False)]
    return [sum(map(mul, odd if k % 2 else even, cosines)) for k, cosines in enumerate(_COSINES)]


def _difference_hash(pixels: bytes) -> int:
    """Where brightness grows from one pixel to the next, row by row."""
    width = _KEPT + 1
    rows = [pixels[at : at + width] for at in range(0, width * _KEPT, width)]
    return _number([right > left for row in rows for left, right in pairwise(row)])


def _number(bits: list[bool]) -> int:
    """The first bit is the highest."""
    return int("".join("01"[bit] for bit in bits), 2)
