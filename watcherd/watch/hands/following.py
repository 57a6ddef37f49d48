"""What a root's hands do for sources that were moved: the derivatives are renamed after them.

Responsible for: the request Follow: is it the same file, is its old place empty, and the way of each derivative from
its old name to its new one, whatever else wants these names. Not responsible for: threads (`hands.py`), which arrival
may be a moved source (`queue/follow.py`), what is recorded of it (`daemon/sources/moves.py`).

Nothing is believed that was not just seen: the arrival has the stamp that it was taken for, and its old path is empty
or another file's (so it is no second link to it). A derivative goes along only if its mark says that it is this
source's. Where a folder was renamed with all that lies in it, the derivatives stand at their new place already.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from watcherd.derivatives.publish import discard
from watcherd.derivatives.renaming import At, Judgement, bring, rename_to_free, sync_folder
from watcherd.derivatives.standing import Standing, look
from watcherd.model import Derivative, Stamp
from watcherd.naming import Mark, temporary_name
from watcherd.watch import files, links
from watcherd.watch.hands.making import FolderTakenError, drop_emptied, made
from watcherd.watch.hands.place import Fault, Place

T = TypeVar("T")
Way = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One derivative as it was recorded, the mark that it must have, and its (old, new) paths: one of them is right."""

    derivative: Derivative
    mark: Mark
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A source that seems to have come from `old` to `path`, where it was seen with this stamp."""

    old: bytes
    path: bytes
    stamp: Stamp
    carried: tuple[Carried, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """Bring the derivatives of moved sources after them.

    `old_root`: the folder that the old paths lie below, where it is another root's; it is on the same file system.
    """

    ticket: int
    moves: tuple[Move, ...]
    old_root: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A source that was moved: its stamp now, and those of its derivatives that stand at their new place."""

    stamp: Stamp
    derivatives: tuple[Derivative, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What became of each move, in the order of asking; None: it is none (its old file is there still, or changed)."""

    root: int
    ticket: int
    results: tuple[Arrived | None, ...]


def follow(place: Place, request: Follow) -> Followed | Fault:
    """Carry out all moves of a request together: they may swap names."""
    try:
        with ExitStack() as stack:
            folders = _Folders(place, stack, request.old_root)
            results = _Journey(place, folders, request.moves).carry_out()
            place.steps.at("fsync_folder")
            for directory in folders.touched:
                sync_folder(directory)
            folders.drop_emptied()
    except OSError as error:
        return place.fault(request.ticket, b"", error)
    return Followed(root=place.root, ticket=request.ticket, results=results)


class _Folders:
    """The open folders of a request, each opened once; all are closed at its end."""

    def __init__(self, place: Place, stack: ExitStack, old_root: bytes | None) -> None:
        self._place = place
        self._stack = stack
        self._root = stack.enter_context(place.opened())
        self._old_root = self._root
        if old_root is not None:
            place.steps.at("open_root")
            self._old_root = files.open_root(old_root, None)
            stack.callback(os.close, self._old_root)
        self._open: dict[tuple[int, bytes], int] = {}
        self.touched: dict[int, None] = {}

    def old(self, path: bytes) -> At:
        """A name of before. Raises OSError."""
        return self._at(self._old_root, path, self._place.folder)

    def new(self, path: bytes) -> At:
        """A name of now; a folder for derivatives is made. Raises OSError, FolderTakenError."""
        return self._at(self._root, path, partial(made, self._place))

    def drop_emptied(self) -> None:
        """Remove the folders for derivatives that hold none any more."""
        for root, folder in self._open:
            drop_emptied(self._place, root, (folder,))

    def _at(self, root: int, path: bytes, way: Callable[[int, bytes], AbstractContextManager[int]]) -> At:
        folder, name = files.split(path)
        directory = self._open.get((root, folder))
        if directory is None:
            directory = self._stack.enter_context(way(root, folder))
            self._open[root, folder] = directory
        return At(directory=directory, name=name)


@dataclass(slots=True, kw_only=True)
class _Step:
    """A derivative that has to be renamed. `at` is where it stands: at its old name, or aside."""

    move: int
    carried: Carried
    old: At
    new: At
    at: At


class _Journey:
    """All moves of a request. What stands in another's way steps aside first, so that swaps and chains lose nothing."""

    def __init__(self, place: Place, folders: _Folders, moves: Sequence[Move]) -> None:
        self._place = place
        self._folders = folders
        self._moves = moves
        self._arrived: dict[int, Stamp] = {}
        self._standing: dict[int, list[Derivative]] = {}

    def carry_out(self) -> tuple[Arrived | None, ...]:
        for number, move in enumerate(self._moves):
            stamp = self._or_none(self._stamp_of_arrival, move)
            if stamp is not None:
                self._arrived[number], self._standing[number] = stamp, []
        steps = [step for number in self._arrived for step in self._steps_of(number)]
        aside = stepping_aside([(_key(step.old), _key(step.new)) for step in steps])
        try:
            for step in steps:
                if _key(step.old) in aside:
                    self._or_none(self._step_aside, step)
            for step in sorted(steps, key=lambda step: _key(step.old) in aside):
                self._or_none(self._take, step)
        finally:
            for step in steps:
                self._put_back(step)
        return tuple(self._result(number) for number in range(len(self._moves)))

    def _result(self, number: int) -> Arrived | None:
        stamp = self._arrived.get(number)
        return Arrived(stamp=stamp, derivatives=tuple(self._standing[number])) if stamp else None

    def _or_none(self, call: Callable[..., T], *arguments: object) -> T | None:
        """What a call gives; None where one file or folder is in its way. What concerns all of them is raised."""
        try:
            return call(*arguments)
        except FolderTakenError:
            return None
        except OSError as error:
            if error.errno in files.ENVIRONMENT:
                raise
            return None

    def _stamp_of_arrival(self, move: Move) -> Stamp | None:
        self._place.steps.at("stat")
        new = self._folders.new(move.path)
        found = links.look_at(new.directory, new.name, self._place.links)
        stamp = files.stamp_of(found)
        if not files.is_regular(found) or not files.is_same_content(move.stamp, stamp, keeps_identity=True):
            return None
        return stamp if self._has_left(move.old, found) else None

    def _has_left(self, path: bytes, arrived: os.stat_result) -> bool:
        """Whether nothing is at the old path, or another file."""
        try:
            old = self._folders.old(path)
            found = links.look_at(old.directory, old.name, self._place.links)
        except OSError as error:
            if error.errno in files.NOT_THERE:
                return True
            raise
        return (found.st_dev, found.st_ino) != (arrived.st_dev, arrived.st_ino)

    def _steps_of(self, number: int) -> list[_Step]:
        """What has to be renamed for a move. What stands at its new name already is noted as such."""
        steps = (self._or_none(self._step_of, number, carried) for carried in self._moves[number].carried)
        return [step for step in steps if step is not None]

    def _step_of(self, number: int, carried: Carried) -> _Step | None:
        found: _Step | None = None
        for old_path, new_path in carried.ways:
            self._place.steps.at("look")
            new = self._or_none(self._folders.new, new_path)
            if new is None:  # the folder for it is not there: it is made when the derivative is
                continue
            standing = look(new.directory, new.name)
            old = self._or_none(self._folders.old, old_path)
            before = look(old.directory, old.name) if old is not None else None
            if _is_right(standing, carried):
                self._note(number, carried, standing)
                if old is not None and _is_right(before, carried) and _key(old) != _key(new):
                    discard(old)
                    self._folders.touched[old.directory] = None
                return None
            if found is None and old is not None and _is_right(before, carried):
                found = _Step(move=number, carried=carried, old=old, new=new, at=old)
        return found

    def _step_aside(self, step: _Step) -> None:
        self._place.steps.at("rename")
        name = temporary_name(self._place.instance, self._place.run, secrets.token_hex(6))
        aside = At(directory=step.old.directory, name=name)
        if rename_to_free(step.old, aside):
            step.at = aside
            self._folders.touched[step.old.directory] = None

    def _take(self, step: _Step) -> None:
        """Give a derivative its new name, unless that is another's. What came along is looked at once more."""
        self._place.steps.at("rename")
        judgement = bring(step.at, step.new, step.carried.mark)
        if judgement is Judgement.FOREIGN:
            return
        self._folders.touched.update({step.old.directory: None, step.new.directory: None})
        if judgement is Judgement.RIGHT:
            discard(step.at)
        standing = look(step.new.directory, step.new.name)
        step.at = step.old
        if _is_right(standing, step.carried):
            self._note(step.move, step.carried, standing)
        elif standing is not None and standing.mark is not None:
            # The next owner of the old name published between our look and the rename: this is that one's.
            rename_to_free(step.new, step.old)

    def _put_back(self, step: _Step) -> None:
        """What has neither its old nor its new name gets the old one back, or goes: nobody would know it."""
        if step.at == step.old:
            return
        with suppress(OSError):
            if not rename_to_free(step.at, step.old):
                discard(step.at)

    def _note(self, number: int, carried: Carried, standing: Standing | None) -> None:
        if standing is not None:
            self._standing[number].append(replace(carried.derivative, mtime_ns=standing.mtime_ns))


def stepping_aside(ways: Sequence[tuple[object, object]]) -> frozenset[object]:
    """The old names among these (old, new) that are new names as well: what lies there has to step aside first.

    With these set aside, the others are renamed in any order, then the ones aside get their new names: swaps and
    chains lose nothing.
    """
    return frozenset(old for old, _ in ways) & frozenset(new for _, new in ways)


def _is_right(standing: Standing | None, carried: Carried) -> bool:
    known = carried.mark, carried.derivative.size_bytes
    return standing is not None and (standing.mark, standing.size_bytes) == known


def _key(at: At) -> tuple[int, int, bytes]:
    found = os.fstat(at.directory)
    return found.st_dev, found.st_ino, at.name
