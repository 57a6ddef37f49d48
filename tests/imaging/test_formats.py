"""Every kind of picture in, the same picture out."""

from dataclasses import replace

import pytest

from tests.imaging.pictures import QUARTERS, corners, every_container, is_close, outcome, quarters, rendered, turned
from watcherd.imaging.decoders import DECODERS, OTHERS, Engine
from watcherd.imaging.render import Rendering
from watcherd.imaging.sniff import Kind
from watcherd.model import Incomplete, Rejected

FILES = every_container(quarters())
GREY = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in QUARTERS)
NOT_EXACT = {"jpeg_cmyk": 90}  # no profile says which inks are meant; print is duller than a screen


@pytest.mark.parametrize("name", FILES)
def test_the_picture_is_the_same_whatever_it_came_in(name: str) -> None:
    picture = rendered(FILES[name])[0]
    assert picture.size == (64, 48)
    wanted = GREY if name == "pgm" else QUARTERS
    assert is_close(corners(picture), wanted, within=NOT_EXACT.get(name, 12)), corners(picture)


@pytest.mark.parametrize("name", FILES)
def test_another_decoder_than_usual_makes_the_same_picture_of_it(name: str) -> None:
    usual, other = rendered(FILES[name])[0], rendered(FILES[name], other_decoder=True)[0]
    assert (other.size, other.mode) == (usual.size, usual.mode)
    assert is_close(corners(other), corners(usual), within=12), (corners(other), corners(usual))


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("container", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_another_decoder_than_usual_turns_it_upright_too(container: str, orientation: int) -> None:
    picture = rendered(turned(container, orientation), other_decoder=True)[0]
    assert picture.size == (64, 48)
    assert is_close(corners(picture), QUARTERS)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_other_decoder_is_of_another_library(kind: Kind) -> None:
    assert {DECODERS[kind].engine, OTHERS[kind].engine} == {Engine.VIPS, Engine.PILLOW}


def test_who_has_read_a_picture_instead_of_the_usual_one_is_told() -> None:
    made = [outcome(FILES["jpeg"], other_decoder=other) for other in (False, True)]
    notes = [one.notes for one in made if isinstance(one, Rendering)]
    assert notes == [(), ("read by pillow, as the usual decoder did not end well",)]


def test_a_damaged_picture_is_refused_by_the_other_decoder_too() -> None:
    cut = FILES["jpeg"][:-200]
    assert isinstance(outcome(cut, other_decoder=True), Incomplete)
    assert isinstance(outcome(cut[:600], other_decoder=True, tolerant=True), Rejected)


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
