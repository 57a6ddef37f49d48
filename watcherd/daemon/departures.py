"""Departures: sources that are not where they were.

A vanished source is *gone* first. Only after `forget_after_s`, and after its folder was looked at again, are its
derivatives removed and its entry forgotten: an editor's safe-save, a slow move, or a wrong report cost nothing.
Its derivatives stay in place that long, so that a source that turns up elsewhere finds them as its twin's.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.ledger.ledger import Ledger
from watcherd.model import Derivative, Entry, Source, Stamp, State, Vanished
from watcherd.naming import derivative_name
from watcherd.settings import OnDelete
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands import Remove, StatMany, Stats

log = get_logger()


class Departures:
    """Keeps the gone ones until they are forgotten."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        forget_after_s: float,
        is_online: Callable[[int], bool],
        tickets: Iterator[int],
    ) -> None:
        self._ledger = ledger
        self._roots = roots
        self._forget_after_s = forget_after_s
        self._waiting: list[tuple[float, Source]] = []
        self._is_online = is_online
        self._tickets = tickets
        self._asked: dict[int, Source] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._asked)

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
        return ticket in self._asked

    def stats(self, reply: Stats, moment: Moment) -> list[Effect]:
        """Take the last look in: really gone, back again, or not to be told (then later)."""
        source = self._asked.pop(reply.ticket)
        entry = self._ledger.entry(source)
        ((_, found),) = reply.results
        if entry is None or entry.gone_at_s is None:
            return []
        if isinstance(found, Stamp):
            self._ledger.record(replace(entry, gone_at_s=None))
            return []
        if not isinstance(found, Vanished):
            self.expect(source, moment.now + self._forget_after_s)
            return []
        return self._forget(entry)

    def _forget(self, entry: Entry) -> list[Effect]:
        root = self._roots[entry.source.root]
        self._ledger.forget(entry.source)
        if root.settings.on_delete is OnDelete.KEEP:
            return []
        log.info(
            "source.gone",
            source=root.path + b"/" + entry.source.path,
            root=root.path,
            derivatives=[derivative.variant for derivative in entry.derivatives],
        )
        return self.remove_derivatives(entry)

    def remove_derivatives(self, entry: Entry) -> list[Effect]:
        """Remove the derivatives that an entry names, as long as they are still what we wrote."""
        if not entry.derivatives:
            return []
        extensions = dict(reversed(self._ledger.known_variants()))
        items = tuple((_path_of(entry, d, extensions), d.size_bytes, d.mtime_ns) for d in entry.derivatives)
        return [AskHands(root=entry.source.root, request=Remove(ticket=next(self._tickets), items=items))]


def _path_of(entry: Entry, derivative: Derivative, extensions: Mapping[str, str]) -> bytes:
    """Where a derivative lies: as recorded, or as its variant names it (also one that is not configured any more)."""
    if derivative.path is not None:
        return derivative.path
    folder = entry.source.directory
    name = derivative_name(entry.source.name, derivative.variant, extensions[derivative.variant])
    return folder + b"/" + name if folder else name
