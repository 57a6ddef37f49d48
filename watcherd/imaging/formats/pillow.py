"""Pillow, held to one format at a time: the kinds of picture that libvips was built without.

Responsible for: opening by a named format, limits against hidden sizes, handing pixels and profile over to libvips.
Not responsible for: choosing the format (`decoders.py`), resizing, colour.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Imported by name, and before a worker is fenced: Pillow would otherwise import every plugin at the first need.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    IcoImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from watcherd.imaging.content import Content, Window
from watcherd.imaging.formats.psd import require_readable
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

_ORIENTATION_TAG = 0x0112
_REDUCIBLE = frozenset(("L", "RGB", "CMYK"))
_MODES = {mode: mode for mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB", "F", "I", "I;16")}
_TRANSLATED = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16"}
_BANDS = {
    "L": (1, "uchar", "b-w"),
    "LA": (2, "uchar", "b-w"),
    "RGB": (3, "uchar", "srgb"),
    "RGBA": (4, "uchar", "srgb"),
    "CMYK": (4, "uchar", "cmyk"),
    "I;16": (1, "ushort", "grey16"),
    "I": (1, "int", "grey16"),  # 16-bit PPM: Pillow has no other mode for it
    "F": (1, "float", "b-w"),
    "LAB": (3, "uchar", "lab"),
}


@contextmanager
def opened(data: Content, name: str, *, max_pixels: int | None, strict: bool) -> Iterator[Image.Image]:
    """The picture, its header read and its pixels not. Pillow's process-wide switches are put back afterwards.

    Raises whatever Pillow makes of damaged bytes: any exception at all.
    """
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, not strict
    try:
        with warnings.catch_warnings(), io.BufferedReader(Window(data)) as stream:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream, formats=(name,)) as picture:
                yield picture
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def size_of(data: Content, name: str) -> tuple[int, int]:
    """Width and height as they are stored, from the header. Raises UnsupportedFormError for what has no reader."""
    if name == "PSD":
        require_readable(data)
    with opened(data, name, max_pixels=None, strict=False) as picture:
        return picture.size


def read(data: Content, name: str, *, shrink: int, max_pixels: int, strict: bool) -> pyvips.Image:
    """The decoded picture as libvips' own, with its profile and orientation, reduced by no more than `shrink`.

    Half of the reduction is left to libvips, whose filter is the better one; done here, the rest saves the copies.
    """
    with opened(data, name, max_pixels=max_pixels, strict=strict) as picture:
        if isinstance(picture, Jpeg2KImagePlugin.Jpeg2KImageFile) and shrink > 1:
            picture.reduce = shrink.bit_length() - 1
        picture.load()
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)  # TIFF pictures are upright once they are loaded
        factor = shrink // 2
        reduces = factor > 1 and picture.mode in _REDUCIBLE and not picture.has_transparency_data
        image = _to_vips(picture.reduce(factor) if reduces and name != "JPEG2000" else picture)
        blobs = {
            "icc-profile-data": picture.info.get("icc_profile"),
            "exif-data": picture.info.get("exif"),
            "xmp-data": picture.info.get("xmp"),
        }
    attach(image, blobs, orientation=orientation)
    return image


def attach(image: pyvips.Image, blobs: dict[str, object], *, orientation: object) -> None:
    """Hang metadata on an image under libvips' names; what is no bytes is left out.

    libvips reads an orientation out of the EXIF that it is given: ours is the one that counts.
    """
    for field, blob in blobs.items():
        if isinstance(blob, bytes) and blob:
            image.set_type(pyvips.GValue.blob_type, field, blob)
    if image.get_typeof("orientation"):
        image.remove("orientation")
    if isinstance(orientation, int) and 2 <= orientation <= 8:
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)


def _to_vips(picture: Image.Image) -> pyvips.Image:
    mode = _MODES.get(picture.mode) or _TRANSLATED.get(picture.mode)
    if picture.mode == "P":
        mode = "RGBA" if picture.has_transparency_data else "RGB"
    try:
        converted = picture if mode == picture.mode else picture.convert(mode or "RGB")
    except ValueError as error:
        raise UnsupportedFormError(f"pixels of the form {picture.mode}") from error
    bands, form, interpretation = _BANDS[converted.mode]
    image = pyvips.Image.new_from_memory(converted.tobytes(), converted.width, converted.height, bands, form)
    if converted.mode == "LAB":  # L* from 0 to 100 in 255 steps; a* and b*, as they come out of Pillow, signed bytes
        image = (image ^ [0, 128, 128]).linear([100 / 255, 1, 1], [0, -128, -128])
        return image.copy(interpretation=interpretation)
    return (image.cast("ushort") if form == "int" else image).copy(interpretation=interpretation)
