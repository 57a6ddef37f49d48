"""One scan: the walk over a root or a part of it, each folder compared with the ledger.

Responsible for: opening folders, which of them need not be read, their order, and finding what vanished.
Not responsible for: threads and requests (`scanner.py`), the comparison of one folder (`folder.py`).

Folders are opened relative to the root's descriptor; other file systems are entered, and links as far as the root
follows them (`linkwalk.py`). A folder that cannot be read is noted, and nothing in or below it counts as missing; nor
does it where a disk is not mounted.
"""

import errno
import os
import time
from functools import partial

from watcherd.watch import ignorefiles
from watcherd.watch.files import times_of
from watcherd.watch.foldertimes import FolderTimes, Times
from watcherd.watch.mountpoints import MountPoints
from watcherd.watch.recognition import Verdict
from watcherd.watch.reports import ScanResult
from watcherd.watch.scanning.folder import OPEN_FOLDER, VANISHED, Folders, Terms, joined
from watcherd.watch.scanning.linkwalk import LinkWalk
from watcherd.watch.scanning.listing import Listing, Stopped
from watcherd.watch.sighting import known_files, sight


class Memory:
    """What a root's walks leave for the next one: its folders' times, and the texts of its `.watcherdignore` files."""

    def __init__(self, texts: dict[bytes, bytes] | None = None) -> None:
        self.times = FolderTimes()
        self.texts = {} if texts is None else texts


