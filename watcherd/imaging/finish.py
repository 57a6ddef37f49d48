"""The last steps before encoding: cut, contrast, sharpness, canvas, channels.

Responsible for: `cover`, `smart` and `pad`, `normalise`, `sharpen`, and three channels for grey where they are wanted.
Not responsible for: the sizes (`geometry.py`), scaling, colour.
"""

from watcherd.imaging.geometry import Plan
from watcherd.imaging.vips import pyvips
from watcherd.model import ColourPolicy, Fit, Variant

_DARKEST_PERCENT, _BRIGHTEST_PERCENT = 1, 99


def finish(image: pyvips.Image, variant: Variant, plan: Plan) -> pyvips.Image:
    """From the scaled picture (8-bit grey or sRGB, in memory) to the one that is encoded."""
    if plan.crop != plan.scaled:
        image = _cut(image, variant, plan)
    if variant.normalise:
        image = _normalised(image)
    if variant.sharpen:
        image = image.sharpen(sigma=1.0, m2=2.0)
    if plan.canvas != plan.crop:
        image = _on_canvas(image, variant, plan)
    if variant.colour is ColourPolicy.RGB and image.bands == 1:
        image = image.colourspace("srgb")
    return image


def _cut(image: pyvips.Image, variant: Variant, plan: Plan) -> pyvips.Image:
    width, height = plan.crop
    if variant.fit is Fit.SMART:
        return image.smartcrop(width, height, interesting="attention")
    return image.extract_area((image.width - width) // 2, (image.height - height) // 2, width, height)


def _normalised(image: pyvips.Image) -> pyvips.Image:
    """Stretch brightness so that all but one percent at either end fills the scale; all bands alike."""
    grey = image.colourspace("b-w") if image.bands > 1 else image
    low, high = grey.percent(_DARKEST_PERCENT), grey.percent(_BRIGHTEST_PERCENT)
    if high - low < 2:  # one colour: nothing to stretch
        return image
    factor = 255 / (high - low)
    return image.linear(factor, -low * factor, uchar=True)


def _on_canvas(image: pyvips.Image, variant: Variant, plan: Plan) -> pyvips.Image:
    if image.bands == 1 and len(set(variant.background)) > 1:
        image = image.colourspace("srgb")
    background = list(variant.background[: image.bands])
    return image.gravity("centre", *plan.canvas, extend="background", background=background)
