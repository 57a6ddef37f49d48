"""What the scanner sees of derivatives that do not lie beside their source.

Responsible for: the listing of the folder that holds the derivatives of a folder's sources, in as few calls as that
takes, and what earlier layouts have left beside the sources. Not responsible for: comparing (`compare.py`).
"""

import os
from collections.abc import Callable, Iterator

from watcherd.naming import UNUSED, Names
from watcherd.watch import files, trees
from watcherd.watch.listing import Listing


class Aside:
    """The folders for derivatives of one scan. `root`: an open root; `open` opens its mirror, `close` closes that."""

    def __init__(self, names: Names, root: int, stopped: Callable[[], bool]) -> None:
        self._names, self._root, self._stopped = names, root, stopped
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
        layout = self._names.layout
        if self._tree is not None:
            return self._read(self._tree, layout.folder_of(directory)[len(layout.tree) + 1 :])
        if not layout.folder:
            return None
        return self._read(self._root, layout.folder_of(directory)) if layout.folder in beside.folders else Listing()

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
                yield path, self._read(self._root, path)

    def _read(self, above: int, path: bytes) -> Listing:
        try:
            descriptor = files.open_folder(above, path)
        except OSError as error:
            if error.errno in files.NOT_THERE:
                return Listing()
            raise
        try:
            return Listing.read(descriptor, self._stopped)
        finally:
            os.close(descriptor)
