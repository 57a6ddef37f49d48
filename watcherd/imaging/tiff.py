"""Just enough of TIFF's directories: to tell camera files from pictures, and whether every strip is there.

Responsible for: walking image file directories (TIFF 6.0, section 2; BigTIFF).
Not responsible for: pixels.
A pure leaf; works on whatever can be sliced into bytes, and never trusts a number that it reads.
"""

import mmap
from collections.abc import Iterator
from typing import Literal, NamedTuple

Content = bytes | mmap.mmap
"""The bytes of an upload: a mapped memory file in a worker, plain bytes in tests and in the library."""

_MAX_ENTRIES = 4096
_MAX_PAGES = 1000
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CFA_PHOTOMETRIC = (32803, 34892)
_STRIPS, _TILES, _OLD_JPEG = (273, 279), (324, 325), (513, 514)


class Directory(NamedTuple):
    """One page: where each tag's values lie (position, bytes per value, count)."""

    tags: dict[int, tuple[int, int, int]]
    following: int


def byte_order(head: Content) -> Literal["little", "big"] | None:
    """The byte order that a TIFF or BigTIFF header states, or None where it is none."""
    if head[:4] in (b"II*\x00", b"II+\x00"):
        return "little"
    return "big" if head[:4] in (b"MM\x00*", b"MM\x00+") else None


def is_camera_raw(head: Content) -> bool:
    """Camera makers use the container: a DNG version, a colour filter array, or a reduced first page give it away."""
    if head[8:10] == b"CR":
        return True
    page = next(directories(head), None)
    if page is None:
        return False
    photometric = values(head, page, 262, limit=1)
    reduced = values(head, page, 254, limit=1) == [1]
    return 50706 in page.tags or (photometric[:1] or [0])[0] in _CFA_PHOTOMETRIC or (reduced and 330 in page.tags)


def directories(data: Content) -> Iterator[Directory]:
    """The pages, as far as their directories lie inside the data."""
    order = byte_order(data)
    if order is None:
        return
    wide = data[2:4] in (b"+\x00", b"\x00+")
    position = int.from_bytes(data[8:16] if wide else data[4:8], order)
    seen: set[int] = set()
    while position and position not in seen and len(seen) < _MAX_PAGES:
        seen.add(position)
        page = _directory(data, position, order, wide=wide)
        if page is None:
            return
        yield page
        position = page.following


def _directory(data: Content, position: int, order: Literal["little", "big"], *, wide: bool) -> Directory | None:
    count_bytes, entry_bytes, offset_bytes = (8, 20, 8) if wide else (2, 12, 4)
    count = int.from_bytes(data[position : position + count_bytes], order)
    end = position + count_bytes + count * entry_bytes
    if not 0 < count <= _MAX_ENTRIES or end + offset_bytes > len(data):
        return None
    tags: dict[int, tuple[int, int, int]] = {}
    for at in range(position + count_bytes, end, entry_bytes):
        tag, kind = (int.from_bytes(data[at + i : at + i + 2], order) for i in (0, 2))
        amount = int.from_bytes(data[at + 4 : at + 4 + offset_bytes], order)
        width = _TYPE_BYTES.get(kind, 1)
        place = at + 4 + offset_bytes
        if width * amount > offset_bytes:
            place = int.from_bytes(data[place : place + offset_bytes], order)
        tags[tag] = (place, width, amount)
    return Directory(tags, int.from_bytes(data[end : end + offset_bytes], order))


def values(data: Content, page: Directory, tag: int, *, limit: int = 1 << 20) -> list[int]:
    """The whole numbers of a tag; empty where the tag is missing or lies outside of the data."""
    place, width, amount = page.tags.get(tag, (0, 1, 0))
    amount = min(amount, limit)
    if place + width * amount > len(data):
        return []
    order = byte_order(data) or "little"
    raw = data[place : place + width * amount]
    return [int.from_bytes(raw[i : i + width], order) for i in range(0, len(raw), width)]


def end_of_pixels(data: Content) -> int | None:
    """One past the last byte that the first page's strips or tiles take; None where its directory does not say."""
    page = next(directories(data), None)
    if page is None:
        return None
    for where, how_long in (_STRIPS, _TILES, _OLD_JPEG):
        offsets, lengths = values(data, page, where), values(data, page, how_long)
        if offsets and len(offsets) == len(lengths):
            return max(offset + length for offset, length in zip(offsets, lengths, strict=True))
    return None


def is_compressed(data: Content) -> bool:
    """Whether the first page says that its pixels are not stored as they are."""
    page = next(directories(data), None)
    return page is not None and values(data, page, 259, limit=1) not in ([], [1])


def chain_is_whole(data: Content) -> bool:
    """Whether the directory of every page lies inside the data, and all that the first one points to."""
    pages = list(directories(data))
    if not pages or pages[-1].following >= len(data):
        return False
    return all(place + width * amount <= len(data) for place, width, amount in pages[0].tags.values())
