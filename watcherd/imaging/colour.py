"""Colour: everything that decoders hand over becomes 8-bit grey or sRGB.

Responsible for: bit depth, transparency over a background, embedded profiles, CMYK.
Not responsible for: sizes.

A profile is applied only where it matters: a transform of every picture to sRGB tripled the time for a folder of
camera photos, nearly all of which are sRGB already. So a strip of test colours is sent through each new profile once.
"""

import hashlib
from functools import lru_cache

from watcherd.imaging.vips import excuse, pyvips, shape_of

Colour = tuple[int, int, int]

_PROFILE = "icc-profile-data"
_PROFILE_SIGNATURE = b"acsp"
_SAME_COLOUR = 2
"""Levels of 255 by which a test colour may differ and still count as the same."""
_PROBES = {
    1: tuple((level,) for level in range(0, 256, 17)),
    3: tuple((r, g, b) for r in (0, 64, 160, 255) for g in (0, 96, 200, 255) for b in (0, 128, 255)),
    4: ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)),
}


def to_bytes(image: pyvips.Image) -> pyvips.Image:
    """8 bits a sample, in grey, RGB or CMYK with or without an alpha band. 16 bits are scaled, floats as scRGB."""
    if image.format == "uchar" and image.interpretation in ("srgb", "b-w"):  # nearly all are
        return _named(image)
    if image.format in ("complex", "dpcomplex"):
        image = image.real()
    signed = image.format in ("char", "short", "int") and image.interpretation != "labs"  # heights: no agreed scale
    if not signed and image.interpretation in ("rgb16", "grey16", "scrgb", "lab", "labs", "lch", "xyz", "yxy", "hsv"):
        image = image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")
    if image.format == "ushort":
        image = (image >> 8).cast("uchar")
    if image.format != "uchar":
        image = _stretched(image.copy_memory())
    return _named(image)


def _stretched(image: pyvips.Image) -> pyvips.Image:
    """Numbers without a stated range (scientific TIFF): the darkest becomes black, the brightest white."""
    low, high = image.min(), image.max()
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return ((image - low) * (255 / ((high - low) or 1))).cast("uchar")


def _named(image: pyvips.Image) -> pyvips.Image:
    """Only as many bands as the interpretation has, and an interpretation that says so."""
    bands, interpretation = shape_of(image).bands, image.interpretation
    if interpretation == "cmyk" and bands >= 4:
        return image[0:4] if bands > 4 else image
    if bands > 4:
        image = image[0:3]
    wanted = "b-w" if bands < 3 else "srgb"
    return image if interpretation == wanted else image.copy(interpretation=wanted)


def has_alpha(image: pyvips.Image) -> bool:
    """Whether the last band is transparency."""
    bands = shape_of(image).bands
    return bands == 2 or (bands == 4 and image.interpretation != "cmyk")


def over(image: pyvips.Image, background: Colour) -> pyvips.Image:
    """The picture on a background; before any resizing, so that colours hidden by transparency never bleed."""
    if not has_alpha(image):
        return image
    if image.bands == 2 and len(set(background)) > 1:
        image = image.colourspace("srgb")
    return image.flatten(background=list(background[: image.bands - 1]))


def to_srgb(image: pyvips.Image) -> tuple[pyvips.Image, str]:
    """The same colours as numbers of sRGB (or as grey), and a note where the embedded profile was of no use."""
    note = ""
    profile = image.get(_PROFILE) if image.get_typeof(_PROFILE) else b""
    if profile:
        matters = _matters(profile, image.bands - has_alpha(image), image.interpretation)
        if matters:
            return image.icc_transform("srgb", embedded=True, intent="relative"), ""
        if matters is None:
            note = "broken colour profile ignored"
        image = image.copy()
        image.remove(_PROFILE)
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", input_profile="cmyk", intent="relative")
    return image, note


def _matters(profile: bytes, bands: int, interpretation: str) -> bool | None:
    """Whether a profile makes other colours than sRGB (or CMYK: always); None where it is broken."""
    return _matters_by_digest(_Profile(profile), bands, interpretation)


class _Profile:
    """A profile that is compared by its digest, so that the cache holds no hostile megabytes by equality tests."""

    __slots__ = ("_digest", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._digest = hashlib.sha256(data).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Profile) and self._digest == other._digest


@lru_cache(maxsize=32)
def _matters_by_digest(profile: _Profile, bands: int, interpretation: str) -> bool | None:
    probes = _PROBES.get(bands)
    if probes is None or profile.data[36:40] != _PROFILE_SIGNATURE:
        return None
    flat = bytes(level for probe in probes for level in probe)
    strip = pyvips.Image.new_from_memory(flat, len(probes), 1, bands, "uchar").copy(interpretation=interpretation)
    strip.set_type(pyvips.GValue.blob_type, _PROFILE, profile.data)
    try:
        seen = bytes(strip.icc_transform("srgb", embedded=True, intent="relative").write_to_memory())
    except pyvips.Error as error:
        excuse(error)  # nothing that may be remembered of this profile
        return None
    if bands == 4:
        return True
    wanted = flat if bands == 3 else bytes(level for level in flat for _ in range(3))
    return any(abs(a - b) > _SAME_COLOUR for a, b in zip(seen, wanted, strict=True))
