"""HEIC by libheif itself, where the extra `heif` is installed.

Responsible for: header and pixels of HEIC files, without the two copies that Pillow's plug-in would make.
Not responsible for: saying that the extra is missing (`decoders.py` does before anybody comes here).

The container's own turning (`irot`, `imir`) is applied by libheif; EXIF's orientation only repeats it and is dropped.
"""

from contextlib import suppress

from watcherd.imaging.content import Content
from watcherd.imaging.formats.pillow import attach
from watcherd.imaging.geometry import Size
from watcherd.imaging.vips import pyvips

with suppress(ImportError):  # the extra is not installed
    import pillow_heif

_BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}


def size_of(data: Content) -> Size:
    """Width and height of the primary picture, as it stands upright."""
    width, height = pillow_heif.open_heif(bytes(data)).size
    return int(width), int(height)


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The primary picture in 8 bits. Raises whatever libheif makes of damaged bytes."""
    del shrink  # there is no cheaper way to a smaller one
    picture = pillow_heif.open_heif(bytes(data))
    bands = _BANDS[picture.mode]
    width, height = picture.size
    row_bytes = picture.stride
    pixels = picture.data
    if row_bytes != width * bands:
        padded = pyvips.Image.new_from_memory(pixels, row_bytes, height, 1, "uchar")
        pixels = padded.crop(0, 0, width * bands, height).write_to_memory()
    image = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    image = image.copy(interpretation="b-w" if bands < 3 else "srgb")
    if picture.mode == "RGBa":
        image = image.unpremultiply().cast("uchar")
    info = picture.info
    names = {"icc-profile-data": "icc_profile", "exif-data": "exif", "xmp-data": "xmp"}
    attach(image, {field: info.get(name) for field, name in names.items()}, orientation=1)
    return image
