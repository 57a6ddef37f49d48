"""The loop while the ledger's disk is full: no uncommitted pass is carried out, and nothing that comes in is lost."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from watcherd.daemon.effects import AskScanner, Effect, Moment
from watcherd.daemon.loop import Loop
from watcherd.daemon.signals import Signalled
from watcherd.daemon.stall import MOST_HELD, RETRY_S, Stall
from watcherd.ledger.errors import LedgerFull
from watcherd.model import Change, ChangeKind, Source
from watcherd.pool.inbox import Inbox
from watcherd.pool.processes import Workers
from watcherd.settings import LogSettings
from watcherd.telemetry.log import configure
from watcherd.watch.reports import Doubt, DoubtReason


@dataclass(slots=True)
class FakeLedger:
    """Commits, unless its disk is full."""

    path: str = "/state/ledger.db"
    is_full: bool = False
    commits: int = 0
    has_uncommitted: bool = False

    def commit(self) -> None:
        if self.is_full:
            raise LedgerFull("cannot write the ledger: database or disk is full")
        self.commits += 1


@dataclass(slots=True)
class FakeCore:
    """Asks for a scan of a folder for every text that comes in, and is due all the time."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    steps: list[list[object]] = field(default_factory=list)

    def step(self, _: Moment, inputs: list[object]) -> list[Effect]:
        self.steps.append(inputs)
        return [AskScanner(root=1, directory=item) for item in inputs if isinstance(item, bytes)]

    def next_deadline(self) -> float | None:
        return 0.0


class Rooms(dict[int, Any]):
    """One root whose rooms note what they are asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.scanner = self
        super().__init__({1: self})

    def request(self, directory: bytes, **_: object) -> None:
        self.asked.append(directory)


@dataclass(slots=True)
class Beat:
    """A duty that counts its calls."""

    beats: int = 0

    def due(self, _: Moment) -> float | None:
        self.beats += 1
        return None


class Run:
    """A loop around a fake core, turned by hand."""

    def __init__(self) -> None:
        core: Any = FakeCore()
        self.core: FakeCore = core
        self.rooms = Rooms()
        self.vital, self.other = Beat(), Beat()
        self.inbox = Inbox()
        self.loop = Loop(
            core=core, inbox=self.inbox, workers=Workers(), rooms=self.rooms, duties=[self.vital, self.other]
        )
        self.loop.vital = [self.vital]
        self.signals: list[object] = []
        self.loop.handle(Signalled, self._signalled, in_stall=True)

    def _signalled(self, item: object, _: Moment) -> list[Effect]:
        self.signals.append(item)
        return []

    def turn(self, now: float, *inputs: object) -> None:
        self.loop.one_pass(Moment(now=now, wall_s=now), list(inputs))


@pytest.fixture
def run() -> Iterator[Run]:
    configure(LogSettings(), strict=True)
    one = Run()
    with contextlib.closing(one.inbox), contextlib.closing(one.loop.selector):
        yield one


def test_nothing_of_a_pass_is_carried_out_before_it_is_committed(run: Run) -> None:
    run.core.ledger.is_full = True
    run.turn(10.0, b"first")
    run.turn(10.5, b"second")
    run.turn(11.5, b"third")

    assert run.rooms.asked == []
    assert run.core.steps == [[b"first"]]
    assert run.loop.stall is not None


def test_when_there_is_room_the_pass_is_carried_out_and_what_has_waited_is_taken_in(run: Run) -> None:
    run.core.ledger.is_full = True
    run.turn(10.0, b"first")
    run.turn(10.2, b"second")
    run.core.ledger.is_full = False
    run.turn(10.9)
    assert run.rooms.asked == []  # tried once a second
    run.turn(11.0, b"third")

    assert run.loop.stall is None
    assert run.core.steps == [[b"first"], [b"second", b"third"]]
    assert run.rooms.asked == [b"first", b"second", b"third"]
    assert run.core.ledger.commits == 2


def test_in_a_stall_signals_are_served_and_only_the_vital_duties_go_on(run: Run) -> None:
    run.core.ledger.is_full = True
    run.turn(10.0, b"first")
    beats = run.vital.beats, run.other.beats
    run.turn(10.5, Signalled(15))
    deadline = run.loop._next_deadline(Moment(now=10.5, wall_s=10.5))

    assert run.signals == [Signalled(15)]
    assert (run.vital.beats - beats[0], run.other.beats - beats[1]) == (1, 0)
    assert deadline == 10.0 + RETRY_S


def test_a_one_shot_scan_ends_where_the_disk_is_full(run: Run) -> None:
    run.loop.vital = None
    run.core.ledger.is_full = True

    with pytest.raises(LedgerFull):
        run.turn(10.0, b"first")


def test_of_a_burst_without_end_only_that_it_was_is_kept() -> None:
    stall = Stall(0.0, "full", [], 1.0)
    for number in range(MOST_HELD + 1):
        stall.hold([Change(kind=ChangeKind.CREATED, source=Source(number % 2 + 1, b"%d.jpg" % number))])
    stall.hold([b"kept"])

    assert stall.inputs() == [
        b"kept",
        Doubt(root=1, directory=b"", why=DoubtReason.OVERFLOW),
        Doubt(root=2, directory=b"", why=DoubtReason.OVERFLOW),
    ]
