"""Our mark is found in every container that we write, and nowhere else."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from watcherd.derivatives.marks import WINDOW_BYTES, mark_in
from watcherd.imaging.marks import mark_jpeg, mark_png, xmp_packet
from watcherd.naming import Mark

MARK = Mark(variant="preview", digest=bytes(range(32)), fingerprint=-5)
OTHER = Mark(variant="thumbnail", digest=bytes(32), fingerprint=7)


def encoded(container: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    target = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(target, container, **options)
    return target.getvalue()


def marked(container: str, size: tuple[int, int] = (40, 30)) -> bytes:
    if container == "JPEG":
        return mark_jpeg(encoded(container, size), MARK)
    if container == "PNG":
        return mark_png(encoded(container, size), MARK)
    return encoded(container, size, xmp=xmp_packet(MARK))


def found(data: bytes) -> Mark | None:
    return mark_in(data[:WINDOW_BYTES], data[-WINDOW_BYTES:])


CONTAINERS = ["JPEG", "PNG", "WEBP", "AVIF"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_mark_written_is_found_again(container: str) -> None:
    assert found(marked(container)) == MARK


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_mark_is_found_in_a_file_longer_than_both_windows(container: str) -> None:
    data = marked(container, (900, 700))
    assert len(data) > 2 * WINDOW_BYTES
    assert found(data) == MARK


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_marked_picture_still_decodes_to_the_same_pixels(container: str) -> None:
    with Image.open(io.BytesIO(marked("PNG"))) as picture:
        assert picture.text == {"Comment": str(MARK)}
    with Image.open(io.BytesIO(marked(container))) as picture:
        picture.load()
        assert picture.size == (40, 30)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_picture_without_a_mark_has_none(container: str) -> None:
    assert found(encoded(container)) is None


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_mark_behind_the_end_of_a_picture_does_not_count(container: str) -> None:
    assert found(encoded(container) + str(MARK).encode()) is None


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_whole_mark_must_be_there(container: str) -> None:
    data = marked(container)
    text = str(MARK).encode()
    assert found(data.replace(text, text[:-1] + b"!")) is None


def test_a_comment_that_only_quotes_a_mark_does_not_count() -> None:
    assert found(encoded("JPEG", comment=b"made by " + str(MARK).encode())) is None


def test_a_mark_in_the_pixels_of_a_jpeg_does_not_count() -> None:
    data = encoded("JPEG")
    assert found(data[:-2] + b"\xff\xfe\x00\x4a" + str(MARK).encode() + data[-2:]) is None


def test_a_mark_in_the_xmp_of_a_jpeg_does_not_count() -> None:
    assert found(encoded("JPEG", xmp=xmp_packet(MARK))) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", str(MARK).encode(), b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypavif"])
def test_what_is_no_picture_has_no_mark(data: bytes) -> None:
    assert found(data) is None


def test_the_mark_goes_into_a_packet_that_is_kept() -> None:
    packet = xmp_packet(MARK, kept=xmp_packet(OTHER).replace(b"watcherd:mark", b"other:mark"))
    assert found(encoded("WEBP", xmp=packet)) == MARK
    assert packet.count(b"</rdf:RDF>") == 1


@given(start=st.sampled_from([marked(c) for c in CONTAINERS]), at=st.integers(0, 400), junk=st.binary(max_size=40))
def test_any_damage_gives_an_answer_not_an_error(start: bytes, at: int, junk: bytes) -> None:
    assert found(start[:at] + junk + start[at + len(junk) :]) in (None, MARK)


@given(st.binary(max_size=300))
def test_random_bytes_have_no_mark(data: bytes) -> None:
    assert found(data) is None
