"""Variants: sizes, fits, formats, marks, metadata."""

import hashlib
import io
from dataclasses import replace

import pytest
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from tests.imaging.extras import WRITABLE
from tests.imaging.pictures import (
    BLUE,
    GREEN,
    LIMITS,
    QUARTERS,
    RED,
    SMALL,
    WHITE,
    corners,
    first_look,
    is_close,
    noise,
    outcome,
    quarters,
    rendered,
    saved,
)
from watcherd.config.rules import PRESETS
from watcherd.derivatives.marks import mark_in
from watcherd.imaging.render import Rendering
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    AnimationPolicy,
    Chroma,
    Fit,
    Header,
    MetadataPolicy,
    OutputFormat,
    Reason,
    Rejected,
    Variant,
)
from watcherd.naming import Mark
from watcherd.settings import LimitSettings

PHOTO = saved(quarters(1600, 1200), "JPEG", quality=92)


# --------------------------------------------------------------------------------------------------- the usual case


def test_the_default_variants_of_a_photo() -> None:
    small, large = rendered(PHOTO, THUMBNAIL, PREVIEW)
    assert (small.size, large.size) == ((200, 150), (1200, 900))
    assert is_close(corners(small), QUARTERS)
    assert is_close(corners(large), QUARTERS)
    assert large.info.get("progressive") == 1


@pytest.mark.parametrize("container", WRITABLE)
def test_every_format_carries_its_mark_and_its_picture(container: OutputFormat) -> None:
    variant = replace(SMALL, name="sample", format=container)
    made = outcome(PHOTO, [variant])
    assert isinstance(made, Rendering)
    data = made.pictures[0].data
    mark = Mark(variant="sample", digest=hashlib.sha256(PHOTO).digest(), fingerprint=variant.fingerprint)
    assert mark_in(data[:65536], data[-65536:]) == mark
    picture = Image.open(io.BytesIO(data))
    assert (picture.width, picture.height) == (made.pictures[0].width, made.pictures[0].height) == (64, 48)
    assert is_close(corners(picture), QUARTERS, within=20)


def test_a_derivative_is_smaller_than_its_box_when_the_source_is() -> None:
    assert rendered(saved(quarters(30, 20), "PNG"))[0].size == (30, 20)


def test_upscale_enlarges() -> None:
    assert rendered(saved(quarters(30, 20), "PNG"), replace(SMALL, upscale=True))[0].size == (64, 43)


def test_a_panorama_of_one_pixel_survives() -> None:
    assert rendered(saved(Image.new("RGB", (3000, 1)), "PNG"))[0].size == (64, 1)
    assert rendered(saved(Image.new("RGB", (1, 3000)), "PNG"))[0].size == (1, 64)


@pytest.mark.parametrize("side", [63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023])
def test_no_reduction_while_decoding_shifts_the_size(side: int) -> None:
    assert rendered(saved(quarters(side, side), "JPEG"))[0].size == (min(side, 64), min(side, 64))


