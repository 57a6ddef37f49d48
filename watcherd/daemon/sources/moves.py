"""Moves: arrivals that are sources which were somewhere else.

Responsible for: noticing that an arrival may be a file which the ledger knows from another path, having the hands look
and rename its derivatives, and recording it under its new path: nothing is read, hashed or decoded for it. What is no
move goes on as any arrival. Not responsible for: the match itself (`queue/follow.py`), moves between file systems (the
arrival is hashed, finds its derivatives as those of a twin, and the old ones go with their source).

Arrivals are gathered for a moment: the moves of one swap come together, and a renamed folder of 10,000 pictures is
50 requests.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.daemon.reporting.tally import Tally
from watcherd.daemon.sources.departures import Departures
from watcherd.ledger.ledger import Ledger
from watcherd.model import Derivative, Entry, JobClass, Reused, Source, Stamp, State
from watcherd.naming import Mark
from watcherd.queue.follow import origin
from watcherd.settings import OnDelete
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.following import Arrived, Carried, Follow, Followed, Move, Way

log = get_logger()

GATHER_S = 0.05
_A_REQUEST = 200
_MOST_WAITING = 2_000
_MOST_DISPLACED = 2_000

File = tuple[int, int, int]


class Ways(Protocol):
    """The ways on for what is no move, or not all of one; handed in by the composition root."""

    def enqueue(self, source: Source, stamp: Stamp, entry: Entry | None, job_class: JobClass, moment: Moment) -> None:
        """Do it as any arrival."""

    def replaced(self, source: Source) -> None:
        """A source's job in the queue, if it has one, is of no use any more."""

    def resettle(self, source: Source, moment: Moment) -> list[Effect]:
        """Look at a source again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    source: Source
    stamp: Stamp
    job_class: JobClass
    old: Source | None


class Moves:
    """Arrivals that are being looked at. A move is a departure whose whereabouts are known."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        in_hand: Container[Source],
        is_online: Callable[[int], bool],
        departures: Departures,
        tickets: Iterator[int],
        tally: Tally,
    ) -> None:
        self._ledger = ledger
        self._roots = roots
        self._in_hand = in_hand
        self._is_online = is_online
        self.departures = departures
        self._tickets = tickets
        self._tally = tally
        self._arrivals: dict[Source, _Arrival] = {}
        self._asked: dict[int, list[tuple[_Arrival, Entry]]] = {}
        self._from: set[Source] = set()
        self._underway: set[Source] = set()
        self._dirty: set[Source] = set()
        self._displaced: OrderedDict[File, Entry] = OrderedDict()
        self._due_at: float | None = None
        self.ways: Ways | None = None

    def __len__(self) -> int:
        return len(self._arrivals) + len(self._underway)

    def __contains__(self, source: object) -> bool:
        return source in self._arrivals or source in self._underway

    @property
    def is_full(self) -> bool:
        """Whether no more should be brought: a scanner waits then."""
        return len(self) >= _MOST_WAITING

    def sources(self) -> list[Source]:
        """The arrivals that are being looked at."""
        return [*self._arrivals, *self._underway]

    def next_deadline(self) -> float | None:
        """When the arrivals gathered so far are looked at."""
        return self._due_at

    # ---- arrivals

    def take(self, source: Source, stamp: Stamp, entry: Entry | None, job_class: JobClass, moment: Moment) -> bool:
        """Take an arrival that may be a moved source; False: it is none that is known."""
        if source in self:
            self._dirty.add(source)
            return True
        if entry is not None and entry.stamp is not None and entry.stamp.inode == stamp.inode:
            return False  # the file that was there before
        old, displaces = self._origin(source, stamp), self._displaces(entry)
        if old is None and not displaces:
            return False
        self._arrivals[source] = _Arrival(
            source=source, stamp=stamp, job_class=job_class, old=old.source if old else None
        )
        if old is not None:
            self._from.add(old.source)
        self._due_at = self._due_at or moment.now + GATHER_S
        return True

    def _displaces(self, entry: Entry | None) -> bool:
        """Whether a finished source was here, which may turn up elsewhere: its derivatives wait for that a moment."""
        if entry is None or entry.stamp is None or entry.state is not State.DONE or not entry.derivatives:
            return False
        self._displaced[_file(entry.stamp)] = entry
        while len(self._displaced) > _MOST_DISPLACED:
            self._displaced.popitem(last=False)
        return True

    def _origin(self, source: Source, stamp: Stamp) -> Entry | None:
        if not self._roots[source.root].keeps_identity:
            return None
        displaced = self._displaced.get(_file(stamp))
        candidates = [displaced] if displaced is not None else self._ledger.same_file(stamp)
        return origin(stamp, (entry for entry in candidates if self._may_have_been(entry.source, source)))

    def _may_have_been(self, old: Source, new: Source) -> bool:
        """Whether a source may have been another one, and its derivatives can be renamed."""
        if old == new or old in self._from or old in self._in_hand:
            return False
        if old.root == new.root:
            return True
        here, there = self._roots.get(old.root), self._roots[new.root]
        if here is None or not self._is_online(old.root) or here.settings.on_delete is OnDelete.KEEP:
            return False
        return here.file_system is not None and here.file_system == there.file_system

    # ---- asking

    def due(self, moment: Moment) -> list[Effect]:
        """Have the hands look at what was gathered."""
        if self._due_at is None or moment.now < self._due_at:
            return []
        self._due_at = None
        batches: defaultdict[tuple[int, int], list[tuple[_Arrival, Entry]]] = defaultdict(list)
        for arrival in self._arrivals.values():
            entry = self._known(arrival)
            if entry is None or not all(map(self._is_online, (arrival.source.root, entry.source.root))):
                self._go_on(arrival, moment)
            else:
                batches[arrival.source.root, entry.source.root].append((arrival, entry))
        self._arrivals.clear()
        return [
            self._ask(roots, batch[start : start + _A_REQUEST])
            for roots, batch in batches.items()
            for start in range(0, len(batch), _A_REQUEST)
        ]

    def _known(self, arrival: _Arrival) -> Entry | None:
        """What is known of the file, unless its old path came to another end meanwhile."""
        if arrival.old is None:
            return None
        displaced = self._displaced.get(_file(arrival.stamp))
        entry = displaced or self._ledger.entry(arrival.old)
        is_same = entry is not None and entry.stamp is not None and _file(entry.stamp) == _file(arrival.stamp)
        return entry if is_same and arrival.old not in self._in_hand else None

    def _ask(self, roots: tuple[int, int], batch: list[tuple[_Arrival, Entry]]) -> Effect:
        new, old = roots
        ticket = next(self._tickets)
        self._asked[ticket] = batch
        self._underway.update(arrival.source for arrival, _ in batch)
        request = Follow(
            ticket=ticket,
            moves=tuple(self._move(arrival, entry) for arrival, entry in batch),
            old_root=None if new == old else self._roots[old].path,
        )
        return AskHands(root=new, request=request)

    def _move(self, arrival: _Arrival, entry: Entry) -> Move:
        carried = tuple(
            Carried(
                derivative=replace(made, layout=self._roots[arrival.source.root].names.layout.number),
                mark=Mark(variant=made.variant, digest=entry.digest or b"", fingerprint=made.fingerprint),
                ways=self._ways(entry.source, arrival.source, made),
            )
            for made in entry.derivatives
        )
        return Move(old=entry.source.path, path=arrival.source.path, stamp=arrival.stamp, carried=carried)

    def _ways(self, old: Source, new: Source, made: Derivative) -> tuple[Way, ...]:
        """From each place where the derivative may lie to where it is to lie, in each format that it may have."""
        before, after = self._roots[old.root].names, self._roots[new.root].names
        extensions = [extension for variant, extension in before.known if variant == made.variant]
        return tuple(
            (layout.path_of(old.path, made.variant, extension), after.layout.path_of(new.path, made.variant, extension))
            for extension in extensions
            for layout in before.layouts
        )

    # ---- answers

    def followed(self, reply: Followed, moment: Moment) -> list[Effect]:
        """Take in what became of the moves."""
        effects: list[Effect] = []
        for (arrival, entry), result in zip(self._asked.pop(reply.ticket, ()), reply.results, strict=False):
            self._underway.discard(arrival.source)
            if result is None or arrival.source in self._in_hand:
                self._go_on(arrival, moment)
            else:
                self._arrived(arrival, entry, result, moment)
            if arrival.source in self._dirty and self.ways is not None:
                self._dirty.discard(arrival.source)
                effects += self.ways.resettle(arrival.source, moment)
        return effects

    def failed(self, ticket: int, moment: Moment) -> None:
        """It could not be looked at: they go on as any arrivals, when their root is there again."""
        for arrival, _ in self._asked.pop(ticket, ()):
            self._underway.discard(arrival.source)
            self._go_on(arrival, moment)

    def drop_root(self, number: int) -> None:
        """A root is not watched any more: a scan finds its arrivals when it is again."""
        self._arrivals = {source: one for source, one in self._arrivals.items() if source.root != number}
        for ticket in [ticket for ticket, batch in self._asked.items() if batch[0][0].source.root == number]:
            for arrival, entry in self._asked.pop(ticket):
                self._underway.discard(arrival.source)
                self._from.discard(entry.source)

    def _go_on(self, arrival: _Arrival, moment: Moment) -> None:
        if arrival.old is not None:
            self._from.discard(arrival.old)
        if self.ways is not None and arrival.source not in self._in_hand:
            entry = self._ledger.entry(arrival.source)
            self.ways.enqueue(arrival.source, arrival.stamp, entry, arrival.job_class, moment)

    def _arrived(self, arrival: _Arrival, before: Entry, arrived: Arrived, moment: Moment) -> None:
        """Record a source at its new path, and what is left of it at its old one."""
        root = self._roots[arrival.source.root]
        self._from.discard(before.source)
        self._displaced.pop(_file(arrival.stamp), None)
        self._leave(before, arrived, moment)
        known = replace(
            before, source=arrival.source, stamp=arrived.stamp, derivatives=arrived.derivatives, gone_at_s=None
        )
        self._ledger.record(known)
        self._ledger.move_unsynced(before.source, arrival.source)
        if self.ways is not None:
            self.ways.replaced(arrival.source)
        log.info(
            "source.moved",
            source=root.path + b"/" + arrival.source.path,
            previous=self._ledger.roots()[before.source.root] + b"/" + before.source.path,
            root=root.path,
            derivatives=[made.variant for made in arrived.derivatives],
        )
        has = {(made.variant, made.fingerprint) for made in arrived.derivatives}
        if has.issuperset((variant.name, variant.fingerprint) for variant in root.variants):
            self._tally.ended(arrival.source, Reused(), State.DONE, 0)
        elif self.ways is not None:
            self.ways.enqueue(arrival.source, arrived.stamp, known, arrival.job_class, moment)

    def _leave(self, before: Entry, arrived: Arrived, moment: Moment) -> None:
        now = self._ledger.entry(before.source)
        if now is None:
            return
        along = {made.variant for made in arrived.derivatives}
        left = tuple(made for made in now.derivatives if made not in before.derivatives or made.variant not in along)
        if now.stamp is None or before.stamp is None or _file(now.stamp) != _file(before.stamp):
            self._ledger.record(replace(now, derivatives=left))  # another file has this path by now
            return
        self.departures.moved(replace(now, derivatives=left), moment)


def _file(stamp: Stamp) -> File:
    return stamp.inode, stamp.size_bytes, stamp.mtime_ns
