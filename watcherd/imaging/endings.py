"""Does a file hold all of its picture? Each container is asked in its own way, without decoding anything.

Responsible for: end markers, chunk and box lengths, expected sizes, tails of zeros.
Not responsible for: damage inside of a whole file (the decoder sees that), nor what follows from the answer.
Standard library only. An upload that was cut off or only preallocated must wait, not be rendered half grey; a file
that lacks its end for ever must be tried in the end. So the answers are hints with a reason, not verdicts.
"""

import re
import sys
from array import array
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from watcherd.imaging.content import Content
from watcherd.imaging.formats import tiff
from watcherd.imaging.formats.jpeg import END_OF_IMAGE, frame_of
from watcherd.imaging.sniff import Kind

ZERO_TAIL_BYTES = 4096
"""So many zeros at the end, with no end marker, look like space that was reserved and not yet written."""


class Ending(StrEnum):
    """`whole`: proven by the container. `untold`: it does not say. `cut`: it ends early. `zeros`: reserved space."""

    WHOLE = "whole"
    UNTOLD = "untold"
    CUT = "cut"
    ZEROS = "zeros"


class Answer(NamedTuple):
    """How the file ends, and in words for people where that is not `whole`."""

    ending: Ending
    detail: str = ""


_WHOLE = Answer(Ending.WHOLE)
_UNTOLD = Answer(Ending.UNTOLD, "the format does not say where it ends")
_ZEROS = Answer(Ending.ZEROS, f"no end marker, and the last {ZERO_TAIL_BYTES:,} bytes are zeros")
_GIF_END = b"\x00;"
_PPM_HEADER = re.compile(rb"P([4-6])((?:\s+|\s*#[^\n]*\n)+\d+){2,3}")
_MAX_PARTS = 200_000
_MAX_SUB_BLOCKS = 4_000_000  # of up to 255 bytes: more than max_bytes lets through
_SVG_TAIL_BYTES = 4096
_PIXEL_BOXES = frozenset((b"mdat", b"idat", b"jp2c", b"jxlc", b"jxlp", b"moof"))
_DIRECTORY_BOXES = frozenset((b"meta", b"moov", b"jp2h", b"JXL "))
_CHUNK_LETTERS = re.compile(rb"[A-Za-z]{4}")


def ending_of(kind: Kind, data: Content) -> Answer:
    """How a file of this kind ends."""
    answer = _QUESTIONS.get(kind, _unknown)(data)
    if answer.ending is not Ending.WHOLE and kind in _ZEROS_ARE_SUSPECT and has_zero_tail(data):
        return _ZEROS
    return answer


def hole_matters(kind: Kind, data: Content) -> bool:
    """Whether a hole in the file can be a part of the picture that was not written yet.

    Programs that copy sparsely (`cp`, `rsync -S`) make holes of any block of zeros, and cameras pad their headers and
    trailers with those. In a JPEG only the coded picture counts; a PNG's checksums speak for themselves.
    """
    if kind is Kind.PNG:
        return False
    if kind is not Kind.JPEG:
        return True
    scan = frame_of(data).scan_at
    end = data.rfind(END_OF_IMAGE, max(0, scan))
    return scan < 0 or end < 0 or data.find(bytes(ZERO_TAIL_BYTES), scan, end) >= 0


def has_zero_tail(data: Content) -> bool:
    """Whether the file ends in 4 KiB of zeros (or is nothing else)."""
    tail = data[-ZERO_TAIL_BYTES:]
    return tail.count(0) == len(tail) == ZERO_TAIL_BYTES


def _cut(needed: int, data: Content) -> Answer:
    """Compare the length that the header promises with the file's."""
    if needed <= len(data):
        return _WHOLE
    return Answer(Ending.CUT, f"{len(data):,} bytes, but its header promises {needed:,}")


def _unknown(data: Content) -> Answer:
    del data
    return _UNTOLD


# ------------------------------------------------------------------------------------------------------------- JPEG


def _jpeg(data: Content) -> Answer:
    """The end marker is searched from the end: cameras and phones put trailers of any length behind it."""
    scan = frame_of(data).scan_at
    if scan < 0:
        return Answer(Ending.CUT, "the JPEG ends before its picture begins")
    if data.rfind(END_OF_IMAGE, scan) >= 0:
        return _WHOLE
    return Answer(Ending.UNTOLD, "the JPEG has no end marker")


# --------------------------------------------------------------------------------------- chunks, boxes and blocks


def _png(data: Content) -> Answer:
    position = 8
    for _ in range(_MAX_PARTS):
        if position + 12 > len(data):
            return Answer(Ending.CUT, "the PNG ends before its IEND chunk")
        kind = data[position + 4 : position + 8]
        if kind == b"IEND":
            return _WHOLE
        if not _CHUNK_LETTERS.fullmatch(kind):
            return Answer(Ending.UNTOLD, f"the PNG's chunks break off at byte {position:,}")
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return _UNTOLD


