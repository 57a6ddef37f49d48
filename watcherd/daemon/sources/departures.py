"""Departures: sources that are not where they were.

A vanished source is *gone* first. Only after `forget_after_s`, and after its folder was looked at again, are its
derivatives removed and its entry forgotten: an editor's safe-save, a slow move, or a wrong report cost nothing.
Its derivatives stay in place that long, so that a source that turns up elsewhere finds them as its twin's.

Three things put that off: a root that has not been scanned as a whole since the start, and a source of the same size
that waits to be read (the gone one may have been found elsewhere, and nobody knows it yet); and the brake, where too
many went at once (`roots/brakes.py`). What the brake holds is not in memory; it is read from the ledger when it is let
go.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.roots.brakes import Brakes
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, Stamp, State, Vanished
from watcherd.settings import OnDelete
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Fate, Remove, Removed, StatMany, Stats

log = get_logger()

Item = tuple[bytes, int, int]
_A_REQUEST = 200
"""So many sources go into one request to the hands: each request syncs every folder that it touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removal:
    """Derivatives that are being removed. `forget`: the source goes with them; `again`: it is looked at afterwards."""

    entry: Entry
    items: tuple[Item, ...]
    forget: bool = False
    again: bool = False


class Departures:
    """Keeps the gone ones until they are forgotten."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        force: InForce,
        brakes: Brakes,
        is_online: Callable[[int], bool],
        tickets: Iterator[int],
    ) -> None:
        self._ledger = ledger
        self._roots = roots
        self._force = force
        self.brakes = brakes
        self._waiting: list[tuple[float, Source]] = []
        self._is_online = is_online
        self._tickets = tickets
        self._asked: dict[int, tuple[Source, ...]] = {}
        self._removing: dict[int, tuple[_Removal, ...]] = {}
        self._held: dict[int, float] = {}
        self._unseen: set[int] = set()
        self.noted: Callable[[Source], list[Effect]] = lambda _: []
        """What becomes of the note beside a source that is gone."""
        self.is_away: Callable[[Source], bool] = lambda _: False
        """Whether a source is on a disk that is not mounted: it may be there still."""
        self.back: Callable[[Source, Moment], list[Effect]] | None = None
        """Where a source goes that is there again: handed in by the composition root."""

    @property
    def _forget_after_s(self) -> float:
        return self._force.settings.daemon.forget_after_s

    def __len__(self) -> int:
        return len(self._waiting) + sum(map(len, self._asked.values()))

    @property
    def asked_now(self) -> int:
        """How many requests the hands are busy with for us."""
        return len(self._asked) + len(self._removing)

    # ---- going and coming

    def recover(self, moment: Moment, roots: Container[int]) -> None:
        """Take up those that an earlier run found missing in some roots; these have to be seen whole first."""
        self._unseen |= {root for root in self._roots if root in roots}
        for source, gone_at_s in self._ledger.gone_sources():
            if source.root in self._roots and source.root in roots:
                self.brakes.gone(source.root, gone_at_s)
                due_at_s = gone_at_s + self._forget_after_s
                self._expect(source, moment.now + max(0.0, due_at_s - moment.wall_s))

    def seen_whole(self, root: int) -> None:
        """A root was compared with the ledger: what was moved while nobody watched has been found."""
        self._unseen.discard(root)

    def gone(self, source: Source, moment: Moment) -> None:
        """A source was found missing. One on a disk that is not mounted stays what it is."""
        entry = None if self.is_away(source) else self._ledger.entry(source)
        if entry is None:
            return
        if entry.state is State.PENDING and not entry.derivatives:
            self._ledger.forget(source)
            return
        if entry.gone_at_s is None:
            self._ledger.record(replace(entry, gone_at_s=moment.wall_s))
            self.brakes.gone(source.root, moment.wall_s)
            self._expect(source, moment.now + self._forget_after_s)

    def returned(self, entry: Entry) -> None:
        """A gone source is where it was; its entry was recorded so."""
        if entry.gone_at_s is not None:
            root = entry.source.root
            self.brakes.back(root, entry.gone_at_s)
            if root in self._held and self.brakes.held_until_s(root) is None:  # it was let go: now for those it held
                self._held[root] = 0.0

    def moved(self, entry: Entry, moment: Moment) -> None:
        """A source is elsewhere now; the entry of its old path names the derivatives that did not go along."""
        if entry.derivatives:
            self._ledger.record(entry)
            self.gone(entry.source, moment)
        else:
            self._ledger.forget(entry.source)
        self.returned(entry)

    def refit(self, moment: Moment) -> None:
        """Work by other settings: those that wait are due by them, and so are those that a brake holds."""
        waiting = {source for _, source in self._waiting}
        gone = self._ledger.gone_sources() if waiting else ()
        self._waiting = []
        for source, gone_at_s in gone:
            if source in waiting:
                self._expect(source, moment.now + max(0.0, gone_at_s + self._forget_after_s - moment.wall_s))
        self._held = dict.fromkeys(self._held, 0.0)

    def _expect(self, source: Source, due: float) -> None:
        heapq.heappush(self._waiting, (due, source))

    # ---- the last look

    def next_deadline(self) -> float | None:
        """When the next one is to be looked at again, or a grace period ends."""
        waiting = self._waiting[:1]
        return min([*(due for due, _ in waiting), *self._held.values()], default=None)

    def confirm(self, root: int, moment: Moment) -> None:
        """Somebody says that the gone ones of a root are gone for good: they are looked at for the last time now."""
        self.brakes.confirm(root)
        self._held.pop(root, None)
        for source, _ in self._ledger.gone_sources():
            if source.root == root:
                self._expect(source, moment.now)

    def due(self, moment: Moment) -> list[Effect]:
        """Ask the hands once more about those whose time has come."""
        for root in [root for root, due in self._held.items() if due <= moment.now]:
            del self._held[root]
            if not self._is_held(root, moment):
                self.confirm(root, moment)
        due: defaultdict[int, dict[Source, None]] = defaultdict(dict)
        while self._waiting and self._waiting[0][0] <= moment.now:
            _, source = heapq.heappop(self._waiting)
            due[source.root][source] = None
        effects: list[Effect] = []
        for root, sources in due.items():
            if root not in self._roots or self._is_held(root, moment):
                continue
            effects += self._ask(root, [source for source in sources if self._is_due(source, moment)])
        return effects

    def _is_held(self, root: int, moment: Moment) -> bool:
        if not self.brakes.holds(root, moment):
            return False
        until_s = self.brakes.held_until_s(root) or moment.wall_s
        self._held[root] = moment.now + max(1.0, until_s - moment.wall_s)
        return True

    def _is_due(self, source: Source, moment: Moment) -> bool:
        """Whether a source is still gone and may be forgotten now; else it is put off, or let be."""
        entry = self._ledger.entry(source)
        if entry is None or entry.gone_at_s is None:
            return False
        known_soon = entry.stamp is not None and self._ledger.is_awaited(entry.stamp.size_bytes)
        is_away = not self._is_online(source.root) or self.is_away(source)  # what is away is not gone
        if is_away or known_soon or any(self._is_online(root) for root in self._unseen):
            self._expect(source, moment.now + max(1.0, self._forget_after_s))
            return False
        return True

    def _ask(self, root: int, sources: list[Source]) -> Iterator[Effect]:
        for start in range(0, len(sources), _A_REQUEST):
            batch = tuple(sources[start : start + _A_REQUEST])
            ticket = next(self._tickets)
            self._asked[ticket] = batch
            yield AskHands(root=root, request=StatMany(ticket=ticket, paths=tuple(source.path for source in batch)))

    def asked(self, ticket: int) -> bool:
        """Whether it was this room that asked."""
        return ticket in self._asked or ticket in self._removing

    def failed(self, ticket: int, moment: Moment) -> None:
        """What was asked for could not be done: the same again later."""
        removing = self._removing.pop(ticket, ())
        sources = [*self._asked.pop(ticket, ()), *(one.entry.source for one in removing if one.forget)]
        for source in sources:
            self._expect(source, moment.now + max(1.0, self._forget_after_s))

    def stats(self, reply: Stats, moment: Moment) -> list[Effect]:
        """Take the last look in: really gone, back again, or not to be told (then later)."""
        sources = self._asked.pop(reply.ticket)
        effects: list[Effect] = []
        removals: list[_Removal] = []
        for source, (_, found) in zip(sources, reply.results, strict=True):
            entry = self._ledger.entry(source)
            if entry is None or entry.gone_at_s is None:
                continue
            if isinstance(found, Vanished) and not self.is_away(source):
                effects += self.noted(source)
                removals += self._forget(entry)
            elif isinstance(found, Stamp) and self.back is not None:
                effects += self.back(source, moment)
            else:
                self._expect(source, moment.now + max(1.0, self._forget_after_s))
        return [*effects, *self._remove(removals)]

    # ---- removing

    def _forget(self, entry: Entry) -> list[_Removal]:
        """Remove the derivatives first; the row goes when they have gone, so that nobody loses sight of them."""
        root = self._roots[entry.source.root]
        if root.settings.on_delete is OnDelete.KEEP or not entry.derivatives:
            self._ledger.forget(entry.source)
            return []
        log.info(
            "source.gone",
            source=root.path + b"/" + entry.source.path,
            root=root.path,
            derivatives=[derivative.variant for derivative in entry.derivatives],
        )
        return [_Removal(entry=entry, items=self._items(entry, anywhere=True), forget=True)]

    def remove_derivatives(self, entry: Entry, *, again: bool = False) -> list[Effect]:
        """Remove the derivatives that an entry names, as long as they are still what we wrote. The source stays.

        `again`: it is looked at afterwards, and what it lacks is made.
        """
        return self._remove([_Removal(entry=entry, items=self._items(entry), again=again)])

    def remove_superseded(self, before: Entry, now: Entry) -> list[Effect]:
        """Remove what a source's derivatives were called before they got another format, as far as it is ours."""
        root = self._roots.get(now.source.root)
        if root is None:
            return []
        current = {root.names.path_of(now.source.path, variant) for variant in root.variants}
        anew = {made.variant for made in now.derivatives if made not in before.derivatives}
        old = tuple(made for made in before.derivatives if made.variant in anew)
        items = tuple(item for item in self._items(replace(before, derivatives=old)) if item[0] not in current)
        return self._remove([_Removal(entry=replace(before, derivatives=old), items=items)]) if items else []

    def _remove(self, removals: Iterable[_Removal]) -> list[Effect]:
        by_root: defaultdict[int, list[_Removal]] = defaultdict(list)
        for removal in removals:
            by_root[removal.entry.source.root].append(removal)
        effects: list[Effect] = []
        for root, batch in by_root.items():
            ticket = next(self._tickets)
            self._removing[ticket] = tuple(batch)
            items = tuple(item for removal in batch for item in removal.items)
            effects.append(AskHands(root=root, request=Remove(ticket=ticket, items=items)))
        return effects

    def _items(self, entry: Entry, *, anywhere: bool = False) -> tuple[Item, ...]:
        """Wherever the derivatives may lie, in their layout or in any. Size and time tell the right ones."""
        names = self._roots[entry.source.root].names
        return tuple(
            (path, made.size_bytes, made.mtime_ns)
            for made in entry.derivatives
            for path in names.paths_of(entry.source.path, made.variant, layout=None if anywhere else made.layout)
        )

    def removed(self, reply: Removed, moment: Moment) -> list[Effect]:
        """Take in what became of the derivatives. Those that are not ours any more are nobody's business."""
        effects: list[Effect] = []
        fates = iter(fate for fate, _ in reply.results)
        for removal in self._removing.pop(reply.ticket, ()):
            own = [next(fates) for _ in removal.items]
            entry = self._ledger.entry(removal.entry.source)
            if entry is None:
                continue
            if Fate.FAILED in own or self.is_away(entry.source):
                if removal.forget:
                    self._expect(entry.source, moment.now + max(1.0, self._forget_after_s))
            elif not removal.forget:  # what was made meanwhile of another content is none of those
                left = tuple(made for made in entry.derivatives if made not in removal.entry.derivatives)
                self._ledger.record(replace(entry, derivatives=left))
            elif entry.gone_at_s is not None:
                self._ledger.forget(entry.source)
            if removal.again and self.back is not None:
                effects += self.back(entry.source, moment)
        return effects
