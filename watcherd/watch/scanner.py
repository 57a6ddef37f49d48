"""The scanner: the disk compared with the ledger. One thread a root.

Responsible for: taking scan requests one after another, their order and merging, and holding back when the loop is
behind. Not responsible for: when to scan and whether the root is what it was (the loop), the walk itself (`walk.py`),
what a finding leads to (settle and plan).

A report is a hint: the root's hands stat before anything is done. A root that cannot be opened, or that is empty where
the ledger knows of something in it (an unmounted disk), ends the scan without a word about its sources. The ledger is
read by a connection of its own, opened for each scan.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import NamedTuple

from watcherd.model import Change, JobClass, State
from watcherd.watch.compare import Judge, Wanted
from watcherd.watch.listing import Stopped
from watcherd.watch.reports import Found, ScanEnded, ScannerFailed, ScanResult
from watcherd.watch.walk import OPEN_FOLDER, Reader, Rules, Walk

UNANSWERED_BATCHES = 4
"""How many reports of changes the loop may be behind before the scanner waits."""

_MAX_WAITING = 200


class Request(NamedTuple):
    """A wish for a scan of a folder and all below it."""

    directory: bytes
    ticket: int | None
    arriving: JobClass


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
    if outer.arriving is not inner.arriving:
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

    `reader` opens the ledger for one scan; `wanted` gives what the configuration asks of a scan; the rest: see `Rules`.
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
    ) -> None:
        self._root, self._path = root, path
        self._reader, self._wanted, self._post = reader, wanted, post
        self._rules = Rules(judge=judge, why_ignored=why_ignored, prunes=prunes, instance=instance, run=run)
        self._inbox: SimpleQueue[Request | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._unanswered = threading.Semaphore(UNANSWERED_BATCHES)
        self._thread = threading.Thread(target=self._work, name=f"scanner-{root}", daemon=True)

    def start(self) -> None:
        """Start the thread; it waits for requests."""
        self._thread.start()

    def request(
        self, directory: bytes = b"", *, ticket: int | None = None, arriving: JobClass = JobClass.BACKLOG
    ) -> None:
        """Ask for a scan of a folder and all below it. One with a ticket is always run and ended for itself."""
        self._inbox.put(Request(directory, ticket, arriving))

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
            for request in self._requests():
                self._scan(request)
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001  (the loop ends the program with it: no silent thread)
            self._post(ScannerFailed(root=self._root, error=error))

    def _requests(self) -> Iterator[Request]:
        waiting: list[Request] = []
        while not self._stopping.is_set():
            try:
                new = self._inbox.get(block=not waiting)
            except Empty:
                yield waiting.pop(0)
                continue
            if new is not None:
                waiting = merged(waiting, new)

    def _scan(self, request: Request) -> None:
        try:
            descriptor = os.open(self._path, OPEN_FOLDER)
        except OSError as error:
            self._end(request, None, ScanResult.ROOT_UNREADABLE, error.errno or errno.EIO)
            return
        try:
            with closing(self._reader()) as reader:
                outlet = _Outlet(self._root, request, self._post, self._unanswered, self._stopping)
                walk = Walk(
                    self._root,
                    descriptor,
                    reader=reader,
                    wanted=self._wanted(request),
                    rules=self._rules,
                    outlet=outlet,
                )
                result, number = walk.run(request.directory)
        finally:
            os.close(descriptor)
        self._end(request, walk, result, number)

    def _end(self, request: Request, walk: Walk | None, result: ScanResult, number: int) -> None:
        self._post(
            ScanEnded(
                root=self._root,
                directory=request.directory,
                ticket=request.ticket,
                result=result,
                directories=walk.directories if walk else 0,
                sources=walk.sources if walk else 0,
                unchanged=walk.by_state[State.DONE] if walk else 0,
                by_state=dict(walk.by_state) if walk else {},
                errors=tuple(walk.errors) if walk else (),
                errno=number,
                identity=walk.identity if walk else "",
            )
        )


class _Outlet:
    """The way of one scan's reports to the loop, with a bounded number of unanswered ones."""

    def __init__(
        self,
        root: int,
        request: Request,
        post: Callable[[object], None],
        unanswered: threading.Semaphore,
        stopping: threading.Event,
    ) -> None:
        self._root, self._request = root, request
        self.post = post
        self.stopped = stopping.is_set
        self._unanswered = unanswered

    def send(self, changes: tuple[Change, ...]) -> None:
        """Post a batch of changes as soon as the loop has taken in enough of the earlier ones."""
        self._unanswered.acquire()
        if self.stopped():
            raise Stopped
        self.post(Found(root=self._root, changes=changes, ticket=self._request.ticket, arriving=self._request.arriving))
