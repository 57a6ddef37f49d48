"""JPEG XL as an output: the mark near the beginning, metadata in its boxes, and a clear word where it cannot be had."""

import hashlib
import io
from dataclasses import replace

import pytest
from PIL import Image, ImageCms

from tests.imaging.extras import needs
from tests.imaging.pictures import QUARTERS, SMALL, corners, is_close, noise, outcome, quarters, rendered, saved
from tests.imaging.test_colour import wide_profile
from watcherd.derivatives.marks import WINDOW_BYTES, is_whole, mark_in
from watcherd.imaging.marks import mark_jxl, xmp_packet
from watcherd.imaging.render import Rendering
from watcherd.model import ColourPolicy, MetadataPolicy, OutputFormat, Reason, Rejected
from watcherd.naming import Mark

JXL = replace(SMALL, format=OutputFormat.JXL)
MARK = Mark(variant="preview", digest=bytes(range(32)), fingerprint=-5)
PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>%s</rdf:RDF></x:xmpmeta>'


@needs("jxl")
def test_a_large_one_says_in_its_first_bytes_whose_it_is_and_in_its_last_ones_that_it_is_whole() -> None:
    data = saved(noise(1200, 900), "PNG")
    made = outcome(data, [replace(JXL, width=1200, height=1200, quality=95)])
    assert isinstance(made, Rendering)
    encoded = made.pictures[0].data
    assert len(encoded) > 2 * WINDOW_BYTES
    mark = mark_in(encoded[:WINDOW_BYTES], encoded[-WINDOW_BYTES:])
    assert mark is not None
    assert mark.digest == hashlib.sha256(data).digest()
    assert is_whole(encoded[:WINDOW_BYTES], encoded[-12:], len(encoded))
    assert not is_whole(encoded[:WINDOW_BYTES], encoded[-13:-1], len(encoded) - 1)
    assert mark_in(encoded[:500], b"") == mark
    assert mark_in(encoded[:200], b"") is None


@needs("jxl")
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_grey_and_colour(mode: str) -> None:
    (picture,) = rendered(saved(quarters(mode=mode), "PNG"), JXL)
    assert (picture.size, picture.mode) == ((64, 48), mode)


@needs("jxl")
def test_quality_and_effort_reach_the_encoder() -> None:
    data = saved(noise(), "PNG")
    variants = [
        replace(JXL, name=f"v{number}", width=400, height=400, quality=quality, effort=effort)
        for number, (quality, effort) in enumerate([(40, 3), (95, 3), (95, 7)])
    ]
    made = outcome(data, variants)
    assert isinstance(made, Rendering)
    low, high, slow = (len(picture.data) for picture in made.pictures)
    assert low < high
    assert slow != high


@needs("jxl")
def test_its_colours_are_srgb_as_it_takes_no_profile_along() -> None:
    data = saved(quarters(), "PNG", icc_profile=wide_profile())
    kept, converted = rendered(data, replace(JXL, colour=ColourPolicy.KEEP), replace(JXL, name="other"))
    assert is_close(corners(kept), corners(converted), within=2)
    assert not is_close(corners(kept), QUARTERS, within=12)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(kept.info["icc_profile"]))
    assert "RGB" in ImageCms.getProfileDescription(profile)


@needs("jxl")
def test_kept_metadata_of_any_length_does_not_hide_the_mark() -> None:
    exif = Image.Exif()
    exif[0x013B] = "An Artist " * 6000
    xmp = PACKET % (b"<!-- %s -->" % (b"x" * 60_000))
    made = outcome(saved(quarters(), "JPEG", exif=exif, xmp=xmp), [replace(JXL, metadata=MetadataPolicy.KEEP)])
    assert isinstance(made, Rendering)
    encoded = made.pictures[0].data
    mark = mark_in(encoded[:WINDOW_BYTES], b"")
    assert mark is not None
    assert mark.variant == "small"
    assert Image.open(io.BytesIO(encoded)).getexif()[0x013B] == "An Artist " * 6000
    assert b"x" * 60_000 in encoded


@pytest.mark.parametrize("kept", [b"", PACKET % b"", PACKET % (b"<!-- %s -->" % (b"x" * 40_000))])
def test_the_boxes_are_whole_and_the_mark_is_theirs_alone(kept: bytes) -> None:
    boxed = mark_jxl(b"\xff\x0a not a real one", MARK, xmp=kept)
    assert mark_in(boxed) == MARK
    assert is_whole(boxed, boxed[-12:], len(boxed))
    assert not is_whole(boxed, boxed[-12:], len(boxed) + 1)
    assert mark_in(boxed.replace(b"xml ", b"jumb")) is None
    assert mark_in(b"\xff\x0a" + xmp_packet(MARK)) is None


def test_without_its_encoder_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.SAVE, "JXL", raising=False)
    assert outcome(saved(quarters(), "PNG"), [JXL]) == Rejected(
        reason=Reason.DECODER_MISSING, detail="JPEG XL is written by an extra encoder: pip install 'watcherd[jxl]'"
    )
