"""The loop: when a pass becomes durable, who wakes it, and in which order effects are carried out."""

import os
import selectors
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest

from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    CloseDescriptors,
    Effect,
    Moment,
    TellWorker,
    relies_on_ledger,
)
from watcherd.daemon.loop import Loop
from watcherd.model import Stamp
from watcherd.pool.crew import FrameCame
from watcherd.pool.frames import Frame
from watcherd.pool.inbox import Inbox
from watcherd.pool.processes import Workers
from watcherd.pool.slots import Busy, Next
from watcherd.watch.hands.hands import Fetch, Probe, Publish

STAMP = Stamp(1, 2, 3, 4, 1)
FETCH = AskHands(root=1, request=Fetch(ticket=1, path=b"a.jpg", stamp=STAMP, max_bytes=9))
PUBLISH = AskHands(root=1, request=Publish(ticket=1, path=b"a.jpg", stamp=STAMP, items=()))
PROBE = AskHands(root=1, request=Probe(ticket=1))


class FakeLedger:
    has_uncommitted = False
    commits = 0

    def commit(self) -> None:
        self.commits += self.has_uncommitted
        self.has_uncommitted = False


class FakeFleet:
    """Each worker renders something; that in slot 1 has its next job already."""

    def at_work(self, slot: int) -> Busy:
        after = Next(job=2, timeout_s=9.0) if slot == 1 else None
        return Busy(job=1, since=0.0, deadline=9.0, timeout_s=9.0, jobs=1, granted=True, next=after)


@dataclass
class FakeCore:
    """Says what it was told to say, and writes something in each pass."""

    all_at_work: bool = False
    effects: list[Effect] = field(default_factory=list)
    seen: list[object] = field(default_factory=list)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    fleet: FakeFleet = field(default_factory=FakeFleet)
    passes: int = 0

    def step(self, _moment: Moment, inputs: list[object]) -> list[Effect]:
        self.seen += inputs
        self.passes += 1
        self.ledger.has_uncommitted = True
        return list(self.effects)

    def next_deadline(self) -> float | None:
        return None


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with closing(Inbox()) as opened:
        yield opened


@pytest.fixture
def core() -> FakeCore:
    return FakeCore()


@pytest.fixture
def loop(core: FakeCore, inbox: Inbox) -> Loop:
    anything: Any = core
    return Loop(core=anything, inbox=inbox, workers=Workers(), rooms={}, duties=[])


def at(now: float) -> Moment:
    return Moment(now=now, wall_s=now)


# ------------------------------------------------------------------------------------------------------------- commits


def test_what_begins_an_attempt_or_changes_anything_outside_relies_on_the_ledger() -> None:
    begins = TellWorker(slot=0, body={}, descriptors=(7,))
    for effect in (begins, PROBE, AskScanner(root=1, directory=b""), Acknowledge(root=1)):
        assert relies_on_ledger(effect), effect


def test_what_can_be_done_once_more_does_not() -> None:
    for effect in (TellWorker(slot=0, body={}), FETCH, PUBLISH, CloseDescriptors(descriptors=(3,))):
        assert not relies_on_ledger(effect), effect


def test_a_pass_that_others_rely_on_is_committed_before_they_hear_of_it(loop: Loop, core: FakeCore) -> None:
    committed = []
    loop.carry_out = lambda _: committed.append(core.ledger.commits)  # type: ignore[method-assign]
    core.effects = [PROBE]
    loop.one_pass(at(10.0), [])
    assert committed == [1]


def test_a_worker_is_answered_before_the_commit_and_gets_its_next_job_after_it(loop: Loop, core: FakeCore) -> None:
    told: list[tuple[Effect, int]] = []
    loop.carry_out = lambda effect: told.append((effect, core.ledger.commits))  # type: ignore[method-assign]
    answer, work = TellWorker(slot=0, body={"type": "grant"}), TellWorker(slot=0, body={}, descriptors=(7,))
    core.effects = [work, answer]
    loop.one_pass(at(10.0), [])
    assert told == [(answer, 0), (work, 1)]


def test_a_pass_that_nothing_relies_on_is_committed_soon(loop: Loop, core: FakeCore) -> None:
    loop.one_pass(at(10.0), [])
    loop.one_pass(at(10.04), [])
    assert core.ledger.commits == 0
    loop.one_pass(at(10.06), [])
    assert core.ledger.commits == 1