def _gif(data: Content) -> Answer:
    if data[-2:] == _GIF_END or data.rfind(_GIF_END, max(0, len(data) - 64)) >= 0 or _gif_has_trailer(data):
        return _WHOLE
    return Answer(Ending.CUT, "the GIF ends without its trailer")


def _gif_has_trailer(data: Content) -> bool:
    """Whether the blocks (GIF89a, appendix A) lead to the trailer: something else may follow it."""
    position = 13 + _colour_table_bytes(data[10:11])
    for _ in range(_MAX_PARTS):
        match data[position : position + 1]:
            case b";":
                return True
            case b"!":
                position += 2
            case b",":
                position += 11 + _colour_table_bytes(data[position + 9 : position + 10])
            case _:
                return False
        position = _behind_sub_blocks(data, position)
    return False


def _behind_sub_blocks(data: Content, position: int) -> int:
    """Where a chain of sub-blocks ends. So many of them that it takes a second count as none at all."""
    for _ in range(_MAX_SUB_BLOCKS):
        length = int.from_bytes(data[position : position + 1], "big")
        position += 1 + length
        if not length:
            return position
    return len(data)


def _colour_table_bytes(flags: bytes) -> int:
    """How long the table is that such flags announce."""
    number = int.from_bytes(flags, "big")
    return 3 << ((number & 7) + 1) if number & 0x80 else 0


def _webp(data: Content) -> Answer:
    answer = _cut(int.from_bytes(data[4:8], "little") + 8, data)
    return Answer(Ending.UNTOLD, "WebP has no end marker") if answer is _WHOLE and has_zero_tail(data) else answer


def _boxes(data: Content) -> Answer:
    """Top-level boxes of ISO files (AVIF, HEIC, JPEG 2000): length, kind; length 0 reaches to the end, 1 is long.

    Where the last one ends with the file, nothing tells whether more were to come: so one of those that hold the
    picture must be there, and its directory where there is one.
    """
    position, kinds = 0, set()
    for _ in range(_MAX_PARTS):
        if position + 8 > len(data):
            break
        kinds.add(bytes(data[position + 4 : position + 8]))
        length = int.from_bytes(data[position : position + 4], "big")
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16], "big")
        if length == 0:
            break
        if length < 8:
            return Answer(Ending.UNTOLD, f"the file's boxes break off at byte {position:,}")
        position += length
    if position > len(data):
        return _cut(position, data)
    if len(data) - position in range(1, 8) or not (kinds & _PIXEL_BOXES and kinds & _DIRECTORY_BOXES):
        return Answer(Ending.UNTOLD, "the file may lack its last boxes")
    return Answer(Ending.UNTOLD, "the file has no end marker") if has_zero_tail(data) else _WHOLE


def _jp2(data: Content) -> Answer:
    if data[-2:] == END_OF_IMAGE:
        return _WHOLE
    if data[:4] == b"\xff\x4f\xff\x51":
        return Answer(Ending.CUT, "the JPEG 2000 code stream has no end marker")
    return _boxes(data)


# ---------------------------------------------------------------------------------------------- tables and raw pixels


def _tiff(data: Content) -> Answer:
    if not tiff.chain_is_whole(data):
        return Answer(Ending.CUT, "the TIFF ends before its directory of pages does")
    end = tiff.end_of_pixels(data)
    if end is None:
        return _UNTOLD
    answer = _cut(end, data)
    if answer is _WHOLE and tiff.is_compressed(data) and has_zero_tail(data):
        return _ZEROS
    return answer


