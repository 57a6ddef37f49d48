"""What of a source's metadata a derivative carries: nothing, the copyright, or all of it.

Responsible for: the three policies, and the one field that must change (the picture stands upright now).
Not responsible for: the mark, which always goes in (`encode.py`).
"""

import io
import re
from collections.abc import Callable

from PIL import Image
from PIL.ExifTags import IFD

from watcherd.imaging.content import Content, Window
from watcherd.imaging.encode import Kept
from watcherd.imaging.vips import pyvips
from watcherd.model import ColourPolicy, MetadataPolicy, Variant

_ORIENTATION, _ARTIST, _COPYRIGHT = 0x0112, 0x013B, 0x8298
_TELLING = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, _ARTIST, 0x013C, _COPYRIGHT)
"""Description, camera, programs and date (TIFF 6.0, section 8)."""
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[2-8]')
_PROFILE_SPACE, _PROFILE_SIGNATURE = slice(16, 20), slice(36, 40)  # ICC.1:2022, 7.2
_SPACES = {1: b"GRAY", 3: b"RGB "}
_LARGEST_EXIF_BYTES = 65_000  # one JPEG segment


def kept_of(image: pyvips.Image, variant: Variant, *, bands: int) -> Kept:
    """The blobs to write, from those that the decoder found. Broken ones are left out.

    `bands`: of the picture that is encoded; a profile that speaks of others (of ink, say) is not its own.
    """
    profile = blob_of(image, "icc-profile-data") if variant.colour is ColourPolicy.KEEP else b""
    if profile[_PROFILE_SPACE] != _SPACES[bands] or profile[_PROFILE_SIGNATURE] != b"acsp":
        profile = b""
    match variant.metadata:
        case MetadataPolicy.NONE:
            return Kept(icc_profile=profile)
        case MetadataPolicy.COPYRIGHT:
            return Kept(exif=_exif(image, _only_copyright), icc_profile=profile)
        case MetadataPolicy.KEEP:
            xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", blob_of(image, "xmp-data"))
            return Kept(exif=_exif(image, _all_upright), xmp=xmp, icc_profile=profile)


def blob_of(image: pyvips.Image, field: str) -> bytes:
    """A block of metadata by libvips' name for it; empty where there is none."""
    return image.get(field) if image.get_typeof(field) else b""


def _exif(image: pyvips.Image, choose: Callable[[Image.Exif], Image.Exif]) -> bytes:
    source = Image.Exif()
    try:
        source.load(blob_of(image, "exif-data"))
        chosen = choose(source)
        encoded = chosen.tobytes() if chosen else b""
    except Exception:  # noqa: BLE001 - Pillow raises anything on damaged EXIF; a picture without it is still right
        return b""
    return encoded if len(encoded) <= _LARGEST_EXIF_BYTES else b""


def exif_of_tiff(data: Content) -> bytes:
    """What a TIFF's own directory says of the picture, as the block of EXIF that other containers have; empty if none.

    Its other tags are about how the file stores its pixels.
    """
    source, chosen = Image.Exif(), Image.Exif()
    try:
        with io.BufferedReader(Window(data)) as stream:
            source.load_from_fp(stream)
            for tag in _TELLING:
                if tag in source:
                    chosen[tag] = source[tag]
            for directory in (IFD.Exif, IFD.GPSInfo):
                if found := source.get_ifd(directory):
                    chosen.get_ifd(directory).update(found)
            return chosen.tobytes() if chosen or any(map(chosen.get_ifd, (IFD.Exif, IFD.GPSInfo))) else b""
    except Exception:  # noqa: BLE001 - as above
        return b""


def _only_copyright(source: Image.Exif) -> Image.Exif:
    chosen = Image.Exif()
    for tag in (_ARTIST, _COPYRIGHT):
        if tag in source:
            chosen[tag] = source[tag]
    return chosen


def _all_upright(source: Image.Exif) -> Image.Exif:
    if _ORIENTATION in source:
        source[_ORIENTATION] = 1
    return source