def test_what_people_ask_for_is_committed_at_once(loop: Loop, core: FakeCore) -> None:
    loop.handle(str, lambda _item, _moment: [])
    loop.one_pass(at(10.0), ["retry a.jpg"])
    assert (core.ledger.commits, core.seen) == (1, [])


def test_nothing_is_left_uncommitted_at_the_end(loop: Loop, core: FakeCore) -> None:
    loop.run(lambda: True)
    assert (core.ledger.commits, core.ledger.has_uncommitted) == (1, False)


def test_workers_hear_of_it_before_the_hands_do(loop: Loop, core: FakeCore) -> None:
    told: list[Effect] = []
    loop.carry_out = told.append  # type: ignore[method-assign]
    core.effects = [FETCH, TellWorker(slot=0, body={}), PUBLISH]
    loop.one_pass(at(10.0), [])
    assert told == [TellWorker(slot=0, body={}), FETCH, PUBLISH]


# ----------------------------------------------------------------------------------------------------------- the inbox


def is_awake(inbox: Inbox) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(inbox.descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def test_a_word_wakes_the_loop(inbox: Inbox) -> None:
    assert inbox.is_empty(patient=False)
    inbox.post("word")
    assert is_awake(inbox)
    assert (inbox.take(), is_awake(inbox)) == (["word"], False)


def test_a_word_does_not_wake_a_patient_loop_and_is_found_by_it(inbox: Inbox) -> None:
    assert inbox.is_empty(patient=True)
    inbox.post("word")
    assert not is_awake(inbox)
    assert not inbox.is_empty(patient=False)
    assert inbox.take_unwoken() == ["word"]


def test_more_than_a_pass_takes_keeps_the_loop_awake(inbox: Inbox) -> None:
    inbox.is_empty(patient=True)
    for number in range(5_001):
        inbox.post(number)
    assert (len(inbox.take_unwoken()), is_awake(inbox)) == (5_000, True)
    assert (inbox.take(), is_awake(inbox)) == ([5_000], False)


@pytest.mark.parametrize("patient", [False, True])
def test_what_is_posted_from_outside_is_taken_in_at_all_times(loop: Loop, core: FakeCore, *, patient: bool) -> None:
    core.all_at_work = patient
    loop.inbox.post("before the wait")

    def speaks_once(_moment: Moment, inputs: list[object]) -> list[Effect]:
        if "before the wait" in inputs and not core.seen:
            loop.inbox.post("in a pass")
        core.seen += inputs
        return []

    core.step = speaks_once  # type: ignore[method-assign]
    loop.run(lambda: len(core.seen) == 2)
    assert core.seen == ["before the wait", "in a pass"]


def test_a_worker_is_heard_while_the_loop_is_patient(loop: Loop, core: FakeCore) -> None:
    core.all_at_work = True
    reader, writer = os.pipe()
    try:
        loop.selector.register(reader, selectors.EVENT_READ, lambda: [os.read(reader, 9)])
        os.write(writer, b"ready")
        loop.run(lambda: bool(core.seen))
    finally:
        os.close(reader)
        os.close(writer)
    assert core.seen == [b"ready"]


@dataclass
class FakeWorker:
    """Says that a job has ended, and what its next one is when that is taken in (or nothing more)."""

    loop: Loop
    slot: int
    goes_on: bool = True
    said: list[str] = field(default_factory=lambda: ["ended", "identified"])

    def speaks(self) -> None:
        self.reader, self.writer = os.pipe()
        self.loop.selector.register(self.reader, selectors.EVENT_READ, self.read)
        os.write(self.writer, b".")

    def read(self) -> list[object]:
        os.read(self.reader, 1)
        if self.goes_on and len(self.said) == 2:
            os.write(self.writer, b".")
        frame = Frame({"type": self.said.pop(0)})
        return [FrameCame(slot=self.slot, frame=frame, rss_bytes=0, pid=1)]

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.mark.parametrize(("slot", "passes"), [(0, 2), (1, 1)])
def test_a_worker_that_goes_on_by_itself_is_heard_out(loop: Loop, core: FakeCore, slot: int, passes: int) -> None:
    with closing(FakeWorker(loop, slot)) as worker:
        worker.speaks()
        loop.run(lambda: len(core.seen) == 2)
    assert core.passes == passes


def test_a_worker_that_says_nothing_more_is_not_waited_for(loop: Loop, core: FakeCore) -> None:
    with closing(FakeWorker(loop, 1, goes_on=False)) as worker:
        worker.speaks()
        loop.run(lambda: len(core.seen) == 1)
    assert core.passes == 1
