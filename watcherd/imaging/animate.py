"""Animations that stay animations: GIF and WebP to WebP, frame by frame.

Responsible for: scaling frames one at a time (so that none bleeds into the next), their times, the encoder.
Not responsible for: deciding how many frames are allowed (`LimitSettings.max_frames`), or for one-frame pictures.
"""

from watcherd.imaging import colour
from watcherd.imaging.decoders import decoder_for
from watcherd.imaging.finish import choose, finish
from watcherd.imaging.geometry import plan
from watcherd.imaging.marks import xmp_packet
from watcherd.imaging.master import Task, scaled
from watcherd.imaging.opening import open_frames
from watcherd.imaging.sniff import Kind
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips
from watcherd.model import AnimationPolicy, OutputFormat, Rejected, Variant
from watcherd.naming import Mark

_ANIMATED = frozenset((Kind.GIF, Kind.WEBP))
_FIELDS = ("delay", "loop")
_METHOD = 2


def frames_of(task: Task, variant: Variant) -> int:
    """How many frames this variant shows: one, unless source, variant, format and limits agree on more."""
    wanted = variant.animation is AnimationPolicy.KEEP and variant.format is OutputFormat.WEBP
    moves = wanted and task.kind in _ANIMATED
    return min(task.header.frames, task.limits.max_frames) if moves else 1


def animated(task: Task, variant: Variant, mark: Mark) -> tuple[bytes, int, int]:
    """The encoded animation and its size."""
    decoder = decoder_for(task.kind)
    if isinstance(decoder, Rejected):
        raise UnsupportedFormError(decoder.detail)
    strip = open_frames(decoder, task.data, frames_of(task, variant)).copy_memory()
    turned = strip.get_typeof("orientation") and strip.get("orientation") >= 5
    width, height = strip.width, strip.get("page-height")
    sizes = plan(*((height, width) if turned else (width, height)), variant)
    frames, choice = [], None
    for top in range(0, strip.height, height):
        frame = _upright(strip.extract_area(0, top, width, height), variant)
        frame = scaled(frame, sizes.scaled).copy_memory()
        choice = choice or choose(frame, variant, sizes)
        frames.append(finish(frame, variant, sizes, choice).colourspace("srgb"))
    joined = pyvips.Image.arrayjoin(frames, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", frames[0].height)
    joined.set_type(pyvips.GValue.blob_type, "xmp-data", xmp_packet(mark))
    for field in _FIELDS:
        if strip.get_typeof(field):
            joined.set_type(strip.get_typeof(field), field, strip.get(field))
    effort = _METHOD if variant.effort is None else round(variant.effort * 6 / 9)
    return joined.webpsave_buffer(Q=variant.quality, effort=effort, keep="xmp"), joined.width, frames[0].height


def _upright(frame: pyvips.Image, variant: Variant) -> pyvips.Image:
    """A frame as the source means it: in sRGB, on the background, turned as the container says."""
    image = colour.over(colour.to_srgb(frame)[0], variant.background)
    return image.autorot() if image.get_typeof("orientation") else image
