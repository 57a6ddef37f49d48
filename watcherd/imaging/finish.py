"""The last steps before encoding: cut, contrast, sharpness, canvas, channels.

Responsible for: `cover`, `smart` and `pad`, `normalise`, `sharpen`, and three channels for grey where they are wanted.
Not responsible for: the sizes (`geometry.py`), scaling, colour.
"""

from typing import NamedTuple

from watcherd.imaging.geometry import Plan
from watcherd.imaging.vips import pyvips
from watcherd.model import ColourPolicy, Fit, Variant

_DARKEST_PERCENT, _BRIGHTEST_PERCENT = 1, 99


class Choice(NamedTuple):
    """What a picture itself decides: where it is cut, and between which levels of grey its contrast is stretched."""

    left: int
    top: int
    levels: tuple[float, float] | None


def choose(image: pyvips.Image, variant: Variant, plan: Plan) -> Choice:
    """By the scaled picture; by the first frame of an animation, whose others would jump and flicker otherwise."""
    left, top = _place(image, variant, plan) if plan.crop != plan.scaled else (0, 0)
    levels = _levels(image.extract_area(left, top, *plan.crop)) if variant.normalise else None
    return Choice(left, top, levels)


def finish(image: pyvips.Image, variant: Variant, plan: Plan, choice: Choice | None = None) -> pyvips.Image:
    """From the scaled picture (8-bit grey or sRGB, in memory) to the one that is encoded."""
    choice = choice or choose(image, variant, plan)
    if plan.crop != plan.scaled:
        image = image.extract_area(choice.left, choice.top, *plan.crop)
    if choice.levels is not None:
        image = _stretched(image, *choice.levels)
    if variant.sharpen:
        image = image.sharpen(sigma=1.0, m2=2.0)
    if plan.canvas != plan.crop:
        image = _on_canvas(image, variant, plan)
    if variant.colour is ColourPolicy.RGB and image.bands == 1:
        image = image.colourspace("srgb")
    return image


def _place(image: pyvips.Image, variant: Variant, plan: Plan) -> tuple[int, int]:
    width, height = plan.crop
    if variant.fit is Fit.SMART:
        cut = image.smartcrop(width, height, interesting="attention")
        return -cut.xoffset, -cut.yoffset
    return (image.width - width) // 2, (image.height - height) // 2


def _levels(image: pyvips.Image) -> tuple[float, float]:
    grey = image.colourspace("b-w") if image.bands > 1 else image
    return grey.percent(_DARKEST_PERCENT), grey.percent(_BRIGHTEST_PERCENT)


def _stretched(image: pyvips.Image, low: float, high: float) -> pyvips.Image:
    """Stretch brightness so that all but one percent at either end fills the scale; all bands alike."""
    if high - low < 2:  # one colour: nothing to stretch
        return image
    factor = 255 / (high - low)
    return image.linear(factor, -low * factor, uchar=True)


def _on_canvas(image: pyvips.Image, variant: Variant, plan: Plan) -> pyvips.Image:
    if image.bands == 1 and len(set(variant.background)) > 1:
        image = image.colourspace("srgb")
    background = list(variant.background[: image.bands])
    return image.gravity("centre", *plan.canvas, extend="background", background=background)
