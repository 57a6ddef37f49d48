"""When a picture was taken, by its own account.

Responsible for: the date in EXIF (2.32, tags 0x9003, 0x9004, 0x0132), wherever a container keeps that; checking it.
Not responsible for: time zones (cameras seldom know theirs: it is the time on the camera's clock), nor for what is
kept of metadata in derivatives (`metadata.py`).
A pure leaf; never trusts a number that it reads.
"""

import re
from datetime import datetime

from watcherd.imaging.content import Content
from watcherd.imaging.formats import tiff

_INTRODUCTION = b"Exif\0\0"
_EXIF_DIRECTORY, _CHANGED = 0x8769, 0x0132
_TAKEN = (0x9003, 0x9004)  # DateTimeOriginal, DateTimeDigitized
_LONGEST_TEXT = 32
_DATE = re.compile(rb"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_FIRST_YEAR = 1826  # nobody took a photograph before; "0001" and "0000" are cameras' ways to say nothing


def captured_at(exif: Content) -> str:
    """The date of exposure as "2008-05-30T15:56:01", else that of digitising, else of the last change; "" if none.

    `exif` is a block of EXIF, with or without its introduction, or a file in TIFF's form. Damaged blocks have none.
    """
    data = exif[len(_INTRODUCTION) :] if exif[: len(_INTRODUCTION)] == _INTRODUCTION else exif
    first = tiff.first_page(data)
    if first is None:
        return ""
    inner = tiff.directory_at(data, (tiff.values(data, first, _EXIF_DIRECTORY, limit=1) or [0])[0])
    texts = [_text(data, inner, tag) for tag in _TAKEN if inner is not None]
    return next(filter(None, map(_date, [*texts, _text(data, first, _CHANGED)])), "")


def _text(data: Content, directory: tiff.Directory, tag: int) -> bytes:
    return bytes(value & 0xFF for value in tiff.values(data, directory, tag, limit=_LONGEST_TEXT))


def _date(text: bytes) -> str:
    found = _DATE.match(text.strip())
    if found is None:
        return ""
    try:
        date = datetime(*map(int, found.groups()))  # type: ignore[arg-type]  # noqa: DTZ001  local to the camera
    except ValueError:
        return ""
    return date.isoformat() if date.year >= _FIRST_YEAR else ""
