"""Colours: what the source means is what the derivative shows."""

import hashlib
import io
from dataclasses import replace

import pytest
import pyvips
from PIL import Image, ImageCms

from tests.imaging.pictures import QUARTERS, SMALL, WHITE, corners, is_close, outcome, quarters, rendered, saved
from watcherd.imaging.render import Rendering
from watcherd.model import ColourPolicy, Fit, OutputFormat

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile() -> bytes:
    """Libvips' own Display P3: its numbers mean more saturated colours than the same numbers of sRGB."""
    picture = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    profile: bytes = picture.get("icc-profile-data")
    return profile


def test_a_wide_profile_is_converted() -> None:
    picture = rendered(saved(quarters(), "PNG", icc_profile=wide_profile()))[0]
    red, green, blue, white = corners(picture)
    assert is_close([white], [WHITE], within=3)
    assert red[0] > 245
    assert green[1] > 180
    assert red[1] < 15
    assert blue[2] > 200


def test_the_srgb_profile_changes_nothing() -> None:
    assert is_close(corners(rendered(saved(quarters(), "PNG", icc_profile=SRGB))[0]), QUARTERS, within=6)


def test_a_broken_profile_is_ignored_with_a_note() -> None:
    made = outcome(saved(quarters(), "JPEG", quality=95, icc_profile=b"not a profile at all" * 20))
    assert isinstance(made, Rendering)
    assert made.notes == ("broken colour profile ignored",)
    assert is_close(corners(Image.open(io.BytesIO(made.pictures[0].data))), QUARTERS)


def test_keep_carries_the_profile_along_and_leaves_the_numbers() -> None:
    profile = wide_profile()
    keep = replace(SMALL, colour=ColourPolicy.KEEP)
    kept, converted = rendered(saved(quarters(), "PNG", icc_profile=profile), keep, replace(SMALL, name="other"))
    assert kept.info["icc_profile"] == profile
    assert is_close(corners(kept), QUARTERS)
    assert "icc_profile" not in converted.info


@pytest.mark.parametrize("has_profile", [True, False])
def test_ink_is_always_converted_and_its_profile_does_not_go_along(*, has_profile: bool) -> None:
    picture = pyvips.Image.new_from_memory(quarters().tobytes(), 160, 120, 3, "uchar").copy(interpretation="srgb")
    ink = picture.icc_transform("cmyk", input_profile="srgb")
    data = ink.jpegsave_buffer(Q=95, keep="icc" if has_profile else "none")
    kept, converted = rendered(data, replace(SMALL, colour=ColourPolicy.KEEP), replace(SMALL, name="other"))
    assert "icc_profile" not in kept.info
    assert corners(kept) == corners(converted)
    assert is_close(corners(kept), QUARTERS, within=70)


def test_a_broken_profile_is_not_kept() -> None:
    data = saved(quarters(), "JPEG", quality=95, icc_profile=b"not a profile at all" * 20)
    assert "icc_profile" not in rendered(data, replace(SMALL, colour=ColourPolicy.KEEP))[0].info


def test_a_grey_profile_is_kept_with_grey_only() -> None:
    grey = pyvips.Image.black(8, 8).copy(interpretation="b-w")
    profile = bytearray(wide_profile())
    profile[16:20] = b"GRAY"
    grey.set_type(pyvips.GValue.blob_type, "icc-profile-data", bytes(profile))
    keep = replace(SMALL, colour=ColourPolicy.KEEP)
    stands_on_blue = replace(keep, name="pad", fit=Fit.PAD, background=(0, 0, 255))
    plain, padded = rendered(grey.pngsave_buffer(), keep, stands_on_blue)
    assert plain.info["icc_profile"] == bytes(profile)
    assert "icc_profile" not in padded.info


def test_a_gain_map_photo_gives_its_base_picture() -> None:
    """What programs without HDR show: the first picture of the file, whatever stands behind it and in its XMP."""
    light = pyvips.Image.new_from_memory(quarters().tobytes(), 160, 120, 3, "uchar").copy(interpretation="srgb")
    data = light.colourspace("scrgb").uhdrsave_buffer(Q=95)
    assert data.count(b"\xff\xd8\xff") > 1  # the map is a second picture
    base = Image.open(io.BytesIO(data))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(base.info["icc_profile"]))
    shown = ImageCms.profileToProfile(base, profile, ImageCms.createProfile("sRGB"))
    assert shown is not None
    assert is_close(corners(rendered(data)[0]), corners(shown), within=5)


