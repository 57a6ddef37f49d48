"""The scanner: the disk compared with the ledger. One thread a root.

Responsible for: taking scan requests one after another, their order and merging, and holding back when the loop is
behind. Not responsible for: when to scan and whether the root is what it was (the loop), the walk itself (`walk.py`),
what a finding leads to (settle and plan).

A report is a hint: the root's hands stat before anything is done. A root that cannot be opened, or that is empty where
the ledger knows of something in it (an unmounted disk), ends the scan without a word about its sources. The ledger is
read by a connection of its own, opened for each scan.

A sweep (a comparison of the whole root that nothing in particular asked for) keeps a pace, and between two folders it
lets all others pass: a new folder does not wait for the end of a sweep that takes hours.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import NamedTuple

from watcherd.model import Change, JobClass, State
from watcherd.watch.mountpoints import MountPoints
from watcherd.watch.reports import Found, Manner, ScanEnded, ScannerFailed, ScanResult
from watcherd.watch.scanning.compare import Judge, Wanted
from watcherd.watch.scanning.folder import OPEN_FOLDER, Reader, Rules, Terms
from watcherd.watch.scanning.linkwalk import LinkWalk
from watcherd.watch.scanning.listing import MOST_FILES, Stopped
from watcherd.watch.scanning.walk import Memory, Walk
from watcherd.watch.selection import Selection

UNANSWERED_BATCHES = 4
"""How many reports of changes the loop may be behind before the scanner waits."""

_MAX_WAITING = 200
_BURST_S = 1.0


class Request(NamedTuple):
    """A wish for a scan of a folder and all below it."""

    directory: bytes
    ticket: int | None
    arriving: JobClass
    manner: Manner = Manner.NOW


def merged(waiting: list[Request], new: Request) -> list[Request]:
    """The requests that wait, with one more. Those without a ticket melt into one of their kind that holds them."""
    if new.ticket is None and any(_covers(other, new) for other in waiting):
        return waiting
    kept = [other for other in waiting if other.ticket is not None or not _covers(new, other)]
    alike = [other for other in kept if other.ticket is None and other.arriving is new.arriving]
    if len(alike) < _MAX_WAITING:
        return [*kept, new]
    whole = Request(_common(new.directory, *(other.directory for other in alike)), None, new.arriving)
    return [*(other for other in kept if other not in alike), *([new] if new.ticket is not None else []), whole]


def _covers(outer: Request, inner: Request) -> bool:
    if outer.arriving is not inner.arriving or outer.manner > inner.manner:
        return False
    return not outer.directory or (inner.directory + b"/").startswith(outer.directory + b"/")


def _common(*directories: bytes) -> bytes:
    """The deepest folder that holds all of these."""
    common: list[bytes] = []
    for names in zip(*(directory.split(b"/") for directory in directories), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return b"/".join(common)


class Scanner:
    """A root's scanner. All methods may be called from any thread; everything handed in is called in the scanner's.

    `reader` opens the ledger for one scan; `wanted` gives what the configuration asks of a scan; `most_files` of
    a folder are kept in memory; the rest: see `Rules`.
    """

    def __init__(
        self,
        root: int,
        path: bytes,
        *,
        reader: Callable[[], Reader],
        wanted: Callable[[Request], Wanted],
        judge: Judge,
        why_ignored: Callable[[bytes], str | None],
        prunes: Callable[[bytes], str | None],
        post: Callable[[object], None],
        instance: str,
        run: str,
        rate: Callable[[], int] = lambda: 0,
        selection: Callable[[], Selection] = Selection,
        most_files: int = MOST_FILES,
    ) -> None:
        self._rate, self._most_files = rate, most_files
        self._memory = Memory()
        self._root, self._path = root, path
        self._reader, self._wanted, self._post = reader, wanted, post
        self._rules = Rules(
            judge=judge, why_ignored=why_ignored, prunes=prunes, instance=instance, run=run, selection=Selection()
        )
        self._selection = selection
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._waiting: list[Request] = []
        self._stopping = threading.Event()
        self._unanswered = threading.Semaphore(UNANSWERED_BATCHES)
        self._thread = threading.Thread(target=self._work, name=f"scanner-{root}", daemon=True)

    def start(self) -> None:
        """Start the thread; it waits for requests."""
        self._thread.start()

    def request(
        self,
        directory: bytes = b"",
        *,
        ticket: int | None = None,
        arriving: JobClass = JobClass.BACKLOG,
        manner: Manner = Manner.NOW,
    ) -> None:
        """Ask for a scan of a folder and all below it. One with a ticket is always run and ended for itself."""
        self._inbox.put(Request(directory, ticket, arriving, manner))

    def acknowledge(self) -> None:
        """Say that one `Found` was taken in."""
        self._unanswered.release()

    def stop(self) -> None:
        """End the thread soon; it reports nothing once it has noticed. Does not wait: a share may hang."""
        self._stopping.set()
        self._inbox.put(None)
        self._unanswered.release()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; False where it has not ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    # -- the thread

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._gather(None if not self._waiting else 0.0)
                if self._waiting:
                    self._waiting.sort(key=lambda request: request.manner is not Manner.NOW)
                    self._scan(self._waiting.pop(0))
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001  (the loop ends the program with it: no silent thread)
            self._post(ScannerFailed(root=self._root, error=error))

    def _gather(self, wait_s: float | None) -> None:
        """Take in what was asked for, waiting so long for the first (None: for ever)."""
        with suppress(Empty):
            new = self._inbox.get(timeout=wait_s) if wait_s != 0.0 else self._inbox.get_nowait()
            while True:
                if new is not None:
                    self._waiting = merged(self._waiting, new)
                new = self._inbox.get_nowait()

    def _let_pass(self, until_s: float) -> None:
        """Between two folders of a sweep: until that instant, and once at least, do what does not want to wait."""
        if self._inbox.empty() and until_s <= time.monotonic():
            return
        while not self._stopping.is_set():
            self._gather(max(0.0, until_s - time.monotonic()))
            urgent = [request for request in self._waiting if request.manner is Manner.NOW]
            self._waiting = [request for request in self._waiting if request.manner is not Manner.NOW]
            for request in urgent:
                self._scan(request)
            if time.monotonic() >= until_s:
                return
        raise Stopped

    def _scan(self, request: Request) -> None:
        try:
            descriptor = os.open(self._path, OPEN_FOLDER)
        except OSError as error:
            self._end(request, None, ScanResult.ROOT_UNREADABLE, error.errno or errno.EIO)
            return
        try:
            with closing(self._reader()) as reader:
                pace = Pace(self._rate(), time.monotonic()) if request.manner is not Manner.NOW else None
                wanted, known = self._wanted(request), reader.mounts(self._root)
                links = wanted.links
                terms = Terms(
                    root=self._root,
                    descriptor=descriptor,
                    reader=reader,
                    wanted=wanted,
                    rules=replace(self._rules, selection=self._selection()),
                    outlet=_Outlet(self, request, pace),
                    most=self._most_files,
                )
                walk = Walk(
                    terms,
                    points=MountPoints(self._root, self._path, known, reader.identity(self._root), links),
                    links=LinkWalk(self._root, self._path, descriptor, links, known=known, post=self._post),
                    memory=self._memory_for(wanted, request),
                    is_quick=request.manner is Manner.QUICK_SWEEP,
                )
                result, number = walk.run(request.directory)
        finally:
            os.close(descriptor)
        self._end(request, walk, result, number)

    def _memory_for(self, wanted: Wanted, request: Request) -> Memory:
        """What is wanted of a part may be more than of the whole; that is no reason to forget what the sweeps know."""
        if request.manner is Manner.NOW and not self._memory.times.hold_for(wanted.recipe_set):
            return Memory(dict(self._memory.texts))
        return self._memory

    def _end(self, request: Request, walk: Walk | None, result: ScanResult, number: int) -> None:
        seen = walk.folders if walk else None
        self._post(
            ScanEnded(
                root=self._root,
                directory=request.directory,
                ticket=request.ticket,
                result=result,
                directories=seen.directories if seen else 0,
                sources=seen.sources if seen else 0,
                unchanged=seen.by_state[State.DONE] if seen else 0,
                by_state=dict(seen.by_state) if seen else {},
                errors=tuple(seen.errors) if seen else (),
                errno=number,
                identity=walk.identity if walk else "",
                is_quick=request.manner is Manner.QUICK_SWEEP,
                behind_links=walk.behind_links if walk else 0,
            )
        )


class Pace:
    """How fast a sweep may go: so many entries a second, 0 for no limit. A folder is paid for after it was read."""

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._paid_until = now

    def after(self, entries: int, now: float) -> float:
        """When the next folder may be read. Time that was spent elsewhere is not made up for by a burst."""
        if not self._rate:
            return now
        self._paid_until = max(self._paid_until, now - _BURST_S) + entries / self._rate
        return self._paid_until


class _Outlet:
    """The way of one scan's reports to the loop, with a bounded number of unanswered ones. No pace: it is urgent."""

    def __init__(self, scanner: Scanner, request: Request, pace: Pace | None) -> None:
        self._scanner, self._request, self._pace = scanner, request, pace
        self.post = scanner._post  # noqa: SLF001  (a part of the scanner)
        self.stopped = scanner._stopping.is_set  # noqa: SLF001

    def send(self, changes: tuple[Change, ...]) -> None:
        """Post a batch of changes as soon as the loop has taken in enough of the earlier ones."""
        self._scanner._unanswered.acquire()  # noqa: SLF001
        if self.stopped():
            raise Stopped
        request = self._request
        self.post(
            Found(root=self._scanner._root, changes=changes, ticket=request.ticket, arriving=request.arriving)  # noqa: SLF001
        )

    def breathe(self, entries: int) -> None:
        """Let pass what does not want to wait, and keep the pace."""
        if self._pace is not None:
            self._scanner._let_pass(self._pace.after(entries, time.monotonic()))  # noqa: SLF001
