"""Settling: whether an upload is complete.

Responsible for: when to look at a source again, and from the stamps seen whether it has come to rest.
Not responsible for: looking (the hands stat), whether anything needs doing (`queue/plan.py`), and what the content
says (a worker finds out whether a picture ends too early; such a one comes back here by `hold`). Pure.

Theory of operation
-------------------
Nobody tells us that an upload has ended. A close is a good sign, yet `cp -r` into new folders shows it for a third
of the files only, links and renames never show it, and other machines' writes show nothing at all. So reports are
hints, and what decides is that a stamp has not changed for a while: the *quiet* time.

A source enters by `note`, and `due` names it when a stat is wanted. `observe` takes the stat and answers:
*Settled* (and the source is forgotten here), *Waiting* (a next look is planned), *Growing* (the same, said once), or
*Vanished*. There are three ways to come to rest:

1. Proof by ctime, on file systems that keep it. The kernel sets ctime at each write, link, rename and change of
   attributes, and nobody can set it back. `now - ctime >= quiet` at one stat is the whole proof; where it is not
   reached, the next look is planned for the moment when it will be. The quiet time is short after a close or a
   move-in (unless data was written after it), and for old data, whose mtime lies back by the long one (links, `mv`,
   `cp -p`, `tar`).
2. Two equal stamps, a quiet time apart: on network file systems, whose times are another machine's and which may not
   keep inode and ctime (there, size and mtime are compared), and where ctime lies in the future (a clock was set).
3. Patience. What never rests for `max_wait_s` is taken as it is if its size stands still for the long quiet time (a
   file that is touched all the time), and else it is *growing*, and looked at now and then.

A find (from a scan) whose stamp is older than the long quiet time is settled at once, without another look.

Two rules keep it honest. A stat counts from the moment it was asked for, not from its arrival: what changed in
between is not seen by it. And a stat that was asked for before the last report decides nothing, or the report would
be lost; only patience overrules this, and then the source is watched on for the sake of that report.

Times: `now` is monotonic seconds, `wall_ns` the wall clock at the same moment. Memory: one object a source.
"""

import heapq
from dataclasses import dataclass

from watcherd.model import Change, ChangeKind, JobClass, Source, Stamp, Vanished
from watcherd.settings import SettleSettings

