"""Imaging: from the bytes of an upload to the bytes of its derivatives. The only room that knows pyvips and Pillow.

For Python programs, `render_bytes` and `render_file` (see `direct.py`) make variants of a picture here and now:

    from watcherd.imaging import Rendering, render_file
    from watcherd.model import PREVIEW, THUMBNAIL, OutputFormat, Variant

    square = Variant(name="square", width=400, height=400, format=OutputFormat.WEBP)
    made = render_file("IMG_1.JPG", (THUMBNAIL, PREVIEW, square))
    if isinstance(made, Rendering):
        for picture in made.pictures:
            print(picture.variant, picture.width, picture.height, len(picture.data), "bytes")
        print(f"looks like {made.phash:016x}, taken {made.captured or 'nobody knows when'}")
    else:
        print("not this one:", made)

They are imported at their first use, so that the daemon can look at this room's tables without loading a decoder.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcherd.imaging.direct import render_bytes, render_file
    from watcherd.imaging.render import Picture, Rendering

__all__ = ["Picture", "Rendering", "render_bytes", "render_file"]

_HOMES = {"Picture": "render", "Rendering": "render", "render_bytes": "direct", "render_file": "direct"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
