"""What a backlog will cost: hours and bytes, before it is done.

Responsible for: the arithmetic, and what is assumed where nothing was measured yet. Pure.
"""

from dataclasses import dataclass

_ENOUGH = 10
"""So many pictures have to be done before they tell anything of the others."""
_ASSUMED_S, _ASSUMED_S_A_BYTE = 0.01, 20e-9
"""One worker's time for a picture, where none was done yet: 50 ms for a photo of 2 MB (measured on a server's core)."""
_ASSUMED_SHARE = 0.1
"""Bytes of two derivatives for each byte of a source (measured on photos: 0.09)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What was done so far: pictures, the seconds that workers spent on them, bytes read and written."""

    pictures: int = 0
    busy_s: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`measured`: made from what was done here, and not from assumptions."""

    seconds: float
    bytes_out: int
    measured: bool


def forecast(pictures: int, size_bytes: int, *, workers: int, experience: Experience) -> Forecast:
    """What `pictures` of `size_bytes` altogether will cost `workers` that work at the same time."""
    if experience.pictures < _ENOUGH or not experience.bytes_in:
        seconds = pictures * _ASSUMED_S + size_bytes * _ASSUMED_S_A_BYTE
        return Forecast(seconds=seconds / max(1, workers), bytes_out=round(size_bytes * _ASSUMED_SHARE), measured=False)
    by_number = pictures / experience.pictures
    by_size = size_bytes / experience.bytes_in
    scale = (by_number + by_size) / 2  # a picture's cost is half its pixels and half what each costs anyway
    return Forecast(
        seconds=experience.busy_s * scale / max(1, workers),
        bytes_out=round(experience.bytes_out * by_number),
        measured=True,
    )
