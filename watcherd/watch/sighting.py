"""A look at what stands at a root's path, to tell whether it is the root.

Responsible for: opening and describing it, looking for a sample of what is known there; the request Recognise.
Not responsible for: the judgement (`recognition.py`), when to look and what follows (`daemon/roots/conditions.py`).
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from watcherd.model import Entry
from watcherd.watch import mounts
from watcherd.watch.hands.place import Fault, Place
from watcherd.watch.identity import Likeness, compare
from watcherd.watch.recognition import Verdict, recognise

SAMPLE = 100
"""How many known sources are looked for, at the most, to tell a root from something else."""

KnownFile = tuple[bytes, int | None]
"""A source's path below the root, and its size where that is known."""


class Known(Protocol):
    """What is asked of the ledger."""

    def entries(self, root: int, directory: bytes, *, after: bytes = b"", limit: int = -1) -> list[Entry]:
        """The entries directly in a folder, in the order of names, a page of them."""

    def directories_below(self, root: int, directory: bytes) -> list[bytes]:
        """The known direct sub-folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What stands there. No `file_system`: it could not be told."""

    verdict: Verdict
    file_system: mounts.FileSystem | None

    @property
    def identity(self) -> str:
        """By what it can be known again; empty where that could not be told."""
        return self.file_system.identity if self.file_system else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognise:
    """Look whether the root is there. `known`: its identity as remembered; `sample`: some of what lay there."""

    ticket: int
    known: str
    sample: tuple[KnownFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What stands at the root's path."""

    root: int
    ticket: int
    sight: Sight


def known_files(ledger: Known, root: int, directory: bytes = b"") -> Iterator[KnownFile]:
    """Sources that were not seen to leave, from as many folders as it takes; at most `SAMPLE`.

    Those in a folder and below it, with their paths from there.
    """
    return islice(_known_files(ledger, root, directory), SAMPLE)


def _known_files(ledger: Known, root: int, top: bytes) -> Iterator[KnownFile]:
    waiting, skip = [top], len(top) + 1 if top else 0
    while waiting:
        directory = waiting.pop()
        for entry in ledger.entries(root, directory, limit=SAMPLE):
            if entry.gone_at_s is None:
                yield entry.source.path[skip:], None if entry.stamp is None else entry.stamp.size_bytes
        waiting += ledger.directories_below(root, directory)


def sight(folder: int, known: str, sample: Callable[[], Iterable[KnownFile]], *, follows: bool = False) -> Sight:
    """Look at an open folder. Raises OSError. May hang with the file system. `follows`: its links are followed."""
    with os.scandir(folder) as entries:
        is_empty = next(entries, None) is None
    file_system = _described(folder)
    seen = file_system.identity if file_system else ""
    if not is_empty and (not known or not seen or compare(known, seen) is Likeness.SAME):
        return Sight(verdict=Verdict.ROOT, file_system=file_system)
    files = list(sample())
    verdict = recognise(
        known=known,
        seen=seen,
        is_empty=is_empty,
        knows_any=bool(files),
        finds_any=any(_is_there(folder, path, size_bytes, follows=follows) for path, size_bytes in files),
    )
    return Sight(verdict=verdict, file_system=file_system)


def look(place: Place, request: Recognise) -> Recognised | Fault:
    """Carry out a Recognise, whatever the place is known by so far."""
    try:
        with replace(place, inode=None, mount=None).opened() as root:
            place.steps.at("describe")
            seen = sight(root, request.known, lambda: request.sample, follows=place.links.follows)
            if seen.verdict is Verdict.ROOT:
                with place.folder(root, place.names.layout.tree):  # nothing is done in a root without its mirror
                    pass
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Recognised(root=place.root, ticket=request.ticket, sight=seen)


def _described(folder: int) -> mounts.FileSystem | None:
    try:
        return mounts.describe(folder)
    except OSError:  # unmounted at this moment, or hardly readable: whoever goes on will meet it, and say so
        return None


def _is_there(folder: int, path: bytes, size_bytes: int | None, *, follows: bool) -> bool:
    try:
        found = os.stat(path, dir_fd=folder, follow_symlinks=follows)
    except OSError:
        return False
    return size_bytes is None or found.st_size == size_bytes
