"""Pictures stand upright, turned exactly once, whatever container says how."""

from dataclasses import replace

import pytest

from tests.imaging.pictures import QUARTERS, SMALL, corners, is_close, rendered, turned

CONTAINERS = ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"]
CASES = [(c, o) for c in CONTAINERS for o in range(9) if (c, o) != ("TIFF", 0)]  # TIFF has no 0: that is damage


@pytest.mark.parametrize(("container", "orientation"), CASES)
def test_every_orientation_of_every_container_comes_out_upright(container: str, orientation: int) -> None:
    picture = rendered(turned(container, orientation))[0]
    assert picture.size == (64, 48)
    assert is_close(corners(picture), QUARTERS), corners(picture)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_derivative_says_nothing_of_orientation(orientation: int) -> None:
    assert rendered(turned("JPEG", orientation))[0].getexif() == {}


@pytest.mark.parametrize("orientation", [9, 255, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert is_close(corners(rendered(turned("JPEG", orientation))[0]), QUARTERS)


def test_a_box_that_is_not_square_is_met_by_the_upright_picture() -> None:
    tall = replace(SMALL, width=30, height=400)
    assert rendered(turned("JPEG", 6), tall)[0].size == (30, 23)
