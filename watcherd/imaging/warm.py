"""Getting a worker ready before it is fenced: from then on no decoder or encoder may look for a file.

Responsible for: importing what is imported lazily, blocking loaders that are not ours.
Not responsible for: the fence itself (`pool/fence.py`).

Nothing is decoded here: libvips starts its threads at the first picture, and they must start inside the fence. What the
decoders and encoders import at their first use was measured with `sys.modules` and strace; a test of the worker holds
that nothing is imported after this.
"""

import hashlib

from PIL import Image

from watcherd.imaging import decode, render, vips  # noqa: F401  they bring all decoders and encoders


def warm_up() -> None:
    """Load everything that a picture of any kind may need. A few milliseconds beyond the imports."""
    vips.allow_only()
    Image.preinit()
    hashlib.sha256(b"").digest()  # OpenSSL reads its configuration at the first use
