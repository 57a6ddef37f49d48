"""What a root's hands find of derivatives whose source is not there.

Responsible for: the request FindOrphans, one folder at a time. Not responsible for: whether the ledger knows of them,
and their removal (`daemon/verbs/pruning.py`, `tidying.py`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from watcherd.derivatives.standing import look
from watcherd.watch import files
from watcherd.watch.hands.place import Fault, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOrphans:
    """Look through one folder."""

    ticket: int
    directory: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A file with our mark at a derivative's name, and no source at the path that it would be of."""

    path: bytes
    source: bytes
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphansFound:
    """The orphans of a folder, and its sub-folders; none where it cannot be read (`errno` says why, else 0)."""

    root: int
    ticket: int
    orphans: tuple[Orphan, ...]
    folders: tuple[bytes, ...]
    errno: int = 0


def find(place: Place, request: FindOrphans) -> OrphansFound | Fault:
    """Look through one folder. Links are not followed."""
    try:
        with place.opened() as root:
            return _find(place, root, request)
    except OSError as error:
        return place.fault(request.ticket, request.directory, error)


def _find(place: Place, root: int, request: FindOrphans) -> OrphansFound:
    found: list[Orphan] = []
    folders: list[bytes] = []
    number = 0
    try:
        with place.folder(root, request.directory) as directory:
            place.steps.at("list")
            for name, is_folder in _listed(directory):
                path = request.directory + b"/" + name if request.directory else name
                if is_folder:
                    folders.append(path)
                elif (orphan := _orphan(place, root, directory, path)) is not None:
                    found.append(orphan)
    except OSError as error:
        if error.errno in files.ENVIRONMENT:
            raise
        number = error.errno or 0
    return OrphansFound(
        root=place.root, ticket=request.ticket, orphans=tuple(found), folders=tuple(folders), errno=number
    )


def _listed(directory: int) -> Iterator[tuple[bytes, bool]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder or entry.is_file(follow_symlinks=False):
                yield os.fsencode(entry.name), is_folder


def _orphan(place: Place, root: int, directory: int, path: bytes) -> Orphan | None:
    source = place.names.source_of(path)
    if source is None or _is_there(place, root, source):
        return None
    place.steps.at("look")
    standing = look(directory, files.split(path)[1])
    if standing is None or standing.mark is None:
        return None
    return Orphan(path=path, source=source, size_bytes=standing.size_bytes, mtime_ns=standing.mtime_ns)


def _is_there(place: Place, root: int, source: bytes) -> bool:
    """Whether anything is at a source's path; what cannot be looked at counts as there."""
    folder, name = files.split(source)
    try:
        with place.folder(root, folder) as directory:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        return error.errno not in files.NOT_THERE
    return True
