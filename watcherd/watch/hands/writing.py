"""What a root's hands write: derivatives; and the probe that tells whether writing works at all.

Responsible for: the requests Publish and Probe: their folders, the source that must not have changed meanwhile, and
what each error means for them.
Not responsible for: threads (`hands.py`), how a file is published (`derivatives/`), which derivatives there should be.
"""

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial

from watcherd.derivatives import publish as publishing
from watcherd.derivatives.publish import Item, Terms
from watcherd.model import Derivative, Disturbed, Failed, Outcome, Reason, Stamp, Vanished
from watcherd.naming import temporary_name
from watcherd.watch import files, links, mounts
from watcherd.watch.hands.making import FolderTakenError, made
from watcherd.watch.hands.place import Fault, Place, Refused

_ROUNDS = 3
_PROBE_BYTES = 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# ------------------------------------------------------------------------------------------------ requests and replies


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Publish the derivatives of the source at `path`, if it still has this stamp. The items' descriptors go along.

    `durable`: they are on the disk when that is told.
    """

    ticket: int
    path: bytes
    stamp: Stamp
    items: tuple[Item, ...]
    durable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What stands now (`adopted`: the variants of it that stood there before), and the paths that others hold.

    `checksums`: by variant, the CRC-32 of what is perhaps not on the disk yet.
    """

    root: int
    ticket: int
    derivatives: tuple[Derivative, ...]
    adopted: tuple[str, ...]
    taken: tuple[bytes, ...]
    checksums: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Find out whether the root is there, and whether its derivatives can be written."""

    ticket: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Make an empty file of this name (a temporary one of ours) in the root and remove it, for its event's sake."""

    ticket: int
    name: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Whether that file was made: 0, or the error number."""

    root: int
    ticket: int
    errno: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """`ok`, or the error number and the call that failed.

    `file_system` is what the root lies on now (None: could not be told). A root that is there again, but with another
    inode than these hands know, ends in ESTALE with its `file_system` told: it needs new hands.
    """

    root: int
    ticket: int
    ok: bool
    errno: int = 0
    operation: str = ""
    file_system: mounts.FileSystem | None = None
    free_bytes: int = 0
    free_files: int = 0


# ------------------------------------------------------------------------------------------------------------- publish


def publish(place: Place, request: Publish) -> Published | Refused | Fault:
    """Publish all derivatives of one source together."""
    refuse = partial(Refused, root=place.root, ticket=request.ticket)
    defect = next(filter(None, map(publishing.defect, request.items)), None)
    if defect is not None:
        return refuse(outcome=Failed(reason=Reason.DECODER_ERROR, detail=defect))
    try:
        result = _publish(place, request)
    except FolderTakenError as error:
        result = publishing.Result(derivatives=(), adopted=(), taken=(error.path,))
    except OSError as error:
        return place.failure(request.ticket, request.path, error, Reason.WRITE_ERROR)
    if not isinstance(result, publishing.Result):
        return refuse(outcome=result)
    return Published(
        root=place.root,
        ticket=request.ticket,
        derivatives=result.derivatives,
        adopted=result.adopted,
        taken=result.taken,
        checksums=result.checksums,
    )


def _publish(place: Place, request: Publish) -> publishing.Result | Outcome:
    """A folder for derivatives may be removed as empty by another of our hands before the first file is in it."""
    for _ in range(_ROUNDS - 1):
        try:
            return _publish_once(place, request)
        except FileNotFoundError:
            if place.steps.operation != "create":
                raise
    return _publish_once(place, request)


def _publish_once(place: Place, request: Publish) -> publishing.Result | Outcome:
    folder, name = files.split(request.path)
    with ExitStack() as stack:
        root = stack.enter_context(place.opened())
        directory = stack.enter_context(place.folder(root, folder))
        like = stat_source(place, directory, name, request.stamp)
        if not isinstance(like, os.stat_result):
            return like
        others = _folders(request) - {folder}
        folders = {folder: directory} | {other: stack.enter_context(made(place, root, other)) for other in others}
        for derivatives in _folders(request):
            place.require_room(folders[derivatives])

        def hindrance() -> Outcome | None:
            again = stat_source(place, directory, name, request.stamp)
            return None if isinstance(again, os.stat_result) else again

        batch = [(folders[files.split(item.path)[0]], item) for item in request.items]
        terms = Terms(
            like=like,
            temporary=_temporary(place),
            hindrance=hindrance,
            step=place.steps.at,
            durable=request.durable,
        )
        return publishing.publish(batch, terms)


def _folders(request: Publish) -> set[bytes]:
    return {files.split(item.path)[0] for item in request.items}


def stat_source(place: Place, directory: int, name: bytes, stamp: Stamp) -> os.stat_result | Disturbed | Vanished:
    """A source as it stands, if it is what it was taken for."""
    place.steps.at("stat")
    try:
        found = links.look_at(directory, name, place.links)
    except OSError as error:
        if error.errno in files.NOT_THERE:
            return Vanished()
        raise
    now = files.stamp_of(found)
    return found if files.is_same_content(stamp, now, keeps_identity=place.keeps_identity) else Disturbed()


def _temporary(place: Place) -> Callable[[], bytes]:
    return lambda: temporary_name(place.instance, place.run, secrets.token_hex(6))


# --------------------------------------------------------------------------------------------------------------- probe


def probe(place: Place, request: Probe) -> Probed:
    """Look at the root and write a temporary file where derivatives go, as large as one may well be.

    That is the root, or its mirror: then nothing is written to the root.
    A root whose own folder we may not write to is no less there: its folders may be ours.
    """
    told = partial(Probed, root=place.root, ticket=request.ticket)
    file_system: mounts.FileSystem | None = None
    try:
        with replace(place, inode=None, mount=None).opened() as root:
            place.steps.at("describe")
            file_system = mounts.describe(root)
            if place.inode not in (None, os.fstat(root).st_ino) or place.mount not in (None, file_system.mount):
                return told(ok=False, errno=errno.ESTALE, operation="open_root", file_system=file_system)
            with place.folder(root, place.names.layout.tree) as target:
                space = os.fstatvfs(target)
                told = partial(told, free_bytes=space.f_bavail * space.f_frsize, free_files=space.f_favail)
                place.require_room(target)
                _try_to_write(place, target)
    except OSError as error:
        number = error.errno or errno.EIO
        is_ours_alone = number in files.NOT_PERMITTED and place.steps.operation == "create"
        if not is_ours_alone:
            return told(ok=False, errno=number, operation=place.steps.operation, file_system=file_system)
    return told(ok=True, file_system=file_system)


def touch(place: Place, request: Touch) -> Touched:
    """Make a file and remove it. Where that fails nothing is the matter: there is no test, that is all."""
    try:
        with place.opened() as root:
            place.steps.at("create")
            os.close(os.open(request.name, _NEW, 0o600, dir_fd=root))
            place.steps.at("unlink")
            os.unlink(request.name, dir_fd=root)
    except OSError as error:
        return Touched(root=place.root, ticket=request.ticket, errno=error.errno or errno.EIO)
    return Touched(root=place.root, ticket=request.ticket, errno=0)


def _try_to_write(place: Place, root: int) -> None:
    """Random bytes, so that a compressing file system has to find room for them."""
    name = _temporary(place)()
    place.steps.at("create")
    descriptor = os.open(name, _NEW, 0o600, dir_fd=root)
    try:
        place.steps.at("write")
        rest = memoryview(os.urandom(_PROBE_BYTES))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        place.steps.at("fsync")
        os.fsync(descriptor)
    finally:
        with suppress(OSError):
            os.close(descriptor)
        with suppress(OSError):
            os.unlink(name, dir_fd=root)
