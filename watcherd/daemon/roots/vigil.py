"""The vigil: how new files are found in each root, and that they are.

Responsible for: an observer for each root that is watched (a dead or blind one is replaced, later and later), the
self-test of its events, the mode that follows (`watch/modes.py`), and the sweeps that go with it (`watch/sweeps.py`).
Not responsible for: whether a root is there (`conditions.py`), what is found (`scans.py`).

Why an observer is not believed: a thread of it has ended; the file of a self-test made no event though earlier ones
did; the kernel holds fewer watches than a full scan has seen folders, and not for want of more.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskHands, AskScanner, Effect, Moment
from watcherd.daemon.roots.linkwatch import LinkWatch
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.settings import ModeWanted
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Touch, Touched
from watcherd.watch.modes import Choice, Mode, SelfTest, interval_s, limit_to_set
from watcherd.watch.observing.limits import watch_limit
from watcherd.watch.observing.observer import Observer
from watcherd.watch.reports import (
    Coverage,
    Felt,
    Manner,
    OfLink,
    ScanEnded,
    ScanResult,
    WatchFailed,
    Watching,
    WatchTrouble,
)
from watcherd.watch.sweeps import Sweeps

log = get_logger()

LOOK_INTERVAL_S = 10.0
SELF_TEST_S = 10.0
"""So long the event of a test's file may take (chosen: a burst of 20,000 events ahead of it takes less)."""
FIRST_RESTART_S = 10.0
LONGEST_RESTART_S = 600.0
_NEW_SINCE = 16
"""So many folders may have come and gone between a scan and the count of watches."""
_FIRST_TICKET = 2_000_000_000


@dataclass(slots=True)
class _Watcher:
    observer: Observer
    restart_at: float = 0.0
    delay_s: float = FIRST_RESTART_S
    started_at: float = 0.0
    is_blind: bool = False
    was_recounted: bool = False
    test_ends_at: float | None = None
    folders_seen: int = 0
    told_refused: int = 0


