"""A folder with more files than are kept at once: listed a range of names at a time.

Responsible for: which names are on a page, and a page's listing. Not responsible for: comparing (`compare.py`), the
digest of such a folder (`listing.py` gives it in one reading, and keeps nothing).

Each page costs one reading of the folder's names, and one stat for each file on it; nothing is written down. A page
ends where so many names were found, whatever they are, so memory is bounded without knowing anything of the folder. The
folder may change meanwhile: what is on a page was there when the page was read, as with any other listing, and whether
the whole of it was as one reading shows it, the caller finds out by reading once more.

A derivative sorts behind its source, but perhaps onto the next page: what lies beyond a page is looked up on the disk.
Those are few. If a page ends between the two, the source's name is the beginning of the name that the page ends with;
only names that were cut are not that near, and those share their first bytes, which a page does not part.
"""

import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from watcherd.model import Stamp
from watcherd.naming import NAME_MAX_BYTES
from watcherd.watch.files import stamp_of
from watcherd.watch.scanning.listing import BLOCK_ENTRIES, MOST_FILES, Listing, Stopped, blocks_of, encoded

_TOGETHER_BYTES = 128
"""Names that are alike so far stay on one page, unless that would double it. Names are cut far behind that."""


class Page(Listing):
    """The files of a folder whose names lie behind `after`, and not behind `upto` (None: all that follow).

    `find` answers for the whole folder.
    """

    __slots__ = ("_descriptor", "after", "upto")

    def __init__(self, descriptor: int, after: bytes, upto: bytes | None, *, follows: bool = False) -> None:
        super().__init__(follows=follows)
        self._descriptor, self.after, self.upto = descriptor, after, upto

    def find(self, name: bytes) -> Stamp | None:
        """The stamp of the regular file of this name."""
        if self.after < name and (self.upto is None or name <= self.upto):
            return super().find(name)
        try:
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return None
        return stamp_of(found) if stat.S_ISREG(found.st_mode) else None


class _Names(NamedTuple):
    """Names of files, in order, and where they end (None: nothing follows)."""

    names: list[bytes]
    upto: bytes | None


def pages(
    descriptor: int, aside: int | None, stopped: Callable[[], bool], most: int = MOST_FILES, *, follows: bool = False
) -> Iterator[tuple[Page, Page | None]]:
    """The pages of an open folder in the order of names, each with that of the same range of another folder, if any.

    At most some `most` files are on a page of either. `follows`: links to files count as such in the first one. Raises
    OSError where one cannot be read, Stopped.
    """
    after = b""
    while True:
        found = _names(descriptor, after, None, stopped, most, follows=follows)
        upto = found.upto
        beside = None
        if aside is not None:
            beside = _names(aside, after, upto, stopped, most)
            upto = beside.upto
        yield (
            _page(Page(descriptor, after, upto, follows=follows), descriptor, found.names, stopped),
            None if aside is None or beside is None else _page(Page(aside, after, upto), aside, beside.names, stopped),
        )
        if upto is None:
            return
        after = upto


def _names(
    folder: int, after: bytes, upto: bytes | None, stopped: Callable[[], bool], most: int, *, follows: bool = False
) -> _Names:
    """The first names behind `after`, and not behind `upto`: all of them, or some `most`."""
    kept: list[bytes] = []
    for entries in blocks_of(folder, stopped):
        names = encoded("\0".join(_files(entries, follows=follows))).split(b"\0")
        kept += [name for name in names if after < name and (upto is None or name <= upto)]
        if len(kept) > 2 * most:
            kept, upto = _first(kept, upto, most)
    kept.sort()
    return _Names(kept, upto) if len(kept) <= most else _first(kept, upto, most)


def _first(names: list[bytes], upto: bytes | None, most: int) -> _Names:
    """The first of some names, none of them behind `upto`."""
    names.sort()
    last = names[most - 1]
    together = last[:_TOGETHER_BYTES].ljust(NAME_MAX_BYTES, b"\xff")
    end = bisect_right(names, together)
    if len(last) > _TOGETHER_BYTES and end < 2 * most:
        return _Names(names[:end], together if upto is None else min(together, upto))
    return _Names(names[:most], last)


def _files(entries: "list[os.DirEntry[str]]", *, follows: bool) -> list[str]:
    """The names of those that are files, or may be: whoever looks at these will say why they cannot be told."""
    try:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=follows)]
    except OSError:
        return [entry.name for entry in entries]


def _page(page: Page, descriptor: int, names: list[bytes], stopped: Callable[[], bool]) -> Page:
    end = len(names) if page.upto is None else bisect_right(names, page.upto)
    for start in range(0, end, BLOCK_ENTRIES):
        page.add(descriptor, names[start : min(end, start + BLOCK_ENTRIES)])
        if stopped():
            raise Stopped
    return page
