"""The observer: what the kernel says about a root. The only module that imports watchdog.

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
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

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
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from watcherd.model import Change, ChangeKind, Source
from watcherd.watch.reports import Doubt, DoubtReason, WatchFailed, Watching, WatchTrouble

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


PRESENCE_INTERVAL_S = 30.0
"""How often the root's place is looked at (one stat, which the kernel answers from memory)."""


# --------------------------------------------------------------------------------------------------------- the machine


class Observer:
    """The observer of one root. `post` takes changes, `Watching` and `WatchFailed`; `on_doubt` takes doubts.

    Both are called from watchdog's threads and must only enqueue. `path` is absolute; a link in its place is refused
    (inotify would watch the link and report nothing).
    """

    def __init__(
        self, root: int, path: bytes, *, post: Callable[[object], None], on_doubt: Callable[[Doubt], None]
    ) -> None:
        self._root, self._path = root, path
        self._post, self._on_doubt = post, on_doubt
        self._stopping = threading.Event()
        self._reader: _Reader | None = None
        self._dispatcher: _Dispatcher | None = None
        self._beginning = True
        self._thread = threading.Thread(target=self._work, name=f"observer-{root}", daemon=True)

    def start(self) -> None:
        """Begin to watch; `Watching` or `WatchFailed` says how that went. Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the watching; returns at once, and nothing is reported any more."""
        self._stopping.set()

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

    def watch_count(self) -> int | None:
        """How many folders the kernel watches for this root: fewer than there are means that a limit was met."""
        reader = self._reader
        return None if reader is None else reader.watch_count()

    # -- the thread

    def _work(self) -> None:
        try:
            watched = self._refuse_what_cannot_be_watched()
            self._begin()
        except Exception as error:  # noqa: BLE001  (reported, and the observer ends)
            self._beginning = False
            why = _TROUBLES.get(getattr(error, "errno", None) or 0, WatchTrouble.OTHER)
            self._end()
            self._say(WatchFailed(root=self._root, why=why, detail=f"{type(error).__name__}: {error}"))
            return
        self._beginning = False
        self._say(Watching(root=self._root))
        while not self._stopping.wait(PRESENCE_INTERVAL_S) and self._place() == watched:
            pass
        # Stopped, or another folder (or none) stands at the path: renamed, unmounted, mounted over. There is no event
        # for that. This observer would go on watching the old one; it ends, and its owner begins a new one.
        self._end()

    def _place(self) -> tuple[int, int] | None:
        try:
            found = os.lstat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _refuse_what_cannot_be_watched(self) -> tuple[int, int]:
        found = os.lstat(self._path)
        mode = found.st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, "the root is a symbolic link: give the folder that it leads to")
        if not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTDIR, "the root is not a folder")
        return found.st_dev, found.st_ino

    def _begin(self) -> None:
        # watchdog warns when a new folder is added twice, which copying a tree leads to and which does no harm; where
        # warnings are errors, it would end the reader's thread.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.observers\.")
        self._reader = _Reader(self._doubt)
        self._reader.start()
        self._dispatcher = _Dispatcher(self._reader, self._doubt)
        handler = _Handler(self._root, self._path, self._say, self._doubt)
        self._dispatcher.schedule(handler, os.fsdecode(self._path), recursive=True, event_filter=_EVENT_FILTER)
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
            directory = b"" if path is None else _below(self._path, path)
            self._on_doubt(Doubt(root=self._root, directory=directory, why=why, detail=detail))


