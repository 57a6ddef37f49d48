"""From the bytes of an upload to a header, and to pixels that are not decoded before they are asked for.

Responsible for: the first look (kind, geometry, limits, completeness), opening a picture with its decoder.
Not responsible for: sizes of variants (`geometry.py`), colours, what a failed decode means (`render.py`).

A decoder may raise anything on hostile bytes. Only here and in `render.py` that becomes an outcome.
"""

from collections.abc import Sequence

from watcherd.imaging import heif, jpeg, pillow
from watcherd.imaging.cost import Look, memory_bytes
from watcherd.imaging.decoders import Decoder, Engine, decoder_for
from watcherd.imaging.endings import Answer, Ending, ending_of
from watcherd.imaging.sniff import HEAD_BYTES, Kind, kind_of
from watcherd.imaging.tiff import Content
from watcherd.imaging.vips import clean, pyvips
from watcherd.model import Header, Ignored, Incomplete, Reason, Rejected, Variant
from watcherd.settings import LimitSettings

_FOOTER_BYTES = 32
_FRAMED = frozenset((Kind.GIF, Kind.WEBP))
_PAGED = frozenset((Kind.GIF, Kind.WEBP, Kind.TIFF))
_SAMPLE_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "uint": 4, "int": 4, "float": 4, "complex": 8}
_COEFFICIENT_BYTES = 2
_PIXEL_BYTES = {Kind.AVIF: 10.0, Kind.HEIC: 6.0, Kind.WEBP: 5.0, Kind.GIF: 6.0}
_PILLOW_PIXEL_BYTES = 8.0  # its own four bytes a pixel, and the copy for libvips
_JPEG_SHRINKS = (8, 4, 2)
_WEBP_HEADROOM = 2.0


# ---------------------------------------------------------------------------------------------------- the first look


def identify(
    data: Content, *, variants: Sequence[Variant], limits: LimitSettings, has_holes: bool, tolerant: bool
) -> Header | Ignored | Incomplete | Rejected:
    """Look at a content without decoding a pixel: what it is, whether it is within the limits, whether it is whole.

    `tolerant` leaves completeness to the decoder: for uploads that have waited long enough.
    """
    kind = kind_of(data[:HEAD_BYTES], data[-_FOOTER_BYTES:], len(data))
    if kind is None:
        return Ignored(kind="no_picture")
    decoder = decoder_for(kind)
    if isinstance(decoder, Rejected):
        return decoder
    if len(data) > limits.max_bytes:
        return _too_many(Reason.TOO_MANY_BYTES, len(data), "bytes", "max_bytes", limits.max_bytes)
    look = _look(kind, decoder, data)
    if isinstance(look, Rejected):
        return look if tolerant else _waiting(kind, data, look)
    return (
        _beyond(look, limits)
        or (None if tolerant else _unfinished(kind, data, has_holes=has_holes))
        or Header(
            kind=kind,
            width=look.width,
            height=look.height,
            frames=look.frames,
            memory_bytes=memory_bytes(look, variants),
        )
    )


def _waiting(kind: Kind, data: Content, rejected: Rejected) -> Rejected | Incomplete:
    """An unreadable header is for good only if the rest of the file has arrived."""
    answer = ending_of(kind, data)
    if rejected.reason is not Reason.DAMAGED or answer.ending is Ending.WHOLE:
        return rejected
    return incomplete(answer) or Incomplete(reason=Reason.TRUNCATED, detail=rejected.detail)


def _unfinished(kind: Kind, data: Content, *, has_holes: bool) -> Incomplete | None:
    if has_holes:
        return Incomplete(reason=Reason.HOLES, detail="the file is sparse: parts of it seem not to be written yet")
    return incomplete(ending_of(kind, data))


def incomplete(answer: Answer) -> Incomplete | None:
    """The outcome of an answer that speaks of a missing end."""
    if answer.ending is Ending.CUT:
        return Incomplete(reason=Reason.TRUNCATED, detail=answer.detail)
    if answer.ending is Ending.ZEROS:
        return Incomplete(reason=Reason.ZERO_TAIL, detail=answer.detail)
    return None


def _beyond(look: Look, limits: LimitSettings) -> Rejected | None:
    side, pixels = max(look.width, look.height), look.width * look.height
    if pixels > limits.max_pixels:
        return _too_many(Reason.TOO_MANY_PIXELS, pixels, "pixels", "max_pixels", limits.max_pixels)
    if side > limits.max_side:
        return _too_many(Reason.SIDE_TOO_LONG, side, "pixels on the longer side", "max_side", limits.max_side)
    return None


def _too_many(reason: Reason, number: int, unit: str, setting: str, limit: int) -> Rejected:
    return Rejected(reason=reason, detail=f"{number:,} {unit}, more than {setting} = {limit}")


