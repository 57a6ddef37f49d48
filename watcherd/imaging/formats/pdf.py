"""The first page of a PDF by PDFium, where the extra `pdf` is installed.

Responsible for: how many pixels a page has, and drawing it straight at the size that is wanted, on white.
Not responsible for: saying that the extra is missing (`decoders.py` does before anybody comes here).

A page has no pixels of its own: it is taken to be printed at 200 dots an inch, 4,096 on the longer side at the most.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from watcherd.imaging.content import Content
from watcherd.imaging.geometry import Size
from watcherd.imaging.unsupported import UnsupportedFormError
from watcherd.imaging.vips import pyvips

with suppress(ImportError):  # the extra is not installed
    import pypdfium2
    from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_GetLastError

_POINTS_PER_INCH, _DOTS_PER_INCH = 72, 200
_LONGEST_SIDE = 4096


def size_of(data: Content) -> Size:
    """Pixels of the first page."""
    with _first_page(data) as page:
        scale = _scale(page)
        width, height = page.get_size()
    return max(1, round(width * scale)), max(1, round(height * scale))


def read(data: Content, *, shrink: float) -> pyvips.Image:
    """The first page at 1 / `shrink` of its size. Raises whatever PDFium makes of damaged bytes."""
    with _first_page(data) as page:
        bitmap = page.render(scale=_scale(page) / shrink, rev_byteorder=True, may_draw_forms=False)
        width, height, bands = bitmap.width, bitmap.height, bitmap.n_channels
        rows = pyvips.Image.new_from_memory(bytes(bitmap.buffer), bitmap.stride, height, 1, "uchar")
        pixels = rows.crop(0, 0, width * bands, height).write_to_memory()
        bitmap.close()
    image = pyvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    return image[0:3].copy(interpretation="srgb") if bands > 1 else image.copy(interpretation="b-w")


def _scale(page: Any) -> float:  # noqa: ANN401  no types
    """Pixels a point. Pages may be as small or large as their maker liked."""
    longest = max(*page.get_size(), 1e-6)
    return float(min(_DOTS_PER_INCH / _POINTS_PER_INCH, _LONGEST_SIDE / longest))


@contextmanager
def _first_page(data: Content) -> Iterator[Any]:
    try:
        document = pypdfium2.PdfDocument(bytes(data))
    except pypdfium2.PdfiumError as error:
        if FPDF_GetLastError() == FPDF_ERR_PASSWORD:
            raise UnsupportedFormError("it wants a password") from error
        raise
    try:
        page = document[0]
        yield page
        page.close()
    finally:
        document.close()