class _Handler(FileSystemEventHandler):
    """Turns events into changes. An exception here would end watchdog's dispatcher: it becomes a doubt instead."""

    def __init__(self, root: int, path: bytes, say: Callable[[object], None], doubt: Callable[..., None]) -> None:
        self._root, self._path = root, path
        self._say, self._doubt = say, doubt

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for every event that passes the filter."""
        try:
            self._take(event, os.fsencode(event.src_path))
        except Exception as error:  # noqa: BLE001  (a scan makes good for what was dropped)
            self._doubt(DoubtReason.HANDLER_FAILED, None, f"{type(error).__name__}: {error}")

    def _take(self, event: FileSystemEvent, path: bytes) -> None:
        match event:
            case FileCreatedEvent():
                self._report(ChangeKind.CREATED, path)
            case FileClosedEvent():
                self._report(ChangeKind.CLOSED, path)
            case FileDeletedEvent():
                self._report(ChangeKind.DELETED, path)
            case FileMovedEvent():
                self._report(ChangeKind.MOVED, os.fsencode(event.dest_path), previous=_below(self._path, path))
            case DirCreatedEvent():
                self._doubt(DoubtReason.NEW_DIRECTORY, path)
            case DirDeletedEvent():
                whole = path == self._path
                self._doubt(DoubtReason.ROOT_DELETED if whole else DoubtReason.GONE_DIRECTORY, path)
            case DirMovedEvent():
                self._doubt(DoubtReason.NEW_DIRECTORY, os.fsencode(event.dest_path))
                self._doubt(DoubtReason.GONE_DIRECTORY, path)

    def _report(self, kind: ChangeKind, path: bytes, *, previous: bytes | None = None) -> None:
        self._say(Change(kind=kind, source=Source(self._root, _below(self._path, path)), previous=previous))


def _below(root: bytes, path: bytes) -> bytes:
    """A path below the root; empty for the root itself."""
    if path == root:
        return b""
    prefix = root.rstrip(b"/") + b"/"
    if not path.startswith(prefix):
        raise ValueError(f"{path!r} does not lie in {root!r}")
    return path[len(prefix) :]


# ---------------------------------------------------------------------------------------------------- watchdog's parts


class _Reader(InotifyFD):
    """watchdog's reader of an inotify descriptor. Says when the kernel dropped events, once the watches are renewed."""

    def __init__(self, doubt: Callable[..., None]) -> None:
        super().__init__()
        os.set_inheritable(self._inotify_fd, False)
        self._doubt = doubt

    def handle_event(self, event: InotifyEvent) -> None:
        """Called by watchdog for every event of the kernel's."""
        super().handle_event(event)
        if event.is_queue_overflow:
            self._doubt(DoubtReason.OVERFLOW)
        elif event.mask & InotifyConstants.IN_UNMOUNT:
            self._doubt(DoubtReason.UNMOUNTED)

    def run(self) -> None:
        """Read until stopped; an end without that is a doubt."""
        _run_guarded(super().run, self._doubt)

    def watch_count(self) -> int | None:
        """The number of watches, as the kernel counts them (proc_pid_fdinfo(5))."""
        try:
            with open(f"/proc/self/fdinfo/{self._inotify_fd}", "rb") as info:
                return sum(line.startswith(b"inotify ") for line in info)
        except FileNotFoundError:
            return None


class _Emitter(InotifyEmitter):
    """watchdog's thread that pairs moves. It ends when the root is deleted."""

    def __init__(self, *args: Any, doubt: Callable[..., None], **fields: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **fields)
        self._doubt = doubt

    def run(self) -> None:
        """Emit until stopped; an end without that is a doubt."""
        _run_guarded(super().run, self._doubt)


class _Dispatcher(BaseObserver):
    """watchdog's thread that calls the handler."""

    def __init__(self, reader: _Reader, doubt: Callable[..., None]) -> None:
        super().__init__(_Emitter, inotify_fd=reader, doubt=doubt)
        self._doubt = doubt

    def run(self) -> None:
        """Dispatch until stopped; an end without that is a doubt."""
        _run_guarded(super().run, self._doubt)


def _run_guarded(run: Callable[[], None], doubt: Callable[..., None]) -> None:
    """Run a thread's work. While the observer is being stopped its doubts are dropped, so each end may raise one."""
    try:
        run()
    except Exception as error:  # noqa: BLE001  (reported; the thread ends)
        doubt(DoubtReason.WATCHER_ENDED, None, f"{type(error).__name__}: {error}")
    else:
        doubt(DoubtReason.WATCHER_ENDED)
