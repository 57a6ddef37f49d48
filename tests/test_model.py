"""The nouns: what a fingerprint depends on, and small derived values."""

from dataclasses import fields, replace
from typing import Any

import pytest

from watcherd import model
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    AnimationPolicy,
    Chroma,
    ColourPolicy,
    Fit,
    Header,
    MetadataPolicy,
    OutputFormat,
    Source,
    Stamp,
    Variant,
)
from watcherd.settings import RootSettings, Settings

OTHER: dict[str, Any] = {
    "width": 201,
    "height": None,
    "fit": Fit.COVER,
    "format": OutputFormat.WEBP,
    "quality": 81,
    "progressive": False,
    "effort": 4,
    "chroma": Chroma.FULL,
    "background": (0, 0, 0),
    "sharpen": True,
    "normalise": True,
    "metadata": MetadataPolicy.KEEP,
    "colour": ColourPolicy.KEEP,
    "animation": AnimationPolicy.KEEP,
    "upscale": True,
}


def test_fingerprints_do_not_move_between_releases() -> None:
    """A change here renders every photo library anew: raise RECIPE_REVISION on purpose, never by accident."""
    assert (THUMBNAIL.fingerprint, PREVIEW.fingerprint) == (-7423785936453887266, -8046592474878932383)


def test_every_setting_is_tried() -> None:
    assert set(OTHER) | {"name"} == {field.name for field in fields(Variant)}


@pytest.mark.parametrize("field", list(OTHER))
def test_each_setting_changes_the_fingerprint(field: str) -> None:
    assert replace(THUMBNAIL, **{field: OTHER[field]}).fingerprint != THUMBNAIL.fingerprint


def test_all_settings_give_different_fingerprints() -> None:
    changed = {replace(THUMBNAIL, **{field: value}).fingerprint for field, value in OTHER.items()}

    assert len(changed) == len(OTHER)


def test_the_name_does_not_change_the_fingerprint() -> None:
    assert replace(THUMBNAIL, name="small").fingerprint == THUMBNAIL.fingerprint


def test_the_recipe_revision_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    before = THUMBNAIL.fingerprint
    monkeypatch.setattr(model, "RECIPE_REVISION", 999)

    assert THUMBNAIL.fingerprint != before


@pytest.mark.parametrize("variant", [THUMBNAIL, PREVIEW, *(replace(THUMBNAIL, **{k: v}) for k, v in OTHER.items())])
def test_a_fingerprint_is_a_signed_64_bit_number(variant: Variant) -> None:
    assert -(2**63) <= variant.fingerprint < 2**63


@pytest.mark.parametrize(
    ("path", "directory", "name"), [(b"a.jpg", b"", b"a.jpg"), (b"x/y/a.jpg", b"x/y", b"a.jpg"), (b"x/a", b"x", b"a")]
)
def test_a_source_knows_its_folder_and_its_name(path: bytes, directory: bytes, name: bytes) -> None:
    assert (Source(1, path).directory, Source(1, path).name) == (directory, name)


def test_the_newest_time_of_a_stamp_is_the_later_one() -> None:
    assert Stamp(1, 5, 9, 1, 1).newest_ns == Stamp(1, 9, 5, 1, 1).newest_ns == 9


def test_pixels_are_those_of_one_frame() -> None:
    assert Header(kind="gif", width=30, height=20, frames=9, memory_bytes=0).pixels == 600


@pytest.mark.parametrize(
    ("names", "expected"),
    [((), (THUMBNAIL, PREVIEW)), (("preview",), (PREVIEW,)), (("preview", "thumbnail"), (THUMBNAIL, PREVIEW))],
)
def test_a_root_has_the_variants_that_it_names_or_all(names: tuple[str, ...], expected: tuple[Variant, ...]) -> None:
    assert Settings().variants_of(RootSettings(path="/x", variants=names)) == expected


@pytest.mark.parametrize(
    ("format_", "extension"), [("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("png", "png"), ("jxl", "jxl")]
)
def test_each_format_has_its_ending(format_: str, extension: str) -> None:
    assert OutputFormat(format_).extension == extension
