"""What a root's hands do for derivatives that are not safe yet: bring them to the disk, or find what was lost of them.

Responsible for: the requests Sync and Salvage. Not responsible for: threads (`hands.py`), what a wreck is
(`derivatives/wrecks.py`), which derivatives are in doubt and when (`daemon/sources/safety.py`).
"""

import ctypes
import errno
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from watcherd.derivatives.marks import WINDOW_BYTES
from watcherd.derivatives.memfds import CHUNK_BYTES, checksum
from watcherd.derivatives.publish import discard
from watcherd.derivatives.renaming import At, sync_folder
from watcherd.derivatives.standing import NotRegularError, mark_of, open_regular
from watcherd.derivatives.wrecks import Finding, Found, Suspect, judge, was_safe_before
from watcherd.watch import files
from watcherd.watch.hands.place import Fault, Place

SYNCFS = "syncfs"
"""The step of a Sync at which an error means that something did not reach the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Have all that was written to the file systems of these folders on the disk."""

    ticket: int
    folders: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """It is on the disk."""

    root: int
    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """Read derivatives that are in doubt, and remove the wrecks among them."""

    ticket: int
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """Of which suspects (by their place in the request) a wreck was removed."""

    root: int
    ticket: int
    wrecks: tuple[int, ...]


def carry_out(place: Place, request: Sync | Salvage) -> Synced | Salvaged | Fault:
    """Carry out one of these requests."""
    return sync(place, request) if isinstance(request, Sync) else salvage(place, request)


def sync(place: Place, request: Sync) -> Synced | Fault:
    """Write out each file system once (syncfs(2)). A folder that is gone has nothing to be kept.

    That may take as long as it likes, with all that others have written there: it does not count as a call that hangs.
    """
    done: set[int] = set()
    try:
        with place.opened() as root:
            for folder in request.folders:
                try:
                    with place.folder(root, folder) as directory:
                        device = os.fstat(directory).st_dev
                        if device not in done:
                            done.add(device)
                            place.steps.operation = SYNCFS
                            place.steps.rest()
                            _syncfs(directory)
                except OSError as error:
                    if error.errno not in files.NOT_THERE:
                        raise
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Synced(root=place.root, ticket=request.ticket)


def salvage(place: Place, request: Salvage) -> Salvaged | Fault:
    """Judge one after the other; the folders are durable again when it is told."""
    wrecks: list[int] = []
    folders: dict[bytes, None] = {}
    try:
        with place.opened() as root:
            for number, suspect in enumerate(request.suspects):
                gone = [path for path in suspect.paths if _removed(place, root, suspect, path)]
                folders.update((files.split(path)[0], None) for path in gone)
                wrecks += [number] if gone else []
            _sync_folders(place, root, folders)
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Salvaged(root=place.root, ticket=request.ticket, wrecks=tuple(wrecks))


def _removed(place: Place, root: int, suspect: Suspect, path: bytes) -> bool:
    """Whether a wreck stood there; it is gone now. What cannot be read or removed stays, for the next comparison."""
    folder, name = files.split(path)
    try:
        with place.folder(root, folder) as directory:
            place.steps.at("open")
            descriptor, found = open_regular(directory, name)
            try:
                is_wreck = _is_wreck(place, suspect, descriptor, found)
            finally:
                os.close(descriptor)
            if is_wreck:
                place.steps.at("unlink")
                discard(At(directory=directory, name=name))
            return is_wreck
    except NotRegularError:
        return False
    except OSError as error:
        if error.errno in files.ENVIRONMENT:
            raise
        return False


def _is_wreck(place: Place, suspect: Suspect, descriptor: int, stat: os.stat_result) -> bool:
    if was_safe_before(suspect, stat.st_size, stat.st_mtime_ns):
        return False
    place.steps.at("read")
    head = os.pread(descriptor, WINDOW_BYTES, 0)
    found = Found(
        checksum=checksum(descriptor, step=lambda: place.steps.at("read")),
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        is_marked=mark_of(descriptor, stat.st_size, head) is not None,
        is_blank=not any(head) and _is_blank(place, descriptor),
    )
    return judge(suspect, found) is Finding.WRECK


def _is_blank(place: Place, descriptor: int) -> bool:
    """Whether a file holds nothing but zeros, to its very end."""
    offset = 0
    while True:
        place.steps.at("read")
        data = os.pread(descriptor, CHUNK_BYTES, offset)
        if not data:
            return True
        if data.count(0) != len(data):
            return False
        offset += len(data)


def _sync_folders(place: Place, root: int, folders: Iterable[bytes]) -> None:
    for folder in folders:
        with ExitStack() as stack:
            directory = stack.enter_context(place.folder(root, folder))
            place.steps.at("fsync_folder")
            sync_folder(directory)


def _syncfs(descriptor: int) -> None:
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)
