"""Wrecks: derivatives that were on their way to the disk when the machine or the disk went down.

Responsible for: the judgement about one such file. Pure. Not responsible for: reading it (`watch/hands/salvaging.py`),
nor for which files are in doubt (`daemon/sources/safety.py`).

A name can reach the disk before its content does. What is found then under the right name is an empty file, zeros of
the right length, a file whose end (or any other part) is zeros or an older content of the disk. The sum of the bytes
that were written tells them all from a sound one. But a file that differs may be a person's by now, and only what is
provably ours may go: a file with our mark in it, one with the very time of writing that was recorded, or one that is
empty or nothing but zeros from its beginning to its end, whoever made that: there is nothing in it to be lost.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A derivative in doubt: all paths that it may have, and what was recorded of it.

    `checksum`: of the bytes that were written (CRC-32); None: it is not known whether any were. `recorded`: its size in
    bytes and its mtime in ns, if the ledger names it.
    """

    paths: tuple[bytes, ...]
    checksum: int | None = None
    recorded: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands there: the sum of its bytes, whether its mark is one of ours, whether all of it is zeros."""

    checksum: int
    size_bytes: int
    mtime_ns: int
    is_marked: bool
    is_blank: bool


class Finding(StrEnum):
    """SOUND: it stays. WRECK: ours, and not what was written; it goes. FOREIGN: somebody else's; it stays."""

    SOUND = "sound"
    WRECK = "wreck"
    FOREIGN = "foreign"


def was_safe_before(suspect: Suspect, size_bytes: int, mtime_ns: int) -> bool:
    """Whether a file need not be read: it is as the ledger names it, and was not written since it was safe."""
    return suspect.checksum is None and suspect.recorded == (size_bytes, mtime_ns)


def judge(suspect: Suspect, found: Found) -> Finding:
    """Judge what stands at a name."""
    if found.checksum == suspect.checksum:
        return Finding.SOUND
    has_our_time = suspect.recorded is not None and suspect.recorded[1] == found.mtime_ns
    return Finding.WRECK if found.is_marked or found.is_blank or has_our_time else Finding.FOREIGN
