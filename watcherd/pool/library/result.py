"""What the library's pool gives back: a processed image, or why there is none.

Not responsible for: making it.
"""

from dataclasses import dataclass

from watcherd.model import Reason

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AROUND_BYTES = 12  # of a chunk: length, type and checksum
_ANCILLARY = 0x20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedImage:
    """One picture in standard form, upright.

    `phash`, `dhash`: 64-bit perceptual hashes as 16 hex digits; few different bits mean pictures that look alike.
    `standardized_data`: a PNG, 8-bit RGB, transparency on white, without any metadata, `width` x `height` pixels, none
    of them above the pool's `max_dimension`. `original_size`: (width, height) of the image as its file has them, before
    it was turned upright. `processing_time_ms`: from the hand-over to a worker until it was done.
    """

    phash: str
    dhash: str
    standardized_data: bytes
    width: int
    height: int
    original_size: tuple[int, int]
    processing_time_ms: float


class ImageProcessingError(Exception):
    """This image cannot be processed. `reason` is one of a closed list, `detail` a sentence for a person."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})"


class PoolError(RuntimeError):
    """The pool cannot be used: it is not running, or its workers cannot be kept alive. No image is to blame."""


def without_metadata(png: bytes) -> bytes:
    """The same picture with only those chunks that pixels need (their first letter is a capital; PNG, section 5.4).

    Raises ValueError for what is no PNG.
    """
    if not png.startswith(_SIGNATURE):
        raise ValueError("it does not begin as a PNG does")
    view = memoryview(png)
    kept, at = [view[: len(_SIGNATURE)]], len(_SIGNATURE)
    while at + _AROUND_BYTES <= len(png):
        end = at + _AROUND_BYTES + int.from_bytes(view[at : at + 4])
        if not view[at + 4] & _ANCILLARY:
            kept.append(view[at:end])
        at = end
    if at != len(png):
        raise ValueError("its chunks do not fit")
    return b"".join(kept)