@pytest.mark.parametrize("container", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_cut(container: str) -> None:
    picture = Image.new("I;16", (80, 60), 0x8000)
    assert is_close(corners(rendered(saved(picture, container))[0]), [(128,) * 3] * 4, within=2)


def test_sixteen_bit_colour_is_scaled() -> None:
    image = (
        pyvips.Image.black(40, 40, bands=3)
        .linear(1, [0xFFFF, 0x8000, 0x1000])
        .cast("ushort")
        .copy(interpretation="rgb16")
    )
    for data in (image.pngsave_buffer(), image.tiffsave_buffer()):
        assert is_close(corners(rendered(data)[0]), [(255, 128, 16)] * 4, within=4)


def test_float_pictures_are_linear_light() -> None:
    image = pyvips.Image.black(40, 40, bands=3).linear(1, [1.0, 0.2140, 0.0]).cast("float").copy(interpretation="scrgb")
    assert is_close(corners(rendered(image.tiffsave_buffer())[0]), [(255, 127, 0)] * 4, within=4)


@pytest.mark.parametrize("form", ["float", "int", "short"])
def test_numbers_without_a_range_are_stretched(form: str) -> None:
    ramp = (pyvips.Image.xyz(64, 64)[0] * 400.0 - 5000.0).cast(form)
    picture = rendered(ramp.tiffsave_buffer())[0]
    assert picture.getpixel((0, 32)) < 5
    assert picture.getpixel((63, 32)) > 250


@pytest.mark.parametrize("container", ["PNG", "WEBP", "TIFF", "TGA", "ICO", "AVIF"])
@pytest.mark.parametrize("background", [(255, 255, 255), (250, 120, 10)])
def test_transparency_lies_over_the_background(container: str, background: tuple[int, int, int]) -> None:
    picture = Image.new("RGBA", (128, 128), (0, 0, 255, 0))
    picture.paste((200, 30, 40, 255), (0, 0, 128, 64))
    options = {"lossless": True, "exact": True} if container == "WEBP" else {}
    options = {"sizes": [(128, 128)]} if container == "ICO" else options
    made = rendered(saved(picture, container, **options), replace(SMALL, background=background))[0]
    red = (200, 30, 40)
    assert is_close(corners(made), [red, red, background, background])


def test_colours_hidden_by_transparency_never_bleed() -> None:
    picture = Image.new("RGBA", (256, 256), (0, 0, 0, 0))  # black, and nothing of it visible
    picture.paste((255, 255, 255, 255), (0, 0, 128, 256))
    for data in (saved(picture, "PNG"), saved(picture, "WEBP", lossless=True, exact=True), saved(picture, "TIFF")):
        made = rendered(data, replace(SMALL, format=OutputFormat.PNG))[0]
        assert made.getextrema() == ((255, 255), (255, 255), (255, 255))


def test_each_variant_has_its_own_background() -> None:
    picture = Image.new("RGBA", (128, 128), (10, 200, 30, 128))
    black = replace(SMALL, name="black", background=(0, 0, 0))
    on_white, on_black = rendered(saved(picture, "PNG"), SMALL, black)
    assert is_close(corners(on_white), [(132, 227, 142)] * 4, within=4)
    assert is_close(corners(on_black), [(5, 100, 15)] * 4, within=4)


def test_palette_transparency() -> None:
    picture = Image.new("P", (80, 80), 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (0, 0, 80, 40))
    for container in ("PNG", "GIF"):
        made = rendered(saved(picture, container, transparency=0))[0]
        assert is_close(corners(made), [(0, 0, 255)] * 2 + [WHITE] * 2, within=4)


def test_grey_with_alpha_over_a_coloured_background() -> None:
    picture = Image.new("LA", (80, 80), (100, 0))
    made = rendered(saved(picture, "PNG"), replace(SMALL, background=(10, 200, 90)))[0]
    assert is_close(corners(made), [(10, 200, 90)] * 4, within=4)


def test_the_same_bytes_give_the_same_bytes() -> None:
    data = saved(quarters(), "JPEG")
    made = [outcome(data) for _ in range(2)]
    digests = {hashlib.sha256(one.pictures[0].data).digest() for one in made if isinstance(one, Rendering)}
    assert len(digests) == 1


def test_ycbcr_in_a_tiff_that_is_no_jpeg_inside_is_not_taken_for_rgb() -> None:
    for options in ({}, {"compression": "tiff_adobe_deflate"}):
        data = saved(quarters().convert("YCbCr"), "TIFF", **options)
        assert is_close(corners(rendered(data)[0]), QUARTERS, within=6)


def test_ycbcr_in_a_tiff_with_jpeg_inside_stays_right() -> None:
    picture = pyvips.Image.new_from_memory(quarters().tobytes(), 160, 120, 3, "uchar").copy(interpretation="srgb")
    data = picture.tiffsave_buffer(compression="jpeg", Q=95)
    assert is_close(corners(rendered(data)[0]), QUARTERS)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_lab_in_a_tiff_shows_its_colours(bits: int) -> None:
    picture = pyvips.Image.new_from_memory(quarters().tobytes(), 160, 120, 3, "uchar").copy(interpretation="srgb")
    data = picture.colourspace({8: "labq", 16: "labs", 32: "lab"}[bits]).tiffsave_buffer()
    assert is_close(corners(rendered(data)[0]), QUARTERS)
