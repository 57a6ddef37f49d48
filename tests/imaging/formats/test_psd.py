"""Photoshop files: the flattened picture, or which form it is that cannot be read."""

import io
import struct

import pytest
from PIL import Image

from tests.imaging.pictures import SMALL, first_look, is_close, outcome
from tests.pool.workshop import bench
from watcherd.imaging.render import Rendering
from watcherd.model import Header, Reason, Rejected, Rendered

SIZE = (80, 60)
GREY, PALETTE, RGB, CMYK, LAB = 1, 2, 3, 4, 9


def psd(mode: int, depth: int, colour: tuple[int, ...], *, version: int = 1) -> bytes:
    """One colour all over, planes uncompressed; no layers, no resources."""
    width, height = SIZE
    header = b"8BPS" + struct.pack(">H6xHIIHH", version, len(colour), height, width, depth, mode)
    sections = bytes(12 if version == 1 else 16)
    planes = b"".join(bytes([level]) * (width * height * depth // 8) for level in colour)
    return header + sections + b"\0\0" + planes


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        (GREY, (120,), (120, 120, 120)),
        (RGB, (200, 30, 40), (200, 30, 40)),
        (RGB, (200, 30, 40, 255), (200, 30, 40)),
        (CMYK, (255, 255, 255, 255), (255, 255, 255)),  # stored inverted: no ink at all
        (LAB, (255, 128, 128), (255, 255, 255)),
    ],
)
def test_the_flattened_picture_has_its_colours(
    mode: int, colour: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    made = outcome(psd(mode, 8, colour))
    assert isinstance(made, Rendering)
    picture = Image.open(io.BytesIO(made.pictures[0].data)).convert("RGB")
    assert picture.size == (64, 48)
    assert is_close([picture.getpixel((30, 20))], [expected], within=4)


@pytest.mark.parametrize(
    ("mode", "depth", "version", "detail"),
    [
        (RGB, 16, 1, "RGB of 16 bits a channel, only 8 are supported"),
        (RGB, 32, 1, "RGB of 32 bits a channel, only 8 are supported"),
        (CMYK, 16, 1, "CMYK of 16 bits a channel, only 8 are supported"),
        (LAB, 16, 1, "Lab of 16 bits a channel, only 8 are supported"),
        (GREY, 16, 1, "grey of 16 bits a channel, only 8 are supported"),
        (RGB, 8, 2, "a PSB, Photoshop's large document format"),
    ],
)
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_form_that_cannot_be_read_is_no_damage(
    mode: int, depth: int, version: int, detail: str, *, tolerant: bool
) -> None:
    data = psd(mode, depth, (1, 2, 3, 4)[: 4 if mode == CMYK else 3], version=version)
    assert first_look(data, tolerant=tolerant) == Rejected(
        reason=Reason.UNSUPPORTED, detail=f"this form of psd cannot be read: {detail}"
    )


def test_a_broken_header_is_damage() -> None:
    made = first_look(psd(RGB, 7, (1, 2, 3)), tolerant=True)
    assert isinstance(made, Rejected)
    assert made.reason is Reason.DAMAGED
    assert isinstance(first_look(psd(RGB, 8, (1, 2, 3))), Header)


def test_lab_is_converted_behind_the_fence() -> None:
    """What converts it is imported before the fence closes."""
    with bench() as workers:
        workers.start()
        workers.ready()
        ended, _ = workers.outcome(psd(LAB, 8, (255, 128, 128)), SMALL)
        assert ended.outcome == Rendered()