def test_variants_may_be_many_and_in_any_order() -> None:
    sides = (10, 900, 300, 290, 64, 1200)
    variants = [Variant(name=f"v{side}", width=side, height=side, quality=95) for side in sides]
    pictures = rendered(PHOTO, *variants)
    assert tuple(picture.width for picture in pictures) == sides
    assert all(is_close(corners(picture), QUARTERS, within=20) for picture in pictures)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_renders(name: str) -> None:
    preset = PRESETS[name]
    (picture,) = rendered(saved(quarters(2400, 1800), "JPEG", quality=92), preset)
    assert preset.width is not None
    assert preset.height is not None
    assert picture.size == ((1067, 800) if name == "ocr" else (preset.width, preset.width * 3 // 4))
    assert picture.format == preset.format.value.upper()
    assert is_close(corners(picture), QUARTERS, within=60 if preset.normalise else 12)


# ------------------------------------------------------------------------------------------------------------- fits


def test_cover_cuts_the_middle() -> None:
    picture = rendered(PHOTO, Variant(name="c", width=100, height=100, fit=Fit.COVER, quality=95))[0]
    assert picture.size == (100, 100)
    assert is_close(corners(picture), QUARTERS)


def test_smart_cuts_what_catches_the_eye() -> None:
    wide = Image.new("RGB", (600, 200), (128, 128, 128))
    wide.paste(RED, (520, 60, 580, 140))
    picture = rendered(saved(wide, "PNG"), Variant(name="s", width=100, height=100, fit=Fit.SMART))[0]
    assert picture.size == (100, 100)
    assert picture.getchannel("G").getextrema()[0] < 60  # the red spot, not the grey around it


def test_pad_stands_on_its_background() -> None:
    variant = Variant(name="p", width=100, height=200, fit=Fit.PAD, background=(10, 20, 200), quality=95)
    picture = rendered(PHOTO, variant)[0]
    assert picture.size == (100, 200)
    assert is_close([picture.getpixel((50, 10)), picture.getpixel((50, 190))], [(10, 20, 200)] * 2)
    assert is_close(corners(picture.crop((0, 62, 100, 137))), QUARTERS)


def test_a_grey_picture_may_stand_on_a_coloured_canvas() -> None:
    variant = Variant(name="p", width=100, height=200, fit=Fit.PAD, background=(10, 20, 200), quality=95)
    picture = rendered(saved(quarters(mode="L"), "PNG"), variant)[0]
    assert is_close([picture.getpixel((50, 10))], [(10, 20, 200)])


# ------------------------------------------------------------------------------------------------ looks and encoders


def test_normalise_stretches_what_is_flat() -> None:
    flat = Image.linear_gradient("L").point(lambda v: 100 + v // 5)
    picture = rendered(saved(flat, "PNG"), replace(SMALL, normalise=True))[0]
    low, high = picture.getextrema()
    assert low < 12
    assert high > 243


def test_normalise_leaves_one_colour_alone() -> None:
    picture = rendered(saved(Image.new("L", (80, 80), 77), "PNG"), replace(SMALL, normalise=True))[0]
    assert picture.getextrema() == (77, 77)


def test_sharpen_makes_edges_stronger() -> None:
    soft = saved(Image.linear_gradient("L").point(lambda v: 60 if v < 128 else 190), "PNG")
    plain, sharp = rendered(soft, SMALL, replace(SMALL, name="sharp", sharpen=True))
    assert sharp.getextrema()[0] < plain.getextrema()[0]
    assert sharp.getextrema()[1] > plain.getextrema()[1]


@pytest.mark.parametrize(
    ("quality", "chroma", "expected"),
    [(85, Chroma.AUTO, 2), (90, Chroma.AUTO, 0), (50, Chroma.FULL, 0), (95, Chroma.HALF, 2)],
)
@pytest.mark.parametrize("effort", [None, 9])
def test_chroma(quality: int, chroma: Chroma, expected: int, effort: int | None) -> None:
    variant = replace(SMALL, quality=quality, chroma=chroma, effort=effort)
    assert JpegImagePlugin.get_sampling(rendered(PHOTO, variant)[0]) == expected


@pytest.mark.parametrize("effort", [None, 9])
def test_baseline_and_progressive(effort: int | None) -> None:
    plain = replace(SMALL, name="plain", progressive=False, effort=effort)
    baseline, progressive = rendered(PHOTO, plain, replace(SMALL, effort=effort))
    assert ("progressive" in baseline.info, "progressive" in progressive.info) == (False, True)


def test_the_best_coding_is_smaller() -> None:
    data = saved(noise(), "PNG")
    made = outcome(data, [replace(PREVIEW, effort=9), replace(PREVIEW, name="plain")])
    assert isinstance(made, Rendering)
    assert len(made.pictures[0].data) < len(made.pictures[1].data)


@pytest.mark.parametrize("container", WRITABLE)
@pytest.mark.parametrize("effort", [0, 9])
def test_any_effort_is_understood(container: OutputFormat, effort: int) -> None:
    assert rendered(saved(quarters(), "PNG"), replace(SMALL, format=container, effort=effort))[0].size == (64, 48)


# --------------------------------------------------------------------------------------------------------- metadata


def photo_with_metadata() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x013B] = "An Artist"
    exif[0x8298] = "All rights reserved"
    exif[0x010F] = "A Camera"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 0.0)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    return saved(quarters(), "JPEG", exif=exif, xmp=xmp, comment=b"a remark", icc_profile=None)


@pytest.mark.parametrize("container", WRITABLE)
def test_nothing_of_the_source_but_its_pixels_by_default(container: OutputFormat) -> None:
    made = outcome(photo_with_metadata(), [replace(SMALL, format=container)])
    assert isinstance(made, Rendering)
    data = made.pictures[0].data
    for secret in (b"Exif\0\0II", b"Exif\0\0MM", b"A Camera", b"An Artist", b"a remark", b"tiff:Orientation"):
        assert secret not in data


@pytest.mark.parametrize("container", WRITABLE)
def test_copyright_keeps_only_that(container: OutputFormat) -> None:
    variant = replace(SMALL, format=container, metadata=MetadataPolicy.COPYRIGHT)
    exif = rendered(photo_with_metadata(), variant)[0].getexif()
    assert {exif[0x013B], exif[0x8298]} == {"An Artist", "All rights reserved"}
    assert 0x010F not in exif
    assert exif.get_ifd(0x8825) == {}
    assert exif.get(0x0112, 1) == 1


@pytest.mark.parametrize("container", WRITABLE)
def test_keep_keeps_all_but_the_orientation(container: OutputFormat) -> None:
    variant = replace(SMALL, format=container, metadata=MetadataPolicy.KEEP)
    picture = rendered(photo_with_metadata(), variant)[0]
    exif = picture.getexif()
    assert (exif[0x010F], exif.get(0x0112, 1)) == ("A Camera", 1)
    assert exif.get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)
    assert picture.size == (48, 64)


