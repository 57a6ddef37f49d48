"""Every kind of picture in, the same picture out."""

from dataclasses import replace

import pytest

from tests.imaging.pictures import QUARTERS, corners, every_container, is_close, quarters, rendered, turned
from watcherd.imaging.decoders import DECODERS
from watcherd.imaging.sniff import Kind

FILES = every_container(quarters())
GREY = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in QUARTERS)
NOT_EXACT = {"jpeg_cmyk": 90}  # no profile says which inks are meant; print is duller than a screen


@pytest.mark.parametrize("name", FILES)
def test_the_picture_is_the_same_whatever_it_came_in(name: str) -> None:
    picture = rendered(FILES[name])[0]
    assert picture.size == (64, 48)
    wanted = GREY if name == "pgm" else QUARTERS
    assert is_close(corners(picture), wanted, within=NOT_EXACT.get(name, 12)), corners(picture)


def test_grey_stays_grey() -> None:
    assert rendered(FILES["pgm"])[0].mode == "L"


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_what_one_decoder_cannot_read_the_other_one_is_asked_for(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = replace(DECODERS[Kind.AVIF], name="BMP")  # as if Pillow had been built without AVIF
    monkeypatch.setitem(DECODERS, Kind.AVIF, blind)
    picture = rendered(turned("AVIF", orientation))[0]
    assert picture.size == (64, 48)
    assert is_close(corners(picture), QUARTERS)