class Walk:
    """One scan, from an open root. After `run` the counts of `folders` are what the scan's report holds.

    `is_quick`: folders whose times are those in `memory` are not read.
    """

    def __init__(
        self, terms: Terms, *, points: MountPoints, links: LinkWalk, memory: Memory, is_quick: bool = False
    ) -> None:
        self._links = links
        self._times, self._texts, self._is_quick = memory.times, memory.texts, is_quick
        self._times.begin(terms.wanted.recipe_set)
        self.identity = ""
        self.behind_links = 0
        self._root, self._descriptor, self._follows = terms.root, terms.descriptor, terms.wanted.links.follows
        self._reader, self._rules, self._outlet, self._points = terms.reader, terms.rules, terms.outlet, points
        self.folders = Folders(terms, memory.texts)

    def run(self, directory: bytes) -> tuple[ScanResult, int]:
        """Scan a folder and all below it. Returns how it ended, and the error number of the root where it has one."""
        try:
            known = self._reader.identity(self._root)
            sample = partial(known_files, self._reader, self._root)
            seen = sight(self._descriptor, known, sample, follows=self._follows)
            self.identity = seen.identity
            if seen.verdict is not Verdict.ROOT:
                return ScanResult.ROOT_EMPTIED, 0
            self.folders.aside.open()
        except OSError as error:
            return ScanResult.ROOT_UNREADABLE, error.errno or errno.EIO
        try:
            if not self._is_left_out(directory) and self._lead_to(directory):
                self._walk(directory)
                self.folders.batches.flush()
        finally:
            self.folders.aside.close()
        number = dict(self.folders.errors).get(b"")
        return (ScanResult.COMPLETE, 0) if number is None else (ScanResult.ROOT_UNREADABLE, number)

    def _is_left_out(self, directory: bytes) -> bool:
        """Whether nothing in a folder counts, for its own sake or that of one above it."""
        for above in ignorefiles.holders(directory):
            if above and self._rules.prunes(above):
                return True
            if above != directory:
                self._take_text(above, ignorefiles.read(self._descriptor, above))
        return ignorefiles.is_left_alone(directory, self._texts, is_folder=True)

    def _lead_to(self, directory: bytes) -> bool:
        """Enter the links on the way to a folder. Whether it can be gone to; if not, it was said what that means."""
        for above in ignorefiles.holders(directory) if self._follows else ():
            if above and not self._links.come_by(above):
                self._report_vanished(directory)
                return False
            if above != directory and self._links.target(above) is not None and not self._enter(above):
                return False
        return True

    def _enter(self, link: bytes) -> bool:
        """Whether a link leads to what it led to before."""
        descriptor = self._open(link)
        if descriptor is None:
            return False
        try:
            self._see(link, descriptor)
        except OSError as error:
            self.folders.note_error(link, error.errno)
            return False
        finally:
            os.close(descriptor)
        return True

    def _see(self, directory: bytes, descriptor: int) -> None:
        target = self._links.target(directory)
        if target is None:
            self._points.enter(directory, descriptor, self._reader, self._outlet.post)
        else:
            self._points.enter_link(directory, target, descriptor, self._reader, self._outlet.post)

    def _walk(self, directory: bytes) -> None:
        waiting = [directory]
        while waiting:
            if self._outlet.stopped():
                raise Stopped
            waiting.extend(self._visit(waiting.pop()))
            self.folders.batches.flush_old()

    def _visit(self, directory: bytes) -> list[bytes]:
        """Compare one folder, unless its times tell that nothing has changed. Gives the sub-folders, the first last."""
        self.behind_links += self._links.is_behind(directory)
        unchanged = self._unchanged(directory) if self._is_quick else None
        if unchanged is not None:
            self._outlet.breathe(1)
            return unchanged
        descriptor = self._open(directory)
        if descriptor is None:
            self._times.drop(directory)
            return []
        try:
            below, entries = self._look(directory, descriptor)
        finally:
            os.close(descriptor)
        self._outlet.breathe(entries)
        return below

    def _look(self, directory: bytes, descriptor: int) -> tuple[list[bytes], int]:
        """Compare an open folder. Gives the sub-folders, and how many entries were read."""
        begun_ns = time.time_ns()
        found = self._read(directory, descriptor)
        if found is None:
            self._times.drop(directory)
            return [], 1
        listing, times = found
        has_text = ignorefiles.NAME in listing.own
        self._take_text(directory, ignorefiles.read(self._descriptor, directory) if has_text else None)
        rests = self.folders.compare(directory, listing, descriptor)
        below = self._below(directory, listing)
        if rests and not listing.has_links:  # no time of a folder tells what its links lead to
            names = [path.rpartition(b"/")[2] for path in below]
            self._times.note(directory, times, names, begun_ns)
        else:
            self._times.drop(directory)
        return below, 1 + listing.files

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
        names = self._times.unchanged(directory, (times_of(found), *self.folders.aside.times(directory)))
        if names is None:
            return None
        self.folders.directories += 1
        return [joined(directory, name) for name in names]

    def _open(self, directory: bytes) -> int | None:
        """Open a folder. None where it has vanished (what was known in it is then reported) or is unreadable."""
        try:
            how = OPEN_FOLDER if self._links.target(directory) is None else OPEN_FOLDER & ~os.O_NOFOLLOW
            return os.open(directory or b".", how, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in VANISHED and directory:
                self._report_vanished(directory)
            else:
                self.folders.note_error(directory, error.errno)
            return None

    def _read(self, directory: bytes, descriptor: int) -> tuple[Listing, tuple[Times, ...]] | None:
        """An open folder's listing, with the times from before anything was read; None where it is unreadable."""
        try:
            self._see(directory, descriptor)
            times = times_of(os.fstat(descriptor)), *self.folders.aside.times(directory)
            return self.folders.listing(descriptor), times
        except OSError as error:
            self.folders.note_error(directory, error.errno)
            return None

    def _below(self, directory: bytes, listing: Listing) -> list[bytes]:
        """The sub-folders to walk, the first one last. Known ones that are not there any more are reported."""
        prefix = directory + b"/" if directory else b""
        there = {prefix + name for name in listing.folders} | self._links.below(directory, listing, self._is_pruned)
        for path in sorted(self._reader.directories_below(self._root, directory)):
            if self._links.is_let_be(path):
                continue
            if path not in there and path[len(prefix) :] not in listing.unreadable:
                self._report_vanished(path)
        return sorted((path for path in there if not self._is_pruned(path)), reverse=True)

    def _is_pruned(self, path: bytes) -> bool:
        return bool(self._rules.prunes(path)) or ignorefiles.is_left_alone(path, self._texts, is_folder=True)

    def _report_vanished(self, directory: bytes) -> None:
        """All that was known in a folder, and below it, is missing."""
        vanished = [directory]
        while vanished:
            current = vanished.pop()
            self._times.drop(current)
            if self._points.is_away(current):
                self.folders.note_error(current, errno.ENOMEDIUM)
                continue
            for entry in self.folders.entries(current):
                self.folders.batches.add(entry.source.path, None)
            vanished.extend(self._reader.directories_below(self._root, current))
