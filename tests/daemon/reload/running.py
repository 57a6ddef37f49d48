"""A daemon that runs in a played world and reads its settings again.

The composition, with the rooms of real folders, and the refitting are the real ones; the world plays the disk, the
workers and the clock. What the hands or the scanner of a folder do themselves is asked of them, and of real files.
"""

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.daemon.roots.test_vigil import PlayedObserver, PlayedRooms
from tests.daemon.world import World, scan_ended
from watcherd.daemon.composition import Composition
from watcherd.daemon.reload.refitting import Refitted, Refitting
from watcherd.daemon.roots.vigil import Vigil
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.verbs.pausing import Pausing
from watcherd.pool.crew import FrameCame
from watcherd.pool.frames import Frame, Work
from watcherd.settings import RootSettings, Settings
from watcherd.watch.hands.hands import Request
from watcherd.watch.reports import Coverage, Felt, Manner, ScanEnded, Watching

PATIENCE_S = 30.0
SHOWN: dict[str, str] = {}
"""Which test shows which setting at work after a reload."""


def shows(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Says of a test which settings it shows."""

    def noted(test: Callable[..., None]) -> Callable[..., None]:
        SHOWN.update(dict.fromkeys(names, test.__name__))
        return test

    return noted


class Watchers:
    """Stands for the health of the roots: the real vigil, over observers that are played."""

    def __init__(self, running: "Running") -> None:
        self._running = running
        self.rooms = PlayedRooms()
        rooms: Any = _Everywhere(self.rooms)
        self.sweeps: list[Manner] = []
        self.vigil = Vigil(core=running.core, rooms=rooms, carry_out=self._carry_out)

    def watch(self, root: int) -> None:
        self.vigil.watch(root, self._running.now)

    def unwatch(self, root: int) -> None:
        self.vigil.unwatch(root)

    @property
    def observer(self) -> PlayedObserver:
        return self.rooms.made[-1]

    def pass_test(self) -> None:
        """The observer watches, and the event of its test's file comes."""
        running = self._running
        for item in (Coverage(root=running.root, watches=1, refused=0), Watching(root=running.root)):
            self.vigil.told(item, running.moment)
        self.vigil.told(Felt(root=running.root), running.moment)
        self.swept()

    def swept(self, *, is_quick: bool = False) -> None:
        """A sweep ends."""
        running = self._running
        self.vigil.scanned(scan_ended(running.root, is_quick=is_quick), running.moment)
        self.sweeps.clear()

    def wait(self, seconds: float) -> list[Manner]:
        """Let time go by for the vigil alone; the sweeps that it began."""
        end = self._running.now + seconds
        while (deadline := self.vigil.due(self._running.moment)) is not None and deadline <= end:
            self._running.now = max(deadline, self._running.now + 1e-6)
        self._running.now = end
        self.vigil.due(self._running.moment)
        return self.sweeps

    def _carry_out(self, effect: Any) -> None:
        if hasattr(effect, "manner"):
            self.sweeps.append(effect.manner)


class _Everywhere(dict[int, Any]):
    """The same rooms for every root."""

    def __init__(self, rooms: PlayedRooms) -> None:
        super().__init__()
        self._rooms = rooms

    def __getitem__(self, _: int) -> PlayedRooms:
        return self._rooms


@dataclass(slots=True)
class Running(World):
    """The daemon. `mute` workers never get ready; a job costs `cpu_s`."""

    mute: bool = False
    cpu_s: float = 0.0
    parts: Composition = field(init=False)
    refitting: Refitting = field(init=False)
    watchers: Watchers = field(init=False)
    pausing: Pausing = field(init=False)
    works: list[Work] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)

    def start(self) -> None:
        """Compose it, and take up what there is."""
        state = StateDirectory(str(self.folder / "state"))
        os.makedirs(state.path, exist_ok=True)
        os.makedirs(self.photos, exist_ok=True)
        if not self.settings.roots:
            self.settings = replace(self.settings, roots=(RootSettings(path=self.photos),))
        roots = self.settings.roots
        self.parts = Composition(self.settings, state, roots, patient=True, jitter=lambda: self.jitter)
        self.ledger, self.core = self.parts.ledger, self.parts.core
        self.root = self.other = min(self.core.roots)
        self.watchers = Watchers(self)
        health: Any = self.watchers
        self.refitting = Refitting(self.parts, health)
        self.pausing = Pausing(self.core, state.pauses, local=time.gmtime)
        self.hook = self._note
        self.core.recover(self.moment, self.scope)
        self.core.departures.seen_whole(self.root)

    def __exit__(self, *_: object) -> None:
        scanners = [rooms.scanner for rooms in self.parts.rooms.values()]
        self.parts.__exit__()
        for scanner in scanners:
            assert not scanner.is_alive() or scanner.join(PATIENCE_S)

    @property
    def photos(self) -> str:
        """The real folder of the root."""
        return str(self.folder / "photos")

    def reload(self, *, roots: dict[str, Any] | None = None, **tables: dict[str, Any]) -> Refitted:
        """Read other settings: what differs of the first root, and of each table."""
        settings = self.core.settings
        if roots is not None:
            settings = replace(settings, roots=(replace(settings.roots[0], **roots),))
        changed = {name: replace(getattr(settings, name), **keys) for name, keys in tables.items()}
        return self.refit(replace(settings, **changed))

    def refit(self, settings: Settings) -> Refitted:
        """Work by these settings."""
        done = self.refitting.apply(settings, self.moment)
        self.pausing.due(self.moment)
        self.carry_out(done.effects)
        self.settle_down()
        return done

    # ---- what the real hands and the real scanner of the folder say

    def ask_hands(self, request: Request) -> Any:
        """The answer of the root's hands to a request about its real files."""
        self.parts.rooms[self.root].hands.submit(request)
        return self.heard()[-1]

    def scan_files(self, manner: Manner = Manner.SWEEP) -> list[bytes]:
        """Sweep the real folder; what was found in it."""
        heard = self.scan_heard(manner)
        return [change.source.path for item in heard for change in getattr(item, "changes", ())]

    def scan_heard(self, manner: Manner) -> list[Any]:
        """Sweep the real folder; all that the scanner says."""
        scanner = self.parts.rooms[self.root].scanner
        if not scanner.is_alive():
            scanner.start()
        self.ledger.commit()
        scanner.request(manner=manner)
        return self.heard(lambda item: isinstance(item, ScanEnded))

    def heard(self, is_last: Callable[[object], bool] = lambda _: True) -> list[Any]:
        """What came from other threads, up to that; waits for it."""
        heard: list[Any] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.parts.inbox.descriptor, selectors.EVENT_READ)
            while not heard or not is_last(heard[-1]):
                assert selector.select(PATIENCE_S), f"no word for {PATIENCE_S} s after {heard}"
                heard += self.parts.inbox.take()
        return heard

    def report_all(self, items: list[Any]) -> None:
        """Hand to the core what was heard."""
        self._inbox += items

    # ---- what is played otherwise than in other worlds

    def _note(self, asked: Any) -> None:
        self.requests.append(asked.request)

    def _start_worker(self, slot: int) -> None:
        World._start_worker(self, slot)
        if self.mute:
            self._inbox.pop()

    def _tell_worker(self, effect: Any) -> None:
        if effect.body["type"] == "work":
            self.works.append(Work.parse(effect.body))
        World._tell_worker(self, effect)

    def _say(self, slot: int, body: dict[str, object], descriptors: tuple[int, ...] = ()) -> None:
        pid, rss_bytes = self.workers[slot].pid, 50 << 20
        frame = Frame(body, descriptors)
        self._inbox.append(FrameCame(slot=slot, frame=frame, rss_bytes=rss_bytes, pid=pid, cpu_s=self.cpu_s))


def running(folder: Path, **tables: dict[str, Any]) -> Running:
    """A daemon that begins with these settings beside the defaults, by table."""
    settings = Settings()
    root = replace(RootSettings(path=str(folder / "photos")), **tables.pop("roots", {}))
    plain = {name: replace(getattr(settings, name), **keys) for name, keys in tables.items()}
    plain.setdefault("pool", replace(settings.pool, workers=1, memory_bytes=4 << 30))
    return Running(folder, settings=replace(settings, roots=(root,), **plain))
