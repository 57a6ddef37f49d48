"""libvips, set up for workers: one thread, no cache, no temporary files. The only importer of pyvips' settings.

Responsible for: the settings of the process, blocking every loader that we do not use, the text of its errors.
Not responsible for: pictures.
"""

import os
from typing import NamedTuple

# libvips reads these once: a picture is never spooled to a disk (a worker sees none), whatever its size.
os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_DISC_THRESHOLD", "1000g")

import pyvips

__all__ = [
    "NoThreadError",
    "Shape",
    "allow_only",
    "clean",
    "excuse",
    "forget_warnings",
    "needs_a_thread",
    "pixels_of",
    "pyvips",
    "says_out_of_memory",
    "shape_of",
    "warned",
]

_ALLOWED = ("Jpeg", "Png", "Webp", "Nsgif", "Tiff", "Heif", "Svg")
_LONGEST_DETAIL = 200
_AT_ONCE_BYTES = 16 << 20

pyvips.concurrency_set(1)
pyvips.cache_set_max(0)


def allow_only() -> None:
    """Block every loader but those of the decoder table, for good: called once in a worker."""
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _ALLOWED:
        pyvips.operation_block_set(f"VipsForeignLoad{name}", False)


class Shape(NamedTuple):
    """Sides in pixels, and bands."""

    width: int
    height: int
    bands: int


def shape_of(image: pyvips.Image) -> Shape:
    """The image's `width`, `height` and `bands`, asked of GLib itself.

    pyvips takes 5 to 10 microseconds for each of the three, this 3 for all. A rendering asked ninety times.
    """
    value = pyvips.ffi.new("GValue *")  # one for each call: other threads may ask at the same time
    pyvips.gobject_lib.g_value_init(value, pyvips.GValue.gint_type)
    return Shape(_number(image, b"width", value), _number(image, b"height", value), _number(image, b"bands", value))


def _number(image: pyvips.Image, name: bytes, value: object) -> int:
    pyvips.gobject_lib.g_object_get_property(image.gobject, name, value)
    number: int = pyvips.gobject_lib.g_value_get_int(value)
    return number


def pixels_of(image: pyvips.Image) -> bytes:
    """The pixels of an 8-bit image, row by row (in truth a buffer): nearly always a plain copy, as it lies in memory.

    libvips' own `write_to_memory` starts a thread even for that: measured, twice the CPU for a preview, and four times
    for a thumbnail. What may still have to be computed, and is large, is left to it: it goes strip by strip.
    """
    width, height, bands = shape_of(image)
    if width * height * bands > _AT_ONCE_BYTES:
        pixels: bytes = image.write_to_memory()
    else:
        pixels = pyvips.Region.new(image).fetch(0, 0, width, height)
    return pixels


def forget_warnings() -> None:
    """Empty libvips' buffer of messages."""
    pyvips.vips_lib.vips_error_clear()


def warned() -> str:
    """What libvips put into its buffer since then without failing."""
    lines = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace").splitlines()
    return clean(lines[0]) if lines else ""


def clean(message: object) -> str:
    """A library's message as one short printable line: nothing of a file reaches a log unescaped."""
    text = message.detail.strip().partition("\n")[0] if isinstance(message, pyvips.Error) else str(message)
    words = " ".join(text.split())
    return (
        "".join(c if c.isprintable() and c.isascii() else "?" for c in words)[:_LONGEST_DETAIL]
        or "the decoder does not say why"
    )


class NoThreadError(RuntimeError):
    """The system gives this process no thread, and libvips decodes nothing without: no picture is to blame."""


def needs_a_thread() -> None:
    """Have libvips start its thread, which stays for some seconds. Raises NoThreadError where it cannot."""
    try:
        pyvips.Image.black(1, 1).copy_memory()
    except pyvips.Error as error:
        raise NoThreadError(clean(error)) from error


def excuse(error: Exception) -> None:
    """Raise NoThreadError for what failed because the system had no thread (a limit on processes, or on memory).

    libvips has no code for it. As below, its words are read, here and nowhere else.
    """
    if isinstance(error, NoThreadError) or (
        isinstance(error, pyvips.Error) and "error creating thread" in str(error).lower()
    ):
        raise NoThreadError(clean(error)) from error


def says_out_of_memory(error: Exception) -> bool:
    """Whether libvips or a library under it ran out of memory. They have no codes: only here are words read."""
    words = str(error).lower() if isinstance(error, pyvips.Error) else ""
    return "out of memory" in words or "insufficient memory" in words
