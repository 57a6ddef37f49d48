"""Sizes: inside the box, never enlarged, never nothing, the aspect ratio kept within one pixel."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.imaging.geometry import Plan, plan
from watcherd.model import Fit, OutputFormat, Variant

BOX = Variant(name="box", width=200, height=100)
SIDES = st.integers(1, 65_500)
BOXES = st.integers(1, 4_000)


@pytest.mark.parametrize(
    ("source", "variant", "expected"),
    [
        ((400, 400), BOX, Plan((100, 100), (100, 100), (100, 100))),
        ((4000, 1000), BOX, Plan((200, 50), (200, 50), (200, 50))),
        ((50, 40), BOX, Plan((50, 40), (50, 40), (50, 40))),
        ((50, 40), replace(BOX, upscale=True), Plan((125, 100), (125, 100), (125, 100))),
        ((65_000, 1), BOX, Plan((200, 1), (200, 1), (200, 1))),
        ((1, 65_000), BOX, Plan((1, 100), (1, 100), (1, 100))),
        ((4000, 1000), replace(BOX, width=None), Plan((400, 100), (400, 100), (400, 100))),
        ((4000, 1000), replace(BOX, height=None), Plan((200, 50), (200, 50), (200, 50))),
        ((4000, 1000), replace(BOX, width=None, height=None), Plan((4000, 1000), (4000, 1000), (4000, 1000))),
        ((400, 400), replace(BOX, fit=Fit.COVER), Plan((200, 200), (200, 100), (200, 100))),
        ((400, 400), replace(BOX, fit=Fit.SMART), Plan((200, 200), (200, 100), (200, 100))),
        ((150, 80), replace(BOX, fit=Fit.COVER), Plan((150, 80), (150, 80), (150, 80))),
        ((400, 400), replace(BOX, fit=Fit.PAD), Plan((100, 100), (100, 100), (200, 100))),
        ((20, 10), replace(BOX, fit=Fit.PAD), Plan((20, 10), (20, 10), (200, 100))),
    ],
)
def test_known_sizes(source: tuple[int, int], variant: Variant, expected: Plan) -> None:
    assert plan(*source, variant) == expected


def test_what_the_container_cannot_hold_is_scaled_to_its_longest_side() -> None:
    whole = Variant(name="whole", width=None, height=None, format=OutputFormat.WEBP)
    assert plan(40_000, 20_000, whole).scaled == (16_383, 8_192)
    avif = Variant(name="whole", width=None, height=None, format=OutputFormat.AVIF)  # libavif opens no longer ones
    assert plan(20_000, 40_000, avif).scaled == (16_384, 32_768)


@given(width=SIDES, height=SIDES, box=st.tuples(BOXES, BOXES), fit=st.sampled_from(Fit))
def test_nothing_is_enlarged_and_nothing_vanishes(width: int, height: int, box: tuple[int, int], fit: Fit) -> None:
    made = plan(width, height, Variant(name="v", width=box[0], height=box[1], fit=fit))
    assert 1 <= made.scaled[0] <= width
    assert 1 <= made.scaled[1] <= height
    assert made.crop <= made.scaled
    assert all(side <= limit for side, limit in zip(made.canvas, box, strict=True))


@given(width=SIDES, height=SIDES, box=BOXES)
def test_the_aspect_ratio_is_kept_within_one_pixel(width: int, height: int, box: int) -> None:
    made = plan(width, height, Variant(name="v", width=box, height=box)).scaled
    exact = width * made[1] / height, height * made[0] / width
    assert abs(made[0] - max(1, exact[0])) <= 1 or abs(made[1] - max(1, exact[1])) <= 1
