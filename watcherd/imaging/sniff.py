"""What kind of picture some bytes are, by magic numbers and plausibility, never by name.

Responsible for: the closed list of kinds, and telling them from text, archives, sound and office files (None).
Not responsible for: whether a kind can be decoded (`decoders.py`) or is whole (`endings.py`).
Standard library only; no I/O: the caller hands over the beginning and the end of the file.
"""

import re
from collections.abc import Callable
from enum import StrEnum

from watcherd.imaging.formats import tiff

HEAD_BYTES = 64 * 1024
"""How much of the beginning is enough for every kind."""


class Kind(StrEnum):
    """Every kind of picture that is recognised."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    TIFF = "tiff"
    AVIF = "avif"
    HEIC = "heic"
    BMP = "bmp"
    ICO = "ico"
    TGA = "tga"
    PCX = "pcx"
    PPM = "ppm"
    JP2 = "jp2"
    PSD = "psd"
    JXL = "jxl"
    SVG = "svg"
    RAW = "raw"
    PDF = "pdf"
    VIDEO = "video"


_PREFIXES: tuple[tuple[bytes, Kind], ...] = (
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"8BPS", Kind.PSD),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Kind.JP2),
    (b"\xff\x4f\xff\x51", Kind.JP2),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Kind.JXL),
    (b"\xff\x0a", Kind.JXL),
    (b"%PDF-", Kind.PDF),
    (b"FUJIFILMCCD-RAW", Kind.RAW),
    (b"IIRO", Kind.RAW),  # Olympus
    (b"IIRS", Kind.RAW),
    (b"MMOR", Kind.RAW),
    (b"IIU\x00", Kind.RAW),  # Panasonic
    (b"\x00MRM", Kind.RAW),  # Minolta
    (b"FOVb", Kind.RAW),  # Sigma
    (b"\x1aE\xdf\xa3", Kind.VIDEO),  # Matroska, WebM; sound alone is told by the decoder
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIC_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")
)
_VIDEO_BRANDS = (b"iso", b"mp4", b"avc", b"M4V", b"qt  ", b"3gp", b"3g2", b"MSNV", b"dash", b"XAVC", b"f4v", b"F4V")
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide")
_PPM = re.compile(rb"P[1-6](?:\s+|\s*#[^\n]*\n)+\d{1,9}(?:\s+|\s*#[^\n]*\n)+\d{1,9}\s")
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg[\s>])", re.IGNORECASE)
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)


def kind_of(head: bytes, tail: bytes = b"", size: int = 0) -> Kind | None:
    """The kind of picture, or None. `tail` is the end of the file and `size` its length, where they are known."""
    for prefix, kind in _PREFIXES:
        if head.startswith(prefix):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind.WEBP
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Kind.VIDEO
    if tiff.byte_order(head):
        return Kind.RAW if tiff.is_camera_raw(head) else Kind.TIFF
    if head[4:8] == b"ftyp":
        return _iso_kind(head)
    if head[4:8] in _OLD_QUICKTIME and head[0] < 0x80 and int.from_bytes(head[:4], "big") not in range(2, 8):
        return Kind.VIDEO
    return _plausible_kind(head, tail, size)


def _plausible_kind(head: bytes, tail: bytes, size: int) -> Kind | None:
    """The kinds whose magic number is short or missing: their headers must make sense as a whole."""
    for kind, is_plausible in _PLAUSIBLE:
        if is_plausible(head):
            return kind
    return Kind.TGA if tail.endswith(_TGA_FOOTER) or _is_tga(head, size) else None


def _iso_kind(head: bytes) -> Kind | None:
    """By the brands of the `ftyp` box (ISO 14496-12): AVIF and HEIC share a container with video."""
    end = min(int.from_bytes(head[:4], "big"), len(head), 512)
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))]
    if brands[0] == b"crx ":
        return Kind.RAW
    if not _AVIF_BRANDS.isdisjoint(brands):
        return Kind.AVIF
    if not _HEIC_BRANDS.isdisjoint(brands):
        return Kind.HEIC
    return Kind.VIDEO if brands[0].startswith(_VIDEO_BRANDS) else None


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and len(head) >= 26 and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES


def _is_ico(head: bytes) -> bool:
    """One to 255 entries, and the first one sensible: video streams begin alike."""
    if head[:4] != b"\x00\x00\x01\x00" or len(head) < 22:
        return False
    count = int.from_bytes(head[4:6], "little")
    offset = int.from_bytes(head[18:22], "little")
    return 0 < count < 256 and head[9] == 0 and head[10] <= 1 and head[11] == 0 and offset >= 6 + 16 * count


def _is_pcx(head: bytes) -> bool:
    if len(head) < 128 or head[0] != 0x0A or head[1] not in (0, 2, 3, 4, 5) or head[2] != 1:
        return False
    left, top, right, bottom = (int.from_bytes(head[i : i + 2], "little") for i in (4, 6, 8, 10))
    return head[3] in (1, 2, 4, 8) and head[64] == 0 and head[65] in (1, 3, 4) and right >= left and bottom >= top


def _is_tga(head: bytes, size: int) -> bool:
    """Targa without its footer has no magic number: every field must be one that programs write."""
    if len(head) < 18 or head[1] not in (0, 1) or head[2] not in (1, 2, 3, 9, 10, 11):
        return False
    width, height = int.from_bytes(head[12:14], "little"), int.from_bytes(head[14:16], "little")
    depth, alpha = head[16], head[17] & 0x0F
    mapped = head[2] in (1, 9)
    map_ok = head[7] in (15, 16, 24, 32) if mapped else head[1] == 0 and not any(head[3:8])
    depth_ok = (
        depth == 8 if head[2] in (1, 3, 9, 11) else (depth, alpha) in ((16, 0), (16, 1), (24, 0), (32, 0), (32, 8))
    )
    if not (mapped == bool(head[1]) and map_ok and depth_ok and width and height) or head[17] & 0xC0:
        return False
    return head[2] > 8 or size == 0 or size >= 18 + width * height * depth // 8 // 2


def _is_ppm(head: bytes) -> bool:
    return _PPM.match(head) is not None


def _is_svg(head: bytes) -> bool:
    return _SVG.match(head) is not None and b"<svg" in head[:4096].lower()


_PLAUSIBLE: tuple[tuple[Kind, Callable[[bytes], bool]], ...] = (
    (Kind.BMP, _is_bmp),
    (Kind.ICO, _is_ico),
    (Kind.PPM, _is_ppm),
    (Kind.PCX, _is_pcx),
    (Kind.SVG, _is_svg),
)