def _bmp(data: Content) -> Answer:
    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little", signed=size == 4)

    start = number(10, 4)
    if number(14, 4) == 12:
        width, height, depth, packed = number(18, 2), number(20, 2), number(24, 2), 0
    else:
        width, height, depth, packed = number(18, 4), abs(number(22, 4)), number(28, 2), number(30, 4)
    if packed not in (0, 3, 6):
        return _cut(number(2, 4), data) if number(2, 4) > start else _UNTOLD
    return _cut(start + (width * depth + 31) // 32 * 4 * height, data)


def _ppm(data: Content) -> Answer:
    """Binary forms only: P4 has one bit a pixel, P5 one sample, P6 three; two bytes a sample above 255."""
    found = _PPM_HEADER.match(data[:4096])
    if found is None:
        return _UNTOLD
    form = int(found[1])
    numbers = [int(text) for text in re.sub(rb"#[^\n]*", b"", found[0]).split()[1:]]
    if form == 4:
        return _cut(found.end() + 1 + (numbers[0] + 7) // 8 * numbers[1], data)
    if len(numbers) < 3:
        return _UNTOLD
    samples = numbers[0] * numbers[1] * (3 if form == 6 else 1)
    return _cut(found.end() + 1 + samples * (2 if numbers[2] > 255 else 1), data)


def _tga(data: Content) -> Answer:
    if data[-18:] == b"TRUEVISION-XFILE.\0":
        return _WHOLE
    if data[2] > 8:
        return Answer(Ending.UNTOLD, "a compressed TGA without footer does not say where it ends")
    width, height, map_length = (int.from_bytes(data[i : i + 2], "little") for i in (12, 14, 5))
    colours = map_length * ((data[7] + 7) // 8) if data[1] else 0
    return _cut(18 + data[0] + colours + width * height * ((data[16] + 7) // 8), data)


def _ico(data: Content) -> Answer:
    entries = range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16)
    if entries and entries[-1] + 16 > len(data):
        return Answer(Ending.CUT, "the icon ends before its directory does")
    spans = [[int.from_bytes(data[i + at : i + at + 4], "little") for at in (8, 12)] for i in entries]
    return _cut(max((size + offset for size, offset in spans), default=0), data)


def _psd(data: Content) -> Answer:
    """Header, then three sections that state their lengths, then the flattened picture (raw, or rows in RLE)."""
    position = 26
    for _ in range(3):
        if position + 4 > len(data):
            return Answer(Ending.CUT, "the PSD ends before its picture begins")
        position += 4 + int.from_bytes(data[position : position + 4], "big")
    channels, height, width, depth = (
        int.from_bytes(data[a:b], "big") for a, b in ((12, 14), (14, 18), (18, 22), (22, 24))
    )
    if position + 2 > len(data):
        return Answer(Ending.CUT, "the PSD ends before its picture begins")
    rows, packing = channels * height, int.from_bytes(data[position : position + 2], "big")
    if packing == 0:
        return _cut(position + 2 + rows * ((width * depth + 7) // 8), data)
    lengths = data[position + 2 : position + 2 + 2 * rows]
    if packing != 1 or len(lengths) < 2 * rows:
        return _UNTOLD
    row_bytes = array("H", lengths)
    if sys.byteorder == "little":
        row_bytes.byteswap()
    return _cut(position + 2 + 2 * rows + sum(row_bytes), data)


# ----------------------------------------------------------------------------------------------------------- the extras


def _jxl(data: Content) -> Answer:
    return _UNTOLD if data[:2] == b"\xff\x0a" else _boxes(data)


def _pdf(data: Content) -> Answer:
    """The end marker may have other bytes behind it (mail programs, fax servers), but not many."""
    if data.rfind(b"%%EOF", max(0, len(data) - 2048)) >= 0:
        return _WHOLE
    return Answer(Ending.CUT, "the PDF has no end marker")


def _svg(data: Content) -> Answer:
    """Its last tag must be there, and may be a short one; comments and white space may follow."""
    tail = bytes(data[-_SVG_TAIL_BYTES:])
    if re.search(rb"</(?:\w+:)?svg\s*>", tail):
        return _WHOLE
    return _UNTOLD if tail.rstrip().endswith(b"/>") else Answer(Ending.CUT, "the SVG has no closing tag")


def _raw(data: Content) -> Answer:
    """The sensor's data come last in nearly all of them, behind a preview that would decode alone."""
    if data[4:8] == b"ftyp":
        return _boxes(data)
    if data[:15] == b"FUJIFILMCCD-RAW":
        parts = (
            int.from_bytes(data[at : at + 4], "big") + int.from_bytes(data[at + 4 : at + 8], "big") for at in (84, 100)
        )
        return _cut(max(parts), data)
    end = tiff.end_of_all_pixels(data)
    return _cut(end, data) if end else _UNTOLD


def _video(data: Content) -> Answer:
    if data[:4] == b"RIFF":
        return _cut(int.from_bytes(data[4:8], "little") + 8, data)
    return _UNTOLD if data[:4] == b"\x1aE\xdf\xa3" else _boxes(data)


_QUESTIONS: dict[Kind, Callable[[Content], Answer]] = {
    Kind.JPEG: _jpeg,
    Kind.PNG: _png,
    Kind.GIF: _gif,
    Kind.WEBP: _webp,
    Kind.TIFF: _tiff,
    Kind.AVIF: _boxes,
    Kind.HEIC: _boxes,
    Kind.JP2: _jp2,
    Kind.BMP: _bmp,
    Kind.PPM: _ppm,
    Kind.TGA: _tga,
    Kind.ICO: _ico,
    Kind.PSD: _psd,
    Kind.JXL: _jxl,
    Kind.PDF: _pdf,
    Kind.RAW: _raw,
    Kind.VIDEO: _video,
    Kind.SVG: _svg,
}
_ZEROS_ARE_SUSPECT = frozenset(
    (Kind.JPEG, Kind.PNG, Kind.GIF, Kind.WEBP, Kind.AVIF, Kind.HEIC, Kind.JP2, Kind.JXL, Kind.PDF, Kind.VIDEO)
)
"""Uncompressed formats end in zeros where the picture is black at the bottom."""
