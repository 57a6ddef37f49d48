"""What a single value in a configuration may be: ranges, sizes, boxes, colours, and the presets.

Pure: values in, values out. A value that will not do raises ValueError with the sentence that says what would.
Not responsible for: where the value stood, and how several values fit together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from watcherd.model import PREVIEW, THUMBNAIL, Chroma, OutputFormat, Variant

# ----------------------------------------------------------------------------------------------------------- ranges


UNBOUNDED = 2**53
"""The upper end of a range that has none: no setting has a use for more, and every number up to here is exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a number may be. `above` excludes `least` itself; `or_zero` allows 0, where 0 has a meaning of its own."""

    least: float
    most: float = UNBOUNDED
    above: bool = False
    or_zero: bool = False

    def allows(self, value: float) -> bool:
        """Whether the number is in the range; infinity and NaN never are."""
        if value == 0 and self.or_zero:
            return True
        return self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        zero = "0, or " if self.or_zero else ""
        if self.above:
            return f"{zero}more than {self.least:g} and at most {self.most:g}"
        if self.most < UNBOUNDED:
            return f"{zero}from {self.least:.12g} to {self.most:.12g}"
        return f"{zero}at least {self.least:.12g}"


_DAY_S = 86_400
_MIB = 1024 * 1024
_QUIET = Range(least=0, most=_DAY_S, above=True)

RANGES: Mapping[tuple[str, str], Range] = MappingProxyType(
    {
        ("roots", "min_bytes"): Range(least=0),
        ("roots", "max_bytes"): Range(least=0),
        ("roots", "max_age_s"): Range(least=0),
        ("roots", "scan_interval_s"): Range(least=1, or_zero=True),
        ("settle", "closed_quiet_s"): _QUIET,
        ("settle", "open_quiet_s"): _QUIET,
        ("settle", "network_quiet_s"): _QUIET,
        ("settle", "max_wait_s"): _QUIET,
        ("settle", "incomplete_grace_s"): Range(least=0),
        ("limits", "max_bytes"): Range(least=1),
        ("limits", "max_pixels"): Range(least=1),
        ("limits", "max_side"): Range(least=1, most=10_000_000),  # libvips' own limit
        ("limits", "max_frames"): Range(least=1),
        ("pool", "workers"): Range(least=0, most=64),
        ("pool", "cpu_limit"): Range(least=0, most=1, above=True),
        ("pool", "memory_bytes"): Range(least=64 * _MIB, or_zero=True),
        ("pool", "recycle_after_jobs"): Range(least=1),
        ("pool", "recycle_above_bytes"): Range(least=128 * _MIB),  # a worker at rest with its libraries has about half
        ("pool", "timeout_s"): Range(least=1, most=_DAY_S),
        ("pool", "boot_timeout_s"): Range(least=1, most=_DAY_S),
        ("retry", "max_faults"): Range(least=1, most=100),
        ("retry", "max_interruptions"): Range(least=1, most=1000),
        ("retry", "first_delay_s"): Range(least=0, most=_DAY_S),
        ("retry", "max_delay_s"): Range(least=0, most=_DAY_S),
        ("daemon", "rescan_interval_s"): Range(least=10, or_zero=True),
        ("daemon", "full_scan_interval_s"): Range(least=10, or_zero=True),
        ("daemon", "scan_rate"): Range(least=1, or_zero=True),
        ("daemon", "forget_after_s"): Range(least=0),
        ("daemon", "brake_share"): Range(least=0, most=1),
        ("daemon", "brake_floor"): Range(least=0),
        ("daemon", "brake_grace_s"): Range(least=0),
        ("daemon", "metrics_interval_s"): Range(least=1),
        ("daemon", "drain_timeout_s"): Range(least=0, most=_DAY_S),
        ("metrics", "port"): Range(least=1, most=65_535, or_zero=True),
        ("roots", "min_free_bytes"): Range(least=0),
        ("variants", "quality"): Range(least=1, most=100),
        ("variants", "effort"): Range(least=0, most=9),
    }
)
"""Of each number in the configuration, by (table, key)."""


# ------------------------------------------------------------------------------------------------------------ sizes

_UNITS: Mapping[str, int] = MappingProxyType(
    {"": 1, "b": 1}
    | {f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)}
    | {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}
)
SIZE_PATTERN = r"[0-9]+(\.[0-9]+)? ?([kKmMgGtT]i?)?[bB]"
SIZE_EXPECTED = 'a number of bytes or a size such as "512MiB"'


def size(text: str) -> int:
    """Bytes of `"512MiB"`, `"1.5 GB"`, `"4096B"`."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([a-z]*)", text.strip().lower(), re.ASCII)
    if found is None or found[2] not in _UNITS:
        raise ValueError(SIZE_EXPECTED)
    return round(float(found[1]) * _UNITS[found[2]])


