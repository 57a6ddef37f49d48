"""libvips, set up for workers: one thread, no cache, no temporary files. The only importer of pyvips' settings.

Responsible for: the settings of the process, blocking every loader that we do not use, the text of its errors.
Not responsible for: pictures.
"""

import os

# libvips reads these once: a picture is never spooled to a disk (a worker sees none), whatever its size.
os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("VIPS_DISC_THRESHOLD", "1000g")

import pyvips

__all__ = ["allow_only", "clean", "forget_warnings", "pixels_of", "pyvips", "says_out_of_memory", "warned"]

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


def pixels_of(image: pyvips.Image) -> bytes:
    """The pixels of an 8-bit image, row by row (in truth a buffer): nearly always a plain copy, as it lies in memory.

    libvips' own `write_to_memory` starts a thread even for that: measured, twice the CPU for a preview, and four times
    for a thumbnail. What may still have to be computed, and is large, is left to it: it goes strip by strip.
    """
    if image.width * image.height * image.bands > _AT_ONCE_BYTES:
        pixels: bytes = image.write_to_memory()
    else:
        pixels = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
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


def says_out_of_memory(error: Exception) -> bool:
    """Whether libvips or a library under it ran out of memory. They have no codes: only here their words are read."""
    words = str(error).lower() if isinstance(error, pyvips.Error) else ""
    return "out of memory" in words or "insufficient memory" in words
