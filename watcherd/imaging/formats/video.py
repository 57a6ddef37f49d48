"""A frame near the start of a video by FFmpeg, where the extra `video` is installed.

Responsible for: which containers and codecs are touched at all, which frame it is, its shape and its way up.
Not responsible for: saying that the extra is missing (`decoders.py` does before anybody comes here), nor for sound.

Only key frames are decoded: the first one on which something can be seen, as many videos fade in from black.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Any

from watcherd.imaging.content import Content, Window
from watcherd.imaging.formats.pillow import attach
from watcherd.imaging.geometry import Size
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

with suppress(ImportError):  # the extra is not installed
    import av

    # What it would only import at the first stream of each kind; by then the fence is closed.
    import av.audio.codeccontext
    import av.audio.stream
    import av.sidedata.sidedata
    import av.subtitles.codeccontext
    import av.subtitles.stream
    import av.video.reformatter
    import av.video.stream

_CODECS = frozenset(
    (
        *("av1", "libdav1d", "dvvideo", "h263", "h264", "hevc", "mjpeg", "mpeg1video", "mpeg2video", "mpeg4"),
        *("msmpeg4v2", "msmpeg4v3", "prores", "theora", "vp8", "vp9", "libvpx", "libvpx-vp9", "wmv1", "wmv2"),
    )
)
"""FFmpeg has hundreds of decoders, many of them for formats that nobody has used for decades."""
_MOST_KEY_FRAMES = 6
_LOOK = (64, 36)
_LEAST_CONTRAST = 40
_ORIENTATIONS = {90: 8, 180: 3, 270: 6}
"""Degrees that the frame is to be turned to the left, as EXIF says it."""
_MOST_STRETCHED = 4.0


def size_of(data: Content) -> Size:
    """Width and height as they are stored, with square pixels."""
    with _stream(data) as (_, stream):
        return _shape(stream)


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The frame, reduced by no more than `shrink`. Raises whatever FFmpeg makes of damaged bytes."""
    with _stream(data) as (container, stream):
        width, height = _shape(stream)
        frame = _telling(islice(container.decode(stream), _MOST_KEY_FRAMES))
        factor = max(1, int(shrink / 2))  # the other half is left to libvips, whose filter is the better one
        width, height = max(1, width // factor), max(1, height // factor)
        small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
        plane = small.planes[0]
        rows = pyvips.Image.new_from_memory(bytes(plane), plane.line_size, height, 1, "uchar")
        pixels = rows.crop(0, 0, width * 3, height).write_to_memory()
        orientation = _ORIENTATIONS.get(round(frame.rotation) % 360, 1)
    image = pyvips.Image.new_from_memory(pixels, width, height, 3, "uchar").copy(interpretation="srgb")
    attach(image, {}, orientation=orientation)
    return image


@contextmanager
def _stream(data: Content) -> Iterator[tuple[Any, Any]]:
    """The first video stream of a container that is named beforehand: FFmpeg would try two hundred."""
    with (
        closing(Window(data)) as window,
        av.open(window, format=_container(data), metadata_errors="replace") as container,
    ):
        if not container.streams.video:
            raise UnsupportedFormError("there is no picture in it")
        stream = container.streams.video[0]
        name = stream.codec_context.name
        if name not in _CODECS:
            raise UnsupportedFormError(f"the codec {name} is not among those that are allowed")
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = "NONKEY"
        yield container, stream


def _container(data: Content) -> str:
    if data[:4] == b"RIFF":
        return "avi"
    return "matroska" if data[:4] == b"\x1aE\xdf\xa3" else "mov"


def _shape(stream: Any) -> Size:  # noqa: ANN401  no types
    """With square pixels: old formats store fewer than they show."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if width <= 0 or height <= 0:
        raise ValueError("it does not say how large it is")
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / _MOST_STRETCHED <= aspect <= _MOST_STRETCHED:
        aspect = 1.0
    return max(1, round(width * aspect)), height


def _telling(frames: Iterator[Any]) -> Any:  # noqa: ANN401  no types
    """The first frame with light and dark in it, else the first one."""
    first = None
    for frame in frames:
        first = first or frame
        small = frame.reformat(width=_LOOK[0], height=_LOOK[1], format="gray")
        levels = bytes(small.planes[0])
        if max(levels) - min(levels) >= _LEAST_CONTRAST:
            return frame
    if first is None:
        raise EOFError("no frame can be decoded")
    return first
