"""What a root's hands read: stamps, sources, the derivatives of twins.

Responsible for: the requests StatMany, Fetch and Collect, and that nothing here ever waits for a FIFO, follows a link,
changes an access time where that can be helped, or leaves a descriptor open.
Not responsible for: threads (`hands.py`), what is written (`writing.py`), whether a source is worth reading.
"""

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import NamedTuple

from watcherd.derivatives.marks import WINDOW_BYTES
from watcherd.derivatives.memfds import sealed_copy
from watcherd.derivatives.publish import MAX_DERIVATIVE_BYTES
from watcherd.derivatives.standing import NotRegularError, kind_of_mode, look, mark_of, open_over_link, open_regular
from watcherd.model import Disturbed, Ignored, Outcome, Reason, Rejected, Stamp, Vanished
from watcherd.naming import Mark
from watcherd.watch import files, ignorefiles, links
from watcherd.watch.hands.place import IGNORED_DERIVATIVE, Fault, Place, Refused, is_derivative
from watcherd.watch.hands.statefiles import require_foreign
from watcherd.watch.mounts import mount_number

# ------------------------------------------------------------------------------------------------ requests and replies


Look = Stamp | Vanished | Ignored | Fault
"""What one look at a path told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatMany:
    """Look at some paths."""

    ticket: int
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What stands at each path that was asked for, in the order of asking."""

    root: int
    ticket: int
    results: tuple[tuple[bytes, Look], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Read a source that should still have this stamp (None: any), and look for its derivatives: (variant, path).

    `elsewhere`: where those may lie that are not at their place, because of an earlier layout.
    """

    ticket: int
    path: bytes
    stamp: Stamp | None
    max_bytes: int
    derivatives: tuple[tuple[str, bytes], ...] = ()
    elsewhere: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What stands at a derivative's path. No `mark`: it is foreign. Its sides in pixels are not looked at (0)."""

    variant: str
    path: bytes
    mark: Mark | None
    size_bytes: int
    mtime_ns: int
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A source in a sealed memfd, which the receiver closes. `has_holes`: part of the file was never written."""

    root: int
    ticket: int
    fd: int
    stamp: Stamp
    has_holes: bool
    kind: str
    found: tuple[Found, ...]
    elsewhere: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Bring a twin's derivatives: paths, each with the mark that it must carry and the size that was recorded.

    `mount`: the number of the mount that the taker's root lies on, if that is of a local file system.
    """

    ticket: int
    items: tuple[tuple[bytes, Mark, int], ...]
    mount: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The derivatives, open, which the receiver closes; None for each that is not (or no more) as it was recorded.

    In sealed memfds; or the files themselves where they lie on the taker's own mount, so that they can be copied on the
    disk. From any other file system the taker's hands get none, as they must not hang with it; nor from one of a server
    or of FUSE, where a mere close may hang.
    """

    root: int
    ticket: int
    fds: tuple[int | None, ...]


# ---------------------------------------------------------------------------------------------------------------- stat


def stat_many(place: Place, request: StatMany) -> Stats | Fault:
    """Look at paths, each folder opened once."""
    results: dict[bytes, Look] = {}
    try:
        with place.opened() as root:
            for folder, paths in groupby(sorted(set(request.paths)), key=lambda path: files.split(path)[0]):
                results.update(_stats_in(place, root, folder, list(paths), request.ticket))
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    answers = tuple((path, results[path]) for path in request.paths)
    return Stats(root=place.root, ticket=request.ticket, results=answers)


def _stats_in(place: Place, root: int, folder: bytes, paths: list[bytes], ticket: int) -> Iterator[tuple[bytes, Look]]:
    try:
        with place.folder(root, folder) as directory:
            texts = ignorefiles.read_above(root, folder)
            for path in paths:
                is_excluded = ignorefiles.is_left_alone(path, texts)
                yield path, Ignored(kind="excluded") if is_excluded else _stat(place, root, directory, path, ticket)
    except OSError as error:
        for path in paths:
            yield path, Vanished() if error.errno in files.NOT_THERE else place.fault(ticket, path, error)


def _stat(place: Place, root: int, directory: int, path: bytes, ticket: int) -> Look:
    _, name = files.split(path)
    place.steps.at("stat")
    try:
        found = links.look_at(directory, name, place.links)
        if not files.is_regular(found):
            return Ignored(kind=_kind_of(place, directory, name, found))
        if is_derivative(place, directory, name):
            return IGNORED_DERIVATIVE
    except OSError as error:
        if error.errno == links.SEVERED:
            return Ignored(kind=links.DANGLING)
        error = links.cut_off_or(error, root, path, place.links)
        return Vanished() if error.errno in files.NOT_THERE else place.fault(ticket, path, error)
    stamp = files.stamp_of(found)
    why_not = place.selection.why_not(stamp, time.time_ns())
    return Ignored(kind=why_not) if why_not else stamp


def _kind_of(place: Place, directory: int, name: bytes, found: os.stat_result) -> str:
    kind = kind_of_mode(found.st_mode)
    is_linked = place.links.follows and kind == "folder" and links.is_link(directory, name)
    return links.LINKED_FOLDER if is_linked else kind


# --------------------------------------------------------------------------------------------------------------- fetch


class _Beside(NamedTuple):
    """A source's folder, which is open: where its derivatives lie there as well, it is not opened again."""

    root: int
    path: bytes
    directory: int

    def folder(self, place: Place, path: bytes) -> AbstractContextManager[int]:
        """The descriptor of a folder below the root."""
        return nullcontext(self.directory) if path == self.path else place.folder(self.root, path)


def fetch(place: Place, request: Fetch) -> Fetched | Refused | Fault:
    """Read a source into a sealed memfd, unless something about it says that this is of no use."""
    folder, name = files.split(request.path)
    try:
        with place.opened() as root, place.folder(root, folder) as directory:
            if is_derivative(place, directory, name):
                return _refuse(place, request, IGNORED_DERIVATIVE)
            place.steps.at("open")
            with place.across(root, request.path):
                source, found = _open_source(place, directory, name)
            try:
                return _read(place, request, _Beside(root, folder, directory), source, files.stamp_of(found))
            finally:
                os.close(source)
    except NotRegularError as error:
        return _refuse(place, request, Ignored(kind=error.kind))
    except OSError as error:
        return place.failure(request.ticket, request.path, error, Reason.READ_ERROR)


def _open_source(place: Place, directory: int, name: bytes) -> tuple[int, os.stat_result]:
    try:
        return open_regular(directory, name)
    except NotRegularError as error:
        if not place.links.follows or error.kind != "link":
            raise
    try:
        return open_over_link(directory, name, partial(require_foreign, ledger=place.ledger))
    except OSError as error:
        raise links.severed_or(error, directory, name) from error


def _read(place: Place, request: Fetch, beside: _Beside, source: int, stamp: Stamp) -> Fetched | Refused | Fault:
    same = partial(files.is_same_content, keeps_identity=place.keeps_identity)
    if request.stamp is not None and not same(request.stamp, stamp):
        return _refuse(place, request, Disturbed())
    place.steps.at("read")
    is_empty = place.links.follows and stamp.size_bytes == 0  # in /proc, where even reading can do something or wait
    with place.across(beside.root, request.path, source):
        head = b"" if is_empty else os.pread(source, WINDOW_BYTES, 0)
    kind = place.kind_of(head) if head else None
    obstacle = _obstacle(place, request, stamp, kind)
    if obstacle is None and mark_of(source, stamp.size_bytes, head) is not None:
        obstacle = IGNORED_DERIVATIVE
    if kind is None or obstacle is not None:
        return _refuse(place, request, obstacle or Ignored(kind="no_picture"))
    found = tuple(_standing(place, beside, request.derivatives))
    missing = {variant for variant, _ in request.derivatives} - {item.variant for item in found}
    if missing and not _may_write(place, beside, request.derivatives[0][1]):
        place.steps.at("write beside it")  # known before anything is decoded for nothing, at each scan anew
        error = OSError(errno.EACCES, os.strerror(errno.EACCES))
        return place.failure(request.ticket, request.path, error, Reason.WRITE_ERROR)
    elsewhere = tuple(_standing(place, beside, [item for item in request.elsewhere if item[0] in missing]))
    has_holes = _has_holes(source, stamp.size_bytes)
    with place.across(beside.root, request.path, source):
        memory = _copy(place, source, stamp.size_bytes, lambda _: same(stamp, files.stamp_of(os.fstat(source))))
    if memory is None:
        return _refuse(place, request, Disturbed())
    return Fetched(
        root=place.root,
        ticket=request.ticket,
        fd=memory,
        stamp=stamp,
        has_holes=has_holes,
        kind=kind,
        found=found,
        elsewhere=elsewhere,
    )


def _may_write(place: Place, beside: _Beside, path: bytes) -> bool:
    """Whether a derivative can be made at a path. A read-only file system is another matter: it pauses its root.

    But not where it is behind a link: whoever may make links in a root could stop all work there.
    """
    folder, _ = files.split(path)
    while True:
        try:
            with beside.folder(place, folder) as directory:
                if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
                    return not (place.links.follows and _is_writable(beside.root))
                return os.access(b".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True)
        except OSError as error:
            if not place.names.is_ours(folder) or error.errno not in files.NOT_THERE:
                raise
            folder, _ = files.split(folder)  # it is made when it is needed


def _is_writable(root: int) -> bool:
    return not os.fstatvfs(root).f_flag & os.ST_RDONLY


def _obstacle(place: Place, request: Fetch, stamp: Stamp, kind: str | None) -> Outcome | None:
    """Why a source is not copied, by its size and its beginning."""
    if stamp.size_bytes == 0:
        return Ignored(kind="empty")
    if kind is None:
        return Ignored(kind="no_picture")
    refusal = place.refusal_of(kind)
    if refusal is not None:
        return refusal
    if stamp.size_bytes > request.max_bytes:
        detail = f"{stamp.size_bytes} bytes, and limits.max_bytes allows {request.max_bytes}"
        return Rejected(reason=Reason.TOO_MANY_BYTES, detail=detail)
    return None


def _standing(place: Place, beside: _Beside, derivatives: Iterable[tuple[str, bytes]]) -> Iterator[Found]:
    """What stands at the derivatives' paths. A folder on the way that is missing, or no folder: nothing does."""
    by_folder = groupby(derivatives, key=lambda item: files.split(item[1])[0])
    for folder, items in by_folder:
        try:
            with beside.folder(place, folder) as directory:
                for variant, path in items:
                    place.steps.at("look")
                    standing = look(directory, files.split(path)[1])
                    if standing is not None:
                        yield Found(
                            variant=variant,
                            path=path,
                            mark=standing.mark,
                            size_bytes=standing.size_bytes,
                            mtime_ns=standing.mtime_ns,
                        )
        except OSError as error:
            if error.errno not in files.NOT_THERE:
                raise


def _has_holes(source: int, size_bytes: int) -> bool:
    """Whether the file has parts that were never written. A compressing file system does not count as that."""
    try:
        return os.lseek(source, 0, os.SEEK_HOLE) < size_bytes
    except OSError:
        return False


def _copy(place: Place, source: int, size_bytes: int, is_right: Callable[[int], bool]) -> int | None:
    """A sealed copy, or None where the source is shorter than it was, or the copy is not right."""
    with ExitStack() as unless_right:
        memory = sealed_copy(source, size_bytes, step=partial(place.steps.at, "read"))
        unless_right.callback(os.close, memory)
        if os.fstat(memory).st_size == size_bytes and is_right(memory):
            unless_right.pop_all()
            return memory
    return None


def _refuse(place: Place, request: Fetch, outcome: Outcome) -> Refused:
    return Refused(root=place.root, ticket=request.ticket, outcome=outcome)


# ------------------------------------------------------------------------------------------------------------- collect


def collect(place: Place, request: Collect) -> Collected | Fault:
    """Open derivatives of ours; one that is missing, foreign, stale or edited is None, and the source is rendered."""
    collected: list[int | None] = []
    try:
        with ExitStack() as unless_all, place.opened() as root:
            for path, mark, size_bytes in request.items:
                found = _collect_one(place, root, request, path, mark, size_bytes)
                collected.append(found)
                if found is not None:
                    unless_all.callback(os.close, found)
            unless_all.pop_all()
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Collected(root=place.root, ticket=request.ticket, fds=tuple(collected))


def _collect_one(place: Place, root: int, request: Collect, path: bytes, mark: Mark, size_bytes: int) -> int | None:
    folder, name = files.split(path)
    try:
        with ExitStack() as stack:
            directory = stack.enter_context(place.folder(root, folder))
            place.steps.at("open")
            source, found = open_regular(directory, name)
            closing = stack.enter_context(ExitStack())
            closing.callback(os.close, source)
            if found.st_size != size_bytes or not 0 < size_bytes <= MAX_DERIVATIVE_BYTES:
                return None
            if request.mount != mount_number(source):
                return _copy(place, source, size_bytes, lambda memory: mark_of(memory, size_bytes) == mark)
            if mark_of(source, size_bytes) != mark:
                return None
            closing.pop_all()
            return source
    except NotRegularError:
        return None
    except OSError as error:
        if error.errno in files.ENVIRONMENT:
            raise
        return None
