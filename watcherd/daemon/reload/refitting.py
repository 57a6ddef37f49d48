"""Refitting: having the running daemon work by other settings.

Responsible for: roots that come, go or change, the pool's size, and every other setting that takes effect at once. All
of it or, where another daemon has one of the new roots, nothing. Not responsible for: reading and checking settings
(`origin.py`), and when it is done (`reloads.py`).

A root that goes is *leaving* until what is in hand there is finished: nothing new is looked at, its hands stay.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from watcherd.daemon.composition import Composition, seen_by
from watcherd.daemon.effects import AskScanner, Effect, Moment, WatchedRoot
from watcherd.daemon.reload import reach
from watcherd.daemon.roots.health import Health
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.pool.orders import Command
from watcherd.pool.sizing import address_space, pool_size
from watcherd.settings import Settings
from watcherd.telemetry.log import configure
from watcherd.watch.reports import Manner


@dataclass(frozen=True, slots=True, kw_only=True)
class Refitted:
    """What a refit came to: paths of roots, names of settings, and what is to be done outside."""

    added: tuple[bytes, ...]
    removed: tuple[bytes, ...]
    rescanned: tuple[bytes, ...]
    changed: tuple[str, ...]
    restart: tuple[str, ...]
    effects: tuple[Effect, ...]


class Refitting:
    """Refits one run of the daemon; a duty, too: it takes down the rooms of roots that have left."""

    def __init__(self, parts: Composition, health: Health) -> None:
        self._parts = parts
        self._core = parts.core
        self._health = health
        self._vigil = health.vigil
        self._leaving: set[int] = set()

    def apply(self, wanted: Settings, moment: Moment) -> Refitted:
        """Work by these settings from now on. Raises Busy, and has changed nothing, where a root is another's."""
        core, parts = self._core, self._parts
        now = core.settings
        settings, restart = reach.reachable(now, wanted)
        decoders_and_limits = seen_by(settings.limits)
        surveyed = {root.number: root for root in parts.survey(settings, settings.roots)}
        self._build(surveyed, decoders_and_limits)
        renewed = self._take_over(settings, decoders_and_limits, moment)
        removed = [number for number in core.roots if number not in surveyed]
        before = {number: root.settings.error_notes for number, root in core.roots.items()}
        removed_paths = tuple(core.roots[number].path for number in removed)
        for number in removed:
            self._remove(number)
        rescanned = [root for root in surveyed.values() if root.number in core.roots and self._refit(root, moment.now)]
        added = [root for root in surveyed.values() if root.number not in core.roots]
        for root in added:
            self._add(root, moment)
        parts.drop_nested()
        self._vigil.refit(moment.now)
        return Refitted(
            added=tuple(root.path for root in added),
            removed=removed_paths,
            rescanned=tuple(root.path for root in rescanned),
            changed=reach.changed(now, settings),
            restart=restart,
            effects=(
                *renewed,
                *(AskScanner(root=root.number, directory=b"") for root in rescanned),
                *(self._links_anew() if added or removed else ()),
                *self._notes(before),
            ),
        )

    def due(self, moment: Moment) -> None:  # noqa: ARG002  every pass
        """Take down the rooms of roots that have nothing in hand any more."""
        for number in [number for number in self._leaving if not self._core.attempts.in_root(number)]:
            self._leaving.discard(number)
            self._parts.rooms.pop(number).close()
            self._parts.drop_nested()

    # ---- the whole

    def _take_over(self, settings: Settings, decoders_and_limits: int, moment: Moment) -> list[Command]:
        """Every plain setting. Workers keep the address space that they were started with: for another, others."""
        core, workers = self._core, self._parts.workers
        size = pool_size(settings.pool, self._parts.machine)
        if settings.log != core.settings.log:
            configure(settings.log)
        core.force.settings = settings
        core.force.seen_by = decoders_and_limits
        core.force.most_workers = size.most_workers
        core.force.budget_bytes = core.admission.budget_bytes = size.budget_bytes
        core.settle.settings = settings.settle
        core.fleet.resize(settings.pool, size.most_workers, rest_factor=size.rest_factor)
        core.departures.refit(moment)
        space = address_space(size.budget_bytes)
        if space == workers.memory_bytes:
            return []
        workers.memory_bytes = space
        return core.fleet.renew(moment.now)

    # ---- one root

    def _build(self, surveyed: dict[int, WatchedRoot], decoders_and_limits: int) -> None:
        """Every new claim, and the rooms of roots that have none: the one thing that can fail, so it comes first."""
        rooms = self._parts.rooms
        new = [root for number, root in surveyed.items() if number not in rooms]
        going = [one for number, one in rooms.items() if number not in surveyed]
        built: dict[int, RootRooms] = {}
        with ExitStack() as unless_built:
            for one in going:
                one.give_way()
                unless_built.callback(one.claim, one.root)
            for number, root in surveyed.items():
                if number in rooms:
                    rooms[number].claim(root)
            for root in new:
                made = built[root.number] = RootRooms(root, self._parts.house, seen_by=decoders_and_limits)
                unless_built.callback(made.close)
            unless_built.pop_all()
        for number, one in built.items():
            one.start()
            rooms[number] = one

    def _add(self, root: WatchedRoot, moment: Moment) -> None:
        rooms = self._parts.rooms[root.number]
        if root.number in self._leaving:  # it is back before it was gone
            self._leaving.discard(root.number)
            rooms.refit(root, seen_by=self._core.force.seen_by)
            rooms.look_again()
        self._core.add_root(root, moment)
        self._health.watch(root.number)  # its scan follows once events arrive

    def _refit(self, root: WatchedRoot, now: float) -> bool:
        """Whether the root has to be scanned for it."""
        before = self._core.roots[root.number].settings.mode
        looks = self._parts.rooms[root.number].refit(root, seen_by=self._core.force.seen_by)
        self._core.refit_root(root, anew=looks)
        if root.settings.mode is not before and self._core.conditions.runnable(root.number):
            self._vigil.watch(root.number, now)
        return looks

    def _links_anew(self) -> Iterator[Effect]:
        """A link may lead into a root that came, or into none any more."""
        for number, root in self._core.roots.items():
            if root.settings.follow_symlinks:
                yield AskScanner(root=number, directory=b"", manner=Manner.QUICK_SWEEP)

    def _notes(self, before: dict[int, bool]) -> list[Effect]:
        """What follows for the error notes of the roots that were there before and are still."""
        there = {number: root.settings.error_notes for number, root in self._core.roots.items() if number in before}
        changed = [number for number, wanted in there.items() if wanted is not before[number]]
        return [effect for number in changed for effect in self._core.notes.switched(number)]

    def _remove(self, number: int) -> None:
        self._core.drop_root(number)
        self._health.unwatch(number)
        self._parts.rooms[number].stop_looking()
        self._leaving.add(number)
