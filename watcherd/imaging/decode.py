"""The first look at an upload: what it is, how large, within the limits, and all there? No pixel is decoded.

Responsible for: `identify`, and the outcomes that it can tell from a header.
Not responsible for: opening and decoding (`opening.py`), what a failed decode means (`master.py`).
"""

from collections.abc import Sequence

from watcherd.imaging.content import Content
from watcherd.imaging.cost import Look, memory_bytes
from watcherd.imaging.decoders import Decoder, Engine, decoder_of
from watcherd.imaging.endings import Answer, Ending, ending_of, hole_matters
from watcherd.imaging.formats import jpeg, tiff
from watcherd.imaging.formats.svg import Survey, survey
from watcherd.imaging.opening import open_picture, size_of
from watcherd.imaging.sniff import HEAD_BYTES, Kind, kind_of
from watcherd.imaging.unsupported import UNSUPPORTED_FORMS, UnsupportedFormError
from watcherd.imaging.vips import clean, excuse, shape_of
from watcherd.model import Header, Ignored, Incomplete, Reason, Rejected, Variant
from watcherd.settings import LimitSettings

_FOOTER_BYTES = 32
_PAGED = frozenset((Kind.GIF, Kind.WEBP, Kind.TIFF))
_SAMPLE_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "uint": 4, "int": 4, "float": 4, "complex": 8}
_COEFFICIENT_BYTES = 2
_PIXEL_BYTES = {Kind.AVIF: 10.0, Kind.HEIC: 6.0, Kind.WEBP: 5.0, Kind.GIF: 6.0, Kind.RAW: 20.0, Kind.VIDEO: 30.0}
_PILLOW_PIXEL_BYTES = 8.0  # its own four bytes a pixel, and the copy for libvips
_OTHER_PIXEL_BYTES = {Kind.JPEG: 12.0, Kind.PNG: 13.0, Kind.GIF: 12.0, Kind.TIFF: 13.0, Kind.WEBP: 18.0}  # by Pillow
_AVIF_BY_VIPS_PIXEL_BYTES = 16.0


# ---------------------------------------------------------------------------------------------------- the first look


def identify(
    data: Content,
    *,
    variants: Sequence[Variant],
    limits: LimitSettings,
    has_holes: bool,
    tolerant: bool,
    other_decoder: bool = False,
    svg: bool = False,
) -> Header | Ignored | Incomplete | Rejected:
    """Look at a content without decoding a pixel: what it is, whether it is within the limits, whether it is whole.

    `tolerant` leaves completeness to the decoder: for uploads that have waited long enough. `other_decoder`: by another
    one than usual, where there is one. `svg` allows SVG.
    """
    kind = kind_of(data[:HEAD_BYTES], data[-_FOOTER_BYTES:], len(data))
    if kind is None:
        return Ignored(kind="no_picture")
    decoder = decoder_of(kind, data, svg=svg, other=other_decoder)
    if isinstance(decoder, Rejected):
        return decoder
    if len(data) > limits.max_bytes:
        return too_many_bytes(len(data), limits)
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
    if kind is Kind.TIFF and tiff.is_old_jpeg(data):
        detail = "a TIFF with old-style JPEG compression that no decoder here reads"
        return Rejected(reason=Reason.UNSUPPORTED, detail=detail)
    answer = ending_of(kind, data)
    is_early = kind is Kind.VIDEO and answer.ending is not Ending.UNTOLD  # what there is no picture in, may get one
    if (rejected.reason is not Reason.DAMAGED and not is_early) or answer.ending is Ending.WHOLE:
        return rejected
    return incomplete(answer) or Incomplete(reason=Reason.TRUNCATED, detail=rejected.detail)


def _unfinished(kind: Kind, data: Content, *, has_holes: bool) -> Incomplete | None:
    if has_holes and hole_matters(kind, data):
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


def too_many_bytes(size_bytes: int, limits: LimitSettings) -> Rejected:
    """The refusal of a file that is too large, with the number that would allow it."""
    return _too_many(Reason.TOO_MANY_BYTES, size_bytes, "bytes", "max_bytes", limits.max_bytes)


def _too_many(reason: Reason, number: int, unit: str, setting: str, limit: int) -> Rejected:
    return Rejected(reason=reason, detail=f"{number:,} {unit}, more than {setting} = {limit}")


def _look(kind: Kind, decoder: Decoder, data: Content) -> Look | Rejected:
    """By the kind's decoder or by its other one. A decoder may raise anything on damaged bytes."""
    try:
        return _look_with(kind, decoder, data)
    except MemoryError:
        raise
    except UNSUPPORTED_FORMS as error:
        return Rejected(reason=Reason.UNSUPPORTED, detail=f"this form of {kind} cannot be read: {clean(error)}")
    except Exception as error:  # noqa: BLE001
        excuse(error)
        if decoder.fallback is not None:
            return _look(kind, decoder.fallback, data)
        return Rejected(reason=Reason.DAMAGED, detail=f"the {kind} header cannot be read: {clean(error)}")


def _look_with(kind: Kind, decoder: Decoder, data: Content) -> Look:
    match decoder.engine:
        case Engine.VIPS if kind is Kind.JPEG:
            return _look_at_jpeg(decoder, data)
        case Engine.VIPS:
            return _look_by_vips(kind, decoder, data)
        case _:
            width, height = size_of(decoder, data)
    if kind is Kind.SVG:  # it is drawn at the size of the largest variant, which is counted apart
        return _look_at_svg(survey(data), width, height)
    by_pillow = _OTHER_PIXEL_BYTES if decoder.engine is Engine.PILLOW else {}
    pixel_bytes = by_pillow.get(kind) or _PIXEL_BYTES.get(kind, _PILLOW_PIXEL_BYTES)
    return Look(width=width, height=height, frames=1, pixel_bytes=pixel_bytes, streams=False)


def _look_at_svg(found: Survey, width: int, height: int) -> Look:
    return Look(
        width=width,
        height=height,
        frames=1,
        pixel_bytes=0.0,
        streams=True,
        further_bytes=found.memory_bytes,
        layers=found.filter_steps,
    )


def _look_at_jpeg(decoder: Decoder, data: Content) -> Look:
    frame = jpeg.frame_of(data)
    if 8 < frame.depth <= 16:
        raise UnsupportedFormError(f"{frame.depth} bits a sample, only 8 are supported")
    image = open_picture(Kind.JPEG, decoder, data, shrink=1.0, strict=False)
    width, height, bands = shape_of(image)
    streams = not frame.progressive
    pixel_bytes = bands if streams else frame.samples * _COEFFICIENT_BYTES
    return Look(width=width, height=height, frames=1, pixel_bytes=pixel_bytes, streams=streams)


def _look_by_vips(kind: Kind, decoder: Decoder, data: Content) -> Look:
    image = open_picture(kind, decoder, data, shrink=1.0, strict=False)
    frames = image.get("n-pages") if kind in _PAGED and image.get_typeof("n-pages") else 1
    interlaced = image.get_typeof("interlaced") and image.get("interlaced")
    pixel_bytes = _PIXEL_BYTES.get(kind, image.bands * _SAMPLE_BYTES.get(image.format, 16))
    if kind is Kind.AVIF:
        pixel_bytes = _AVIF_BY_VIPS_PIXEL_BYTES
    streams = kind is Kind.PNG and not interlaced
    return Look(width=image.width, height=image.height, frames=frames, pixel_bytes=pixel_bytes, streams=streams)
