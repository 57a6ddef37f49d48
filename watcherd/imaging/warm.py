"""Getting a worker ready before it is fenced: from then on no decoder or encoder may look for a file.

Responsible for: importing what is imported lazily, starting libvips' threads, blocking loaders that are not ours.
Not responsible for: the fence itself (`pool/fence.py`).
"""

import hashlib
import io

from PIL import Image

from watcherd.imaging import vips
from watcherd.imaging.decode import identify
from watcherd.imaging.render import render
from watcherd.model import Header, OutputFormat, Variant
from watcherd.settings import LimitSettings

_SIDE = 32
_CONTAINERS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF", "BMP", "JPEG2000")
_FORMATS = (OutputFormat.JPEG, OutputFormat.PNG, OutputFormat.WEBP)  # AVIF's encoder would take its time


def warm_up() -> None:
    """Render one tiny picture through each decoder and encoder: everything is loaded and started afterwards."""
    vips.allow_only()
    limits = LimitSettings()
    variants = tuple(Variant(name=form.value, width=_SIDE // 2, height=_SIDE // 2, format=form) for form in _FORMATS)
    for container in _CONTAINERS:
        data = _picture(container)
        header = identify(data, variants=variants, limits=limits, has_holes=False, tolerant=False)
        if isinstance(header, Header):
            digest = hashlib.sha256(data).digest()
            render(data, header, variants=variants, digest=digest, limits=limits, tolerant=False)


def _picture(container: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (200, 120, 40)).save(target, container)
    return target.getvalue()
