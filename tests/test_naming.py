"""Names and marks: parsing is the inverse of formatting."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import DIGESTS, FINGERPRINTS, PAIRS, VARIANT_NAMES, names
from watcherd.model import PREVIEW, THUMBNAIL, OutputFormat
from watcherd.naming import (
    NAME_MAX_BYTES,
    SIBLING,
    UNUSED,
    VARIANT_NAME,
    DerivativeName,
    Layout,
    Mark,
    Names,
    derivative_name,
    find_mark,
    parse_derivative_name,
    parse_temporary_name,
    source_beside,
    temporary_name,
)

KNOWN = (("thumbnail", "jpg"), ("preview", "jpg"), ("web", "webp"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"IMG_1.JPG", b"IMG_1.JPG.thumbnail.jpg"),
        (b"a", b"a.thumbnail.jpg"),
        ("写真.png".encode(), "写真.png.thumbnail.jpg".encode()),
        (b"\xff.png", b"\xff.png.thumbnail.jpg"),
        (b"x" * 241, b"x" * 241 + b".thumbnail.jpg"),
        (b"x" * 242, b"x" * 232 + b"~0b20eb0f.thumbnail.jpg"),
    ],
)
def test_a_derivative_is_called_after_the_whole_name_of_its_source(source: bytes, expected: bytes) -> None:
    assert derivative_name(source, "thumbnail", "jpg") == expected


def test_sources_that_differ_in_their_ending_only_never_meet() -> None:
    assert derivative_name(b"a.jpg", "web", "webp") != derivative_name(b"a.png", "web", "webp")


SUBFOLDER = Layout(folder=b".derivatives")
MIRROR = Layout(tree=b"/srv/mirror")
LAYOUTS = (SIBLING, SUBFOLDER, MIRROR, Layout(tree=b"/srv/mirror", folder=b".d"))


@pytest.mark.parametrize(
    ("layout", "deep", "flat"),
    [
        (SIBLING, b"a/b/c.png.thumbnail.jpg", b"c.png.preview.avif"),
        (SUBFOLDER, b"a/b/.derivatives/c.png.thumbnail.jpg", b".derivatives/c.png.preview.avif"),
        (MIRROR, b"/srv/mirror/a/b/c.png.thumbnail.jpg", b"/srv/mirror/c.png.preview.avif"),
    ],
)
def test_a_layout_says_where_a_derivative_lies(layout: Layout, deep: bytes, flat: bytes) -> None:
    names = Names(layouts=(layout,))

    assert names.path_of(b"a/b/c.png", THUMBNAIL) == deep
    assert names.path_of(b"c.png", replace(PREVIEW, format=OutputFormat.AVIF)) == flat


@given(st.lists(names(), max_size=3), st.sampled_from(LAYOUTS))
def test_the_folder_of_derivatives_leads_back_to_the_folder_of_their_sources(
    components: list[bytes], layout: Layout
) -> None:
    directory = b"/".join(components)

    assert layout.directory_of(layout.folder_of(directory)) == directory


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        (SIBLING, b"/srv/mirror/a"),
        (SUBFOLDER, b"a"),
        (SUBFOLDER, b""),
        (SUBFOLDER, b"/srv/mirror/.derivatives"),
        (MIRROR, b"a"),
        (MIRROR, b"/srv/mirrored/a"),
    ],
)
def test_a_folder_that_a_layout_does_not_use_leads_nowhere(layout: Layout, folder: bytes) -> None:
    assert layout.directory_of(folder) is None


def test_a_derivative_may_lie_wherever_its_variant_was_ever_put() -> None:
    every = Names(layouts=(SUBFOLDER, SIBLING), known=(("web", "webp"), ("web", "avif"), ("thumbnail", "jpg")))

    assert every.paths_of(b"a/b.png", "web") == (
        b"a/.derivatives/b.png.web.webp",
        b"a/.derivatives/b.png.web.avif",
        b"a/b.png.web.webp",
        b"a/b.png.web.avif",
    )


@given(names(), PAIRS, st.sampled_from(LAYOUTS), st.permutations(LAYOUTS))
def test_a_derivatives_path_leads_back_to_its_source_under_every_layout(
    name: bytes, pair: tuple[str, str], layout: Layout, layouts: list[Layout]
) -> None:
    every = Names(layouts=tuple(layouts), known=(pair,))
    is_cut = len(name) + len(".".join(("", *pair))) > NAME_MAX_BYTES

    for source in (name, b"folder/" + name):
        assert every.source_of(layout.path_of(source, *pair)) == (None if is_cut else source)


def test_what_is_not_called_as_a_derivative_is_of_no_source() -> None:
    every = Names(layouts=(SUBFOLDER,), known=KNOWN)

    assert every.source_of(b".derivatives/a.jpg") is None
    assert every.source_of(b"a.jpg.thumbnail.jpg") is None  # no derivative was ever put beside its source here


def test_every_way_leads_from_an_earlier_layout_to_that_of_now() -> None:
    every = Names(layouts=(MIRROR, SUBFOLDER, SIBLING), known=(("web", "webp"), ("web", "avif"), ("thumbnail", "jpg")))

    assert every.ways_of(b"a/b.png", "web") == (
        (b"a/.derivatives/b.png.web.webp", b"/srv/mirror/a/b.png.web.webp"),
        (b"a/.derivatives/b.png.web.avif", b"/srv/mirror/a/b.png.web.avif"),
        (b"a/b.png.web.webp", b"/srv/mirror/a/b.png.web.webp"),
        (b"a/b.png.web.avif", b"/srv/mirror/a/b.png.web.avif"),
    )


def test_a_derivative_lies_where_its_own_layout_has_it() -> None:
    every = Names(layouts=(replace(MIRROR, number=2), replace(SUBFOLDER, number=1), SIBLING))

    paths = [every.path_of(b"a.png", THUMBNAIL, layout=number) for number in (None, 2, 1, 0)]
    assert paths == [
        b"/srv/mirror/a.png.thumbnail.jpg",
        b"/srv/mirror/a.png.thumbnail.jpg",
        b".derivatives/a.png.thumbnail.jpg",
        b"a.png.thumbnail.jpg",
    ]


def test_a_folder_of_a_layout_that_was_perhaps_never_used_is_not_said_to_be_ours() -> None:
    every = Names(layouts=(SIBLING, replace(SUBFOLDER, number=UNUSED)))

    assert not every.is_ours(b"a/.derivatives")
    assert every.is_ours(b"a/.derivatives", or_may_be=True)


def test_folders_made_for_derivatives_are_known() -> None:
    every = Names(layouts=(SUBFOLDER, MIRROR, SIBLING))

    ours = [b".derivatives", b"a/.derivatives", b"a/.derivatives/b", b"/srv/mirror", b"/srv/mirror/a"]
    others = [b"", b"a", b"a.derivatives", b"derivatives", b"/srv/mirrors", b"/srv"]
    assert [every.is_ours(folder) for folder in ours] == [True] * len(ours)
    assert [every.is_ours(folder) for folder in others] == [False] * len(others)


@given(names(), PAIRS)
def test_a_derivatives_name_fits_and_leads_back_to_its_source(source: bytes, pair: tuple[str, str]) -> None:
    name = derivative_name(source, *pair)
    parsed = parse_derivative_name(name, [("other", "jpg"), pair])

    assert len(name) <= NAME_MAX_BYTES
    assert parsed is not None
    assert (parsed.variant, parsed.extension) == pair
    assert parsed.is_of(source)
    assert source_beside(name, [pair], {source, name}) == source


@given(names(), PAIRS)
def test_a_short_name_is_taken_apart_into_what_it_was_made_of(source: bytes, pair: tuple[str, str]) -> None:
    variant, extension = pair
    if len(source) <= 200:
        expected = DerivativeName(stem=source, variant=variant, extension=extension)
        assert parse_derivative_name(derivative_name(source, *pair), [pair]) == expected


@given(names(), names(), PAIRS)
def test_a_derivative_belongs_to_one_source_only(source: bytes, other: bytes, pair: tuple[str, str]) -> None:
    parsed = parse_derivative_name(derivative_name(source, *pair), [pair])

    assert parsed is not None
    assert parsed.is_of(other) == (source == other)


@given(st.text("aä写🖼", min_size=250, max_size=250))
def test_a_cut_name_is_still_text(text: str) -> None:
    source = text.encode()[:255].decode(errors="ignore").encode()

    assert derivative_name(source, "thumbnail", "jpg").decode()


@pytest.mark.parametrize("source", [b"\x80" * 255, b"a" + b"\xbf" * 254, b"a" * 225 + b"\x80" * 30])
def test_a_cut_name_of_no_encoding_is_recognised_as_well(source: bytes) -> None:
    name = derivative_name(source, "thumbnail", "jpg")

    assert source_beside(name, KNOWN, [b"other.jpg", source, name]) == source


@given(names())
def test_a_name_without_a_source_beside_is_a_source_itself(source: bytes) -> None:
    name = derivative_name(source, "thumbnail", "jpg")

    assert source_beside(name, KNOWN, {name}) is None
    assert source_beside(name, KNOWN, {name, b"unrelated.jpg"}) is None


@given(names(), names())
def test_only_names_that_we_would_give_are_ours(name: bytes, other: bytes) -> None:
    source = source_beside(name, KNOWN, {name, other})

    assert source is None or name in {derivative_name(source, *pair) for pair in KNOWN}


@pytest.mark.parametrize(
    "name", [b".thumbnail.jpg", b"a.thumbnail.png", b"a.thumbnails.jpg", b"athumbnail.jpg", b"a.jpg"]
)
def test_other_names_are_not_derivatives(name: bytes) -> None:
    assert parse_derivative_name(name, KNOWN) is None


def test_a_derivative_of_a_look_alike_is_its_derivative() -> None:
    alike, made = b"a.jpg.thumbnail.jpg", b"a.jpg.thumbnail.jpg.thumbnail.jpg"

    assert source_beside(alike, KNOWN, {alike, made}) is None
    assert source_beside(made, KNOWN, {alike, made}) == alike


def test_a_source_that_ends_like_a_cut_name_is_found() -> None:
    source = b"x" * 232 + b"~0123abcd"
    name = derivative_name(source, "thumbnail", "jpg")

    assert name == source + b".thumbnail.jpg"
    assert source_beside(name, KNOWN, {source, name}) == source


# ------------------------------------------------------------------------------------------------ temporary files

HEX = st.text("0123456789abcdef", min_size=8, max_size=8)


@given(HEX, HEX, st.text("0123456789abcdef", min_size=12, max_size=12))
def test_a_temporary_name_tells_its_instance_and_run(instance: str, run: str, random: str) -> None:
    name = temporary_name(instance, run, random)

    assert name.startswith(b".")
    assert parse_temporary_name(name) == (instance, run)


@given(names())
def test_other_names_are_not_temporary(name: bytes) -> None:
    assert parse_temporary_name(name) is None


@pytest.mark.parametrize("ending", [b"", b"\n", b".jpg"])
def test_a_temporary_name_is_matched_to_its_end(ending: bytes) -> None:
    name = temporary_name("0" * 8, "1" * 8, "2" * 12) + ending

    assert (parse_temporary_name(name) is not None) == (ending == b"")


# ------------------------------------------------------------------------------------------------------- the mark

MARKS = st.builds(Mark, variant=VARIANT_NAMES, digest=DIGESTS, fingerprint=FINGERPRINTS)


@given(MARKS, st.binary(max_size=40), st.binary(max_size=40))
def test_a_mark_is_found_again_in_whatever_surrounds_it(mark: Mark, before: bytes, after: bytes) -> None:
    assert find_mark(before + str(mark).encode() + after) == mark


@given(MARKS)
def test_a_mark_is_one_line_of_ascii(mark: Mark) -> None:
    text = str(mark)

    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 125


def test_a_mark_reads_as_documented() -> None:
    mark = Mark(variant="thumbnail", digest=bytes(range(32)), fingerprint=-2)

    assert str(mark) == f"watcherd/1 thumbnail {bytes(range(32)).hex()} fffffffffffffffe"


@given(st.binary(max_size=300))
def test_other_bytes_bear_no_mark(text: bytes) -> None:
    assert find_mark(text) is None


@given(VARIANT_NAMES)
def test_variant_names_are_safe_in_file_names(name: str) -> None:
    assert VARIANT_NAME.fullmatch(name)
    assert not set(name) & set("./ ~\\")
