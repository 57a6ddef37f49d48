"""Getting a worker ready before it is fenced: from then on no decoder or encoder may look for a file.

Responsible for: importing what is imported lazily, blocking loaders that are not ours, and telling the allocator what
kind of work this is.
Not responsible for: the fence itself (`pool/fence/fence.py`).

Nothing is decoded here: libvips starts its thread at the first picture, and it must start inside the fence (the worker
has it start there, `vips.needs_a_thread`). What the decoders and encoders import at their first use was measured with
`sys.modules` and strace; a test of the worker holds that nothing is imported after this.
"""

import codecs
import contextlib
import ctypes
import hashlib

from PIL import Image

from watcherd.imaging import decode, render, vips  # noqa: F401  they bring all decoders and encoders

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_MALLOC_OPTIONS = ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 4 << 20), (_M_TRIM_THRESHOLD, 32 << 20))
_CODECS = ("ascii", "latin-1", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")
"""What texts inside pictures are written in. A codec that is once looked for in vain is never found again."""


def warm_up() -> None:
    """Load everything that a picture of any kind may need. A few milliseconds beyond the imports."""
    _tune_allocator()
    vips.allow_only()
    Image.preinit()
    for codec in _CODECS:
        codecs.lookup(codec)
    hashlib.sha256(b"").digest()  # OpenSSL reads its configuration at the first use


def _tune_allocator() -> None:
    """One arena, and picture buffers from the heap instead of fresh pages for each of them.

    By default glibc maps and unmaps every buffer and keeps an arena for each thread: for a folder of photos that is 7 %
    more CPU, and 102 MB at the peak instead of 75. Other C libraries have no `mallopt` and do without.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC_OPTIONS:
            mallopt(option, value)