@dataclass(slots=True)
class Vigil:
    """Keeps watch over all roots."""

    core: Core
    rooms: Mapping[int, RootRooms]
    carry_out: Callable[[Effect], None]
    watchers: dict[int, _Watcher] = field(default_factory=dict)
    sweeps: Sweeps = field(default_factory=Sweeps)
    links: LinkWatch = field(init=False)
    _look_at: float = 0.0
    _owed: set[int] = field(default_factory=set)
    _tickets: "count[int]" = field(default_factory=lambda: count(_FIRST_TICKET))

    def __post_init__(self) -> None:
        """The folders behind links are watched as long as their root is."""
        self.links = LinkWatch(self.core, self.rooms)

    # ---- beginning and end

    def watch(self, root: int, now: float) -> None:
        """Watch a root that has come (back): what watched it before may be blind by now, and not know it."""
        self.unwatch(root)
        settings = self.core.roots[root].settings
        self.core.modes.add(root, settings.mode)
        self._learn(root, now, network=self.core.roots[root].network)
        if settings.mode is ModeWanted.SCAN:
            self._say_mode(root, self.core.modes.choice(root))
            self.core.scans.begun.add(root)
            self.carry_out(AskScanner(root=root, directory=b"", manner=Manner.SWEEP))
            return
        self.watchers[root] = _Watcher(self.rooms[root].observer(), started_at=now)
        self.watchers[root].observer.start()  # its Watching brings the scan

    def unwatch(self, root: int) -> None:
        """Watch a root no more."""
        watcher = self.watchers.pop(root, None)
        if watcher is not None:
            watcher.observer.stop()
        self.links.drop(root)
        self.sweeps.drop(root)

    def refit(self, now: float) -> None:
        """Work by other settings."""
        for root in self.core.roots:
            self._learn(root, now)

    def stop(self) -> None:
        """End the observers, without waiting for a hung one."""
        for watcher in self.watchers.values():
            watcher.observer.stop()
        self.links.stop()

    # ---- what observers and hands say

    def told(self, item: object, moment: Moment) -> list[Effect]:
        """Take in what an observer says of itself, or what came of a test's file."""
        root = getattr(item, "root", 0)
        if isinstance(item, OfLink):
            effects = self.links.told(item, moment.now)
            self._learn_of_links(root, moment.now)
            return effects
        watcher = self.watchers.get(root)
        if watcher is None or root not in self.core.roots:
            return []
        match item:
            case Watching():
                return [*self._watching(root, watcher, moment), *self.core.scans.observed(item, moment)]
            case WatchFailed():
                if item.why is WatchTrouble.WATCH_LIMIT:
                    self._say_limit(root, max(1, self.core.ledger.count_directories()), 0)
                self._learn(root, moment.now, is_watched=False, trouble=f"it cannot be watched ({item.why})")
                return self.core.scans.observed(item, moment)
            case Coverage():
                self._covered(root, watcher, item, moment.now)
            case Felt() if watcher.test_ends_at is not None:
                watcher.test_ends_at = None
                self._learn(root, moment.now, self_test=SelfTest.PASSED)
            case Touched(errno=number) if number:
                watcher.test_ends_at = None  # nothing may be made there: there is no test
        return []

    def scanned(self, item: ScanEnded, moment: Moment) -> None:
        """A scan has ended."""
        self._look_after_links(item.root, moment.now)
        if item.directory:
            return
        was_full = item.result is ScanResult.COMPLETE and not item.is_quick
        self.sweeps.scanned(item.root, moment.now, was_full=was_full)
        watcher = self.watchers.get(item.root)
        if watcher is not None and was_full and self.core.modes.evidence(item.root).is_watched:
            watcher.folders_seen = item.directories - item.behind_links
            watcher.observer.count()

    def _watching(self, root: int, watcher: _Watcher, moment: Moment) -> list[Effect]:
        self._learn(root, moment.now, is_watched=True, trouble="")
        self._say_mode(root, self.core.modes.choice(root))
        return self._test(root, watcher, moment)

    def _test(self, root: int, watcher: _Watcher, moment: Moment) -> list[Effect]:
        """Have a file made in the root, and wait for its event."""
        name = self.rooms[root].temporary_name(secrets.token_hex(6))
        watcher.observer.expect(name)
        watcher.test_ends_at = moment.now + SELF_TEST_S
        return [AskHands(root=root, request=Touch(ticket=next(self._tickets), name=name))]

    def _covered(self, root: int, watcher: _Watcher, item: Coverage, now: float) -> None:
        folders = item.watches + item.refused
        if folders + _NEW_SINCE < watcher.folders_seen:
            if not watcher.was_recounted:
                watcher.was_recounted = True
                self._doubt(root, watcher, "unwatched_folders")
            folders = watcher.folders_seen  # a second time: so it is, and scans have to stand in
        self._learn(root, now, folders=folders, watches=item.watches)
        if item.refused and not watcher.told_refused:
            self._say_limit(root, item.refused, item.watches)
        watcher.told_refused = item.refused

    def _say_limit(self, root: int, unwatched: int, watches: int) -> None:
        limit, name = watch_limit()
        log.warning(
            "root.watch_limit",
            root=self.core.roots[root].path,
            folders=unwatched + watches,
            unwatched=unwatched,
            limit=limit,
            hint=f"sysctl {name}={limit_to_set(limit, unwatched)}",
        )

    # ---- time

    def due(self, moment: Moment) -> float | None:
        """Begin the sweeps that are due, end the tests that take too long, replace observers that are not believed."""
        for root in [root for root in self._owed if not self.core.rests(root)]:
            self._owed.discard(root)
            if root in self.core.roots:
                self._sweep(root, moment, is_full=True)
        for sweep in self.sweeps.due(moment.now):
            self._sweep(sweep.root, moment, is_full=sweep.is_full)
        for root, watcher in self.watchers.items():
            if watcher.test_ends_at is not None and watcher.test_ends_at <= moment.now:
                self._test_failed(root, watcher, moment.now)
        if moment.now >= self._look_at:
            self._look_at = moment.now + LOOK_INTERVAL_S
            for root, watcher in self.watchers.items():
                self._look_after(root, watcher, moment.now)
                self._look_after_links(root, moment.now)
        tests = (watcher.test_ends_at for watcher in self.watchers.values())
        times = [self._look_at, self.sweeps.next_deadline(), *tests]
        return min((at for at in times if at is not None), default=None)

    def _sweep(self, root: int, moment: Moment, *, is_full: bool) -> None:
        if not self.core.conditions.runnable(root):
            self.sweeps.scanned(root, moment.now, was_full=False)  # its return brings a scan
            return
        if self.core.rests(root):  # in a pause, or in quiet hours: made up for afterwards
            self.sweeps.scanned(root, moment.now, was_full=False)
            self._owed.add(root)
            return
        manner = Manner.SWEEP if is_full else Manner.QUICK_SWEEP
        self.carry_out(AskScanner(root=root, directory=b"", manner=manner))
        watcher = self.watchers.get(root)
        if watcher is not None and self.core.modes.evidence(root).is_watched:
            for effect in self._test(root, watcher, moment):
                self.carry_out(effect)

    def _test_failed(self, root: int, watcher: _Watcher, now: float) -> None:
        watcher.test_ends_at = None
        if not self.core.conditions.runnable(root):
            return
        was = self.core.modes.evidence(root).self_test
        if was is SelfTest.PASSED and not self.core.roots[root].network:
            self._doubt(root, watcher, "silent")
        self._learn(root, now, self_test=SelfTest.FAILED)

    def _look_after(self, root: int, watcher: _Watcher, now: float) -> None:
        if not self.core.conditions.runnable(root):
            return  # it is watched anew when it comes back
        if watcher.observer.is_alive() and not watcher.is_blind:
            if now - watcher.started_at > LONGEST_RESTART_S:
                watcher.delay_s = FIRST_RESTART_S
            return
        if not watcher.restart_at:
            watcher.restart_at = now + watcher.delay_s
        if now >= watcher.restart_at:
            if not watcher.is_blind:
                log.info("root.doubt", root=self.core.roots[root].path, reason="observer_dead")
            watcher.observer.stop()
            self.watchers[root] = _Watcher(
                self.rooms[root].observer(),
                started_at=now,
                delay_s=min(watcher.delay_s * 2, LONGEST_RESTART_S),
                was_recounted=watcher.was_recounted,
                told_refused=watcher.told_refused,
            )
            self.watchers[root].observer.start()

    def _look_after_links(self, root: int, now: float) -> None:
        if root in self.watchers and root in self.core.roots:
            self.links.look_after(root, now)
            self._learn_of_links(root, now)

    def _learn_of_links(self, root: int, now: float) -> None:
        if root in self.core.roots:
            unwatched = self.links.unwatched(root)
            if unwatched != self.core.modes.evidence(root).links:
                self._learn(root, now, links=unwatched)

    def _doubt(self, root: int, watcher: _Watcher, reason: str) -> None:
        log.info("root.doubt", root=self.core.roots[root].path, reason=reason)
        watcher.is_blind = True

    # ---- the mode

    def _learn(self, root: int, now: float, **news: object) -> None:
        was_said = self.core.modes.evidence(root).is_watched
        changed = self.core.modes.learn(root, **news)
        if changed is not None and was_said:
            self._say_mode(root, changed)
        daemon, own = self.core.settings.daemon, self.core.roots[root].settings
        mode = self.core.modes.choice(root).mode
        quick_s = interval_s(mode, own_s=own.scan_interval_s, native_s=daemon.rescan_interval_s)
        self.sweeps.set(root, now, quick_s=quick_s, full_s=daemon.full_scan_interval_s)

    def _say_mode(self, root: int, choice: Choice) -> None:
        evidence = self.core.modes.evidence(root)
        log.info(
            "root.mode",
            root=self.core.roots[root].path,
            mode=choice.mode,
            reason=choice.reason,
            filesystem=self.core.roots[root].kind,
            watches=evidence.watches if choice.mode is not Mode.SCAN else 0,
        )
