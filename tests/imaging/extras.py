"""Samples of the kinds that need an extra, made where it is installed; a test that wants one says so and is skipped."""

import importlib.util
import io
import struct
from fractions import Fraction
from typing import Any

import pytest
from PIL import Image

from tests.imaging.pictures import saved
from watcherd.model import OutputFormat
from watcherd.settings import WRITING_EXTRAS

MODULES = {"jxl": "pillow_jxl", "raw": "rawpy", "pdf": "pypdfium2", "video": "av"}
EXTRAS = tuple(MODULES)
WRITABLE = [f for f in OutputFormat if f not in WRITING_EXTRAS or importlib.util.find_spec(WRITING_EXTRAS[f][1])]
"""Formats that this installation can write."""


def is_installed(extra: str) -> bool:
    return importlib.util.find_spec(MODULES[extra]) is not None


def needs(extra: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not is_installed(extra), reason=f"the extra is not installed: pip install '.[{extra}]'")


each_extra = pytest.mark.parametrize("extra", [pytest.param(extra, marks=needs(extra)) for extra in EXTRAS])


def sample(extra: str, picture: Image.Image, **options: Any) -> bytes:
    makers = {"jxl": jxl, "raw": dng, "pdf": pdf, "video": video}
    return makers[extra](picture, **options)


def jxl(picture: Image.Image, **options: Any) -> bytes:
    import pillow_jxl  # noqa: F401, PLC0415  registers itself with Pillow

    return saved(picture, "JXL", **({"quality": 95, "num_threads": 0} | options))


def pdf(picture: Image.Image, **options: Any) -> bytes:
    """A page of that many pixels at the 200 dots an inch by which pages are measured."""
    return saved(picture, "PDF", **({"resolution": 200.0, "quality": 95} | options))


def video(
    picture: Image.Image, container: str = "mp4", codec: str = "mpeg4", black_frames: int = 0, **options: Any
) -> bytes:
    """A second of the picture, after so many black frames (each of them a key frame)."""
    import av  # noqa: PLC0415

    target = io.BytesIO()
    with av.open(target, "w", format=container) as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = (
            picture.width,
            picture.height,
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
        )
        stream.bit_rate = 4_000_000
        stream.gop_size = options.get("gop_size", 5)
        if "sample_aspect_ratio" in options:
            stream.sample_aspect_ratio = options["sample_aspect_ratio"]
        sound = out.add_stream("aac", rate=44100) if options.get("has_sound") else None
        black = Image.new("RGB", picture.size)
        for number in range(black_frames + 10):
            frame = av.VideoFrame.from_image(black if number < black_frames else picture)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            silence = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            silence.rate, silence.pts = 44100, 0
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            out.mux(sound.encode(silence))
            out.mux(sound.encode(None))
    return target.getvalue()


def dng(picture: Image.Image, *, preview: Image.Image | None = None, orientation: int = 1) -> bytes:
    """A digital negative (DNG 1.4) of an RGGB sensor, 16 bits, not compressed; the preview in the first directory."""
    width, height = picture.size
    levels = picture.convert("RGB").load()
    assert levels is not None
    sensor = bytearray()
    for y in range(height):
        for x in range(width):
            level = levels[x, y][(0, 1, 1, 2)[2 * (y % 2) + x % 2]]  # type: ignore[index]
            sensor += struct.pack("<H", round((level / 255) ** 2.2 * 65535))
    matrix = [3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570]
    camera = [
        (271, 2, b"watcherd\0"),
        (272, 2, b"sensor\0"),
        (274, 3, [orientation]),
        (306, 2, b"2008:05:30 15:56:01\0"),
        (50706, 1, bytes((1, 4, 0, 0))),
        (50707, 1, bytes((1, 1, 0, 0))),
        (50708, 2, b"watcherd sensor\0"),
        (50721, 10, [(round(number * 10000), 10000) for number in matrix]),
        (50728, 5, [(1, 1), (1, 1), (1, 1)]),
        (50778, 3, [21]),
    ]
    mosaic = [
        (254, 4, [0]),
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [16]),
        (259, 3, [1]),
        (262, 3, [32803]),
        (273, 4, [sensor]),
        (277, 3, [1]),
        (278, 4, [height]),
        (279, 4, [len(sensor)]),
        (33421, 3, [2, 2]),
        (33422, 1, bytes((0, 1, 1, 2))),
        (50714, 3, [0]),
        (50717, 4, [65535]),
    ]
    if preview is None:
        return _tiff(mosaic + camera)
    coded = saved(preview, "JPEG", quality=95)
    shown = [
        (254, 4, [1]),
        (256, 4, [preview.width]),
        (257, 4, [preview.height]),
        (258, 3, [8, 8, 8]),
        (259, 3, [7]),
        (262, 3, [6]),
        (273, 4, [coded]),
        (277, 3, [3]),
        (278, 4, [preview.height]),
        (279, 4, [len(coded)]),
    ]
    return _tiff(shown + camera, below=mosaic)


_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}


def _tiff(tags: list[tuple[int, int, Any]], *, below: list[tuple[int, int, Any]] | None = None) -> bytes:
    """Directories first, then what they point to; bytes among the values of 273 stand for the place they get."""
    if below is not None:
        tags = [*tags, (330, 4, [0])]
    first_bytes = _directory_bytes(tags)
    second_bytes = _directory_bytes(below) if below else 0
    out = bytearray(8 + first_bytes + second_bytes)
    out[:8] = struct.pack("<2sHI", b"II", 42, 8)
    if below is not None:
        tags = [(tag, kind, [8 + first_bytes] if tag == 330 else values) for tag, kind, values in tags]
        _write_directory(out, 8 + first_bytes, below)
    _write_directory(out, 8, tags)
    return bytes(out)


def _directory_bytes(tags: list[tuple[int, int, Any]]) -> int:
    return 2 + 12 * len(tags) + 4


def _write_directory(out: bytearray, at: int, tags: list[tuple[int, int, Any]]) -> None:
    struct.pack_into("<H", out, at, len(tags))
    for number, (tag, kind, values) in enumerate(sorted(tags, key=lambda one: one[0])):
        blob = _values(out, kind, values)
        count = len(blob) // _SIZES[kind]
        place = at + 2 + 12 * number
        struct.pack_into("<HHI", out, place, tag, kind, count)
        if len(blob) <= 4:
            out[place + 8 : place + 12] = blob.ljust(4, b"\0")
        else:
            struct.pack_into("<I", out, place + 8, len(out))
            out += blob + bytes(len(blob) % 2)


def _values(out: bytearray, kind: int, values: Any) -> bytes:
    if isinstance(values, bytes):
        return values
    if isinstance(values[0], bytes | bytearray):  # pixels: put where there is room, and pointed to
        place = len(out)
        out += values[0]
        return struct.pack("<I", place)
    form = {3: "<H", 4: "<I", 5: "<II", 10: "<ii"}[kind]
    return b"".join(struct.pack(form, *(value if isinstance(value, tuple) else (value,))) for value in values)
