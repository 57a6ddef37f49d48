"""watchdog's parts, as an observer needs them: with pruned trees, a count of folders, and no silent end.

Responsible for: which folders are watched, that a full queue, an end and a lack of watches are told, and how many
watches the kernel holds. Not responsible for: what events mean, and when an observer begins and ends (`observer.py`).

watchdog itself watches every folder below a root, and says nothing where the kernel has no watches left. Here a folder
that is ignored is not watched, nor is anything below it, and folders are watched from the root downwards: where watches
run out, the upper levels have them. All folders are counted, watched or not.
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter, InotifyWatchGroup
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from watcherd.watch.observing.leaves import Leaves
from watcherd.watch.reports import DoubtReason

Doubts = Callable[..., None]
Prunes = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What an observer has these parts told: where doubts go, which trees not to watch, and where a lack of watches."""

    doubt: Doubts
    prunes: Prunes
    on_shortage: Callable[[], None]


class Reader(InotifyFD):
    """watchdog's reader of an inotify descriptor. Says when the kernel dropped events, once the watches are renewed."""

    def __init__(self, doubt: Doubts) -> None:
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

    def _add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watch a folder, which may be watched already. Raises OSError.

        watchdog warns of the second time, in a text of all watches that there are: 1 MB for 17,000 folders. Copying a
        tree leads to that for some of its folders, renewing the watches for all of them.
        """
        watch = self._get_or_create_watch(path, mask)
        watch.callbacks[id_] = callback
        return watch.wd

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


class WatchGroup(InotifyWatchGroup):
    """The watches of one root.

    `prunes` says of a folder's path below the root whether nothing in it counts. `refused` counts the folders for which
    the kernel had no watch left since the watches were put in place; `on_shortage` is called for each.
    """

    def __init__(
        self,
        reader: InotifyFD,
        path: bytes,
        *,
        prunes: Prunes,
        on_shortage: Callable[[], None],
        **fields: Any,  # noqa: ANN401
    ) -> None:
        self._prunes, self._on_shortage = prunes, on_shortage
        self._leaves = Leaves(path)
        self.refused = 0
        super().__init__(reader, path, **fields)

    def _add_all_callbacks(self, path: bytes) -> None:
        """Watch a folder and all below it, the upper ones first."""
        if path == self.path:
            self.refused = 0  # at first, and again after an overflow
        elif not os.path.isdir(path) or os.path.islink(path) or self._is_pruned(path):
            return
        for folder in self._folders(path):
            self._add_callback(folder)

    def on_queue_overflow(self) -> None:
        """Called by watchdog when the kernel dropped events: watch what lies in the tree now. Raises OSError.

        watchdog takes all watches away first. The kernel answers each with an event of its own, which in a tree of more
        folders than the queue holds is the next overflow, and so on without end (16,384 by default). So a folder that
        is still there keeps its watch (inotify_add_watch(2) gives it back, with the path that it has now), and only
        those of folders that left the tree are taken away.
        """
        with self._lock:
            if not self.is_active:
                return
            self._move_event_grouper.discard_pending_events()
            before = self._active_callbacks_by_watch
            self._active_callbacks_by_watch, self._active_callbacks_by_path = {}, {}
            self._add_all_callbacks(self.path)
            gone = before.keys() - self._active_callbacks_by_watch.keys()
            self._inotify_fd.remove_callbacks([(wd, self._id) for wd in gone])

    def _add_callback(self, path: bytes) -> None:
        try:
            wd = self._inotify_fd.add_callback(path, self.event_mask, self._callback, self._id)
        except OSError as error:
            if path == self.path:
                raise
            if error.errno == errno.ENOSPC:
                self.refused += 1
                self._on_shortage()
        else:
            self._active_callbacks_by_path[path] = wd
            self._active_callbacks_by_watch[wd] = path

    def _recursive_simulate(self, src_path: bytes) -> list[InotifyEvent]:
        """What lies in a new folder already: its sub-folders, each of which is a doubt of its own."""
        if self._is_pruned(src_path):
            return []
        mask = Mask(InotifyConstants.IN_CREATE | InotifyConstants.IN_ISDIR)
        events = []
        for folder in self._folders(src_path):
            above, _, name = folder.rpartition(b"/")
            watched = self._active_callbacks_by_path.get(above)
            if folder != src_path and watched is not None:
                events.append(InotifyEvent(watched, mask, 0, name))
        return events

    def _folders(self, top: bytes) -> Iterator[bytes]:
        """A folder and all below it that count, each before it is read. What cannot be read the scan will tell."""
        waiting = deque([top])
        while waiting:
            folder = waiting.popleft()
            yield folder
            with suppress(OSError):
                if not self._leaves.has(folder):
                    waiting.extend(self._below(folder))

    def _below(self, folder: bytes) -> Iterator[bytes]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not self._is_pruned(entry.path):
                    yield entry.path

    def _is_pruned(self, path: bytes) -> bool:
        below = path[len(self.path.rstrip(b"/")) + 1 :]
        return bool(self._prunes(below))


class Emitter(InotifyEmitter):
    """watchdog's thread that pairs moves. It ends when the root is deleted."""

    def __init__(self, *args: Any, told: Told, **fields: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **fields)
        self._told = told

    def on_thread_start(self) -> None:
        """Called by watchdog before the thread runs: put the watches in place. Raises OSError."""
        self._inotify = WatchGroup(
            self._inotify_fd,
            os.fsencode(self.watch.path),
            is_recursive=True,
            event_mask=self.get_event_mask_from_filter(),
            prunes=self._told.prunes,
            on_shortage=self._told.on_shortage,
        )

    @property
    def refused(self) -> int:
        """For how many folders there was no watch."""
        group = self._inotify
        return group.refused if isinstance(group, WatchGroup) else 0

    def run(self) -> None:
        """Emit until stopped; an end without that is a doubt."""
        _run_guarded(super().run, self._told.doubt)


class Dispatcher(BaseObserver):
    """watchdog's thread that calls the handler."""

    def __init__(self, reader: Reader, told: Told) -> None:
        super().__init__(Emitter, inotify_fd=reader, told=told)
        self._told = told

    @property
    def refused(self) -> int:
        """For how many folders there was no watch."""
        return sum(emitter.refused for emitter in self.emitters.copy() if isinstance(emitter, Emitter))

    def run(self) -> None:
        """Dispatch until stopped; an end without that is a doubt."""
        _run_guarded(super().run, self._told.doubt)


def _run_guarded(run: Callable[[], None], doubt: Doubts) -> None:
    """Run a thread's work. While the observer is being stopped its doubts are dropped, so each end may raise one."""
    try:
        run()
    except Exception as error:  # noqa: BLE001  (reported; the thread ends)
        doubt(DoubtReason.WATCHER_ENDED, None, f"{type(error).__name__}: {error}")
    else:
        doubt(DoubtReason.WATCHER_ENDED)
