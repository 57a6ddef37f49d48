"""How large a variant becomes: boxes, fits, and rounding.

Responsible for: the sizes of the scaled picture, of what is cut from it, and of the canvas that it stands on.
Not responsible for: pixels.
A pure leaf.
"""

from dataclasses import dataclass

from watcherd.model import Fit, OutputFormat, Variant

Size = tuple[int, int]

_MAX_SIDE = {OutputFormat.WEBP: 16_383, OutputFormat.JPEG: 65_500, OutputFormat.AVIF: 32_768}
"""The longest side that a container can hold (AVIF: that decoders take); what would be longer is scaled down to it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Scale to `scaled`, cut to `crop` (the same or smaller), put on `canvas` (the same or larger)."""

    scaled: Size
    crop: Size
    canvas: Size


def plan(width: int, height: int, variant: Variant) -> Plan:
    """The sizes for an upright source of width x height pixels.

    Nothing is enlarged unless the variant says so; no side becomes less than one pixel; sides are rounded to the
    nearest, so the aspect ratio is kept within one pixel.
    """
    scale = _scale(width, height, variant)
    longest = _MAX_SIDE.get(variant.format)
    if longest is not None:
        scale = min(scale, longest / max(width, height))
    scaled = _scaled(width, height, scale)
    if variant.width is None or variant.height is None or variant.fit is Fit.INSIDE:
        return Plan(scaled, scaled, scaled)
    if variant.fit is Fit.PAD:
        return Plan(scaled, scaled, (variant.width, variant.height))
    crop = (min(variant.width, scaled[0]), min(variant.height, scaled[1]))
    return Plan(scaled, crop, crop)


def _scale(width: int, height: int, variant: Variant) -> float:
    ratios = [box / side for box, side in ((variant.width, width), (variant.height, height)) if box is not None]
    if not ratios:
        return 1.0
    scale = max(ratios) if variant.fit in (Fit.COVER, Fit.SMART) else min(ratios)
    return scale if variant.upscale else min(scale, 1.0)


def _scaled(width: int, height: int, scale: float) -> Size:
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))
