"""When a picture was taken: from the best of three tags, and only if it is a date."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.imaging.pictures import outcome, quarters, saved
from watcherd.imaging.exif import captured_at
from watcherd.imaging.render import Rendering

ORIGINAL, DIGITIZED, CHANGED = 0x9003, 0x9004, 0x0132


def block(tags: dict[int, Any], endian: str = "<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    inner = exif.get_ifd(0x8769)
    for tag, value in tags.items():
        (inner if tag >= 0x9000 else exif)[tag] = value
    return exif.tobytes()


ALL = {ORIGINAL: "2008:05:30 15:56:01", DIGITIZED: "2009:01:01 00:00:00", CHANGED: "2010:12:31 23:59:59"}


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize(
    ("without", "wanted"),
    [
        ((), "2008-05-30T15:56:01"),
        ((ORIGINAL,), "2009-01-01T00:00:00"),
        ((ORIGINAL, DIGITIZED), "2010-12-31T23:59:59"),
        ((ORIGINAL, DIGITIZED, CHANGED), ""),
    ],
)
def test_the_first_of_three_tags_counts(endian: str, without: tuple[int, ...], wanted: str) -> None:
    tags = {tag: text for tag, text in ALL.items() if tag not in without}
    assert captured_at(block({0x010F: "maker"} | tags, endian)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("0000:00:00 00:00:00", "    :  :     :  :  ", "2008:13:01 00:00:00", "2008:02:30 10:00:00"),
        *("1700:01:01 00:00:00", "2008:05:30 24:00:00", "2008:05:30", "yesterday", ""),
    ],
)
def test_what_is_no_date_is_passed_over(text: str) -> None:
    assert captured_at(block({ORIGINAL: text, CHANGED: ALL[CHANGED]})) == "2010-12-31T23:59:59"


def test_other_ways_to_write_a_date_are_read() -> None:
    assert captured_at(block({ORIGINAL: "2008-05-30T15:56:01+02:00"})) == "2008-05-30T15:56:01"


@given(st.binary(max_size=300), st.sampled_from([b"", b"Exif\0\0II*\0", b"MM\0*", b"II+\0"]))
def test_any_bytes_get_an_answer(data: bytes, start: bytes) -> None:
    assert isinstance(captured_at(start + data), str)


@given(st.data())
def test_damaged_blocks_get_an_answer(data: st.DataObject) -> None:
    whole = bytearray(block(ALL))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(captured_at(bytes(whole)), str)


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_container_tells(container: str) -> None:
    exif = Image.Exif()
    exif.load(block(ALL))
    exif.get_ifd(0x8769)
    made = outcome(saved(quarters(), container, exif=exif.tobytes() if container == "HEIF" else exif))
    assert isinstance(made, Rendering)
    assert made.captured == "2008-05-30T15:56:01"


def test_a_picture_that_does_not_say_has_no_date() -> None:
    made = outcome(saved(quarters(), "JPEG"))
    assert isinstance(made, Rendering)
    assert made.captured == ""
    assert Image.open(io.BytesIO(made.pictures[0].data)).size == (64, 48)
