"""What the scanner sees of derivatives that do not lie beside their source.

Responsible for: the listing of the folder that holds the derivatives of a folder's sources, in as few calls as that
takes, and what earlier layouts have left beside the sources. Not responsible for: comparing (`compare.py`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from watcherd.naming import UNUSED, Names
from watcherd.watch import files, trees
from watcherd.watch.foldertimes import NOWHERE, Times
from watcherd.watch.linking import NOT_FOLLOWED, Links
from watcherd.watch.links import open_beside
from watcherd.watch.scanning.listing import Listing


class Aside:
    """The folders for derivatives of one scan. `root`: an open root; `open` opens its mirror, `close` closes that.

    `read` lists an open folder; `links` are those of the root.
    """

    def __init__(self, names: Names, root: int, read: Callable[[int], Listing], links: Links = NOT_FOLLOWED) -> None:
        self._names, self._root, self._list, self._links = names, root, read, links
        self._tree: int | None = None

    def open(self) -> None:
        """Open the mirror, where there is one. Raises OSError where it is not there: nothing in it is missing then."""
        if self._names.layout.tree:
            self._tree = trees.open_tree(self._names.layout.tree)

    def close(self) -> None:
        """Close what `open` opened."""
        if self._tree is not None:
            os.close(self._tree)
            self._tree = None

    def path_of(self, directory: bytes) -> bytes:
        """The folder for the derivatives of a folder's sources, as their paths are written."""
        return self._names.layout.folder_of(directory)

    def listing(self, directory: bytes, beside: Listing) -> Listing | None:
        """What that folder holds (nothing where it is not there); None where it is the folder of the sources.

        `beside`: the listing of the sources' folder. Raises OSError where it cannot be read, Stopped.
        """
        with self.opened(directory, beside) as descriptor:
            if descriptor is None:
                return None if self._way(directory) is None else Listing()
            return self._list(descriptor)

    @contextmanager
    def opened(self, directory: bytes, beside: Listing) -> Iterator[int | None]:
        """The open folder itself; None where it is not there, or is the folder of the sources. Raises OSError."""
        way = self._way(directory)
        if way is None or (self._tree is None and self._names.layout.folder not in beside.folders):
            yield None
        else:
            with _opened(*way, self._links if self._tree is None else NOT_FOLLOWED) as descriptor:
                yield descriptor

    def times(self, directory: bytes) -> tuple[Times, ...]:
        """That folder's times; those of one that is not there, or cannot be looked at, are `NOWHERE`."""
        way = self._way(directory)
        if way is None:
            return ()
        try:
            return (files.times_of(os.stat(way[1] or b".", dir_fd=way[0], follow_symlinks=False)),)
        except OSError:  # whoever reads it will say why
            return (NOWHERE,)

    def _way(self, directory: bytes) -> tuple[int, bytes] | None:
        """Where that folder is: below which open one, by which path. None: it is the folder of the sources."""
        layout = self._names.layout
        if self._tree is not None:
            return self._tree, layout.folder_of(directory)[len(layout.tree) + 1 :]
        return (self._root, layout.folder_of(directory)) if layout.folder else None

    def all(self, directory: bytes, beside: Listing, now: Listing | None) -> Iterator[tuple[bytes, Listing]]:
        """(path, what it holds) of each folder for derivatives of a folder's sources, by the layouts of now and before.

        `now`: what `listing` gave. What lies in an earlier one is moved by and by; what a run left unfinished in there
        would stay for ever. Raises OSError, Stopped.
        """
        layout = self._names.layout
        if now is not None and (self._tree is not None or layout.folder in beside.folders):
            yield layout.folder_of(directory), now
        for earlier in self._names.layouts[1:]:
            if earlier.folder in beside.folders and not earlier.tree and earlier.number != UNUSED:
                path = earlier.folder_of(directory)
                with _opened(self._root, path, self._links) as descriptor:
                    yield path, Listing() if descriptor is None else self._list(descriptor)


@contextmanager
def _opened(above: int, path: bytes, links: Links) -> Iterator[int | None]:
    """A folder below an open one; None where there is none."""
    try:
        descriptor = open_beside(above, path, links)
    except OSError as error:
        if error.errno not in files.NOT_THERE:
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
