"""What a root's folders looked like when all in them was at rest: their times, and their sub-folders.

Responsible for: what is remembered of each folder, how much of it, and when a time proves that nothing has changed.
Not responsible for: looking (`walk.py`). Pure.

A file that is made, removed or renamed changes the modification time of its folder, so a quick sweep asks each folder
for its times and nothing more. It does not see a file that is written in place: events tell of those, and full sweeps.
A time proves nothing while it is so young that a change in the same tick of the file system's clock could hide behind
it, so it is remembered only some seconds later. Kept in memory alone: the first sweep of a run is a full one.

Where derivatives have a folder for themselves, the times of that one count with those of their sources' folder.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

MOST_FOLDERS = 200_000
"""So many folders are remembered, at some 250 bytes each; those above are read by every sweep."""
RIPE_NS = 5_000_000_000
"""So old a folder's times have to be (FAT counts in steps of two seconds)."""


class Times(NamedTuple):
    """A folder's times, and which folder it is."""

    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


NOWHERE = Times(0, 0, 0, 0)
"""Of a folder that is not there."""


class FolderTimes:
    """The folders of one root, as one set of wishes saw them."""

    def __init__(self, most: int = MOST_FOLDERS) -> None:
        self._most = most
        self._recipe_set: int | None = None
        self._folders: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._folders)

    def begin(self, recipe_set: int) -> None:
        """Forget everything where another set of wishes holds: what rested may need a look."""
        if recipe_set != self._recipe_set:
            self._folders.clear()
            self._recipe_set = recipe_set

    def hold_for(self, recipe_set: int) -> bool:
        """Whether what is remembered was seen by these wishes."""
        return recipe_set == self._recipe_set

    def unchanged(self, directory: bytes, times: Sequence[Times]) -> list[bytes] | None:
        """The names of a folder's sub-folders if nothing has changed in it, None if that is not known.

        `times`: its own, and those of the folder that its derivatives have for themselves.
        """
        known = self._folders.get(directory)
        if known is None or known[:8] != _digest(times):
            return None
        return known[8:].split(b"/") if len(known) > 8 else []

    def note(self, directory: bytes, times: Sequence[Times], names: Sequence[bytes], now_ns: int) -> None:
        """Remember a folder in which all is at rest, as it was when its reading began, at `now_ns`."""
        is_ripe = max(max(one.mtime_ns, one.ctime_ns) for one in times) + RIPE_NS <= now_ns
        if not is_ripe or (len(self._folders) >= self._most and directory not in self._folders):
            self._folders.pop(directory, None)
            return
        self._folders[directory] = _digest(times) + b"/".join(names)

    def clear(self) -> None:
        """Forget all folders."""
        self._folders.clear()

    def drop(self, directory: bytes) -> None:
        """Forget a folder: it is to be read next time."""
        self._folders.pop(directory, None)


def _digest(times: Sequence[Times]) -> bytes:
    return hashlib.blake2b(b",".join(b"%d %d %d %d" % one for one in times), digest_size=8).digest()
