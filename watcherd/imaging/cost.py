"""How much memory a picture will take: what the daemon admits work by.

Responsible for: the estimate of the peak above an idle worker.
Not responsible for: the bytes of the file itself (counted from the fetch on).
A pure leaf. The factors were measured (tests/bench/estimates.py): no estimate is too low; those of decoders that hold
the whole picture are too high by 10 to 80 %, those of decoders that turn out to stream by up to six times.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from watcherd.imaging.geometry import plan
from watcherd.model import OutputFormat, Variant

_BASE_BYTES = 16 * 1024 * 1024
_STREAMED_ROWS = 1536
_LAYER_PIXEL_BYTES = 4
_OUTPUT_PIXEL_BYTES = 16  # scaled picture, its turned copy, the encoder's, and its coefficients
_HUNGRY = {OutputFormat.AVIF: 34, OutputFormat.JXL: 56}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the decoder says before it decodes.

    `pixel_bytes` is what its buffers take for one pixel; with `streams` they hold some rows, else the whole picture.
    `further_bytes` are what it takes besides, and `layers` as many drawings of the size of the largest variant.
    """

    width: int
    height: int
    frames: int
    pixel_bytes: float
    streams: bool
    further_bytes: int = 0
    layers: int = 0


def memory_bytes(look: Look, variants: Sequence[Variant]) -> int:
    """The peak of decoding and rendering, in bytes."""
    rows = min(look.height, _STREAMED_ROWS) if look.streams else look.height
    largest = max((_output_pixels(look, v) * _HUNGRY.get(v.format, _OUTPUT_PIXEL_BYTES) for v in variants), default=0)
    layers = look.layers * max((_output_pixels(look, v) for v in variants), default=0) * _LAYER_PIXEL_BYTES
    return _BASE_BYTES + int(look.width * rows * look.pixel_bytes) + look.further_bytes + layers + largest


def _output_pixels(look: Look, variant: Variant) -> int:
    """Both ways round: the orientation is not known yet."""
    plans = plan(look.width, look.height, variant), plan(look.height, look.width, variant)
    return max(max(p.scaled[0] * p.scaled[1], p.canvas[0] * p.canvas[1]) for p in plans)
