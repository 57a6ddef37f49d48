"""Kinds are told by content alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.imaging.pictures import quarters, saved
from watcherd.imaging.sniff import Kind, kind_of

PICTURES = {
    "JPEG": Kind.JPEG,
    "PNG": Kind.PNG,
    "WEBP": Kind.WEBP,
    "GIF": Kind.GIF,
    "TIFF": Kind.TIFF,
    "AVIF": Kind.AVIF,
    "HEIF": Kind.HEIC,
    "BMP": Kind.BMP,
    "DIB": None,
    "ICO": Kind.ICO,
    "TGA": Kind.TGA,
    "PCX": Kind.PCX,
    "PPM": Kind.PPM,
    "JPEG2000": Kind.JP2,
}


@pytest.mark.parametrize(("container", "kind"), PICTURES.items())
def test_each_container_is_recognised(container: str, kind: Kind | None) -> None:
    data = saved(quarters(), container)
    assert kind_of(data[:65536], data[-32:], len(data)) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"8BPS\x00\x01" + bytes(30), Kind.PSD),
        (b"\xff\x0a" + bytes(30), Kind.JXL),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", Kind.JXL),
        (b"\xff\x4f\xff\x51" + bytes(30), Kind.JP2),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', Kind.SVG),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn --><svg>', Kind.SVG),
        (b"%PDF-1.7\n", Kind.PDF),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", Kind.RAW),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", Kind.RAW),
        (b"FUJIFILMCCD-RAW 0201", Kind.RAW),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1heic", Kind.HEIC),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", Kind.AVIF),
        (b"P5 # comment\n12 9\n255\n", Kind.PPM),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", Kind.VIDEO),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", Kind.VIDEO),
        (b"\x00\x00\x00\x08wide\x00\x01\x00\x00mdat", Kind.VIDEO),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01", Kind.VIDEO),
        (b"RIFF\x00\x00\x00\x00AVI LIST", Kind.VIDEO),
    ],
)
def test_headers_of_other_pictures(head: bytes, kind: Kind) -> None:
    assert kind_of(head, head[-32:], len(head)) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"\x00" * 65536,
        b"hello, world",
        b"P1 is what it is called",
        b"PK\x03\x04 a zip or an office file",
        b'<?xml version="1.0"?><html></html>',
        b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42",
        b"\x00\x00\x01\xba\x44\x00\x04",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"ID3\x04 music",
        b"BM is how this letter begins",
        b"\x7fELF\x02\x01\x01" + bytes(60),
        b"MZ\x90\x00\x03" + bytes(60),
    ],
)
def test_what_is_no_picture_has_no_kind(head: bytes) -> None:
    assert kind_of(head, head[-32:], len(head)) is None


@pytest.mark.parametrize("container", ["TGA", "BMP", "GIF"])
def test_no_name_is_needed_and_no_length(container: str) -> None:
    assert kind_of(saved(quarters(), container)) == PICTURES[container]


@given(st.binary(max_size=400))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert kind_of(data, data[-32:], len(data)) in (*Kind, None)


@given(st.sampled_from([b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"]), st.binary(max_size=200))
def test_any_tiff_directory_gets_an_answer(magic: bytes, rest: bytes) -> None:
    assert kind_of(magic + rest) in (Kind.TIFF, Kind.RAW)
