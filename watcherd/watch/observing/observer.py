"""The observer: what the kernel says about a root.

Responsible for: one watchdog observer for one root, turning its events into changes, and saying when they are not to be
relied on (a doubt, which the loop answers with a scan).
Not responsible for: what a change means, scanning, starting an observer anew.

Nothing here is relied on alone: events get lost (a full queue), come under stale names (a folder that was moved) or not
at all (other clients of a share). Each such case that can be told becomes a `Doubt`, and only after the watches are in
place again, so that a scan that starts now misses nothing.

The event filter keeps kinds out of the kernel's mask that nobody needs: without opened and modified a burst of 20,000
files lost nothing, with them 15,433 (measured). Threads of an observer: watchdog's reader of the inotify descriptor,
its emitter, its dispatcher, and one of ours that starts and stops them, because adding the watches takes 0.34 s per
20,000 folders and much longer on a slow disk.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)

from watcherd.model import Change, ChangeKind, Source
from watcherd.watch.observing.inotify import Dispatcher, Reader, Told
from watcherd.watch.reports import Coverage, Doubt, DoubtReason, Felt, WatchFailed, Watching, WatchTrouble

_EVENT_FILTER: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]

_TROUBLES = {
    errno.ELOOP: WatchTrouble.ROOT_IS_LINK,
    errno.ENOENT: WatchTrouble.ROOT_MISSING,
    errno.ENOTDIR: WatchTrouble.ROOT_MISSING,
    errno.ENOSPC: WatchTrouble.WATCH_LIMIT,
    errno.EMFILE: WatchTrouble.INSTANCE_LIMIT,
}


_OF_THE_ROOT = frozenset({DoubtReason.ROOT_DELETED, DoubtReason.UNMOUNTED})


# --------------------------------------------------------------------------------------------------------- the machine


class Observer:
    """The observer of one root. `post` takes changes, `Watching` and `WatchFailed`; `on_doubt` takes doubts.

    Both are called from watchdog's threads and must only enqueue. `path` is absolute; a link in its place is refused
    (inotify would watch the link and report nothing). `prunes` says of a folder's path below the root why nothing in it
    counts: such a tree is not watched. `at`: the link below the root by which the folder at `path` is a part of it;
    that it is deleted or unmounted is then no doubt of the root.
    """

    def __init__(
        self,
        root: int,
        path: bytes,
        *,
        post: Callable[[object], None],
        on_doubt: Callable[[Doubt], None],
        prunes: Callable[[bytes], object] = lambda _: None,
        at: bytes = b"",
    ) -> None:
        self._root, self._path, self._at = root, path, at
        self._post, self._on_doubt = post, on_doubt
        self._prunes = (lambda below: prunes(_joined(at, below))) if at else prunes
        self._stopping = threading.Event()
        self._counting = threading.Event()
        self._handler = _Handler(root, path, self._say, self._doubt, self._prunes, at)
        self._reader: Reader | None = None
        self._dispatcher: Dispatcher | None = None
        self._beginning = True
        self._thread = threading.Thread(target=self._work, name=f"observer-{root}", daemon=True)

    def start(self) -> None:
        """Begin to watch; `Watching` or `WatchFailed` says how that went. Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the watching; returns at once, and nothing is reported any more."""
        self._stopping.set()
        self._counting.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of all threads; False where they have not ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Whether all threads run that reports depend on (watchdog's own answer leaves out the emitter)."""
        if self._beginning and self._thread.is_alive():
            return True  # a large tree on a slow disk takes its time
        reader, dispatcher = self._reader, self._dispatcher
        if reader is None or dispatcher is None or not self._thread.is_alive():
            return False
        emitters = [emitter.is_alive() for emitter in dispatcher.emitters.copy()]
        return bool(emitters) and all(emitters) and reader.is_alive() and dispatcher.is_alive()

    def count(self) -> None:
        """Have the watches counted; `Coverage` says how many there are. Returns at once: it may take a while."""
        self._counting.set()

    def expect(self, name: bytes) -> None:
        """Say `Felt`, once, when a file of this name is made in the root."""
        self._handler.expected = name

    # -- the thread

    def _work(self) -> None:
        try:
            self._refuse_what_cannot_be_watched()
            self._begin()
        except Exception as error:  # noqa: BLE001  (reported, and the observer ends)
            self._beginning = False
            why = _TROUBLES.get(getattr(error, "errno", None) or 0, WatchTrouble.OTHER)
            self._end()
            self._say(WatchFailed(root=self._root, why=why, detail=f"{type(error).__name__}: {error}"))
            return
        self._beginning = False
        self._counting.clear()  # a shortage is in the first count already
        self._say_coverage()
        self._say(Watching(root=self._root))
        while not self._stopping.is_set():
            self._counting.wait()
            self._counting.clear()
            self._say_coverage()
        self._end()

    def _say_coverage(self) -> None:
        if self._stopping.is_set() or self._reader is None or self._dispatcher is None:
            return
        watches = self._reader.watch_count()
        if watches is not None:
            self._say(Coverage(root=self._root, watches=watches, refused=self._dispatcher.refused))

    def _refuse_what_cannot_be_watched(self) -> None:
        mode = os.lstat(self._path).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, "the root is a symbolic link: give the folder that it leads to")
        if not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTDIR, "the root is not a folder")

    def _begin(self) -> None:
        self._reader = Reader(self._doubt)
        self._reader.start()
        told = Told(doubt=self._doubt, prunes=self._prunes, on_shortage=self._counting.set)
        self._dispatcher = Dispatcher(self._reader, told)
        self._dispatcher.schedule(self._handler, os.fsdecode(self._path), recursive=True, event_filter=_EVENT_FILTER)
        self._dispatcher.start()

    def _end(self) -> None:
        self._stopping.set()
        if self._dispatcher is not None:
            self._dispatcher.stop()
            with suppress(RuntimeError):  # it was never started
                self._dispatcher.join()
        if self._reader is not None:
            self._reader.stop()
            self._reader.join()

    # -- the ways out

    def _say(self, report: object) -> None:
        if isinstance(report, WatchFailed) or not self._stopping.is_set():
            self._post(report)

    def _doubt(self, why: DoubtReason, path: bytes | None = None, detail: str = "") -> None:
        if not self._stopping.is_set():
            directory = b"" if path is None else _joined(self._at, _below(self._path, path))
            if self._at and why in _OF_THE_ROOT:
                directory, why = self._at, DoubtReason.GONE_DIRECTORY
            self._on_doubt(Doubt(root=self._root, directory=directory, why=why, detail=detail))


