"""How new files of a root are found follows its events, and an observer that is blind is replaced."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest

from tests.daemon.world import World, scan_ended
from watcherd.daemon.effects import AskHands, AskScanner, Effect, Moment
from watcherd.daemon.roots.vigil import FIRST_RESTART_S, LONGEST_RESTART_S, SELF_TEST_S, Vigil
from watcherd.model import State
from watcherd.settings import ModeWanted
from watcherd.watch import roots as root_states
from watcherd.watch.hands.hands import Touch, Touched
from watcherd.watch.modes import POLL_S, STAND_IN_S, Mode
from watcherd.watch.reports import (
    Coverage,
    Felt,
    Manner,
    WatchFailed,
    Watching,
    WatchTrouble,
)
from watcherd.watch.roots import RootState


@dataclass
class PlayedObserver:
    """An observer that does what it is told and says nothing by itself."""

    alive: bool = False
    expected: list[bytes] = field(default_factory=list)
    counts: int = 0

    def start(self) -> None:
        self.alive = True

    def stop(self) -> None:
        self.alive = False

    def is_alive(self) -> bool:
        return self.alive

    def count(self) -> None:
        self.counts += 1

    def expect(self, name: bytes) -> None:
        self.expected.append(name)


@dataclass
class PlayedRooms:
    made: list[PlayedObserver] = field(default_factory=list)

    def observer(self) -> PlayedObserver:
        self.made.append(PlayedObserver())
        return self.made[-1]

    def temporary_name(self, random: str) -> bytes:
        return f".test-{random}".encode()


class Bench:
    """A vigil over the root of a world."""

    def __init__(self, world: World) -> None:
        self.world, self.root = world, world.root
        self.rooms = PlayedRooms()
        self.effects: list[Effect] = []
        rooms: Any = {world.root: self.rooms}
        self.vigil = Vigil(core=world.core, rooms=rooms, carry_out=self._take_up)

    def _take_up(self, effect: Effect) -> None:
        self.effects.append(effect)

    def begin(self, mode: ModeWanted = ModeWanted.AUTO, *, network: bool = False, **settings: Any) -> "Bench":
        root = self.world.core.roots[self.root]
        settings = {"mode": mode, **settings}
        self.world.core.roots[self.root] = replace(root, network=network, settings=replace(root.settings, **settings))
        self.vigil.watch(self.root, self.world.now)
        return self

    @property
    def moment(self) -> Moment:
        return self.world.moment

    @property
    def observer(self) -> PlayedObserver:
        return self.rooms.made[-1]

    def tell(self, *items: object) -> "Bench":
        for item in items:
            self.effects += self.vigil.told(item, self.moment)
        return self

    def watching(self, watches: int = 3, refused: int = 0) -> "Bench":
        return self.tell(Coverage(root=self.root, watches=watches, refused=refused), Watching(root=self.root))

    def wait(self, seconds: float) -> "Bench":
        """Let time go by, stopping at each deadline."""
        end = self.world.now + seconds
        while (deadline := self.vigil.due(self.moment)) is not None and deadline <= end:
            assert deadline > self.world.now - 1.0
            self.world.now = max(deadline, self.world.now + 1e-6)
        self.world.now = end
        self.vigil.due(self.moment)
        return self

    def scanned(self, directories: int = 3, *, is_quick: bool = False) -> None:
        ended = scan_ended(self.root, directories=directories, by_state={State.DONE: 0}, is_quick=is_quick)
        self.vigil.scanned(ended, self.moment)

    def take(self, kind: type) -> list[Any]:
        taken = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return taken

    def sweeps(self) -> list[Manner]:
        return [effect.manner for effect in self.take(AskScanner)]

    @property
    def mode(self) -> Mode:
        return self.world.core.modes.choice(self.root).mode


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


def passed(bench: Bench) -> Bench:
    bench.watching().tell(Felt(root=bench.root))
    bench.scanned()
    bench.effects.clear()
    return bench


# ------------------------------------------------------------------------------------------------- mode and self-test


def test_a_root_is_tested_as_soon_as_it_is_watched_and_then_scanned(bench: Bench) -> None:
    bench.begin().watching()
    (asked,) = bench.take(AskHands)
    assert isinstance(asked.request, Touch)
    assert bench.observer.expected == [asked.request.name]
    assert bench.sweeps() == [Manner.SWEEP]
    bench.tell(Touched(root=bench.root, ticket=asked.request.ticket, errno=0), Felt(root=bench.root))
    assert bench.wait(2 * SELF_TEST_S).mode is Mode.NATIVE


def test_a_root_whose_test_makes_no_event_is_scanned_often(bench: Bench) -> None:
    bench.begin().watching().wait(SELF_TEST_S + 1)
    assert bench.mode is Mode.SCAN
    bench.scanned()
    bench.sweeps()
    assert bench.wait(POLL_S).sweeps() == [Manner.QUICK_SWEEP]
    assert len(bench.rooms.made) == 1, "an observer that never heard anything is not replaced again and again"


def test_events_that_come_back_are_believed_again(bench: Bench) -> None:
    bench.begin().watching().wait(SELF_TEST_S + 1)
    bench.scanned()
    bench.wait(POLL_S + 1).tell(Felt(root=bench.root))
    assert bench.mode is Mode.NATIVE


def test_where_nothing_may_be_written_there_is_no_test(bench: Bench) -> None:
    bench.begin().watching().tell(Touched(root=bench.root, ticket=1, errno=30))
    assert bench.wait(10 * SELF_TEST_S).mode is Mode.NATIVE


def test_a_network_root_is_scanned_and_its_events_are_a_bonus(bench: Bench) -> None:
    bench.begin(network=True).watching().tell(Felt(root=bench.root))
    assert (bench.mode, bench.observer.alive) == (Mode.SCAN, True)


def test_a_root_that_is_set_to_scan_has_no_observer_and_is_swept_at_its_own_distance(bench: Bench) -> None:
    bench.begin(ModeWanted.SCAN, scan_interval_s=7.0)
    assert (bench.mode, bench.rooms.made, bench.sweeps()) == (Mode.SCAN, [], [Manner.SWEEP])
    bench.scanned()
    assert bench.wait(6.9).sweeps() == []
    assert bench.wait(0.2).sweeps() == [Manner.QUICK_SWEEP]


def test_a_root_that_cannot_be_watched_is_scanned_with_the_reason(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.begin().tell(WatchFailed(root=bench.root, why=WatchTrouble.INSTANCE_LIMIT, detail="OSError"))
    assert "each root takes one: sysctl fs.inotify.max_user_instances=1025" in capsys.readouterr().err
    choice = bench.world.core.modes.choice(bench.root)
    assert (choice.mode, "instance_limit" in choice.reason) == (Mode.SCAN, True)
    assert bench.sweeps() == [Manner.SWEEP]


# ----------------------------------------------------------------------------------------------------------- the limit


def test_where_watches_run_out_scans_stand_in_with_one_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("watcherd.daemon.roots.vigil.watch_limit", lambda: (1_000, "fs.inotify.max_user_watches"))
    monkeypatch.setattr(
        "watcherd.daemon.roots.vigil.log.warning", lambda event, **fields: said.append({"event": event, **fields})
    )
    bench.begin().watching(watches=3, refused=2).tell(Felt(root=bench.root))
    bench.tell(Coverage(root=bench.root, watches=3, refused=4))
    assert bench.mode is Mode.HYBRID
    (line,) = said
    assert (line["event"], line["folders"], line["unwatched"], line["limit"]) == ("root.watch_limit", 5, 2, 1_000)
    assert line["hint"] == "sysctl fs.inotify.max_user_watches=2048"
    bench.scanned(7)
    bench.sweeps()
    assert bench.wait(STAND_IN_S).sweeps() == [Manner.QUICK_SWEEP]
    bench.tell(Coverage(root=bench.root, watches=7, refused=0))
    assert bench.mode is Mode.NATIVE


def test_fewer_watches_than_a_full_scan_saw_folders_is_a_blind_spot(bench: Bench) -> None:
    passed(bench.begin())
    assert bench.observer.counts == 1, "each full scan has them counted"
    bench.scanned(100)
    bench.tell(Coverage(root=bench.root, watches=3, refused=0))
    assert bench.mode is Mode.HYBRID
    bench.wait(FIRST_RESTART_S + 11)
    assert [observer.alive for observer in bench.rooms.made] == [False, True]
    bench.watching(watches=100).tell(Felt(root=bench.root))
    assert bench.mode is Mode.NATIVE


def test_where_folders_cannot_be_watched_for_no_known_reason_scans_stand_in_for_good(bench: Bench) -> None:
    """Two mounts of one folder have one watch between them."""
    passed(bench.begin())
    for _ in range(3):
        bench.scanned(100)
        bench.tell(Coverage(root=bench.root, watches=3, refused=0))
        bench.wait(60)
        bench.watching(watches=3).tell(Felt(root=bench.root))
    bench.scanned(100)
    bench.tell(Coverage(root=bench.root, watches=3, refused=0))
    assert (bench.mode, len(bench.rooms.made)) == (Mode.HYBRID, 2)


# --------------------------------------------------------------------------------------------------------- supervision


def test_a_dead_observer_is_replaced_and_one_that_keeps_dying_less_and_less_often(bench: Bench) -> None:
    bench.begin()
    times = []
    for _ in range(5_000):
        before = len(bench.rooms.made)
        bench.observer.alive = False
        bench.wait(1)
        if len(bench.rooms.made) > before:
            times.append(bench.world.now)
    distances = [later - earlier for earlier, later in pairwise(times)]
    assert distances[0] >= FIRST_RESTART_S
    assert distances == sorted(distances)
    assert max(distances) <= LONGEST_RESTART_S + 21


def test_an_observer_that_fell_silent_is_replaced(bench: Bench) -> None:
    passed(bench.begin(scan_interval_s=60.0))
    bench.wait(60 + SELF_TEST_S + 1)
    assert bench.mode is Mode.SCAN
    bench.wait(FIRST_RESTART_S + 11)
    assert len(bench.rooms.made) == 2
    bench.watching().tell(Felt(root=bench.root))
    assert bench.mode is Mode.NATIVE


def test_what_is_away_is_neither_swept_nor_watched_anew_until_it_is_back(bench: Bench) -> None:
    passed(bench.begin(scan_interval_s=60.0))
    away = root_states.Identity(root=bench.root, present=False)
    bench.world.core.conditions._event(away, bench.moment)
    assert bench.world.core.conditions.state(bench.root) is RootState.OFFLINE
    bench.observer.alive = False
    bench.wait(3_000)
    assert (bench.sweeps(), len(bench.rooms.made)) == ([], 1)


def test_a_sweep_is_full_now_and_then_and_none_begins_while_one_runs(bench: Bench) -> None:
    passed(bench.begin(scan_interval_s=3_600.0))
    seen = []
    for _ in range(26):
        bench.wait(3_600)
        (manner,) = bench.sweeps()
        seen.append(manner)
        assert bench.wait(3_600).sweeps() == []
        bench.scanned(is_quick=manner is Manner.QUICK_SWEEP)
    assert seen.count(Manner.SWEEP) == 2


def test_a_root_that_comes_back_has_a_new_observer(bench: Bench) -> None:
    passed(bench.begin())
    bench.vigil.watch(bench.root, bench.world.now)
    assert [observer.alive for observer in bench.rooms.made] == [False, True]
    bench.vigil.unwatch(bench.root)
    assert [observer.alive for observer in bench.rooms.made] == [False, False]
    assert bench.tell(Watching(root=bench.root)).effects == []
