"""Rendering without a daemon and without a worker: for programs that have a picture and want variants of it.

Responsible for: the two public functions, which take a whole picture through what a worker does with it.
Not responsible for: protection. Decoders run in the calling process, where a hostile file is as dangerous as in any
other program, and a crash is the caller's: for uploads of strangers there is `watcherd.ImageProcessingPool`. Nothing
is written, and no file but the one that is named is read.

Importing this sets libvips to one thread and no cache, for the whole process (as workers have it); programs that use
pyvips for other things can put that back with `pyvips.concurrency_set` and `pyvips.cache_set_max`.
"""

import hashlib
import os
from collections.abc import Sequence

from watcherd.imaging.decode import identify, too_many_bytes
from watcherd.imaging.render import Rendering, render
from watcherd.model import PREVIEW, THUMBNAIL, Failed, Header, Ignored, Incomplete, Rejected, Variant
from watcherd.settings import LimitSettings

_VARIANTS = (THUMBNAIL, PREVIEW)
_LIMITS = LimitSettings()

NotRendered = Ignored | Incomplete | Rejected | Failed
"""Why there are no pictures: no picture at all, cut off, not to be done (with `reason` and `detail`), or gone wrong."""


def render_bytes(
    data: bytes,
    variants: Sequence[Variant] = _VARIANTS,
    *,
    limits: LimitSettings = _LIMITS,
    tolerant: bool = False,
    svg: bool = False,
) -> Rendering | NotRendered:
    """Make all variants of a picture, with one decode.

    `limits` hold for its header, before anything is decoded. `tolerant` makes the best of a damaged or cut-off picture
    instead of refusing it; the rendering's `notes` then say what is missing. `svg` allows SVG. The pictures come
    in the order of the variants, upright, in sRGB, each with its mark inside. Whatever is wrong with the picture is a
    value that is returned; no decoder's exception gets out. Raises RuntimeError where the system has no thread for it.
    """
    seen = identify(data, variants=variants, limits=limits, has_holes=False, tolerant=tolerant, svg=svg)
    if not isinstance(seen, Header):
        return seen
    digest = hashlib.sha256(data).digest()
    return render(data, seen, variants=variants, digest=digest, limits=limits, tolerant=tolerant)


def render_file(
    path: str | bytes | os.PathLike[str],
    variants: Sequence[Variant] = _VARIANTS,
    *,
    limits: LimitSettings = _LIMITS,
    tolerant: bool = False,
    svg: bool = False,
) -> Rendering | NotRendered:
    """The same for a file, told by its content and not by its name. One above `limits.max_bytes` is not read.

    Raises OSError where it cannot be read.
    """
    with open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > limits.max_bytes:
            return too_many_bytes(size_bytes, limits)
        return render_bytes(file.read(), variants, limits=limits, tolerant=tolerant, svg=svg)