class _Handler(FileSystemEventHandler):
    """Turns events into changes. An exception here would end watchdog's dispatcher: it becomes a doubt instead."""

    def __init__(
        self,
        root: int,
        path: bytes,
        say: Callable[[object], None],
        doubt: Callable[..., None],
        prunes: Callable[[bytes], object],
        at: bytes,
    ) -> None:
        self._root, self._path, self._at = root, path, at
        self._say, self._doubt, self._prunes = say, doubt, prunes
        self.expected: bytes | None = None
        """The name of a file whose event is waited for."""

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for every event that passes the filter."""
        try:
            self._take(event, os.fsencode(event.src_path))
        except Exception as error:  # noqa: BLE001  (a scan makes good for what was dropped)
            self._doubt(DoubtReason.HANDLER_FAILED, None, f"{type(error).__name__}: {error}")

    def _take(self, event: FileSystemEvent, path: bytes) -> None:
        match event:
            case FileCreatedEvent() if path == self._path.rstrip(b"/") + b"/" + (self.expected or b"/"):
                self.expected = None
                self._say(Felt(root=self._root))
            case FileCreatedEvent():
                self._report(ChangeKind.CREATED, path)
            case FileClosedEvent():
                self._report(ChangeKind.CLOSED, path)
            case FileDeletedEvent():
                self._report(ChangeKind.DELETED, path)
            case FileMovedEvent():
                self._report(ChangeKind.MOVED, os.fsencode(event.dest_path), previous=self._source_path(path))
            case DirCreatedEvent():
                self._doubt_folder(DoubtReason.NEW_DIRECTORY, path)
            case DirDeletedEvent():
                if path == self._path:
                    self._doubt(DoubtReason.ROOT_DELETED, path)
                else:
                    self._doubt_folder(DoubtReason.GONE_DIRECTORY, path)
            case DirMovedEvent():
                self._doubt_folder(DoubtReason.NEW_DIRECTORY, os.fsencode(event.dest_path))
                self._doubt_folder(DoubtReason.GONE_DIRECTORY, path)

    def _doubt_folder(self, why: DoubtReason, path: bytes) -> None:
        below = _below(self._path, path)
        ends = [number for number, byte in enumerate(below) if byte == ord("/")]
        if not any(self._prunes(below[:end]) for end in (*ends, len(below))):
            self._doubt(why, path)

    def _report(self, kind: ChangeKind, path: bytes, *, previous: bytes | None = None) -> None:
        self._say(Change(kind=kind, source=Source(self._root, self._source_path(path)), previous=previous))

    def _source_path(self, path: bytes) -> bytes:
        return _joined(self._at, _below(self._path, path))


def _joined(at: bytes, below: bytes) -> bytes:
    return b"/".join(filter(None, (at, below)))


def _below(root: bytes, path: bytes) -> bytes:
    """A path below the root; empty for the root itself."""
    if path == root:
        return b""
    prefix = root.rstrip(b"/") + b"/"
    if not path.startswith(prefix):
        raise ValueError(f"{path!r} does not lie in {root!r}")
    return path[len(prefix) :]