# ------------------------------------------------------------------------------------------------------------ layouts

SUBFOLDER_EXPECTED = 'the name of a hidden folder such as ".derivatives": a dot first, no "/", at most 64 bytes'


def is_subfolder(name: str) -> bool:
    """Whether derivatives may lie in folders of this name: hidden ones, so that none of people's is taken for it."""
    is_ours_anyway = name.startswith(".watcherd-")
    is_plain = name.startswith(".") and name not in {".", ".."} and not set(name) & {"/", "\0"}
    return is_plain and not is_ours_anyway and len(name.encode("utf-8", "surrogatepass")) <= 64


# ---------------------------------------------------------------------------------------------------------- variants

MAX_BOX = 65_500
BOX_PATTERN = r"[0-9]+x[0-9]*|x[0-9]+"
_BOX_EXPECTED = 'a box such as "1200x1200", "1200x", "x800" or [1200, 800], sides from 1 to 65500 pixels'
_COLOUR_EXPECTED = 'a colour such as "white", "#ffffff" or [255, 255, 255]'
_COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType({"white": (255, 255, 255), "black": (0, 0, 0)})


def box(value: object) -> tuple[int | None, int | None]:
    """(width, height) in pixels; an open side is None, but not both."""
    match value:
        case str() if found := re.fullmatch(r"(\d{0,6})x(\d{0,6})", value.strip(), re.ASCII):
            sides = tuple(int(side) if side else None for side in found.groups())
        case [int(), int()]:
            sides = tuple(value)
        case _:
            raise ValueError(_BOX_EXPECTED)
    width, height = sides
    if sides == (None, None) or not all(side is None or 1 <= side <= MAX_BOX for side in sides):
        raise ValueError(_BOX_EXPECTED)
    return width, height


def colour(value: object) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255 each."""
    match value:
        case str() if value in _COLOURS:
            return _COLOURS[value]
        case str() if re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            red, green, blue = bytes.fromhex(value[1:])
            return red, green, blue
        case [int(red), int(green), int(blue)] if all(0 <= part <= 255 for part in (red, green, blue)):
            return red, green, blue
        case _:
            raise ValueError(_COLOUR_EXPECTED)


_MEDIUM = Variant(name="medium", width=800, height=800, quality=82)
_LARGE = Variant(name="large", width=2048, height=2048, quality=85)
_OCR = Variant(
    name="ocr",
    width=1200,
    height=800,
    quality=95,
    effort=9,
    chroma=Chroma.FULL,
    sharpen=True,
    normalise=True,
)
_STANDARD = Variant(name="standard", width=1024, height=1024, format=OutputFormat.PNG)
_IN_BOTH_FORMATS = (THUMBNAIL, _MEDIUM, PREVIEW, _LARGE)

PRESETS: Mapping[str, Variant] = MappingProxyType(
    {variant.name: variant for variant in _IN_BOTH_FORMATS}
    | {
        f"{variant.name}-webp": replace(variant, name=f"{variant.name}-webp", format=OutputFormat.WEBP)
        for variant in _IN_BOTH_FORMATS
    }
    | {variant.name: variant for variant in (_OCR, _STANDARD)}
)
"""Variants that a configuration can name without describing them."""
