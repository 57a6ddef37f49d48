"""Photoshop's header: which files hold a flattened picture that Pillow can read.

Responsible for: naming the forms that it cannot (it says of all of them that it cannot identify the file).
Not responsible for: pixels, and where the file ends (`endings.py`).
A pure leaf.
"""

from watcherd.imaging.content import Content
from watcherd.imaging.unsupported import UnsupportedFormError

_HEADER_BYTES = 26
_LARGE = 2
_DEPTHS = (1, 8, 16, 32)
_MODES = {
    0: ("bitmap", (1, 8)),  # eight bits do occur
    1: ("grey", (8,)),
    2: ("palette", (8,)),
    3: ("RGB", (8,)),
    4: ("CMYK", (8,)),
    7: ("multichannel", (8,)),
    8: ("duotone", (8,)),
    9: ("Lab", (8,)),
}
"""Each colour mode with the depths, in bits a channel, that are read (Adobe Photoshop File Formats, file header)."""


def require_readable(data: Content) -> None:
    """Let pass what Pillow reads, and what is too broken to tell. Raises UnsupportedFormError for the rest."""
    if len(data) < _HEADER_BYTES:
        return
    version, depth, mode = (int.from_bytes(data[at : at + 2], "big") for at in (4, 22, 24))
    if version == _LARGE:
        raise UnsupportedFormError("a PSB, Photoshop's large document format")
    if mode in _MODES and depth in _DEPTHS and depth not in _MODES[mode][1]:
        raise UnsupportedFormError(f"{_MODES[mode][0]} of {depth} bits a channel, only 8 are supported")