_NS = 1_000_000_000
_ROUNDING_S = 0.001
"""Planned looks come so much later: a look a nanosecond too early would cost a second one."""
_URGENCY = (JobClass.BACKLOG, JobClass.UPLOAD, JobClass.MANUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Complete, as far as its stamp can tell.

    `arriving` is the class that its job gets if it is new; `waited_s` is the time since its first report. `tolerant`:
    a held source stayed as it was, so the decoder has the last word.
    """

    source: Source
    stamp: Stamp
    arriving: JobClass
    waited_s: float
    tolerant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Nothing to do yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """Still not at rest after `max_wait_s`, and its size changes. Said once for each source."""

    source: Source
    size_bytes: int
    waited_s: float


Judgement = Settled | Waiting | Growing | Vanished


@dataclass(slots=True)
class _Watch:
    """What is known of a source on its way. `due_at` None: a stat is asked for (`asked_at`), or none is planned."""

    since: float
    arriving: JobClass
    network: bool
    due_at: float | None = None
    asked_at: float | None = None
    closed_ns: int | None = None
    stamp: Stamp | None = None
    stamp_since: float = 0.0
    size_since: float = 0.0
    growing: bool = False
    held: Stamp | None = None
    held_until: float = 0.0

    def saw(self, stamp: Stamp, seen_at: float) -> bool:
        """Remember a look; True where it found another size than the one before."""
        previous, self.stamp = self.stamp, stamp
        if previous is None or not _same(previous, stamp, network=self.network):
            self.stamp_since = seen_at
        if previous is not None and previous.size_bytes == stamp.size_bytes:
            return False
        self.size_since = seen_at
        return previous is not None


class Settle:
    """All sources that are on their way to rest. `settings` may be exchanged at any time."""

    def __init__(self, settings: SettleSettings) -> None:
        self.settings = settings
        self._watches: dict[Source, _Watch] = {}
        self._heap: list[tuple[float, Source]] = []

    def __len__(self) -> int:
        return len(self._watches)

    def __contains__(self, source: object) -> bool:
        return source in self._watches

    def note(
        self, change: Change, now: float, *, wall_ns: int, network: bool, arriving: JobClass | None = None
    ) -> Settled | None:
        """Take a report: an event, a find, a wish. Settled only for a find that carries an old stamp.

        `network`: the file system has other writers and other clocks. `arriving` overrides the class, which is BACKLOG
        for a find and UPLOAD for anything else. A source found changed while it was read is noted again (CREATED).
        """
        found = change.kind is ChangeKind.FOUND
        arriving = arriving or (JobClass.BACKLOG if found else JobClass.UPLOAD)
        watch = self._watches.get(change.source) or _Watch(since=now, arriving=arriving, network=network)
        watch.arriving = max(watch.arriving, arriving, key=_URGENCY.index)
        if arriving is JobClass.MANUAL:
            watch.held = None  # somebody insists: its time of waiting is over
        if found and change.stamp is not None:
            return self._find(change.source, watch, change.stamp, now, wall_ns)
        if change.kind in (ChangeKind.CLOSED, ChangeKind.MOVED):
            watch.closed_ns = wall_ns
        watch.asked_at = None
        at_once = change.kind is ChangeKind.DELETED or (network and watch.stamp is None)
        self._look(change.source, watch, now if at_once else now + self.settings.closed_quiet_s)
        return None

    def due(self, now: float, limit: int) -> list[Source]:
        """Up to `limit` sources whose stat is wanted now. Each is named once until `observe` or a new report."""
        sources: list[Source] = []
        while len(sources) < limit and (entry := self._next()) is not None and entry[0] <= now:
            heapq.heappop(self._heap)
            watch = self._watches[entry[1]]
            watch.due_at, watch.asked_at = None, now
            sources.append(entry[1])
        return sources

    def observe(self, source: Source, stamp: Stamp | None, now: float, wall_ns: int) -> Judgement:
        """Take the stat of a source that was due (None: it is not there)."""
        watch = self._watches.get(source)
        if watch is None or (watch.asked_at is None and (stamp is None or not self._impatient(watch, now))):
            return Waiting()
        outdated, seen_at = watch.asked_at is None, now if watch.asked_at is None else watch.asked_at
        watch.asked_at = None
        if stamp is None:
            self.forget(source)
            return Vanished()
        if watch.held is not None:
            if _same(watch.held, stamp, network=watch.network):
                return self._judge_held(source, watch, stamp, now)
            watch.held, watch.since = None, now
        judgement = self._judge(source, watch, stamp, now=now, seen_at=seen_at, wall_ns=wall_ns)
        if outdated and isinstance(judgement, Settled):
            watch.since = now
            self._watches[source] = watch  # the report's own look is planned
        return judgement

    def hold(
        self,
        source: Source,
        stamp: Stamp,
        until: float,
        *,
        now: float,
        network: bool,
        arriving: JobClass = JobClass.UPLOAD,
    ) -> None:
        """Keep a source that was found incomplete until its stamp changes, or until `until` (monotonic).

        A report that came while it was in hand is not lost: the look that it planned compares the stamps.
        """
        watch = self._watches.get(source) or _Watch(since=now, arriving=arriving, network=network)
        watch.held, watch.held_until = stamp, until
        self._look(source, watch, until)

    def postpone(self, source: Source, until: float) -> None:
        """The stat that was asked for could not be had: ask again then."""
        watch = self._watches.get(source)
        if watch is not None:
            watch.asked_at = None
            self._look(source, watch, until)

    def forget(self, source: Source) -> None:
        """Drop a source; its planned look is dropped with it."""
        self._watches.pop(source, None)

    def forget_root(self, root: int) -> None:
        """Drop all sources of a root that is gone; the scan at its return finds them again."""
        self._watches = {source: watch for source, watch in self._watches.items() if source.root != root}

    def next_deadline(self) -> float | None:
        """When the next stat is wanted (monotonic), None for never."""
        entry = self._next()
        return None if entry is None else entry[0]

    def moving(self) -> list[Source]:
        """The sources that will come to rest soon: not those that are held or growing."""
        return [source for source, watch in self._watches.items() if watch.held is None and not watch.growing]

    def growing(self) -> list[Source]:
        """The sources that are shown as growing."""
        return [source for source, watch in self._watches.items() if watch.growing]

    # ------------------------------------------------------------------------------------------------- judging

    def _find(self, source: Source, watch: _Watch, stamp: Stamp, now: float, wall_ns: int) -> Settled | None:
        if watch.held is not None and _same(watch.held, stamp, network=watch.network):
            return None
        left_s = self._long_quiet_s(watch) - (wall_ns - stamp.newest_ns) / _NS
        if left_s <= 0:
            return self._settle(source, watch, stamp, now)
        if watch.stamp != stamp:
            watch.asked_at = None
        soon_s = 0.0 if watch.network else min(left_s, self.settings.open_quiet_s)
        self._look(source, watch, now + soon_s)
        return None

    def _judge(
        self, source: Source, watch: _Watch, stamp: Stamp, *, now: float, seen_at: float, wall_ns: int
    ) -> Judgement:
        resized = watch.saw(stamp, seen_at)
        left_s = self._quiet_left_s(watch, stamp, seen_at, wall_ns - round((now - seen_at) * _NS))
        if left_s <= 0:
            return self._settle(source, watch, stamp, now)
        if not self._impatient(watch, now):
            self._look(source, watch, min(seen_at + left_s + _ROUNDING_S, self._patience_ends(watch)))
            return Waiting()
        if seen_at - watch.size_since >= self._long_quiet_s(watch):
            return self._settle(source, watch, stamp, now)
        self._look(source, watch, now + self._long_quiet_s(watch) + _ROUNDING_S)
        if not resized or watch.growing:
            return Waiting()
        watch.growing = True
        return Growing(source=source, size_bytes=stamp.size_bytes, waited_s=now - watch.since)

    def _judge_held(self, source: Source, watch: _Watch, stamp: Stamp, now: float) -> Judgement:
        if now >= watch.held_until:
            return self._settle(source, watch, stamp, now, tolerant=True)
        self._look(source, watch, watch.held_until)
        return Waiting()

    def _settle(self, source: Source, watch: _Watch, stamp: Stamp, now: float, *, tolerant: bool = False) -> Settled:
        self.forget(source)
        waited_s = now - watch.since
        return Settled(source=source, stamp=stamp, arriving=watch.arriving, waited_s=waited_s, tolerant=tolerant)

    def _quiet_left_s(self, watch: _Watch, stamp: Stamp, seen_at: float, seen_ns: int) -> float:
        """How long the stamp has yet to stay as it is, from the moment when it was seen."""
        if watch.network:
            return self.settings.network_quiet_s - (seen_at - watch.stamp_since)
        closed = watch.closed_ns is not None and stamp.mtime_ns <= watch.closed_ns
        old = seen_ns - stamp.mtime_ns >= self.settings.open_quiet_s * _NS
        quiet_s = self.settings.closed_quiet_s if closed or old else self.settings.open_quiet_s
        if stamp.ctime_ns > seen_ns:
            return quiet_s - (seen_at - watch.stamp_since)
        return quiet_s - (seen_ns - stamp.ctime_ns) / _NS

    def _patience_ends(self, watch: _Watch) -> float:
        return watch.since + self.settings.max_wait_s

    def _impatient(self, watch: _Watch, now: float) -> bool:
        return watch.held is None and now >= self._patience_ends(watch)

    def _long_quiet_s(self, watch: _Watch) -> float:
        return self.settings.network_quiet_s if watch.network else self.settings.open_quiet_s

    # ---------------------------------------------------------------------------------------------- planned looks

    def _look(self, source: Source, watch: _Watch, at: float) -> None:
        """Plan a look, unless an earlier one is planned. Entries of the heap that no watch confirms are dead."""
        self._watches[source] = watch
        if watch.due_at is not None and watch.due_at <= at:
            return
        watch.due_at = at
        heapq.heappush(self._heap, (at, source))
        if len(self._heap) > 64 + 3 * len(self._watches):
            self._heap = [(one.due_at, name) for name, one in self._watches.items() if one.due_at is not None]
            heapq.heapify(self._heap)

    def _next(self) -> tuple[float, Source] | None:
        while self._heap:
            entry = self._heap[0]
            watch = self._watches.get(entry[1])
            if watch is not None and watch.due_at == entry[0]:
                return entry
            heapq.heappop(self._heap)
        return None


def _same(one: Stamp, other: Stamp, *, network: bool) -> bool:
    """Whether two stamps say that nothing happened: by size and mtime, locally by ctime and inode as well."""
    return one[:2] == other[:2] if network else one[:4] == other[:4]
