"""What a root's hands do with derivatives that nobody needs any more: they remove them.

Responsible for: the request Remove, and that nothing is touched which is not provably ours.
Not responsible for: threads (`hands.py`), when a source counts as moved or deleted (`daemon/sources/departures.py`).
"""

import errno
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from watcherd.derivatives import publish as publishing
from watcherd.derivatives.renaming import At, sync_folder
from watcherd.naming import parse_temporary_name
from watcherd.watch import files
from watcherd.watch.hands.making import drop_emptied
from watcherd.watch.hands.place import Fault, Place

Removal = tuple[bytes, int | None, int | None]


class Fate(StrEnum):
    """What became of one file: as asked; it was not there; it is not ours; an error."""

    DONE = "done"
    MISSING = "missing"
    FOREIGN = "foreign"
    FAILED = "failed"


Fates = tuple[tuple[Fate, int], ...]
"""One for each file, in the order of asking, with the error number where it failed (else 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove derivatives as they were recorded (path, size in bytes, mtime in ns); leftovers: (path, None, None).

    Leftovers are temporary files, of which only those of this instance's earlier runs are ours to remove, and folders
    for derivatives that are empty. Such a folder goes as well once its last derivative has gone.
    """

    ticket: int
    items: tuple[Removal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What became of each item of a Remove."""

    root: int
    ticket: int
    results: Fates


def remove(place: Place, request: Remove) -> Removed | Fault:
    """Remove what is ours, durably: an orphan does not come back with a power cut.

    One after the other; only what concerns the file system as a whole ends it before the end.
    """
    results: list[tuple[Fate, int]] = []
    touched: dict[bytes, None] = {}
    try:
        with place.opened() as root:
            for item in request.items:
                results.append(_one(place, root, item))
                if results[-1][0] is Fate.DONE:
                    touched[files.split(item[0])[0]] = None
            for folder in touched:
                _sync(place, root, folder)
            drop_emptied(place, root, dict.fromkeys(files.split(path)[0] for path, _, _ in request.items))
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Removed(root=place.root, ticket=request.ticket, results=tuple(results))


def _one(place: Place, root: int, item: Removal) -> tuple[Fate, int]:
    try:
        return _remove_one(place, root, item), 0
    except OSError as error:
        if error.errno in files.ENVIRONMENT:
            raise
        return (Fate.MISSING, 0) if error.errno in files.NOT_THERE else (Fate.FAILED, error.errno or errno.EIO)


def _sync(place: Place, root: int, folder: bytes) -> None:
    with suppress(FileNotFoundError, NotADirectoryError), place.folder(root, folder) as directory:
        place.steps.at("fsync_folder")
        sync_folder(directory)


def _remove_one(place: Place, root: int, item: Removal) -> Fate:
    path, size_bytes, mtime_ns = item
    folder, name = files.split(path)
    if size_bytes is None and parse_temporary_name(name) is None:
        drop_emptied(place, root, (path,))
        return Fate.DONE
    with place.folder(root, folder) as directory:
        place.steps.at("unlink")
        at = At(directory=directory, name=name)
        if size_bytes is None or mtime_ns is None:
            is_gone = publishing.remove_temporary(at, instance=place.instance, run=place.run)
        else:
            is_gone = publishing.remove(at, size_bytes=size_bytes, mtime_ns=mtime_ns)
    return Fate.DONE if is_gone else Fate.FOREIGN
