"""Perceptual hashes: alike for copies, far apart for other pictures, the same whichever way up a picture was stored."""

import itertools
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.imaging.pictures import STORED, outcome, saved
from watcherd.imaging.phash import Hashes, hashes
from watcherd.imaging.render import Rendering
from watcherd.imaging.vips import pyvips
from watcherd.model import PREVIEW, THUMBNAIL, ColourPolicy, Fit, Variant

PHOTOS = Path(os.environ.get("WATCHERD_CORPUS", "../shared/corpus")) / "photos"
with_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photos in {PHOTOS}")
ORIENTATIONS = PHOTOS.parent / "orientation"


def photo(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """Soft shapes of several sizes and some noise: what a photo is to a hash."""
    chance = random.Random(seed)
    picture = Image.new("RGB", (width, height))
    for cells, weight in ((4, 1.0), (9, 0.5), (40, 0.15)):
        layer = Image.frombytes("RGB", (cells, cells), chance.randbytes(3 * cells * cells))
        picture = Image.blend(picture, layer.resize((width, height), Image.Resampling.BICUBIC), weight)
    return picture


def as_vips(picture: Image.Image) -> pyvips.Image:
    bands = len(picture.getbands())
    return pyvips.Image.new_from_memory(picture.tobytes(), picture.width, picture.height, bands, "uchar")


def through_pipeline(data: bytes, *variants: Variant) -> Hashes:
    made = outcome(data, variants or (THUMBNAIL,))
    assert isinstance(made, Rendering), made
    return Hashes(made.phash, made.dhash)


def apart(one: Hashes, other: Hashes) -> int:
    return (one.phash ^ other.phash).bit_count()


def test_copies_are_near() -> None:
    for seed in range(12):
        picture = photo(seed)
        original = through_pipeline(saved(picture, "PNG"))
        copies = [
            saved(picture, "JPEG", quality=40),
            saved(picture, "WEBP", quality=60),
            saved(picture.resize((1280, 960)), "JPEG", quality=90),
            saved(picture.resize((240, 180)), "JPEG", quality=80),
        ]
        distances = [apart(original, through_pipeline(copy)) for copy in copies]
        assert max(distances) <= 6, (seed, distances)


def test_other_pictures_are_far() -> None:
    each = [hashes(as_vips(photo(seed, 160, 120))) for seed in range(60)]
    distances = [apart(one, other) for one, other in itertools.combinations(each, 2)]
    assert min(distances) > 12
    assert sorted(distances)[len(distances) // 100] > 16


@with_photos
def test_photos_are_near_to_their_copies_and_far_from_each_other() -> None:
    files = sorted(PHOTOS.glob("*.jpg"))[::3]
    each = []
    for file in files:
        data = file.read_bytes()
        found = through_pipeline(data)
        with Image.open(file) as picture:
            copy = picture.copy()
        copy.thumbnail((640, 640))
        again = through_pipeline(saved(copy.convert("RGB"), "JPEG", quality=60, exif=copy.getexif()))
        assert apart(found, again) <= 6, file.name
        each.append(found)
    assert min(apart(one, other) for one, other in itertools.combinations(each, 2)) > 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_way_up_does_not_matter(orientation: int) -> None:
    picture = photo(3)
    stored = picture.transpose(STORED[orientation]) if orientation in STORED else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = through_pipeline(saved(stored, "JPEG", quality=85, exif=exif))
    assert apart(through_pipeline(saved(picture, "JPEG", quality=85)), turned) <= 4


@pytest.mark.skipif(not ORIENTATIONS.is_dir(), reason=f"no pictures in {ORIENTATIONS}")
@pytest.mark.parametrize("form", ["Landscape", "Portrait"])
def test_the_way_up_of_real_pictures_does_not_matter(form: str) -> None:
    each = [through_pipeline(file.read_bytes()) for file in sorted(ORIENTATIONS.glob(f"{form}_*.jpg"))]
    assert max(apart(each[0], other) for other in each) <= 4


@pytest.mark.parametrize(
    "variants",
    [
        (PREVIEW,),
        (PREVIEW, THUMBNAIL),
        (Variant(name="square", width=100, height=100, fit=Fit.COVER),),
        (Variant(name="own", width=300, height=300, colour=ColourPolicy.KEEP),),
        (Variant(name="tiny", width=16, height=16),),
    ],
    ids=lambda variants: "+".join(v.name for v in variants),
)
def test_what_was_asked_for_does_not_matter(variants: tuple[Variant, ...]) -> None:
    data = saved(photo(5), "PNG")
    within = 16 if variants[0].name == "tiny" else 4  # 16 pixels show less than the hash looks at
    assert apart(through_pipeline(data), through_pipeline(data, *variants)) <= within


def test_transparency_is_white_whatever_the_variants_background() -> None:
    picture = photo(8).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 300, 480))
    on_black = Variant(name="dark", width=200, height=200, background=(0, 0, 0))
    white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    wanted = through_pipeline(saved(white, "PNG"))
    assert apart(wanted, through_pipeline(saved(picture, "PNG"), on_black)) <= 4


def test_a_grey_picture_has_the_hashes_of_its_coloured_form() -> None:
    grey = photo(2).convert("L")
    assert hashes(as_vips(grey)) == hashes(as_vips(grey.convert("RGB")))


def test_brightness_growing_to_the_right_sets_every_bit_of_the_difference_hash() -> None:
    ramp = Image.linear_gradient("L").rotate(90)
    assert hashes(as_vips(ramp)).dhash == 2**64 - 1
    assert hashes(as_vips(ramp.rotate(180))).dhash == 0


@given(st.integers(0, 255), st.integers(1, 300), st.integers(1, 300))
def test_pictures_of_one_colour_have_no_structure(level: int, width: int, height: int) -> None:
    found = hashes(as_vips(Image.new("L", (width, height), level)))
    assert (found.phash & (2**63 - 1), found.dhash) == (0, 0)


def test_the_number_is_stable() -> None:
    """Numbers in ledgers stay comparable: a change of the definition must not come unnoticed."""
    wave = Image.merge("RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.linear_gradient("L")])
    found = hashes(as_vips(wave.resize((200, 150))))
    assert (f"{found.phash:016x}", f"{found.dhash:016x}") == ("ee039875e351cd0e", "0f0f0f0f0f0f0f0f")


def test_a_thumbnail_is_hashed_in_no_time() -> None:
    picture = as_vips(photo(1, 200, 150))
    costs = []
    for _ in range(20):
        before = time.process_time()
        hashes(picture)
        costs.append(time.process_time() - before)
    assert min(costs) < 0.0015 * 3  # 0.4 ms where it was measured; a loaded machine is slower
