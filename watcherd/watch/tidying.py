"""What a root's hands do with derivatives that stand already: rename them after their source, or remove them.

Responsible for: the requests Rename and Remove, and that nothing is touched which is not provably ours.
Not responsible for: threads (`hands.py`), when a source counts as moved or deleted (`daemon/sources/departures.py`).
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from watcherd.derivatives import publish as publishing
from watcherd.derivatives.renaming import At, Judgement, bring, sync_folder
from watcherd.derivatives.standing import look
from watcherd.naming import parse_temporary_name
from watcherd.watch import files
from watcherd.watch.making import FolderTakenError, drop_emptied, made
from watcherd.watch.place import Fault, Place

Task = TypeVar("Task")
Removal = tuple[bytes, int | None, int | None]
Pair = tuple[bytes, bytes]


class Fate(StrEnum):
    """What became of one file: as asked; it was not there; it is not ours; its new name is taken; an error."""

    DONE = "done"
    MISSING = "missing"
    FOREIGN = "foreign"
    TAKEN = "taken"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Rename derivatives after their source: (old path, new path)."""

    ticket: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """What became of each pair of a Rename. DONE as well where the same derivative stood at the new name already."""

    root: int
    ticket: int
    results: Fates


def remove(place: Place, request: Remove) -> Removed | Fault:
    """Remove what is ours, durably: an orphan does not come back with a power cut."""
    results = _each(place, request.ticket, request.items, _remove_one, lambda item: item[:1])
    if isinstance(results, Fault):
        return results
    return Removed(root=place.root, ticket=request.ticket, results=results)


def rename(place: Place, request: Rename) -> Renamed | Fault:
    """Rename what is ours, durably. Another's file at the new name stays, and so does ours at the old one."""
    results = _each(place, request.ticket, request.pairs, _rename_one, lambda pair: pair)
    if isinstance(results, Fault):
        return results
    return Renamed(root=place.root, ticket=request.ticket, results=results)


def _each(
    place: Place,
    ticket: int,
    tasks: Sequence[Task],
    carry_out: Callable[[Place, int, Task], Fate],
    paths_of: Callable[[Task], tuple[bytes, ...]],
) -> Fates | Fault:
    """Carry out one after the other; only what concerns the file system as a whole ends it before the end."""
    results: list[tuple[Fate, int]] = []
    touched: dict[bytes, None] = {}
    try:
        with place.opened() as root:
            for task in tasks:
                results.append(_one(place, root, task, carry_out))
                if results[-1][0] is Fate.DONE:
                    touched.update((files.split(path)[0], None) for path in paths_of(task))
            for folder in touched:
                _sync(place, root, folder)
            drop_emptied(place, root, dict.fromkeys(files.split(paths_of(task)[0])[0] for task in tasks))
    except OSError as error:
        return place.fault(ticket, b"", error)
    return tuple(results)


def _one(place: Place, root: int, task: Task, carry_out: Callable[[Place, int, Task], Fate]) -> tuple[Fate, int]:
    try:
        return carry_out(place, root, task), 0
    except FolderTakenError:
        return Fate.TAKEN, 0
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


def _rename_one(place: Place, root: int, pair: Pair) -> Fate:
    (old_folder, old_name), (new_folder, new_name) = map(files.split, pair)
    with place.folder(root, old_folder) as here, made(place, root, new_folder) as there:
        place.steps.at("rename")
        old, new = At(directory=here, name=old_name), At(directory=there, name=new_name)
        standing = look(here, old_name)
        if standing is None:
            return Fate.MISSING
        if standing.mark is None:
            return Fate.FOREIGN
        judgement = bring(old, new, standing.mark)
        if judgement is Judgement.RIGHT and pair[0] != pair[1]:
            publishing.discard(old)
    return Fate.TAKEN if judgement is Judgement.FOREIGN else Fate.DONE
