"""Which decoder reads which kind of picture, and what is missing for those that none reads.

Responsible for: the table, and its hash (a verdict names it, so that an update or a new extra wakes rejected files).
Not responsible for: decoding. Importing this module loads neither libvips nor Pillow: the daemon itself uses it.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec

from watcherd.imaging.content import Content
from watcherd.imaging.formats.tiff import is_misread_by_libvips
from watcherd.imaging.sniff import Kind
from watcherd.model import Reason, Rejected

TABLE_REVISION = 3
"""Raised by hand when the code around the decoders learns to read what it used to reject."""


class Engine(StrEnum):
    """The library behind a decoder."""

    VIPS = "vips"
    PILLOW = "pillow"
    HEIF = "heif"
    JXL = "jxl"
    RAW = "raw"
    PDF = "pdf"
    VIDEO = "video"
    SVG = "svg"


@dataclass(frozen=True, slots=True)
class Decoder:
    """How a kind is read.

    `name` is the libvips operation or Pillow's format. `fallback` is asked once when this decoder fails: libraries open
    some files that they were built without the means to decode. `extra` is ours, `module` what it installs.
    `by_leave`: only where it is asked for, because of what such files may contain.
    """

    engine: Engine
    name: str = ""
    fallback: "Decoder | None" = None
    extra: str = ""
    module: str = ""
    by_leave: bool = False


def _vips(name: str) -> Decoder:
    return Decoder(Engine.VIPS, name)


def _pillow(name: str, fallback: Decoder | None = None) -> Decoder:
    return Decoder(Engine.PILLOW, name, fallback)


DECODERS: dict[Kind, Decoder] = {
    Kind.JPEG: _vips("jpegload_source"),
    Kind.PNG: _vips("pngload_source"),
    Kind.WEBP: _vips("webpload_source"),
    Kind.GIF: _vips("gifload_source"),
    Kind.TIFF: _vips("tiffload_source"),
    Kind.AVIF: _pillow("AVIF", fallback=_vips("heifload_source")),  # dav1d: half the time and memory
    Kind.BMP: _pillow("BMP"),
    Kind.ICO: _pillow("ICO"),
    Kind.TGA: _pillow("TGA"),
    Kind.PCX: _pillow("PCX"),
    Kind.PPM: _pillow("PPM"),
    Kind.JP2: _pillow("JPEG2000"),
    Kind.PSD: _pillow("PSD"),
    Kind.HEIC: Decoder(Engine.HEIF, extra="heif", module="pillow_heif"),
    Kind.JXL: Decoder(Engine.JXL, extra="jxl", module="pillow_jxl"),
    Kind.RAW: Decoder(Engine.RAW, extra="raw", module="rawpy"),
    Kind.PDF: Decoder(Engine.PDF, extra="pdf", module="pypdfium2"),
    Kind.VIDEO: Decoder(Engine.VIDEO, extra="video", module="av"),
    Kind.SVG: Decoder(Engine.SVG, by_leave=True),
}

OTHERS: dict[Kind, Decoder] = {
    Kind.JPEG: _pillow("JPEG"),
    Kind.PNG: _pillow("PNG"),
    Kind.WEBP: _pillow("WEBP"),
    Kind.GIF: _pillow("GIF"),
    Kind.TIFF: _pillow("TIFF"),
    Kind.AVIF: _vips("heifload_source"),
}
"""Who else reads a kind, with code of its own: asked where the usual decoder has ended its worker."""

_PACKAGES = ("pyvips", "pyvips-binary", "pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "pypdfium2", "av")
_SVG_REFUSAL = "SVG is a program text: it is rendered only in a root that says svg = true"
_SPOKEN = {Kind.RAW: "camera raw files", Kind.PDF: "PDF files", Kind.VIDEO: "videos"}


def decoder_of(kind: Kind, data: Content, *, svg: bool = False, other: bool = False) -> Decoder | Rejected:
    """The decoder for this very content: some forms of TIFF are read by another one than most. Else `decoder_for`."""
    return decoder_for(kind, svg=svg, other=other or (kind is Kind.TIFF and is_misread_by_libvips(data)))


def decoder_for(kind: Kind, *, svg: bool = False, other: bool = False) -> Decoder | Rejected:
    """The decoder of a kind, or why there is none here.

    `svg`: whether whoever asks allows SVG. `other`: another one than usual, where there is one.
    """
    decoder = OTHERS.get(kind, DECODERS[kind]) if other else DECODERS[kind]
    if decoder.by_leave and not svg:
        return Rejected(reason=Reason.UNSUPPORTED, detail=_SVG_REFUSAL)
    if decoder.extra and not _is_installed(decoder.module):
        detail = (
            f"{_SPOKEN.get(kind, f'{kind} pictures')} need an extra decoder: pip install 'watcherd[{decoder.extra}]'"
        )
        return Rejected(reason=Reason.DECODER_MISSING, detail=detail)
    return decoder


@lru_cache(maxsize=1)
def decoder_table() -> int:
    """A signed 63-bit hash of the table and of the decoders' versions: a rejection ends when it changes."""
    text = repr(
        (
            TABLE_REVISION,
            sorted(DECODERS.items()),
            sorted(OTHERS.items()),
            [(name, _version(name)) for name in _PACKAGES],
        )
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True) >> 1


@lru_cache(maxsize=8)
def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
