"""Identity: by what a root is known again after a restart or a remount. A line of text; how two of them compare.

Responsible for: the text's form and its comparison. Not responsible for: finding out (`mounts.py`). Pure.

An identity holds all that could be told of a root, because not all of it can be told on every kernel: the file
system's `uuid` (from the kernel), its `volume` (udev's name of the same), its `fsid`, the `source` that a share is
mounted from, or else only its `kind`; the `inode` of the root's folder; and the `marker` that somebody put into it.
Two are compared by what both hold.
"""

from collections.abc import Mapping
from enum import StrEnum

_OF_THE_FILE_SYSTEM = frozenset({"uuid", "volume", "fsid"})


class Likeness(StrEnum):
    """How two identities compare: the same root; another folder on the same file system; another file system.

    REMADE is a root that was removed and made again, or restored; it is as well what an unmounted *bind* mount shows.
    """

    SAME = "same"
    REMADE = "remade"
    OTHER = "other"


def form(features: Mapping[str, str]) -> str:
    """The text of an identity. Values hold no space and no line break."""
    return " ".join(f"{key}={value}" for key, value in features.items())


def compare(known: str, seen: str) -> Likeness:
    """Compare the identity that is remembered with the one that was just told.

    Where a marker is remembered, its absence or another one is another file system, whatever else is alike: that is
    what a marker is for. One that was put there since says nothing.
    """
    one, other = _parsed(known), _parsed(seen)
    if "marker" in one and one["marker"] != other.get("marker"):
        return Likeness.OTHER
    shared = [key for key in one.keys() & other.keys() if key != "inode"]
    if not shared or any(one[key] != other[key] for key in shared):
        return Likeness.OTHER
    inodes = {identity["inode"] for identity in (one, other) if "inode" in identity}
    return Likeness.REMADE if len(inodes) == 2 else Likeness.SAME


def is_strong(identity: str) -> bool:
    """Whether an identity tells one disk from another, and not only a kind or a server's name."""
    keys = _parsed(identity).keys()
    return "marker" in keys or bool(keys & _OF_THE_FILE_SYSTEM)


def _parsed(identity: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in identity.split(" ") if "=" in part)
