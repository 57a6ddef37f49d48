"""Opening a picture with its decoder; pixels come when they are asked for.

Responsible for: the call of each decoder, reducing while decoding, strict and forgiving.
Not responsible for: choosing the decoder (`decoders.py`), colours, sizes of variants, what an error means.
"""

from watcherd.imaging.content import Content
from watcherd.imaging.decoders import Decoder, Engine
from watcherd.imaging.endings import Ending, ending_of
from watcherd.imaging.formats import heif, jpeg, jxl, pdf, pillow, raw, svg, video
from watcherd.imaging.geometry import Size
from watcherd.imaging.sniff import Kind
from watcherd.imaging.vips import pyvips

_WEBP_HEADROOM = 2.0
_ALIKE = {
    Engine.HEIF: heif,
    Engine.JXL: jxl,
    Engine.RAW: raw,
    Engine.PDF: pdf,
    Engine.VIDEO: video,
    Engine.SVG: svg,
}
"""One module for each library that is used for one kind alone, all of the same two functions."""


def open_picture(
    kind: Kind, decoder: Decoder, data: Content, *, shrink: float, strict: bool, max_pixels: int = 0
) -> pyvips.Image:
    """The first frame, decoded as it is read, and reduced while decoding by no more than `shrink` where that is cheap.

    The image carries the profile (`icc-profile-data`), `orientation`, `exif-data` and `xmp-data` of the source.
    Errors may come now or when pixels are computed. `strict` makes an error of every sign of a missing part.
    """
    if decoder.engine is Engine.PILLOW:
        return pillow.read(data, decoder.name, shrink=int(shrink), max_pixels=max_pixels, strict=strict)
    if decoder.engine in _ALIKE:
        return _ALIKE[decoder.engine].read(data, shrink=shrink)
    if kind is Kind.JPEG:
        return _open_jpeg(decoder.name, data, shrink, strict=strict)
    if kind is Kind.WEBP and shrink > _WEBP_HEADROOM:
        return _load(decoder.name, data, strict=strict, scale=_WEBP_HEADROOM / shrink)
    return _load(decoder.name, data, strict=strict)


def size_of(decoder: Decoder, data: Content) -> Size:
    """Width and height by a decoder other than libvips, before turning."""
    if decoder.engine in _ALIKE:
        size: Size = _ALIKE[decoder.engine].size_of(data)
        return size
    return pillow.size_of(data, decoder.name)


def open_frames(decoder: Decoder, data: Content, frames: int) -> pyvips.Image:
    """The first frames of an animation below one another, `page-height` apart."""
    return _load(decoder.name, data, strict=True, n=frames)


def _open_jpeg(name: str, data: Content, shrink: float, *, strict: bool) -> pyvips.Image:
    """At a reduction of the cosine transform, which costs less the more it reduces.

    A picture that lacks only its end marker is whole; the decoder must get one to know, and then warns only of what
    really is missing. (libvips keeps a copy of a buffer, but only a pointer to the bytes behind a source.)
    """
    factor = next((s for s in jpeg.SHRINKS if s <= shrink), 1)
    if strict and ending_of(Kind.JPEG, data).ending is not Ending.WHOLE:
        if jpeg.frame_of(data).progressive:
            raise EOFError("a progressive JPEG without its end marker lacks detail everywhere")
        whole = bytes(data) + jpeg.END_OF_IMAGE
        return pyvips.Image.jpegload_buffer(whole, access="sequential", fail_on="error", shrink=factor)
    return _load(name, data, strict=strict, shrink=factor)


def _load(name: str, data: Content, *, strict: bool, **options: float) -> pyvips.Image:
    """The caller keeps `data` for as long as the image lives: nothing is copied."""
    source = pyvips.Source.new_from_memory(data)
    fail_on = "error" if strict else "none"
    return getattr(pyvips.Image, name)(source, access="sequential", fail_on=fail_on, **options)
