"""Finding the mark in a file: that we made it, from what, and by which recipe.

Responsible for: walking JPEG segments, PNG chunks, WebP chunks, AVIF and JPEG XL boxes as far as the mark stands.
Not responsible for: writing marks (`imaging/marks.py`), opening files, deciding whose file it is.
Standard library only; no I/O: the caller hands over the beginning and the end of the file.

A mark counts only where we write it: as the whole of a JPEG comment, as the whole of a PNG `Comment` text, as the
attribute `watcherd:mark` of an XMP packet. The same characters in a caption, in pixel data or in a text file do not.
"""

import re
from collections.abc import Iterator

from watcherd.naming import Mark, find_mark

WINDOW_BYTES = 64 * 1024
"""How much of a file's beginning, and of its end, is enough to find every mark that we write."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEYWORD = b"Comment\0"
_JPEG_COMMENT = 0xFE
_JPEG_SCAN_OR_END = (0xDA, 0xD9)
_XMP_MARK = re.compile(rb'watcherd:mark="([^"<>]{1,160})"')
_AVIF_BRANDS = (b"avif", b"avis")
_JXL_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"


def mark_in(head: bytes, tail: bytes = b"") -> Mark | None:
    """The mark of a derivative, from the first and the last 64 KiB of the file, or None.

    For a file that is no longer than the head, the tail may be empty or the same bytes again.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return _first(_jpeg_comments(head))
    if head.startswith(_PNG_SIGNATURE):
        return _first(_png_texts(head))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _first(_webp_packets(head, tail))
    if head[4:8] == b"ftyp" and _is_avif(head):
        return _first(_avif_packets(head, tail))
    if head.startswith(_JXL_SIGNATURE):
        return _first(mark for kind, body in _boxes(head) if kind == b"xml " for mark in _xmp_marks(body))
    return None


def has_late_mark(head: bytes) -> bool:
    """Whether a file with this beginning may have its mark at its end: a WebP or an AVIF may."""
    return head.startswith(b"RIFF") or head[4:8] == b"ftyp"


def is_whole(head: bytes, tail: bytes, size_bytes: int) -> bool:
    """Whether a file of ours ends as its container says; of an AVIF only as far as its boxes begin in the head.

    `tail`: the last bytes of the file, at least 12 of them.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return tail.endswith(b"\xff\xd9")
    if head.startswith(_PNG_SIGNATURE):
        return tail.endswith(b"\0\0\0\0IEND\xaeB`\x82")
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8 == size_bytes
    if head.startswith(_JXL_SIGNATURE):
        return _end_of_boxes(head) == size_bytes
    return True


def _first(texts: Iterator[bytes]) -> Mark | None:
    return next((mark for mark in map(_exact, texts) if mark is not None), None)


def _exact(text: bytes) -> Mark | None:
    """The mark that this text is, to the last character."""
    mark = find_mark(text)
    return mark if mark is not None and str(mark).encode() == text else None


def _jpeg_comments(head: bytes) -> Iterator[bytes]:
    """The COM segments before the first scan (ITU T.81, B.1.1): marker, length with itself counted, payload."""
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF:
        marker = head[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker in _JPEG_SCAN_OR_END:
            return
        length = int.from_bytes(head[position + 2 : position + 4], "big")
        if marker == _JPEG_COMMENT:
            yield head[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)


def _png_texts(head: bytes) -> Iterator[bytes]:
    """The texts of `Comment` chunks before the pixels (PNG 11.3.3.2): length, type, data, checksum."""
    position = len(_PNG_SIGNATURE)
    while position + 8 <= len(head):
        length = int.from_bytes(head[position : position + 4], "big")
        kind = head[position + 4 : position + 8]
        if kind in (b"IDAT", b"IEND"):
            return
        data = head[position + 8 : position + 8 + length]
        if kind == b"tEXt" and data.startswith(_PNG_KEYWORD):
            yield data[len(_PNG_KEYWORD) :]
        position += 12 + length


def _webp_packets(head: bytes, tail: bytes) -> Iterator[bytes]:
    """The marks in the XMP chunk, which encoders write last (RFC 9649): found from the end if the head ends before."""
    size = int.from_bytes(head[4:8], "little") + 8
    if head[12:16] != b"VP8X":
        return
    if size <= len(head):
        yield from _xmp_marks(_riff_chunk(head, 12, b"XMP "))
        return
    start = tail.find(b"XMP ")
    while start >= 0:
        length = int.from_bytes(tail[start + 4 : start + 8], "little")
        if start + 8 + length <= len(tail) <= start + 8 + length + 1:
            yield from _xmp_marks(tail[start + 8 : start + 8 + length])
        start = tail.find(b"XMP ", start + 1)


def _riff_chunk(data: bytes, position: int, wanted: bytes) -> bytes:
    """The first chunk of that kind: kind, length (little-endian), data padded to an even length."""
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == wanted:
            return data[position + 8 : position + 8 + length]
        position += 8 + length + (length & 1)
    return b""


def _is_avif(head: bytes) -> bool:
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    return any(brands[i : i + 4] in _AVIF_BRANDS for i in range(0, len(brands), 4))


def _avif_packets(head: bytes, tail: bytes) -> Iterator[bytes]:
    """The marks in XMP items. The item lies in `mdat` wherever the encoder put it; the `meta` box must announce it."""
    if b"application/rdf+xml" not in head:
        return
    yield from _xmp_marks(head)
    yield from _xmp_marks(tail)


def _boxes(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content (as far as it is in the head) of each box that begins in the head."""
    for position, length in _box_places(head):
        yield head[position + 4 : position + 8], head[position + 8 : position + length]


def _end_of_boxes(head: bytes) -> int:
    """Where the last box that begins in the head is to end; ours are so few that it is the file's last one."""
    return max((position + length for position, length in _box_places(head)), default=0)


def _box_places(head: bytes) -> Iterator[tuple[int, int]]:
    """Position and length of each box (ISO 18181-2, annex A); we write none of the long or open forms."""
    position = 0
    while position + 8 <= len(head):
        length = int.from_bytes(head[position : position + 4], "big")
        if length < 8:
            return
        yield position, length
        position += length


def _xmp_marks(packet: bytes) -> Iterator[bytes]:
    return (found[1] for found in _XMP_MARK.finditer(packet))
