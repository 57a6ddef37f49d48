"""What a root's hands do when the layout has changed: derivatives go to their new place; nothing is rendered.

Responsible for: the request Relocate: renaming, or copying and removing where the new place is on another file system.
Not responsible for: threads (`hands.py`), which derivatives lie elsewhere (`daemon/roots/relocations.py`).

A derivative goes along only if its mark says that it is this source's, by this recipe, and while the source is what it
was taken for. One that cannot be moved stays as it is. After a kill in between, a repeat finds the file at one of its
places or at both, and ends the same.
"""

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from watcherd.derivatives.copying import copy
from watcherd.derivatives.publish import discard, dress
from watcherd.derivatives.renaming import At, Judgement, bring, sync_folder
from watcherd.derivatives.standing import Standing, look, mark_of, open_regular
from watcherd.model import Derivative, Outcome, Reason, Stamp
from watcherd.naming import Mark, temporary_name
from watcherd.watch import files
from watcherd.watch.hands.making import FolderTakenError, drop_emptied, made
from watcherd.watch.hands.place import Fault, Place, Refused
from watcherd.watch.hands.writing import stat_source

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Displaced:
    """A derivative that lies elsewhere, the mark that it carries, and its (old, new) paths: one of them is right."""

    derivative: Derivative
    mark: Mark
    ways: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocate:
    """Bring derivatives of the source at `path` to where they belong, if it still has this stamp."""

    ticket: int
    path: bytes
    stamp: Stamp
    displaced: tuple[Displaced, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocated:
    """The derivatives that now lie where they belong. The others are missing, or something stands in their place."""

    root: int
    ticket: int
    derivatives: tuple[Derivative, ...]


def relocate(place: Place, request: Relocate) -> Relocated | Refused | Fault:
    """Bring each derivative to its new place, durably, and remove the old folders that this empties."""
    folder, name = files.split(request.path)
    try:
        with place.opened() as root:
            with place.folder(root, folder) as directory:
                source = stat_source(place, directory, name, request.stamp)
                if not isinstance(source, os.stat_result):
                    return _refuse(place, request, source)
            done = [_relocate_one(place, root, item) for item in request.displaced]
            moved = tuple(item for item in done if item is not None)
            ways = [way for item in request.displaced for way in item.ways]
            if moved:
                _sync(place, root, dict.fromkeys(files.split(new)[0] for _, new in ways))
            folders = dict.fromkeys(files.split(old)[0] for old, _ in ways)
            drop_emptied(place, root, folders, or_may_be=bool(moved))
    except OSError as error:
        return place.failure(request.ticket, request.path, error, Reason.WRITE_ERROR)
    return Relocated(root=place.root, ticket=request.ticket, derivatives=moved)


def _refuse(place: Place, request: Relocate, outcome: Outcome) -> Refused:
    return Refused(root=place.root, ticket=request.ticket, outcome=outcome)


def _relocate_one(place: Place, root: int, item: Displaced) -> Derivative | None:
    """The derivative as it lies at its new place; None where it does not."""
    for old_path, new_path in item.ways:
        for attempt in (_bring, _at_its_place):
            try:
                found = attempt(place, root, item, old_path, new_path)
            except FolderTakenError:
                return None
            except OSError as error:
                if error.errno not in files.NOT_THERE:
                    raise
                continue
            if found is not None:
                return replace(item.derivative, mtime_ns=found.mtime_ns)
    return None


def _bring(place: Place, root: int, item: Displaced, old_path: bytes, new_path: bytes) -> Standing | None:
    """Move it, if it lies at its old place."""
    (old_folder, old_name), (new_folder, new_name) = files.split(old_path), files.split(new_path)
    with ExitStack() as stack:
        here = stack.enter_context(place.folder(root, old_folder))
        old = At(directory=here, name=old_name)
        place.steps.at("look")
        if not _is_right(look(here, old_name), item):
            return None
        there = stack.enter_context(made(place, root, new_folder))
        new = At(directory=there, name=new_name)
        place.steps.at("rename")
        judgement = _move(place, old, new, item)
        if judgement is Judgement.FOREIGN:
            return None
        if judgement is Judgement.RIGHT:
            discard(old)
        return look(there, new_name)


def _at_its_place(place: Place, root: int, item: Displaced, _: bytes, new_path: bytes) -> Standing | None:
    """What an earlier attempt has brought to the new place already, if that is what stands there."""
    folder, name = files.split(new_path)
    with place.folder(root, folder) as directory:
        standing = look(directory, name)
    return standing if _is_right(standing, item) else None


def _sync(place: Place, root: int, folders: Iterable[bytes]) -> None:
    """Make the new names durable: each folder once, as a sync is what a spinning disk takes longest for."""
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError), place.folder(root, folder) as directory:
            place.steps.at("fsync_folder")
            sync_folder(directory)


def _is_right(standing: Standing | None, item: Displaced) -> bool:
    known = item.mark, item.derivative.size_bytes
    return standing is not None and (standing.mark, standing.size_bytes) == known


def _move(place: Place, old: At, new: At, item: Displaced) -> Judgement:
    try:
        return bring(old, new, item.mark)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    return _copy(place, old, new, item)


def _copy(place: Place, old: At, new: At, item: Displaced) -> Judgement:
    """To another file system: whole and durable before it has its name, and only then is the old one removed."""
    aside = At(directory=new.directory, name=temporary_name(place.instance, place.run, secrets.token_hex(6)))
    with ExitStack() as stack:
        source, found = open_regular(old.directory, old.name)
        stack.callback(os.close, source)
        place.steps.at("create")
        target = os.open(aside.name, _NEW, _PRIVATE, dir_fd=aside.directory)
        stack.callback(os.close, target)
        stack.callback(discard, aside)
        copy(source, target, found.st_size, step=lambda: place.steps.at("write"))
        if mark_of(target, os.fstat(target).st_size) != item.mark:
            return Judgement.FOREIGN  # it changed under our hands: it is looked at anew
        dress(target, found)
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
        place.steps.at("fsync")
        os.fsync(target)
        place.steps.at("rename")
        judgement = bring(aside, new, item.mark)
    if judgement in (Judgement.FREE, Judgement.STALE):
        sync_folder(new.directory)
        discard(old)
    return judgement
