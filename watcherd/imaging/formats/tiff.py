"""Just enough of TIFF's directories: to tell camera files from pictures, and whether every strip is there.

Responsible for: walking image file directories (TIFF 6.0, section 2; BigTIFF).
Not responsible for: pixels.
A pure leaf; works on whatever can be sliced into bytes, and never trusts a number that it reads.
"""

from typing import Literal, NamedTuple

from watcherd.imaging.content import Content

_MAX_ENTRIES = 4096
_MAX_PAGES = 1000
_MAX_VALUES = 1 << 18
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CFA_PHOTOMETRIC = (32803, 34892)
_SUB_DIRECTORIES, _MAX_SUB_DIRECTORIES = 330, 16
_YCBCR, _CIELAB = 6, 8
_JPEG_INSIDE = ([6], [7])
_STRIPS, _TILES, _OLD_JPEG = (273, 279), (324, 325), (513, 514)


class Directory(NamedTuple):
    """One page: where each tag's values lie (position, bytes per value, count)."""

    tags: dict[int, tuple[int, int, int]]


class _Form(NamedTuple):
    """How a file writes its numbers: TIFF, or BigTIFF with its wider ones."""

    order: Literal["little", "big"]
    count_bytes: int
    entry_bytes: int
    offset_bytes: int
    first_at: int


def byte_order(head: Content) -> Literal["little", "big"] | None:
    """The byte order that a TIFF or BigTIFF header states, or None where it is none."""
    if head[:4] in (b"II*\x00", b"II+\x00"):
        return "little"
    return "big" if head[:4] in (b"MM\x00*", b"MM\x00+") else None


def is_camera_raw(head: Content) -> bool:
    """Camera makers use the container: a DNG version, a colour filter array, or a reduced first page give it away."""
    if head[8:10] == b"CR":
        return True
    page = first_page(head)
    if page is None:
        return False
    photometric = values(head, page, 262, limit=1)
    reduced = values(head, page, 254, limit=1) == [1]
    return 50706 in page.tags or (photometric[:1] or [0])[0] in _CFA_PHOTOMETRIC or (reduced and 330 in page.tags)


def first_page(data: Content) -> Directory | None:
    """The first page's directory, if it lies inside the data."""
    form = _form_of(data)
    return directory_at(data, _number(data, form.first_at, form.offset_bytes, form)) if form else None


def directory_at(data: Content, position: int) -> Directory | None:
    """The directory at a position, if it lies inside the data (EXIF's own, or one for each further picture)."""
    form = _form_of(data)
    if form is None or not position or _next_at(data, position, form) is None:
        return None
    start = position + form.count_bytes
    count = _number(data, position, form.count_bytes, form)
    return Directory(dict(_entry(data, start + i * form.entry_bytes, form) for i in range(count)))


def _form_of(data: Content) -> _Form | None:
    order = byte_order(data)
    if order is None:
        return None
    return _Form(order, 8, 20, 8, 8) if data[2:4] in (b"+\x00", b"\x00+") else _Form(order, 2, 12, 4, 4)


def _number(data: Content, at: int, size: int, form: _Form) -> int:
    return int.from_bytes(data[at : at + size], form.order)


def _entry(data: Content, at: int, form: _Form) -> tuple[int, tuple[int, int, int]]:
    """Tag, kind, count, and the values themselves or where they lie if they take more room than that."""
    width = _TYPE_BYTES.get(_number(data, at + 2, 2, form), 1)
    amount = _number(data, at + 4, form.offset_bytes, form)
    place = at + 4 + form.offset_bytes
    if width * amount > form.offset_bytes:
        place = _number(data, place, form.offset_bytes, form)
    return _number(data, at, 2, form), (place, width, amount)


def _next_at(data: Content, position: int, form: _Form) -> int | None:
    """Where the next page's directory is said to be (0: no more), or None if this one does not lie in the data."""
    count = _number(data, position, form.count_bytes, form)
    end = position + form.count_bytes + count * form.entry_bytes
    if not 0 < count <= _MAX_ENTRIES or end + form.offset_bytes > len(data):
        return None
    return _number(data, end, form.offset_bytes, form)


def values(data: Content, page: Directory, tag: int, *, limit: int = _MAX_VALUES) -> list[int]:
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
    page = first_page(data)
    return _end_of_pixels(data, page) if page else None


def _end_of_pixels(data: Content, page: Directory) -> int | None:
    for where, how_long in (_STRIPS, _TILES, _OLD_JPEG):
        offsets, lengths = values(data, page, where), values(data, page, how_long)
        if offsets and len(offsets) == len(lengths):
            return max(offset + length for offset, length in zip(offsets, lengths, strict=True))
    return None


def end_of_all_pixels(data: Content) -> int | None:
    """The same over the first page and the pictures below it, as camera raw files have them (tag 330)."""
    page = first_page(data)
    if page is None:
        return None
    below = (
        directory_at(data, position) for position in values(data, page, _SUB_DIRECTORIES, limit=_MAX_SUB_DIRECTORIES)
    )
    ends = [_end_of_pixels(data, directory) for directory in (page, *below) if directory is not None]
    return max((end for end in ends if end is not None), default=None)


def is_compressed(data: Content) -> bool:
    """Whether the first page says that its pixels are not stored as they are."""
    page = first_page(data)
    return page is not None and values(data, page, 259, limit=1) not in ([], [1])


def is_old_jpeg(data: Content) -> bool:
    """Whether the first page is compressed as TIFF 6.0 did it with JPEG (compression 6), which was given up in 1995."""
    page = first_page(data)
    return page is not None and values(data, page, 259, limit=1) == [6]


def is_misread_by_libvips(data: Content) -> bool:
    """Whether the first page's colours are of a form that libvips 8.18 refuses or takes for RGB, and Pillow reads.

    CIELab of 8 bits ("bad labq format"), and YCbCr that is not JPEG inside (TIFF 6.0, sections 21 and 23).
    """
    page = first_page(data)
    if page is None:
        return False
    photometric, compression = values(data, page, 262, limit=1), values(data, page, 259, limit=1)
    if photometric == [_YCBCR]:
        return compression not in _JPEG_INSIDE
    return photometric == [_CIELAB] and values(data, page, 258, limit=1) == [8]


def chain_is_whole(data: Content) -> bool:
    """Whether the directory of every page lies inside the data, and all that the first one points to."""
    form, page = _form_of(data), first_page(data)
    if form is None or page is None:
        return False
    position: int | None = _number(data, form.first_at, form.offset_bytes, form)
    for _ in range(_MAX_PAGES):
        if not position:
            break
        position = _next_at(data, position, form)
    inside = all(place + width * amount <= len(data) for place, width, amount in page.tags.values())
    return position is not None and inside