def tiff_with_metadata() -> bytes:
    said = TiffImagePlugin.ImageFileDirectory_v2()
    said[0x0112], said[0x013B], said[0x8298], said[0x010F] = 6, "An Artist", "All rights reserved", "A Camera"
    said[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    return saved(quarters(), "TIFF", tiffinfo=said)


@pytest.mark.parametrize("container", WRITABLE)
def test_what_a_tiff_says_of_itself_is_kept_as_that_of_others(container: OutputFormat) -> None:
    wanted = [replace(SMALL, format=container, metadata=policy, name=str(policy)) for policy in MetadataPolicy]
    made = dict(zip(MetadataPolicy, rendered(tiff_with_metadata(), *wanted), strict=True))
    kept = made[MetadataPolicy.KEEP].getexif()
    assert (kept[0x010F], kept.get_ifd(0x8769)[0x9003], kept.get(0x0112, 1)) == ("A Camera", "2020:01:02 03:04:05", 1)
    assert set(made[MetadataPolicy.COPYRIGHT].getexif()) - {0x0112} == {0x013B, 0x8298}
    assert not made[MetadataPolicy.NONE].getexif()
    assert {picture.size for picture in made.values()} == {(48, 64)}


def test_broken_metadata_is_left_out() -> None:
    data = saved(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(40))
    assert rendered(data, replace(SMALL, metadata=MetadataPolicy.KEEP))[0].size == (64, 48)


# -------------------------------------------------------------------------------------------------- frames and limits


def film(container: str) -> bytes:
    frames = [Image.new("RGB", (100, 80), colour) for colour in (RED, GREEN, BLUE)]
    return saved(frames[0], container, save_all=True, append_images=frames[1:], duration=[50, 70, 90], loop=3)


@pytest.mark.parametrize("container", ["GIF", "WEBP", "TIFF"])
def test_the_first_frame_stands_for_all(container: str) -> None:
    data = film(container)
    header = first_look(data)
    assert isinstance(header, Header)
    assert header.frames == 3
    assert is_close(corners(rendered(data)[0]), [RED] * 4)


@pytest.mark.parametrize("container", ["GIF", "WEBP"])
def test_an_animation_is_kept_where_everything_allows_it(container: str) -> None:
    keep = replace(SMALL, format=OutputFormat.WEBP, animation=AnimationPolicy.KEEP)
    picture = rendered(film(container), keep, limits=LimitSettings(max_frames=10))[0]
    assert (picture.n_frames, picture.size) == (3, (64, 51))
    for index, colour in enumerate((RED, GREEN, BLUE)):
        picture.seek(index)
        assert is_close(corners(picture), [colour] * 4, within=20)
    still = rendered(film(container), keep, limits=LIMITS)[0]
    assert getattr(still, "n_frames", 1) == 1


def frames_of(picture: Image.Image) -> list[Image.Image]:
    frames = []
    for index in range(picture.n_frames):  # type: ignore[attr-defined]
        picture.seek(index)
        frames.append(picture.convert("RGB"))
    return frames


def test_an_animation_is_cut_and_stretched_like_its_first_frame() -> None:
    frames = [Image.new("RGB", (160, 80), (90, 90, 90)) for _ in range(2)]
    for frame, left, level in zip(frames, (10, 120), (200, 255), strict=True):  # what draws the eye goes to the right
        frame.paste((level, 0, 0), (left, 30, left + 30, 60))
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    smart = Variant(name="smart", width=80, height=80, fit=Fit.SMART, format=OutputFormat.WEBP, normalise=True)
    keep = replace(smart, animation=AnimationPolicy.KEEP)
    still = rendered(data, smart)[0].convert("RGB")
    first, second = frames_of(rendered(data, keep, limits=LimitSettings(max_frames=10))[0])
    assert is_close([first.getpixel((70, 5)), second.getpixel((70, 5))], [still.getpixel((70, 5))] * 2, within=6)
    assert [frame.getextrema()[0][1] - frame.getextrema()[1][1] > 60 for frame in (first, second)] == [True, False]


def test_an_animation_is_upright_and_in_its_colours() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [quarters().transpose(Image.Transpose.ROTATE_90), quarters().transpose(Image.Transpose.ROTATE_90)]
    frames[1].putpixel((0, 0), (0, 0, 0))
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, exif=exif)
    keep = replace(SMALL, format=OutputFormat.WEBP, animation=AnimationPolicy.KEEP, quality=95)
    picture = rendered(data, keep, limits=LimitSettings(max_frames=10))[0]
    assert (getattr(picture, "n_frames", 1), picture.size) == (2, (64, 48))
    assert is_close(corners(picture), QUARTERS, within=30)


