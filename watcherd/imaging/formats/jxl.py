"""JPEG XL by libjxl, where the extra `jxl` is installed.

Responsible for: the size, read from the code stream's header (the plug-in would decode everything to tell it), and the
pixels, without Pillow in between; the name of the encoder.
Not responsible for: saying that the extra is missing (`decoders.py` does before anybody comes here).

libjxl turns pictures upright by itself; EXIF's orientation only repeats what the code stream says, and is dropped.
"""

from contextlib import suppress

from PIL import Image

from watcherd.imaging.content import Content
from watcherd.imaging.formats.pillow import attach
from watcherd.imaging.geometry import Size
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

with suppress(ImportError):  # the extra is not installed
    import pillow_jxl

_CODE_STREAM = b"\xff\x0a"
_HEADER_BYTES = 64
_NAME = "JXL"
_MAX_BOXES = 1000
_LENGTH_BITS = (9, 13, 18, 30)
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_FORMS = {
    "L": (1, "uchar", "b-w"),
    "LA": (2, "uchar", "b-w"),
    "RGB": (3, "uchar", "srgb"),
    "RGBA": (4, "uchar", "srgb"),
    "I;16": (1, "ushort", "grey16"),
    "F": (1, "float", "b-w"),
}
_EXIF_OFFSET_BYTES = 4


def size_of(data: Content) -> Size:
    """Width and height, upright. Raises ValueError where there is no header (ISO 18181-1, annexes D.2 and D.3)."""
    bits = _Bits(_stream_header(data))
    is_small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if is_small else bits.length()
    across, down = _RATIOS[bits.take(3)]
    width = height * across // down
    if not across:
        width = 8 * (bits.take(5) + 1) if is_small else bits.length()
    says_more = not bits.take(1) and bits.take(1)
    orientation = 1 + bits.take(3) if says_more else 1
    return (height, width) if orientation >= 5 else (width, height)


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The first frame. Raises whatever libjxl makes of damaged bytes."""
    del shrink  # there is no cheaper way to a smaller one
    is_jpeg, info, pixels, profile, boxes = pillow_jxl.Decoder(num_threads=0)(bytes(data))
    if is_jpeg:  # a JPEG that was packed without loss comes back as it was
        return pyvips.Image.jpegload_buffer(pixels, fail_on="error").autorot()
    form = _FORMS.get(info.mode)
    if form is None:
        raise UnsupportedFormError(f"pixels of the form {info.mode}")
    bands, sample, interpretation = form
    image = pyvips.Image.new_from_memory(pixels, info.width, info.height, bands, sample)
    image = image.copy(interpretation=interpretation)
    exif = next((bytes(box.data)[_EXIF_OFFSET_BYTES:] for box in boxes if box.box_type == b"Exif"), b"")
    profile = bytes(profile) if profile else b""
    attach(image, {"icc-profile-data": profile, "exif-data": exif and b"Exif\0\0" + exif}, orientation=1)
    return image


def encoder() -> str:
    """Pillow's name for the encoder, which gives a bare code stream where no metadata goes in.

    Raises UnsupportedFormError where the extra is not installed: configurations are refused then, programs have none.
    """
    if _NAME not in Image.SAVE:
        raise UnsupportedFormError("JPEG XL is written by an extra encoder: pip install 'watcherd[jxl]'")
    return _NAME


class _Bits:
    """The header's numbers, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the header is cut off")
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value

    def length(self) -> int:
        return 1 + self.take(_LENGTH_BITS[self.take(2)])


def _stream_header(data: Content) -> bytes:
    """The beginning of the code stream, behind its two bytes: the file's own, or that of a box (ISO 18181-2)."""
    position = 0
    for _ in range(_MAX_BOXES):
        if data[position : position + 2] == _CODE_STREAM:
            return bytes(data[position + 2 : position + 2 + _HEADER_BYTES])
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        header = 8
        if length == 1:
            length, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            position += header + (4 if kind == b"jxlp" else 0)
        elif length < header:
            break
        else:
            position += length
    raise ValueError("no code stream")
