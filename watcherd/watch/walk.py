"""One scan: the walk over a root or a part of it, each folder compared with the ledger.

Responsible for: opening folders, comparing each, finding what vanished, and the order and size of the reports.
Not responsible for: threads and requests (`scanner.py`), one folder's rows (`listing.py`) and their comparison
(`compare.py`).

Folders are opened relative to the root's descriptor; links are not followed, other file systems are entered. A folder
that cannot be read is noted, and nothing in or below it counts as missing; nor does it where a disk is not mounted.
"""

import errno
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from watcherd.model import Entry, Source, State
from watcherd.naming import parse_temporary_name
from watcherd.watch import ignorefiles
from watcherd.watch.aside import Aside
from watcherd.watch.batches import Batches, Outlet
from watcherd.watch.compare import Comparison, Judge, Wanted
from watcherd.watch.foldertimes import FolderTimes, Times
from watcherd.watch.listing import MOST_FILES, Listing, Stopped
from watcherd.watch.mountpoints import MountPoints
from watcherd.watch.pages import pages
from watcherd.watch.recognition import Verdict
from watcherd.watch.reports import Listed, ScanResult, Stray
from watcherd.watch.selection import EVERY_FILE, Selection
from watcherd.watch.sighting import Known, known_files, sight

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How folders are opened, the root too: a link in its place is not it."""

_MAX_ERRORS = 100
_PAGE_ENTRIES = 1_000
_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
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


class Memory:
    """What a root's walks leave for the next one: its folders' times, and the texts of its `.watcherdignore` files."""

    def __init__(self, texts: dict[bytes, bytes] | None = None) -> None:
        self.times = FolderTimes()
        self.texts = {} if texts is None else texts


class Walk:
    """One scan, from an open root. After `run` its counts are what the scan's report holds.

    `is_quick`: folders whose times are those in `memory` are not read. `most`: how many files of a folder are kept at
    once; a larger one is read a part at a time.
    """

    def __init__(
        self,
        root: int,
        descriptor: int,
        *,
        reader: Reader,
        wanted: Wanted,
        rules: Rules,
        outlet: Outlet,
        points: MountPoints,
        memory: Memory,
        is_quick: bool = False,
        most: int = MOST_FILES,
    ) -> None:
        self._times, self._texts, self._is_quick, self._most = memory.times, memory.texts, is_quick, most
        self._times.begin(wanted.recipe_set)
        self.identity = ""
        self.directories = 0
        self.sources = 0
        self.by_state: Counter[State] = Counter()
        self.errors: list[tuple[bytes, int]] = []
        self._root, self._descriptor = root, descriptor
        self._reader, self._wanted, self._rules, self._outlet, self._points = reader, wanted, rules, outlet, points
        self._aside = Aside(wanted.names, descriptor, self._listing)
        self._batches = Batches(root, outlet)

    def run(self, directory: bytes) -> tuple[ScanResult, int]:
        """Scan a folder and all below it. Returns how it ended, and the error number of the root where it has one."""
        try:
            known = self._reader.identity(self._root)
            seen = sight(self._descriptor, known, lambda: known_files(self._reader, self._root))
            self.identity = seen.identity
            if seen.verdict is not Verdict.ROOT:
                return ScanResult.ROOT_EMPTIED, 0
            self._aside.open()
        except OSError as error:
            return ScanResult.ROOT_UNREADABLE, error.errno or errno.EIO
        try:
            if not self._is_left_out(directory):
                self._walk(directory)
                self._batches.flush()
        finally:
            self._aside.close()
        number = dict(self.errors).get(b"")
        return (ScanResult.COMPLETE, 0) if number is None else (ScanResult.ROOT_UNREADABLE, number)

    def _is_left_out(self, directory: bytes) -> bool:
        """Whether nothing in a folder counts, for its own sake or that of one above it."""
        for above in ignorefiles.holders(directory):
            if above and self._rules.prunes(above):
                return True
            if above != directory:
                self._take_text(above, ignorefiles.read(self._descriptor, above))
        return ignorefiles.is_left_alone(directory, self._texts, is_folder=True)

    def _walk(self, directory: bytes) -> None:
        waiting = [directory]
        while waiting:
            if self._outlet.stopped():
                raise Stopped
            waiting.extend(self._visit(waiting.pop()))
            self._batches.flush_old()

    def _visit(self, directory: bytes) -> list[bytes]:
        """Compare one folder, unless its times tell that nothing has changed. Gives the sub-folders, the first last."""
        unchanged = self._unchanged(directory) if self._is_quick else None
        if unchanged is not None:
            self._outlet.breathe(1)
            return unchanged
        found = self._read(directory)
        if found is None:
            self._times.drop(directory)
            return []
        listing, times = found
        has_text = ignorefiles.NAME in listing.own
        self._take_text(directory, ignorefiles.read(self._descriptor, directory) if has_text else None)
        rests = self._compare(directory, listing)
        below = self._below(directory, listing)
        if rests:
            names = [path.rpartition(b"/")[2] for path in below]
            self._times.note(directory, times, names, time.time_ns())
        else:
            self._times.drop(directory)
        self._outlet.breathe(1 + listing.files)
        return below

    def _take_text(self, directory: bytes, text: bytes | None) -> None:
        """Note a folder's `.watcherdignore`. Where it has changed, what was at rest below it may need a look."""
        if text != self._texts.get(directory):
            self._times.clear()
        if text is None:
            self._texts.pop(directory, None)
        else:
            self._texts[directory] = text

    # -- the disk

    def _unchanged(self, directory: bytes) -> list[bytes] | None:
        try:
            found = os.stat(directory or b".", dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return None  # reading it tells why
        names = self._times.unchanged(directory, _times_of(found))
        if names is None:
            return None
        self.directories += 1
        return [_joined(directory, name) for name in names]

    def _read(self, directory: bytes) -> tuple[Listing, Times] | None:
        """A folder's listing, with its times from before it was read.

        None where it has vanished (what was known in it is then reported) or is unreadable.
        """
        try:
            descriptor = os.open(directory or b".", OPEN_FOLDER, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in _VANISHED and directory:
                self._report_vanished(directory)
            else:
                self._note_error(directory, error.errno)
            return None
        try:
            self._points.enter(directory, descriptor, self._reader, self._outlet.post)
            times = _times_of(os.fstat(descriptor))
            return self._listing(descriptor), times
        except OSError as error:
            self._note_error(directory, error.errno)
            return None
        finally:
            os.close(descriptor)

    def _listing(self, descriptor: int) -> Listing:
        return Listing.read(
            descriptor, self._outlet.stopped, keeps_identity=self._wanted.keeps_identity, most=self._most
        )

    def _below(self, directory: bytes, listing: Listing) -> list[bytes]:
        """The sub-folders to walk, the first one last. Known ones that are not there any more are reported."""
        prefix = directory + b"/" if directory else b""
        there = {prefix + name for name in listing.folders}
        for path in sorted(self._reader.directories_below(self._root, directory)):
            if path not in there and path[len(prefix) :] not in listing.unreadable:
                self._report_vanished(path)
        return sorted((path for path in there if not self._is_pruned(path)), reverse=True)

    def _is_pruned(self, path: bytes) -> bool:
        return bool(self._rules.prunes(path)) or ignorefiles.is_left_alone(path, self._texts, is_folder=True)

    # -- one folder

    def _compare(self, directory: bytes, listing: Listing) -> bool:
        """Report what needs a look; whether all rests as done or ignored, or nothing counts there."""
        self.directories += 1
        self._report_strays(directory, listing)
        for name, number in listing.unreadable.items():
            self._note_error(_joined(directory, name), number)
        try:
            aside = self._look_aside(directory, listing)
        except OSError as error:  # what derivatives there are cannot be told, so none of them is missing
            self._note_error(self._aside.path_of(directory), error.errno)
            return False
        digest = self._digest(directory, listing, aside)
        known = self._reader.listing(self._root, directory)
        if known is not None and known[0] == digest and not listing.unreadable:
            self._count(Counter({State.DONE: known[1], State.IGNORED: known[2]}))
            return True
        if listing.is_whole and (aside is None or aside.is_whole):
            resting, rests = self._compare_rows(directory, listing, aside, self._entries(directory))
        else:
            resting, rests = self._compare_pages(directory, listing, aside)
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
        aside = self._aside.listing(directory, listing)
        for folder, held in self._aside.all(directory, listing, aside):
            self._report_strays(folder, held)
            if not (held.files or held.folders or held.unreadable) and not folder.startswith(b"/"):
                self._outlet.post(Stray(root=self._root, paths=(folder,)))
        return aside

    def _compare_pages(self, directory: bytes, listing: Listing, aside: Listing | None) -> tuple[Counter[State], bool]:
        """The same as `_compare_rows` where more files are than a listing keeps, a range of names at a time.

        All is said of the folder if in the end it is what it was when its digest was taken.
        """
        resting: Counter[State] = Counter()
        rests = True
        try:
            with self._opened(directory) as folder, self._aside.opened(directory, listing) as beside:
                for page, other in pages(folder, beside, self._outlet.stopped, self._most):
                    entries = self._entries(directory, page.after, page.upto)
                    derivatives = other if aside is None or beside is not None else Listing()
                    states, all_rest = self._compare_rows(directory, page, derivatives, entries)
                    resting += states
                    rests = rests and all_rest
                again = self._listing(folder), aside if beside is None else self._listing(beside)
        except OSError as error:
            if error.errno not in _VANISHED:  # else it was there a moment ago: an event or the next scan tells more
                self._note_error(directory, error.errno)
            return resting, False
        return resting, rests and self._digest(directory, *again) == self._digest(directory, listing, aside)

    @contextmanager
    def _opened(self, directory: bytes) -> Iterator[int]:
        descriptor = os.open(directory or b".", OPEN_FOLDER, dir_fd=self._descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _compare_rows(
        self, directory: bytes, listing: Listing, aside: Listing | None, entries: Iterable[Entry]
    ) -> tuple[Counter[State], bool]:
        """How many sources rest, by state, and whether that is all there is to say of the folder."""
        comparison = Comparison(
            listing,
            self._wanted,
            judge=self._rules.judge,
            ignored=lambda name: self._is_ignored(_joined(directory, name)),
            recorded=lambda name: self._reader.entry(Source(self._root, _joined(directory, name))),
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
            self._batches.add(_joined(directory, name), stamp)
        return resting, rests

    def _entries(self, directory: bytes, after: bytes = b"", upto: bytes | None = None) -> Iterator[Entry]:
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

    # -- the reports

    def _report_strays(self, directory: bytes, listing: Listing) -> None:
        ours = (
            name
            for name in listing.own
            if (parsed := parse_temporary_name(name)) and parsed[0] == self._rules.instance
            if parsed[1] != self._rules.run
        )
        paths = tuple(_joined(directory, name) for name in ours)
        if paths:
            self._outlet.post(Stray(root=self._root, paths=paths))

    def _report_vanished(self, directory: bytes) -> None:
        """All that was known in a folder, and below it, is missing."""
        vanished = [directory]
        while vanished:
            current = vanished.pop()
            if self._points.is_away(current):
                self._note_error(current, errno.ENOMEDIUM)
                continue
            for entry in self._entries(current):
                self._batches.add(entry.source.path, None)
            vanished.extend(self._reader.directories_below(self._root, current))

    def _note_error(self, path: bytes, number: int | None) -> None:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append((path, number or errno.EIO))


def _times_of(found: os.stat_result) -> Times:
    return Times(found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