def test_an_animation_has_a_mark_as_well() -> None:
    keep = replace(SMALL, format=OutputFormat.WEBP, animation=AnimationPolicy.KEEP)
    made = outcome(film("GIF"), [keep], limits=LimitSettings(max_frames=2))
    assert isinstance(made, Rendering)
    data = made.pictures[0].data
    mark = mark_in(data, data)
    assert mark is not None
    assert mark.variant == "small"


@pytest.mark.parametrize(
    ("limits", "reason", "detail"),
    [
        (LimitSettings(max_bytes=10), Reason.TOO_MANY_BYTES, f"{len(PHOTO):,} bytes, more than max_bytes = 10"),
        (LimitSettings(max_pixels=9), Reason.TOO_MANY_PIXELS, "1,920,000 pixels, more than max_pixels = 9"),
        (LimitSettings(max_side=9), Reason.SIDE_TOO_LONG, "1,600 pixels on the longer side, more than max_side = 9"),
    ],
)
def test_limits_are_named_with_the_number_and_the_setting(limits: LimitSettings, reason: Reason, detail: str) -> None:
    assert first_look(PHOTO, limits=limits) == Rejected(reason=reason, detail=detail)


def test_twelve_bit_jpegs_are_refused_clearly() -> None:
    data = bytearray(PHOTO)
    data[data.index(b"\xff\xc0") + 4] = 12
    assert first_look(bytes(data)) == Rejected(
        reason=Reason.UNSUPPORTED, detail="this form of jpeg cannot be read: 12 bits a sample, only 8 are supported"
    )


def test_white_stays_white() -> None:
    assert rendered(saved(Image.new("RGB", (300, 300), WHITE), "JPEG"))[0].getextrema() == ((255, 255),) * 3
