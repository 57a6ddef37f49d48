"""Departures: sources that are not where they were.

A vanished source is *gone* first. Only after `forget_after_s`, and after its folder was looked at again, are its
derivatives removed and its entry forgotten: an editor's safe-save, a slow move, or a wrong report cost nothing.
Its derivatives stay in place that long, so that a source that turns up elsewhere finds them as its twin's.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, Stamp, State, Vanished
from watcherd.settings import OnDelete
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Fate, Remove, Removed, StatMany, Stats

log = get_logger()


class Departures:
    """Keeps the gone ones until they are forgotten."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        force: InForce,
        is_online: Callable[[int], bool],
        tickets: Iterator[int],
    ) -> None:
        self._ledger = ledger
        self._roots = roots
        self._force = force
        self._waiting: list[tuple[float, Source]] = []
        self._is_online = is_online
        self._tickets = tickets
        self._asked: dict[int, Source] = {}
        self._removing: dict[int, tuple[Entry, bool]] = {}
        self.back: Callable[[Source, Moment], list[Effect]] | None = None
        """Where a source goes that is there again: handed in by the composition root."""

    @property
    def _forget_after_s(self) -> float:
        return self._force.settings.daemon.forget_after_s

    def __len__(self) -> int:
        return len(self._waiting) + len(self._asked)

    @property
    def asked_now(self) -> int:
        """How many the hands are busy with for us."""
        return len(self._asked) + len(self._removing)

    def gone(self, source: Source, moment: Moment) -> None:
        """A source was found missing."""
        entry = self._ledger.entry(source)
        if entry is None:
            return
        if entry.state is State.PENDING and not entry.derivatives:
            self._ledger.forget(source)
            return
        if entry.gone_at_s is None:
            self._ledger.record(replace(entry, gone_at_s=moment.wall_s))
        self.expect(source, moment.now + self._forget_after_s)

    def expect(self, source: Source, due: float) -> None:
        """Look at a gone source again at that instant."""
        heapq.heappush(self._waiting, (due, source))

    def next_deadline(self) -> float | None:
        """When the next one is to be looked at again."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, moment: Moment) -> list[Effect]:
        """Ask the hands once more about those whose time has come."""
        effects: list[Effect] = []
        while self._waiting and self._waiting[0][0] <= moment.now:
            _, source = heapq.heappop(self._waiting)
            if source.root not in self._roots:
                continue
            if not self._is_online(source.root):  # what is away is not gone
                self.expect(source, moment.now + self._forget_after_s)
            else:
                ticket = next(self._tickets)
                self._asked[ticket] = source
                effects.append(AskHands(root=source.root, request=StatMany(ticket=ticket, paths=(source.path,))))
        return effects

    def asked(self, ticket: int) -> bool:
        """Whether it was this room that asked."""
        return ticket in self._asked or ticket in self._removing

    def failed(self, ticket: int, moment: Moment) -> None:
        """What was asked for could not be done: the same again later."""
        source = self._asked.pop(ticket, None)
        removing = self._removing.pop(ticket, None)
        if source is None and removing is not None and removing[1]:
            source = removing[0].source
        if source is not None:
            self.expect(source, moment.now + self._forget_after_s)

    def stats(self, reply: Stats, moment: Moment) -> list[Effect]:
        """Take the last look in: really gone, back again, or not to be told (then later)."""
        source = self._asked.pop(reply.ticket)
        entry = self._ledger.entry(source)
        ((_, found),) = reply.results
        if entry is None or entry.gone_at_s is None:
            return []
        if isinstance(found, Vanished):
            return self._forget(entry)
        if isinstance(found, Stamp) and self.back is not None:
            return self.back(source, moment)
        self.expect(source, moment.now + self._forget_after_s)
        return []

    def _forget(self, entry: Entry) -> list[Effect]:
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
        return [self._remove(entry, forget=True)]

    def remove_derivatives(self, entry: Entry) -> list[Effect]:
        """Remove the derivatives that an entry names, as long as they are still what we wrote. The source stays."""
        return [self._remove(entry, forget=False)]

    def _remove(self, entry: Entry, *, forget: bool) -> Effect:
        ticket = next(self._tickets)
        self._removing[ticket] = (entry, forget)
        names = self._roots[entry.source.root].names
        # Size and time tell the right one of all these: the others are not touched.
        items = tuple(
            (path, derivative.size_bytes, derivative.mtime_ns)
            for derivative in entry.derivatives
            for path in names.paths_of(
                entry.source.path, derivative.variant, layout=None if forget else derivative.layout
            )
        )
        return AskHands(root=entry.source.root, request=Remove(ticket=ticket, items=items))

    def removed(self, reply: Removed, moment: Moment) -> None:
        """Take in what became of the derivatives. Those that are not ours any more are nobody's business."""
        if reply.ticket not in self._removing:
            return
        if any(fate is Fate.FAILED for fate, _ in reply.results):
            self.failed(reply.ticket, moment)
            return
        asked, forget = self._removing.pop(reply.ticket)
        entry = self._ledger.entry(asked.source)
        if entry is None:
            return
        if not forget:  # what was made meanwhile of another content is none of those
            left = tuple(derivative for derivative in entry.derivatives if derivative not in asked.derivatives)
            self._ledger.record(replace(entry, derivatives=left))
        elif entry.gone_at_s is not None:
            self._ledger.forget(asked.source)
