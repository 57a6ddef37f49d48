"""Camera raw files by LibRaw, where the extra `raw` is installed.

Responsible for: the preview that the camera has put in, where it is large enough; else developing.
Not responsible for: saying that the extra is missing (`decoders.py` does before anybody comes here).

A camera's own preview takes milliseconds and looks as the photographer saw it; developing takes seconds. Developing at
half size (one pixel for each cell of the colour filter) is enough where no variant wants more.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from watcherd.imaging.content import Content
from watcherd.imaging.formats.jpeg import SHRINKS
from watcherd.imaging.formats.pillow import attach
from watcherd.imaging.geometry import Size
from watcherd.imaging.vips import excuse, pyvips

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts threads when imported, and the fence wants one only
with suppress(ImportError):  # the extra is not installed
    import rawpy

_ORIENTATIONS = {3: 3, 5: 8, 6: 6}
"""LibRaw's word for how to turn it, as EXIF says it."""
_ASPECT_TOLERANCE = 0.03
"""Small previews of other proportions have black bars."""


def size_of(data: Content) -> Size:
    """Width and height as the sensor has them."""
    with _opened(data) as raw:
        return int(raw.sizes.width), int(raw.sizes.height)


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The picture at no less than 1 / `shrink` of its size. Raises whatever LibRaw makes of damaged bytes."""
    with _opened(data) as raw:
        size = int(raw.sizes.width), int(raw.sizes.height)
        orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
        image, is_turned = _preview(raw, size, shrink)
        if image is None:
            image = _developed(raw, half=shrink >= 2)
    if is_turned and orientation >= 5:
        image = image.rot({6: "d270", 8: "d90"}[orientation])
    exif = image.get("exif-data") if image.get_typeof("exif-data") else None
    attach(image, {"exif-data": exif}, orientation=orientation)
    return image


@contextmanager
def _opened(data: Content) -> Iterator[Any]:
    raw = rawpy.RawPy()
    try:
        raw.open_buffer(io.BytesIO(data))
        yield raw
    finally:
        raw.close()


def _preview(raw: Any, size: Size, shrink: float) -> tuple[pyvips.Image | None, bool]:  # noqa: ANN401  no types
    """The embedded preview, reduced but large enough, and whether it stands upright already; None where it will not do.

    Some cameras store it as the sensor sees, some upright: its proportions tell.
    """
    try:
        thumb = raw.extract_thumb()
        if thumb.format != rawpy.ThumbFormat.JPEG:
            return None, False
        head = pyvips.Image.jpegload_buffer(thumb.data)
        is_turned = (head.width < head.height) != (size[0] < size[1])
        wanted = size[::-1] if is_turned else size
        scale = min(head.width / wanted[0], head.height / wanted[1]) * shrink
        aspect = head.width * wanted[1] / (head.height * wanted[0])
        if scale < 1 or abs(aspect - 1) > _ASPECT_TOLERANCE:
            return None, False
        factor = next((factor for factor in SHRINKS if factor <= scale), 1)
        image = pyvips.Image.jpegload_buffer(thumb.data, fail_on="error", shrink=factor).copy_memory()
    except (rawpy.LibRawError, pyvips.Error) as error:
        excuse(error)
        return None, False
    return image, is_turned


def _developed(raw: Any, *, half: bool) -> pyvips.Image:  # noqa: ANN401  no types
    pixels = raw.postprocess(half_size=half, use_camera_wb=True, user_flip=0, output_bps=8)
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
    return image.copy(interpretation="b-w" if bands == 1 else "srgb")
