"""One folder of a scan against the ledger: by its digest, and where that differs by its rows or its pages.

Responsible for: whether all in a folder rests, reporting and counting what does not, and what an earlier run left there
unfinished. Not responsible for: which folders are looked at, and in which order (`walk.py`); the comparison of rows
(`compare.py`).
"""

import errno
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from watcherd.model import Entry, Source, State
from watcherd.naming import parse_temporary_name
from watcherd.watch import ignorefiles
from watcherd.watch.reports import Listed, Stray
from watcherd.watch.scanning.aside import Aside
from watcherd.watch.scanning.batches import Batches, Outlet
from watcherd.watch.scanning.compare import Comparison, Judge, Wanted
from watcherd.watch.scanning.listing import MOST_FILES, Listing, Stopped
from watcherd.watch.scanning.pages import pages
from watcherd.watch.selection import EVERY_FILE, Selection
from watcherd.watch.sighting import Known

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How folders are opened, the root too: a link in its place is not it."""

VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""No folder is there any more."""

_MAX_ERRORS = 100
_PAGE_ENTRIES = 1_000
_RESTING = frozenset({State.DONE, State.IGNORED})


class Reader(Known, Protocol):
    """What the scanner asks of the ledger."""

    def entry(self, source: Source) -> Entry | None:
        """One source's entry."""

    def listing(self, root: int, directory: bytes) -> tuple[int, int, int] | None:
        """(digest, done, ignored) of a folder in which all rests."""

    def mounts(self, root: int) -> dict[bytes, str]:
        """The folders of a root at which another file system was mounted, with the identity of that one."""

    def identity(self, root: int) -> str:
        """By what the root was known at the end of the last complete scan; empty before that."""

    def close(self) -> None:
        """Called at the end of the scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What other rooms decide. `why_ignored` judges a file's path below the root, `prunes` a folder's.

    `instance` and `run` tell our own temporary files, and those of an earlier run among them.
    """

    judge: Judge
    why_ignored: Callable[[bytes], str | None]
    prunes: Callable[[bytes], str | None]
    instance: str
    run: str
    selection: Selection = EVERY_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one scan goes by: the root with its open folder, what the ledger knows, what is wanted, where reports go.

    `most`: how many files of a folder are kept at once; a larger one is read a part at a time.
    """

    root: int
    descriptor: int
    reader: Reader
    wanted: Wanted
    rules: Rules
    outlet: Outlet
    most: int = MOST_FILES


class Folders:
    """The folders of one scan. `texts`: those of the `.watcherdignore` files met so far."""

    def __init__(self, terms: Terms, texts: ignorefiles.Texts) -> None:
        self._root = terms.root
        self._reader, self._wanted, self._rules, self._outlet = terms.reader, terms.wanted, terms.rules, terms.outlet
        self._texts, self._most, self._follows = texts, terms.most, terms.wanted.links.follows
        self.aside = Aside(terms.wanted.names, terms.descriptor, self._listing_of_ours, terms.wanted.links)
        self.batches = Batches(terms.root, terms.outlet)
        self.directories = 0
        self.sources = 0
        self.by_state: Counter[State] = Counter()
        self.errors: list[tuple[bytes, int]] = []

    def listing(self, descriptor: int, *, follows: bool | None = None) -> Listing:
        """What an open folder holds. `follows`: with linked files (None: as in its root). Raises OSError, Stopped."""
        return Listing.read(
            descriptor,
            self._outlet.stopped,
            keeps_identity=self._wanted.keeps_identity,
            most=self._most,
            follows=self._follows if follows is None else follows,
        )

    def _listing_of_ours(self, descriptor: int) -> Listing:
        """What lies in a folder for derivatives: none of them is ever a link."""
        return self.listing(descriptor, follows=False)

    def compare(self, directory: bytes, listing: Listing, descriptor: int) -> bool:
        """Report what needs a look in an open folder; whether all rests as done or ignored, or nothing counts there."""
        self.directories += 1
        self._report_strays(directory, listing)
        for name, number in listing.unreadable.items():
            self.note_error(joined(directory, name), number)
        try:
            aside = self._look_aside(directory, listing)
        except OSError as error:  # what derivatives there are cannot be told, so none of them is missing
            self.note_error(self.aside.path_of(directory), error.errno)
            return False
        digest = self._digest(directory, listing, aside)
        known = self._reader.listing(self._root, directory)
        if known is not None and known[0] == digest and not listing.unreadable:
            self._count(Counter({State.DONE: known[1], State.IGNORED: known[2]}))
            return True
        if listing.is_whole and (aside is None or aside.is_whole):
            resting, rests = self._compare_rows(directory, listing, aside, self.entries(directory))
        else:
            resting, rests = self._compare_pages(directory, listing, aside, descriptor)
        self._count(resting)
        rests = rests and resting.keys() <= _RESTING and not listing.unreadable
        if rests and resting:
            done, ignored = resting[State.DONE], resting[State.IGNORED]
            self._outlet.post(Listed(root=self._root, directory=directory, digest=digest, done=done, ignored=ignored))
        return rests

    def _recipe_set(self, directory: bytes) -> int:
        """The number of what is wanted in a folder: the configuration's, and what is to be left alone there."""
        texts = ignorefiles.in_force(directory, self._texts)
        if not texts:
            return self._wanted.recipe_set
        digest = hashlib.blake2b(repr(texts).encode(), digest_size=8).digest()
        return self._wanted.recipe_set ^ int.from_bytes(digest, "big")

    def _is_ignored(self, path: bytes) -> bool:
        return self._rules.why_ignored(path) is not None or ignorefiles.is_left_alone(path, self._texts)

    def _digest(self, directory: bytes, listing: Listing, aside: Listing | None) -> int:
        recipe_set = self._recipe_set(directory)
        return listing.digest(recipe_set) ^ (0 if aside is None else aside.digest(recipe_set))

    def _look_aside(self, directory: bytes, listing: Listing) -> Listing | None:
        """The listing of the derivatives' own folder, if they have one. Raises OSError."""
        aside = self.aside.listing(directory, listing)
        for folder, held in self.aside.all(directory, listing, aside):
            self._report_strays(folder, held)
            if not (held.files or held.folders or held.unreadable) and not folder.startswith(b"/"):
                self._outlet.post(Stray(root=self._root, paths=(folder,)))
        return aside

    def _compare_pages(
        self, directory: bytes, listing: Listing, aside: Listing | None, folder: int
    ) -> tuple[Counter[State], bool]:
        """The same as `_compare_rows` where more files are than a listing keeps, a range of names at a time.

        All is said of the folder if in the end it is what it was when its digest was taken.
        """
        resting: Counter[State] = Counter()
        rests = True
        try:
            with self.aside.opened(directory, listing) as beside:
                for page, other in pages(folder, beside, self._outlet.stopped, self._most, follows=self._follows):
                    entries = self.entries(directory, page.after, page.upto)
                    derivatives = other if aside is None or beside is not None else Listing()
                    states, all_rest = self._compare_rows(directory, page, derivatives, entries)
                    resting += states
                    rests = rests and all_rest
                again = self.listing(folder), aside if beside is None else self._listing_of_ours(beside)
        except OSError as error:
            self.note_error(directory, error.errno)
            return resting, False
        return resting, rests and self._digest(directory, *again) == self._digest(directory, listing, aside)

    def _compare_rows(
        self, directory: bytes, listing: Listing, aside: Listing | None, entries: Iterable[Entry]
    ) -> tuple[Counter[State], bool]:
        """How many sources rest, by state, and whether that is all there is to say of the folder."""
        comparison = Comparison(
            listing,
            self._wanted,
            judge=self._rules.judge,
            ignored=lambda name: self._is_ignored(joined(directory, name)),
            recorded=lambda name: self._reader.entry(Source(self._root, joined(directory, name))),
            aside=aside,
        )
        resting: Counter[State] = Counter()
        rests, now_ns = not listing.unreadable, time.time_ns()
        for name, stamp, state in comparison.findings(entries):
            if state is not None:
                resting[state] += 1
                continue
            if stamp is not None and self._rules.selection.why_not(stamp, now_ns):
                continue
            rests = False
            self.sources += stamp is not None
            self.batches.add(joined(directory, name), stamp)
        return resting, rests

    def entries(self, directory: bytes, after: bytes = b"", upto: bytes | None = None) -> Iterator[Entry]:
        """What the ledger knows of a folder, or of a range of names in it, in the order of names, a page at a time."""
        while True:
            if self._outlet.stopped():
                raise Stopped
            page = self._reader.entries(self._root, directory, after=after, limit=_PAGE_ENTRIES)
            yield from page if upto is None else (entry for entry in page if entry.source.name <= upto)
            if len(page) < _PAGE_ENTRIES or (upto is not None and page[-1].source.name > upto):
                return
            after = page[-1].source.name

    def _count(self, resting: Counter[State]) -> None:
        self.by_state.update(resting)
        self.sources += resting.total()

    def _report_strays(self, directory: bytes, listing: Listing) -> None:
        ours = (
            name
            for name in listing.own
            if (parsed := parse_temporary_name(name)) and parsed[0] == self._rules.instance
            if parsed[1] != self._rules.run
        )
        paths = tuple(joined(directory, name) for name in ours)
        if paths:
            self._outlet.post(Stray(root=self._root, paths=paths))

    def note_error(self, path: bytes, number: int | None) -> None:
        """Remember what could not be looked at; of very many only some."""
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append((path, number or errno.EIO))


def joined(directory: bytes, name: bytes) -> bytes:
    """The path of a name in a folder."""
    return directory + b"/" + name if directory else name
