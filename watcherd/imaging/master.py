"""The master: the picture upright, in 8 bits, at the size of the largest variant, in memory.

Responsible for: decoding once for all variants, and saying what a failed decode means.
Not responsible for: opening (`decode.py`), what is made of the master (`render.py`).
"""

from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from watcherd.imaging import colour
from watcherd.imaging.content import Content
from watcherd.imaging.decode import incomplete
from watcherd.imaging.decoders import DECODERS, Decoder, Engine, decoder_of
from watcherd.imaging.endings import Ending, ending_of
from watcherd.imaging.formats import pillow, svg
from watcherd.imaging.geometry import Size, plan
from watcherd.imaging.metadata import exif_of_tiff
from watcherd.imaging.opening import open_picture
from watcherd.imaging.sniff import Kind
from watcherd.imaging.unsupported import UNSUPPORTED_FORMS
from watcherd.imaging.vips import (
    clean,
    excuse,
    forget_warnings,
    pyvips,
    says_out_of_memory,
    shape_of,
    warned,
)
from watcherd.model import Failed, Header, Incomplete, MetadataPolicy, Reason, Rejected, Variant
from watcherd.settings import LimitSettings

_LEAST_DECODED = 0.75
"""A picture of which less than this much decodes is of no use to anybody."""
_FORGIVING = frozenset((Engine.VIPS, Engine.PILLOW))
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A content that `identify` has let through, what to make of it, and whether by another decoder than usual."""

    data: Content
    header: Header
    variants: tuple[Variant, ...]
    limits: LimitSettings
    other_decoder: bool = False

    @property
    def kind(self) -> Kind:
        """The header's kind, as the closed vocabulary."""
        return Kind(self.header.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """`source_size` is the source's, upright; the image may be smaller. It may have an alpha band still.

    `decoded_share` tells how much of the height a forgiving decoder really got.
    """

    image: pyvips.Image
    source_size: Size
    notes: tuple[str, ...] = ()
    decoded_share: float = 1.0


class _Fault(NamedTuple):
    """Why an attempt gave no master."""

    reason: Reason
    detail: str


def develop(task: Task, *, tolerant: bool) -> Master | Incomplete | Rejected | Failed:
    """Decode once for all variants.

    What a strict decoder refuses is Incomplete, unless the file is whole and hopeless; after the grace (`tolerant`) it
    is rendered as far as it goes.
    """
    master = _attempt(task, strict=True)
    if isinstance(master, Master):
        return master
    if master.reason is Reason.OUT_OF_MEMORY:
        return Failed(reason=master.reason, detail=master.detail)
    if master.reason is not Reason.DAMAGED:
        return Rejected(reason=master.reason, detail=master.detail)
    answer = ending_of(task.kind, task.data)
    if not tolerant and answer.ending is not Ending.WHOLE:
        return incomplete(answer) or Incomplete(reason=Reason.TRUNCATED, detail=f"{answer.detail}: {master.detail}")
    return _rescued(task, master, tolerant=tolerant)


def _rescued(task: Task, fault: _Fault, *, tolerant: bool) -> Master | Incomplete | Rejected:
    """What a decoder that forgives makes of it."""
    master = _attempt(task, strict=False) if DECODERS[task.kind].engine in _FORGIVING else None
    if not isinstance(master, Master):
        return Rejected(reason=Reason.DAMAGED, detail=fault.detail)
    share = master.decoded_share
    if share < _LEAST_DECODED:
        return Rejected(reason=Reason.DAMAGED, detail=f"only {share:.0%} of the picture can be decoded: {fault.detail}")
    if not tolerant:
        return Incomplete(reason=Reason.TRUNCATED, detail=f"parts cannot be decoded: {fault.detail}")
    note = f"damaged: about {share:.0%} of the picture could be decoded ({fault.detail})"
    return Master(image=master.image, source_size=master.source_size, notes=(*master.notes, note))


def _attempt(task: Task, *, strict: bool) -> Master | _Fault:
    """By the kind's decoder, then by its other one if it has any. A decoder may raise anything on damaged bytes."""
    decoder = decoder_of(task.kind, task.data, svg=True, other=task.other_decoder)
    if isinstance(decoder, Rejected):
        return _Fault(decoder.reason, decoder.detail)
    try:
        return _decoded(task, decoder, strict=strict, stored=(task.header.width, task.header.height))
    except Exception as error:  # noqa: BLE001
        fault = _fault_of(task, error)
    if fault.reason is not Reason.DAMAGED or decoder.fallback is None:
        return fault
    try:
        return _decoded(task, decoder.fallback, strict=strict, stored=None)
    except Exception as error:  # noqa: BLE001
        second = _fault_of(task, error)
    return second if second.reason is Reason.OUT_OF_MEMORY else fault  # else the first one's words are the better ones


def _fault_of(task: Task, error: Exception) -> _Fault:
    """Raises NoThreadError: what a system without threads makes of a picture is no fault of the picture."""
    excuse(error)
    if isinstance(error, MemoryError) or says_out_of_memory(error):
        return _Fault(Reason.OUT_OF_MEMORY, f"no memory to decode {task.header.pixels:,} pixels")
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return _Fault(Reason.TOO_MANY_PIXELS, f"more pixels inside than max_pixels = {task.limits.max_pixels}")
    if isinstance(error, UNSUPPORTED_FORMS):
        return _Fault(Reason.UNSUPPORTED, f"this form of {task.kind} cannot be read: {clean(error)}")
    return _Fault(Reason.DAMAGED, clean(error))


def _decoded(task: Task, decoder: Decoder, *, strict: bool, stored: Size | None) -> Master:
    """`stored`: the full size before turning, if this decoder told it; another one may have turned the picture."""
    forget_warnings()
    shrink = 1 / min(1.0, _largest_scale(task))
    limit = task.limits.max_pixels
    image = open_picture(task.kind, decoder, task.data, shrink=shrink, strict=strict, max_pixels=limit)
    stored = stored or shape_of(image)[:2]
    turned = image.get_typeof("orientation") and image.get("orientation") >= 5
    size = stored[::-1] if turned else stored
    needed = _needed(task, size)
    image = scaled(_over_common(colour.to_bytes(image), task), needed[::-1] if turned else needed).copy_memory()
    notes = _warnings(task) if strict else ()
    if task.kind is Kind.SVG:
        notes = tuple(filter(None, (svg.note_of(task.data),)))
    share = 1.0 if strict else _decoded_share(image)
    if image.get_typeof("orientation"):
        image = image.autorot().copy_memory()
    if task.kind is Kind.TIFF and any(variant.metadata is not MetadataPolicy.NONE for variant in task.variants):
        image = image.copy()
        pillow.attach(image, {"exif-data": exif_of_tiff(task.data)}, orientation=1)
    return Master(image=image, source_size=size, notes=notes, decoded_share=share)


def _warnings(task: Task) -> tuple[str, ...]:
    """JPEG decoders warn of damage and go on: a note, but in a file without its end the sign that some is missing."""
    warning = warned() if task.kind is Kind.JPEG else ""
    if warning and ending_of(task.kind, task.data).ending is not Ending.WHOLE:
        raise EOFError(warning)
    return (f"decoded with a warning: {warning}",) if warning else ()


def scaled(image: pyvips.Image, size: Size) -> pyvips.Image:
    """Resize to exactly these pixels. Transparent pictures are weighted by their transparency."""
    width, height, _ = shape_of(image)
    if size == (width, height):
        return image
    horizontal, vertical = size[0] / width, size[1] / height
    if colour.has_alpha(image):
        return image.premultiply().resize(horizontal, vscale=vertical).unpremultiply().cast("uchar")
    return image.resize(horizontal, vscale=vertical)


def _over_common(image: pyvips.Image, task: Task) -> pyvips.Image:
    """Flatten before scaling where all variants stand on white: far cheaper, and the same picture.

    White is white under every profile, and it is what perceptual hashes are taken on.
    """
    return colour.over(image, _WHITE) if all(variant.background == _WHITE for variant in task.variants) else image


def _largest_scale(task: Task) -> float:
    """The largest part of the source's size that any variant needs, whichever way up it turns out to be."""
    width, height = task.header.width, task.header.height
    both = [(plan(a, b, v).scaled, (a, b)) for v in task.variants for a, b in ((width, height), (height, width))]
    return max(max(wanted[0] / size[0], wanted[1] / size[1]) for wanted, size in both)


def _needed(task: Task, size: Size) -> Size:
    """The size of the largest variant's scaled picture, and never more than the source has."""
    width, height = max(plan(*size, variant).scaled for variant in task.variants)
    return min(width, size[0]), min(height, size[1])


def _decoded_share(image: pyvips.Image) -> float:
    """How much of the picture lies above the rows of one colour that decoders leave where nothing came.

    (Or below them: BMP and TGA may be stored from the bottom up.)
    """
    pixels = bytes(image.write_to_memory())
    width, _, bands = shape_of(image)
    row_bytes = width * bands
    lines = [pixels[at : at + row_bytes] for at in range(0, len(pixels), row_bytes)]
    filled = [row for row, line in enumerate(lines) if line != line[:bands] * width]
    return min(filled[-1] + 1, len(lines) - filled[0]) / len(lines) if filled else 0.0
