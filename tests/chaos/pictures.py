"""Small pictures for the chaos tests: many, quickly, and no two with the same content.

A base picture is drawn once for each (number, size); what makes a content unique is a JPEG comment, so that a thousand
different files cost a thousand times nothing. The pictures are lopsided: a turned one does not look like itself.
"""

import io
import zlib
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw

BASES = 50


@cache
def base(number: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG that is bright at its top left, dark at its bottom right, with a disc of its own colour."""
    width, height = size
    shade = Image.linear_gradient("L").rotate(35 + number % 20, expand=False).resize(size)
    picture = Image.merge("RGB", (shade, shade.point(lambda v: (v + number * 5) % 256), shade.point(lambda v: 255 - v)))
    radius = max(3, min(size) // 6)
    colour = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
    ImageDraw.Draw(picture).ellipse((2, 2, 2 + 2 * radius, 2 + 2 * radius), fill=colour)
    ImageDraw.Draw(picture).rectangle((width // 2, height - radius, width - 1, height - 1), fill=(10, 10, 10))
    return encoded(picture)


def encoded(picture: Image.Image, **options: object) -> bytes:
    """A picture as a JPEG."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **{"quality": 85, **options})
    return stream.getvalue()


def jpeg(unique: object, size: tuple[int, int] = (64, 48), *, marker: bytes = b"") -> bytes:
    """A JPEG with a content of its own; `marker` stands in it as well, for a worker that looks for it."""
    number = unique if isinstance(unique, int) else hash(str(unique))
    return commented(base(number % BASES, size), f"{unique}".encode("utf-8", "surrogateescape") + marker)


def commented(data: bytes, text: bytes) -> bytes:
    """The same picture with one more comment behind its first segment (APP0)."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[at:]


def padded(data: bytes, size_bytes: int) -> bytes:
    """The same picture, made long with comments: a file that takes its time to be copied."""
    room = 60_000
    comment = b"\xff\xfe" + (room + 2).to_bytes(2, "big") + b"\x55" * room
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + comment * max(1, (size_bytes - len(data)) // len(comment)) + data[at:]


def broken_png() -> bytes:
    """A PNG whose chunks are all there and whose pixels are noise."""
    header = (64).to_bytes(4, "big") + (48).to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    chunks = [(b"IHDR", header), (b"IDAT", b"\x55\xaa" * 500), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


def put(path: Path, data: bytes) -> Path:
    """Write a file, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fill(folder: Path, count: int, *, first: int = 0, size: tuple[int, int] = (64, 48)) -> list[Path]:
    """`count` pictures with different contents."""
    return [put(folder / f"p{n:06d}.jpg", jpeg(n, size)) for n in range(first, first + count)]