def _look(kind: Kind, decoder: Decoder, data: Content) -> Look | Rejected:
    try:
        if kind is Kind.JPEG:
            return _look_at_jpeg(data)
        return (
            _look_by_vips(kind, decoder, data)
            if decoder.engine is Engine.VIPS
            else _look_elsewhere(kind, decoder, data)
        )
    except MemoryError:
        raise
    except NotImplementedError as error:
        return Rejected(reason=Reason.UNSUPPORTED, detail=f"this form of {kind} cannot be read: {clean(error)}")
    except Exception as error:  # noqa: BLE001 - decoders raise anything on damaged bytes
        return Rejected(reason=Reason.DAMAGED, detail=f"the {kind} header cannot be read: {clean(error)}")


def _look_at_jpeg(data: Content) -> Look:
    frame = jpeg.frame_of(data)
    if 8 < frame.depth <= 16:
        raise NotImplementedError(f"{frame.depth} bits a sample, only 8 are supported")
    image = open_picture(Kind.JPEG, data, shrink=1.0, strict=False)
    pixel_bytes = frame.samples * _COEFFICIENT_BYTES if frame.progressive else image.bands
    return Look(
        width=image.width, height=image.height, frames=1, pixel_bytes=pixel_bytes, streams=not frame.progressive
    )


def _look_by_vips(kind: Kind, decoder: Decoder, data: Content) -> Look:
    image = _load(decoder.name, data, strict=False)
    frames = image.get("n-pages") if kind in _PAGED and image.get_typeof("n-pages") else 1
    interlaced = image.get_typeof("interlaced") and image.get("interlaced")
    pixel_bytes = _PIXEL_BYTES.get(kind, image.bands * _SAMPLE_BYTES.get(image.format, 16))
    streams = kind is Kind.PNG and not interlaced
    return Look(width=image.width, height=image.height, frames=frames, pixel_bytes=pixel_bytes, streams=streams)


def _look_elsewhere(kind: Kind, decoder: Decoder, data: Content) -> Look:
    if decoder.engine is Engine.HEIF:
        width, height = heif.size_of(data)
    else:
        with pillow.opened(data, decoder.name, max_pixels=None, strict=False) as picture:
            width, height = picture.size
    pixel_bytes = _PIXEL_BYTES.get(kind, _PILLOW_PIXEL_BYTES)
    return Look(width=width, height=height, frames=1, pixel_bytes=pixel_bytes, streams=False)


# ------------------------------------------------------------------------------------------------- opening a picture


def open_picture(kind: Kind, data: Content, *, shrink: float, strict: bool, max_pixels: int = 0) -> pyvips.Image:
    """The first frame, decoded as it is read, and reduced while decoding by no more than `shrink` where that is cheap.

    The image carries the profile (`icc-profile-data`), `orientation`, `exif-data` and `xmp-data` of the source.
    Errors may come now or when pixels are computed. `strict` makes an error of every sign of a missing part.
    """
    decoder = decoder_for(kind)
    if isinstance(decoder, Rejected):
        raise NotImplementedError(decoder.detail)
    if decoder.engine is Engine.PILLOW:
        return pillow.read(data, decoder.name, shrink=int(shrink), max_pixels=max_pixels, strict=strict)
    if decoder.engine is Engine.HEIF:
        return heif.read(data)
    if kind is Kind.JPEG:
        return _open_jpeg(decoder.name, data, shrink, strict=strict)
    if kind is Kind.WEBP and shrink > _WEBP_HEADROOM:
        return _load(decoder.name, data, strict=strict, scale=_WEBP_HEADROOM / shrink)
    return _load(decoder.name, data, strict=strict)


def open_fallback(kind: Kind, data: Content, *, strict: bool) -> pyvips.Image:
    """The same by the second decoder, for what the first one was built without."""
    decoder = decoder_for(kind)
    if isinstance(decoder, Rejected) or not decoder.fallback:
        raise NotImplementedError(f"{kind} has one decoder only")
    return _load(decoder.fallback, data, strict=strict)


def open_frames(kind: Kind, data: Content, frames: int) -> pyvips.Image | None:
    """The first frames of an animation below one another (`page-height` apart), or None for other kinds."""
    decoder = decoder_for(kind)
    if isinstance(decoder, Rejected) or kind not in _FRAMED:
        return None
    return _load(decoder.name, data, strict=True, n=frames)


def _open_jpeg(name: str, data: Content, shrink: float, *, strict: bool) -> pyvips.Image:
    """At a reduction of the cosine transform, which costs less the more it reduces.

    A picture that lacks only its end marker is whole; the decoder must get one to know, and then warns only of what
    really is missing. (libvips keeps a copy of a buffer, but only a pointer to the bytes behind a source.)
    """
    factor = next((s for s in _JPEG_SHRINKS if s <= shrink), 1)
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
