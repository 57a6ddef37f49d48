"""Derivatives that are published but perhaps not on the disk yet: `durability = "fast"`.

Responsible for: which sources these are, having them brought to the disk now and then, and having them looked at after
an end that was not clean. Not responsible for: files (`watch/hands/salvaging.py`), what a wreck is
(`derivatives/wrecks.py`).

Theory of operation. With "full" a derivative is on the disk (two calls of fsync) before it has its name and before the
ledger names it. With "fast" it is not; the ledger still is durable with each commit, and holds besides, in a table of
their own, the sources whose derivatives are in doubt:

    an attempt begins      -> a row "begun", committed before the worker hears of it (as `in_hand` is)
    it ends, having made something -> the row becomes "written", with the CRC-32 of each derivative's bytes
    it ends otherwise      -> the row goes; after a fault while it published, it stays
    30 s after the first   -> the hands write the file systems out (syncfs); the rows that were there before go

So the table is the safe point: what it does not name is on the disk. It is never empty by belief, only after a syncfs
that has come back without an error (the kernel tells each error once: what was in doubt then stays so until the next
start). On network file systems all is as with "full": there an error may show at the fsync alone. And no record of a
clean end is needed: after any end, of the daemon, the machine or the disk, what is in the table is looked at when its
root is recognised and before anything else is done there; what lies on a disk below it that is away then, when that
is back. A derivative whose bytes have the recorded sum is sound. One that has not, and is ours, is removed, and its
source is pending again. Of a source that was begun, all that carries our mark and is not recorded as it stands is
removed: it was written by an attempt of which nothing is known. All else in the root is trusted, and not read.

What waits for the disk (after a reload, or in a one-shot scan, which looks at the table before it begins) takes its
variants out of the row, so that an older sum is not held against what is there now.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.daemon.sources.attempt import Attempt, Phase
from watcherd.derivatives.wrecks import Suspect
from watcherd.ledger.unsynced import Unsynced
from watcherd.model import Derivative, Entry, JobClass, Source, State
from watcherd.settings import Durability
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Fault, Salvage, Salvaged, Sync, Synced
from watcherd.watch.hands.salvaging import SYNCFS
from watcherd.watch.mountpoints import point_of

SYNC_AFTER_S = 30.0
"""For so long derivatives may be in doubt (chosen: about when the kernel writes them out by itself)."""

log = get_logger()

_UNTOLD = -1
"""No bytes have this sum: a derivative that was published, maybe, by an attempt that could not tell its sum."""

_Suspected = tuple[Source, str, Suspect]
"""A derivative in doubt: its source, its variant, what the hands need to know."""


class Safety:
    """Keeps the table of what is in doubt. Attempts tell it of themselves, recognised roots come by it.

    `relaxes`: whether it adds anything to it. A one-shot run does not; it has to see to what it finds there.
    """

    def __init__(self, core: Core, carry_out: Callable[[Effect], None], *, relaxes: bool = True) -> None:
        self._core = core
        self._ledger = core.ledger
        self._carry_out = carry_out
        self._relaxes = relaxes
        self._dirty: set[int] = set()
        self._sync_at: dict[int, float] = {}
        self._syncing: dict[int, tuple[int, tuple[int, ...]]] = {}
        """By ticket: the root, and the rows that were there when it was asked."""
        self._salvaging: dict[int, tuple[_Suspected, ...]] = {}
        self._failed: set[int] = set()
        self._untold: dict[Source, set[str]] = {}
        """Variants that attempts have published, maybe, before they met a fault."""
        self._again: set[int] = set()
        core.attempts.safety = self
        core.conditions.welcome = self.recognised
        core.conditions.came_back = self.came_back
        core.conditions.farewell = self.forget

    def forget(self, root: int) -> None:
        """A root is not watched any more: no answer of its hands is waited for. Its rows stay, should it come back."""
        self._dirty.discard(root)
        self._sync_at.pop(root, None)
        self._again.discard(root)
        salvaging = [ticket for ticket, suspected in self._salvaging.items() if suspected[0][0].root == root]
        syncing = [ticket for ticket, (of, _) in self._syncing.items() if of == root]
        for ticket in (*salvaging, *syncing):
            self._core.answers.awaited.pop(ticket, None)
            self._salvaging.pop(ticket, None)
            self._syncing.pop(ticket, None)

    # ---- attempts

    def begun(self, source: Source) -> bool:
        """Whether an attempt that begins need not wait for the disk. It is noted then; the caller commits.

        One that was in hand when its root was taken out has to: nobody would write that out.
        """
        root = self._core.roots.get(source.root)
        durability = self._core.settings.daemon.durability if self._relaxes else Durability.FULL
        if durability is Durability.FULL or root is None or root.network:
            return False
        self._ledger.note_begun(source)
        return True

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended: what it published is in doubt, unless it has waited for the disk.

        So is what an earlier one has left, and this one took for right because it carries the right mark.
        """
        source, published = attempt.job.source, attempt.phase is Phase.PUBLISHING
        right = {one.variant for one in attempt.right}
        if attempt.relaxed and published and not attempt.checksums:
            self._untold.setdefault(source, set()).update(attempt.made)
        untold = self._untold.get(source, set())
        sums: dict[str, int | None] = dict.fromkeys(untold & right, _UNTOLD)
        sums |= dict.fromkeys(right.intersection(attempt.made) if published else (), None)
        sums |= attempt.checksums
        if sums:
            self._ledger.note_written(source, sums)
        if untold <= right:
            self._untold.pop(source, None)
            if attempt.relaxed:
                self._ledger.drop_begun(source)
        if attempt.relaxed and (published or untold):
            self._dirty.add(source.root)

    # ---- to the disk

    def due(self, moment: Moment) -> float | None:
        """Have the file systems written out whose time has come; those of roots that are away wait."""
        for root in self._dirty:
            self._sync_at.setdefault(root, moment.now + SYNC_AFTER_S)
        self._dirty.clear()
        for root in [root for root, at in self._sync_at.items() if at <= moment.now and self._is_there(root)]:
            del self._sync_at[root]
            for effect in self._sync(root):
                self._carry_out(effect)
        return min((at for root, at in self._sync_at.items() if self._is_there(root)), default=None)

    def _is_there(self, root: int) -> bool:
        return self._core.conditions.runnable(root)

    def _sync(self, root: int) -> list[Effect]:
        rows = self._rows(root)
        if not rows:
            return []
        ticket, layout = next(self._core.tickets), self._core.roots[root].names.layout
        over = (row.number for row in rows if row.checksums is not None or self._is_over(row))
        self._syncing[ticket] = root, tuple(number for number in over if number not in self._failed)
        self._core.answers.awaited[ticket] = partial(self._not_synced, root, ticket)
        folders = tuple(dict.fromkeys(layout.folder_of(row.source.directory) for row in rows))
        return [AskHands(root=root, request=Sync(ticket=ticket, folders=folders))]

    def _rows(self, root: int) -> list[Unsynced]:
        """Those of a root; what lies on a disk below it that is away waits for that."""
        return [row for row in self._ledger.unsynced(root) if not self._core.conditions.points.is_away(row.source)]

    def _is_over(self, row: Unsynced) -> bool:
        return row.source not in self._core.attempts

    def synced(self, item: object, moment: Moment) -> list[Effect]:  # noqa: ARG002
        """What was in doubt before is on the disk; what came since waits for its own time."""
        if isinstance(item, Synced) and item.ticket in self._syncing:
            del self._core.answers.awaited[item.ticket]
            numbers = set(self._syncing.pop(item.ticket)[1])
            for row in self._rows(item.root):  # a disk may have gone since it was asked
                if row.number in numbers:
                    self._ledger.drop_unsynced(row.number)
            if any(row.number not in self._failed for row in self._rows(item.root)):
                self._dirty.add(item.root)
        return []

    def _not_synced(self, root: int, ticket: int, reply: object) -> list[Effect]:
        _, numbers = self._syncing.pop(ticket)
        if isinstance(reply, Fault) and reply.operation == SYNCFS:
            self._failed.update(numbers)
        self._dirty.add(root)
        return []

    # ---- after an end

    def recognised(self, root: int, moment: Moment) -> list[Effect]:
        """A root is there: what is in doubt is looked at before it counts as online.

        If it was doubted while that was done, it is done once more: a disk below it may have come back meanwhile.
        """
        if any(suspected[0][0].root == root for suspected in self._salvaging.values()):
            self._again.add(root)
            return []
        self._again.discard(root)
        rows = [row for row in self._rows(root) if self._is_over(row)]
        if rows:
            self._dirty.add(root)
        suspected = tuple(self._suspected(self._core.roots[root], rows))
        if not suspected:
            return self._core.conditions.present(root, moment)
        ticket = next(self._core.tickets)
        self._salvaging[ticket] = suspected
        self._core.answers.awaited[ticket] = partial(self._not_salvaged, root, ticket, moment)
        suspects = tuple(suspect for _, _, suspect in suspected)
        return [AskHands(root=root, request=Salvage(ticket=ticket, suspects=suspects))]

    def came_back(self, root: int, directory: bytes, moment: Moment) -> list[Effect]:
        """A disk below a root is there again: nothing is done before what is in doubt on it was looked at."""
        is_doubted = any(point_of(row.source.path, (directory,)) is not None for row in self._rows(root))
        return self._core.conditions.doubt(root, moment) if is_doubted and self._relaxes else []

    @property
    def is_busy(self) -> bool:
        """Whether the hands have not answered yet."""
        return bool(self._salvaging or self._syncing or self._core.conditions.unseen())

    def look(self) -> list[Effect]:
        """Look at what is in doubt in roots that count as online from the start, as in a one-shot run."""
        doubted = [root for root in self._core.roots if self._rows(root)]
        return [effect for root in doubted for effect in self._core.conditions.look(root)]

    def write_out(self) -> list[Effect]:
        """Have it on the disk now, without waiting for its time."""
        return [effect for root in self._core.roots if self._is_there(root) for effect in self._sync(root)]

    def _suspected(self, root: WatchedRoot, rows: list[Unsynced]) -> Iterator[_Suspected]:
        written = {row.source: row.checksums for row in rows if row.checksums is not None}
        for row in rows:
            entry = self._ledger.entry(row.source)
            recorded = {one.variant: one for one in entry.derivatives} if entry is not None else {}
            known: dict[str, int | None] = dict(row.checksums or {})
            if row.checksums is None:
                known = dict.fromkeys({variant.name for variant in root.variants} - set(written.get(row.source, ())))
            for variant, checksum in sorted(known.items()):
                yield row.source, variant, _suspect(root, row.source, variant, recorded.get(variant), checksum)

    def salvaged(self, item: object, moment: Moment) -> list[Effect]:
        """What was lost is to be made again; the root counts as online."""
        if not isinstance(item, Salvaged) or item.ticket not in self._salvaging:
            return []
        del self._core.answers.awaited[item.ticket]
        suspected = self._salvaging.pop(item.ticket)
        lost: dict[Source, set[str]] = {}
        for number in item.wrecks:
            source, variant, _ = suspected[number]
            lost.setdefault(source, set()).add(variant)
        for source, variants in lost.items():
            entry = self._ledger.entry(source)
            if entry is not None:
                self._ledger.record(self._without(entry, variants))
        if item.root not in self._core.roots:
            return []
        path = self._core.roots[item.root].path
        log.info("root.salvaged", root=path, derivatives=len(suspected), lost=len(item.wrecks))
        if item.root in self._core.conditions.unseen():  # it is doubted: this may have been of what is not there now
            return []
        if item.root in self._again:
            return self.recognised(item.root, moment)
        return self._core.conditions.present(item.root, moment)

    def _without(self, entry: Entry, lost: set[str]) -> Entry:
        """A source as it is known without some of its derivatives: what was done is to be done once more."""
        left = tuple(one for one in entry.derivatives if one.variant not in lost)
        if entry.state is not State.DONE or entry.gone_at_s is not None:
            return replace(entry, derivatives=left)
        sequence = self._ledger.next_sequence()
        return replace(entry, derivatives=left, state=State.PENDING, job_class=JobClass.RETRY, sequence=sequence)

    def _not_salvaged(self, root: int, ticket: int, moment: Moment, reply: object) -> list[Effect]:
        """A fault of the file system: the root is looked at again, and then this is tried again."""
        del self._salvaging[ticket]
        return [] if isinstance(reply, Fault) else self._core.conditions.present(root, moment)


def _suspect(
    root: WatchedRoot, source: Source, variant: str, recorded: Derivative | None, checksum: int | None
) -> Suspect:
    recipe = next((one for one in root.variants if one.name == variant), None)
    layout = recorded.layout if recorded is not None else root.names.layout.number
    if recipe is not None:
        paths: tuple[bytes, ...] = (root.names.path_of(source.path, recipe, layout=layout),)
    else:
        paths = root.names.paths_of(source.path, variant, layout=layout)
    known = (recorded.size_bytes, recorded.mtime_ns) if recorded is not None else None
    return Suspect(paths=paths, checksum=checksum, recorded=known)
