"""Just enough of JPEG's segments: where the picture begins, and how it is coded.

Responsible for: walking the segments before the first scan (ITU T.81, annex B).
Not responsible for: pixels; previews inside of segments are skipped with them.
A pure leaf; never trusts a number that it reads.
"""

from collections.abc import Iterator
from typing import NamedTuple

from watcherd.imaging.content import Content

END_OF_IMAGE = b"\xff\xd9"
SHRINKS = (8, 4, 2)
"""How much decoders can reduce on the way, by the cosine transform; the more, the cheaper."""

_SCAN = 0xDA
_NO_FRAMES = (0xC4, 0xC8, 0xCC)
_MULTISCAN = (0xC2, 0xC6, 0xCA, 0xCE)
_ALONE = frozenset((0x00, 0x01, 0xD8, *range(0xD0, 0xD8)))  # markers without a length
_MAX_STEPS = 20_000
_FULL_CHROMA = 3.0


class Frame(NamedTuple):
    """Where the first scan begins (-1: nowhere), bits a sample (0: not said), and how many samples a pixel has."""

    scan_at: int
    depth: int
    samples: float
    progressive: bool


def frame_of(data: Content) -> Frame:
    """The frame header and the first scan of the main picture."""
    depth, samples, progressive = 0, _FULL_CHROMA, False
    for marker, position, length in _segments(data):
        if marker == _SCAN:
            return Frame(position, depth, samples, progressive)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            header = data[position + 4 : position + 2 + length]
            depth, progressive = header[0] if header else 0, marker in _MULTISCAN
            samples = _samples(header[6:])
    return Frame(-1, depth, samples, progressive)


def _segments(data: Content) -> Iterator[tuple[int, int, int]]:
    """Marker, position and length of each segment. Rubbish and fill bytes between them are skipped, as decoders do."""
    position = 2
    for _ in range(_MAX_STEPS):
        position = data.find(b"\xff", position)
        if position < 0 or position + 4 > len(data):
            return
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _ALONE:
            position += 2
        else:
            length = max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
            yield marker, position, length
            position += 2 + length


def _samples(components: bytes) -> float:
    """Samples a pixel: every component relative to the finest one (1.5 where both colours are halved twice)."""
    factors = [(c >> 4) * (c & 15) for c in components[1::3]]
    finest = max(factors, default=0)
    return sum(factor / finest for factor in factors) if finest else _FULL_CHROMA
