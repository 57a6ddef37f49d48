"""Cut, empty, damaged and lying files: an answer with the right reason, and never half a picture."""

import io
import struct
import zlib
from collections.abc import Iterator
from time import thread_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.imaging.pictures import LIMITS, SMALL, every_container, first_look, noise, outcome, quarters, saved
from watcherd.imaging import render_bytes
from watcherd.imaging.decode import identify
from watcherd.imaging.decoders import Decoder, decoder_for
from watcherd.imaging.endings import ZERO_TAIL_BYTES
from watcherd.imaging.render import Rendering
from watcherd.imaging.samples import sample_of
from watcherd.imaging.sniff import Kind
from watcherd.model import Header, Ignored, Incomplete, Reason, Rejected
from watcherd.settings import LimitSettings

FILES = every_container(quarters())
NOISE = every_container(noise())
COMPLETE_WITHOUT = {"jpeg": 2, "jpeg_cmyk": 2, "tga": 26, "tga_packed": 26, "pcx": 0}
SUSPECT_ZEROS = ["jpeg", "jpeg_progressive", "png", "webp", "gif", "avif", "heic", "jp2", "tiff_lzw"]


def cuts(name: str) -> Iterator[bytes]:
    data = FILES[name]
    last = len(data) - COMPLETE_WITHOUT.get(name, 0) - 2
    for step in range(24):
        yield data[: 1 + last * step // 23]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_cut_off_waits(name: str) -> None:
    for data in cuts(name):
        made = outcome(data)
        if not isinstance(made, Ignored):  # too short to be known as a picture
            assert isinstance(made, Incomplete), (len(data), made)
            assert made.reason is Reason.TRUNCATED


HAS_ITS_PIXELS = {Kind.JPEG: 2, Kind.TGA: 26, Kind.RAW: 132}
"""How much of the end of a sample is no part of its picture."""


@pytest.mark.parametrize("kind", [kind for kind in Kind if isinstance(decoder_for(kind, svg=True), Decoder)])
def test_wherever_a_file_is_cut_off_it_waits(kind: Kind) -> None:
    data = sample_of(kind)
    for length in range(len(data) - HAS_ITS_PIXELS.get(kind, 0)):
        made = render_bytes(data[:length], (SMALL,), svg=True)
        assert isinstance(made, Incomplete | Ignored), (length, made)


@pytest.mark.parametrize("name", FILES)
def test_after_the_grace_a_cut_file_gets_a_last_word(name: str) -> None:
    for data in cuts(name):
        made = outcome(data, tolerant=True)
        assert isinstance(made, Rendering | Rejected | Ignored), (len(data), made)
        if isinstance(made, Rejected):
            assert made.reason is Reason.DAMAGED
            assert len(made.detail) < 300


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_is_no_cut_file(name: str) -> None:
    assert isinstance(first_look(FILES[name]), Header)


@pytest.mark.parametrize("name", SUSPECT_ZEROS)
def test_reserved_space_that_is_not_written_yet_waits(name: str) -> None:
    data = NOISE[name]
    half = data[: len(data) // 2]
    assert len(data) - len(half) > ZERO_TAIL_BYTES
    made = first_look(half + bytes(len(data) - len(half)))
    assert isinstance(made, Incomplete)
    assert made.reason in (Reason.ZERO_TAIL, Reason.TRUNCATED)


def test_zeros_behind_the_end_marker_are_nothing() -> None:
    assert isinstance(outcome(FILES["jpeg"] + bytes(44_758)), Rendering)


@pytest.mark.parametrize("container", ["BMP", "PPM", "TIFF", "TGA"])
def test_black_pictures_end_in_zeros_and_are_whole(container: str) -> None:
    assert isinstance(outcome(saved(Image.new("RGB", (200, 200)), container)), Rendering)


@pytest.mark.parametrize("trailer", [b"PK\x03\x04 an archive behind it", b"\xff\xd8\xff\xe0 another", b"\xff" * 999])
def test_what_stands_behind_a_jpeg_does_not_matter(trailer: bytes) -> None:
    assert isinstance(outcome(FILES["jpeg"] + trailer), Rendering)


def test_a_jpeg_that_lacks_only_its_end_marker_is_whole() -> None:
    made = outcome(FILES["jpeg"][:-2])
    assert isinstance(made, Rendering)
    assert made.notes == ()


def test_holes_in_the_picture_make_a_file_wait() -> None:
    data = NOISE["jpeg"]
    middle = len(data) // 2
    torn = data[:middle] + bytes(8192) + data[middle + 8192 :]
    made = first_look(torn, has_holes=True)

    assert isinstance(made, Incomplete)
    assert made.reason is Reason.HOLES
    assert isinstance(first_look(torn, has_holes=True, tolerant=True), Header)
    assert isinstance(first_look(FILES["bmp"], has_holes=True), Incomplete)


def test_holes_in_padding_do_not() -> None:
    padding = b"\xff\xe1" + (8194).to_bytes(2, "big") + bytes(8192)
    padded = FILES["jpeg"][:2] + padding + FILES["jpeg"][2:] + bytes(8192)

    assert isinstance(first_look(padded, has_holes=True), Header)
    assert isinstance(first_look(FILES["png"], has_holes=True), Header), "its checksums speak for themselves"


def test_a_slightly_damaged_photo_is_rendered_after_the_grace_with_a_note() -> None:
    data = NOISE["jpeg"]
    made = outcome(data[: len(data) * 9 // 10], tolerant=True)
    assert isinstance(made, Rendering)
    assert "damaged" in made.notes[0]


@pytest.mark.parametrize("name", ["jpeg", "png", "bmp"])
def test_a_photo_of_which_mostly_nothing_decodes_stays_rejected(name: str) -> None:
    data = NOISE[name]
    made = outcome(data[: len(data) // 4], tolerant=True)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.DAMAGED


def test_rubbish_inside_a_whole_png_waits_then_is_noted_or_rejected() -> None:
    data = bytearray(NOISE["png"])
    data[len(data) * 3 // 4 : len(data) * 3 // 4 + 50] = bytes(50)
    assert isinstance(outcome(bytes(data)), Incomplete)
    made = outcome(bytes(data), tolerant=True)
    assert isinstance(made, Rendering)
    assert "damaged" in made.notes[0]


@pytest.mark.parametrize("kind", [kind for kind in Kind if isinstance(decoder_for(kind, svg=True), Decoder)])
def test_every_limit_holds_for_every_kind_by_its_header(kind: Kind) -> None:
    data = sample_of(kind)

    def look(limits: LimitSettings) -> Header | Ignored | Incomplete | Rejected:
        return identify(data, variants=(SMALL,), limits=limits, has_holes=False, tolerant=False, svg=True)

    header = look(LIMITS)
    assert isinstance(header, Header)
    longest = max(header.width, header.height)
    for limits, reason in (
        (LimitSettings(max_pixels=header.pixels - 1), Reason.TOO_MANY_PIXELS),
        (LimitSettings(max_side=longest - 1), Reason.SIDE_TOO_LONG),
        (LimitSettings(max_bytes=len(data) - 1), Reason.TOO_MANY_BYTES),
    ):
        made = look(limits)
        assert isinstance(made, Rejected)
        assert made.reason is reason
    assert isinstance(look(LimitSettings(max_pixels=header.pixels, max_side=longest, max_bytes=len(data))), Header)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (FILES["jpeg"] + b"PK\x03\x04 an archive", Rendering),
        (FILES["jpeg"] + FILES["png"], Rendering),
        (FILES["png"] + sample_of(Kind.PDF), Rendering),
        (FILES["gif"] + b"/*<script>alert(1)</script>*/", Rendering),
        (FILES["gif"] + b"more than fits behind the trailer of most GIFs " * 9, Rendering),
        (b"GIF89a;<?php system('x') ?>", Incomplete),
        (b"some words\n" * 50 + sample_of(Kind.PDF), Ignored),
        (b"<html><svg></svg></html>", Ignored),
        (b"PK\x03\x04" + FILES["jpeg"], Ignored),
        (b"\x7fELF" + FILES["png"], Ignored),
        (b"RIFF\x24\0\0\0WAVEfmt " + FILES["webp"], Ignored),
        (bytes(20_000), Ignored),
    ],
)
def test_a_file_of_two_kinds_is_what_it_begins_with(data: bytes, expected: type) -> None:
    assert isinstance(outcome(data), expected)


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_bomb_is_rejected_by_its_header() -> None:
    made = outcome(bomb(60_000, 60_000))
    assert made == Rejected(
        reason=Reason.TOO_MANY_PIXELS, detail="3,600,000,000 pixels, more than max_pixels = 150000000"
    )


def test_a_bomb_inside_an_icon_is_rejected_too() -> None:
    inner = bomb(60_000, 60_000)
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    made = outcome(b"\0\0\1\0\1\0" + entry + inner)
    assert isinstance(made, Rejected)
    assert made.reason in (Reason.TOO_MANY_PIXELS, Reason.DAMAGED)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(FILES)),
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    tolerant=st.booleans(),
)
def test_any_damage_gives_an_outcome(name: str, places: list[tuple[float, bytes]], tolerant: bool) -> None:
    data = bytearray(FILES[name])
    for where, junk in places:
        at = int(where * (len(data) - 1))
        data[at : at + len(junk)] = junk
    made = outcome(bytes(data), tolerant=tolerant)
    assert isinstance(made, Rendering | Ignored | Incomplete | Rejected), made
    assert not (tolerant and isinstance(made, Incomplete))


def test_a_wrong_extension_and_a_lying_header_are_told_by_content() -> None:
    png = io.BytesIO()
    quarters().save(png, "PNG")
    assert isinstance(outcome(png.getvalue() + FILES["jpeg"]), Rendering)
    assert isinstance(outcome(b"\xff\xd8\xff" + png.getvalue()), Incomplete | Rejected)


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"\xff\xd8\xff\xe0\x00\x04\x00\x00", b"\xff"),
        (b"\xff\xd8\xff", b"\x00"),
        (b"\xff\xd8\xff\xe0", b"\x00\x02\xff\xe0"),
        (b"\x89PNG\r\n\x1a\n", b"\0\0\0\0tEXt\0\0\0\0"),
        (b"\0\0\0\x0cftypavif\0\0\0\x08free", b"\0\0\0\x08free"),
        (b"II*\0\x08\0\0\0", b"\xff\x0f"),
        (b"8BPS\0\1" + bytes(6) + b"\0\x38\0\4\x93\xe0\0\4\x93\xe0\0\x08\0\3" + bytes(12) + b"\0\1", b"\xff\xff"),
    ],
)
def test_no_structure_is_walked_for_ever(head: bytes, part: bytes) -> None:
    data = head + part * (8_000_000 // len(part))
    started = thread_time()
    outcome(data)
    assert thread_time() - started < 1.5
