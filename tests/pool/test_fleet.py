"""The fleet as a machine: what always holds (whatever happens in whatever order), and each way of its own by name."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from watcherd.model import Crashed, StopReason, TimedOut
from watcherd.pool.fleet import (
    DISMISS_GRACE_S,
    LOST_AFTER_S,
    SURPLUS_AFTER_S,
    TERM_GRACE_S,
    Fleet,
)
from watcherd.pool.orders import (
    NO_THREAD,
    UNSEEN,
    Abandon,
    Assigned,
    AssignedNext,
    Broke,
    Command,
    Dismiss,
    Event,
    Exited,
    Finished,
    GiveUp,
    Granted,
    JobLost,
    JobReturned,
    Kill,
    NotStarted,
    Spawn,
    Terminate,
    WorkerReady,
)
from watcherd.pool.restarts import (
    FIRST_RESPAWN_DELAY_S,
    MAX_BOOT_FAILURES,
    MAX_KILLED_DELAY_S,
    MAX_LATER_BOOT_FAILURES,
    MAX_RESPAWN_DELAY_S,
    MAX_UNEXPLAINED,
)
from watcherd.pool.rests import MAX_REST_S, REST_CREDIT_S
from watcherd.pool.slots import Busy, Idle, Mode, Resting, Starting, Stopping
from watcherd.settings import PoolSettings

SETTINGS = PoolSettings(recycle_after_jobs=3, recycle_above_bytes=1_000, boot_timeout_s=30.0)
MOST = 3
OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", NO_THREAD, UNSEEN)
OWN = ("SIGSEGV", "SIGABRT", "SIGBUS", "exit 1", "exit 0")


# ------------------------------------------------------------------------------------------------- what always holds


class FleetMachine(RuleBasedStateMachine):
    """A fleet with processes that do whatever they like, and a model of who holds which job."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(SETTINGS, MOST)
        self.now = 1_000.0
        self.wanted = 0
        self.alive: set[int] = set()
        self.held: dict[int, int] = {}
        self.next: dict[int, int] = {}
        self.reported: list[int] = []
        self.jobs = 0
        self.given_up = 0
        self.busy_s = 0.0

    # ---- the shell's part

    def told(self, event: Event) -> None:
        self.carry_out(self.fleet.handle(event, self.now))

    def carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Spawn(slot=slot):
                    assert slot not in self.alive
                    assert self.fleet.mode is Mode.RUNNING
                    assert not self.given_up
                    self.alive.add(slot)
                case Dismiss(slot=slot) | Terminate(slot=slot) | Kill(slot=slot):
                    assert slot in self.alive
                case Abandon(slot=slot):
                    self.alive.remove(slot)
                case JobLost(slot=slot, job=job):
                    assert self.held.pop(slot) == job
                    self.reported.append(job)
                case JobReturned(slot=slot, job=job):
                    assert self.next.pop(slot) == job
                    self.reported.append(job)
                case GiveUp():
                    self.given_up += 1

    def one(self, data: st.DataObject, kind: Any = object) -> int:
        return data.draw(st.sampled_from(sorted(s for s in self.alive if isinstance(self.fleet.slots[s], kind))))

    # ---- what may happen

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0, 10.0, 40.0]), wanted=st.integers(0, MOST + 1))
    def time_passes(self, seconds: float, wanted: int) -> None:
        self.now += seconds
        self.tick(wanted)

    def tick(self, wanted: int) -> None:
        self.wanted = wanted
        self.carry_out(self.fleet.tick(self.now, wanted=wanted))

    @rule()
    def the_deadline_comes(self) -> None:
        deadline = self.fleet.next_deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self.tick(self.wanted)

    @precondition(lambda self: self.fleet.idle())
    @rule(timeout_s=st.sampled_from([0.5, 5.0, 60.0]))
    def a_job_is_given_out(self, timeout_s: float) -> None:
        slot = self.fleet.idle()[0]
        self.jobs += 1
        self.held[slot] = self.jobs
        self.told(Assigned(slot=slot, job=self.jobs, timeout_s=timeout_s))
        assert slot in self.held

    @rule(slot=st.integers(0, MOST - 1))
    def a_next_job_is_given_out(self, slot: int) -> None:
        is_open = slot in self.fleet.open_to_next()
        assert not (is_open and (self.fleet.idle() or slot in self.next or slot not in self.held))
        self.jobs += 1
        self.next[slot], before = self.jobs, self.next.get(slot)
        self.told(AssignedNext(slot=slot, job=self.jobs, timeout_s=7.0))
        assert is_open == (self.next.get(slot) == self.jobs)
        if before is not None:
            self.next[slot] = before

    @precondition(lambda self: self.fleet.open_to_next())
    @rule(timeout_s=st.sampled_from([0.5, 5.0]))
    def a_next_job_is_taken(self, timeout_s: float) -> None:
        slot = self.fleet.open_to_next()[0]
        self.jobs += 1
        self.next[slot] = self.jobs
        self.told(AssignedNext(slot=slot, job=self.jobs, timeout_s=timeout_s))
        assert slot not in self.fleet.open_to_next()

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def a_worker_says_it_is_ready(self, data: st.DataObject) -> None:
        self.told(WorkerReady(slot=self.one(data)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_job_is_granted(self, data: st.DataObject) -> None:
        self.told(Granted(slot=data.draw(st.sampled_from(sorted(self.held))), timeout_s=20.0))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), rss_bytes=st.sampled_from([0, 5_000]))
    def a_job_ends(self, data: st.DataObject, rss_bytes: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.held)))
        self.reported.append(self.held.pop(slot))
        goes_on = isinstance(self.fleet.slots[slot], Busy)
        self.told(Finished(slot=slot, rss_bytes=rss_bytes))
        if goes_on and slot in self.next:
            self.held[slot] = self.next.pop(slot)

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), how=st.sampled_from(OUTSIDE + OWN))
    def a_worker_exits(self, data: st.DataObject, how: str) -> None:
        slot = self.one(data)
        self.alive.remove(slot)
        self.told(Exited(slot=slot, how=how))
        assert slot not in self.held
        assert slot not in self.next

    @rule(really=st.integers(0, 4))
    def idle_workers_die_one_after_another(self, really: int) -> None:
        for _ in range(0 if really else MAX_UNEXPLAINED + 1):
            self.the_deadline_comes()
            for slot, state in self.fleet.slots.items():
                if isinstance(state, Starting):
                    self.told(WorkerReady(slot=slot))
            for slot in self.fleet.idle()[:1]:
                self.alive.remove(slot)
                self.told(Exited(slot=slot, how="SIGBUS"))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def a_worker_breaks_the_protocol(self, data: st.DataObject) -> None:
        self.told(Broke(slot=self.one(data), detail="garbage"))

    @precondition(lambda self: any(isinstance(state, Starting) for state in self.fleet.slots.values()))
    @rule(data=st.data())
    def a_worker_could_not_be_started(self, data: st.DataObject) -> None:
        slot = self.one(data, Starting)
        self.alive.remove(slot)
        self.told(NotStarted(slot=slot, detail="no processes left"))

    @rule(slot=st.integers(0, MOST - 1))
    def news_of_a_worker_that_is_long_gone(self, slot: int) -> None:
        if slot not in self.alive:
            for event in (Broke(slot=slot, detail="late"), Finished(slot=slot, rss_bytes=0), WorkerReady(slot=slot)):
                assert self.fleet.handle(event, self.now) == []

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_job_is_called_off(self, data: st.DataObject) -> None:
        self.carry_out(self.fleet.stop_job(data.draw(st.sampled_from(sorted(self.held.values()))), self.now))

    @rule(really=st.integers(0, 4))
    def the_workers_are_renewed(self, really: int) -> None:
        if really == 0:
            self.carry_out(self.fleet.renew(self.now))

    @rule(really=st.integers(0, 9))
    def the_daemon_drains(self, really: int) -> None:
        if really == 0:
            before = self.fleet.mode
            self.carry_out(self.fleet.drain(self.now))
            assert self.fleet.mode is (Mode.DRAINING if before is Mode.RUNNING else before)

    @rule(really=st.integers(0, 19))
    def the_daemon_halts(self, really: int) -> None:
        if really == 0:
            self.carry_out(self.fleet.halt(self.now))

    # ---- what must hold

    @invariant()
    def every_unexited_worker_has_its_slot(self) -> None:
        assert set(self.fleet.slots) == self.alive
        assert len(self.alive) <= MOST

    @invariant()
    def every_job_is_held_once_or_was_reported_once(self) -> None:
        states = self.fleet.slots.items()
        assert {s: x.job for s, x in states if isinstance(x, Busy | Stopping) and x.job is not None} == self.held
        assert {s: x.next.job for s, x in states if isinstance(x, Busy | Stopping) and x.next is not None} == self.next
        assert sorted([*self.reported, *self.held.values(), *self.next.values()]) == list(range(1, self.jobs + 1))

    @invariant()
    def it_gives_up_once(self) -> None:
        assert self.given_up <= 1

    @invariant()
    def time_at_work_only_grows(self) -> None:
        busy_s = self.fleet.busy_seconds(self.now)
        assert busy_s >= self.busy_s
        self.busy_s = busy_s

    @invariant()
    def the_deadline_is_exact(self) -> None:
        settled = deepcopy(self.fleet)
        settled.tick(self.now, wanted=self.wanted)
        deadline = settled.next_deadline()
        if deadline is None:
            assert deepcopy(settled).tick(self.now + 1e6, wanted=self.wanted) == []
            return
        assert deadline > self.now
        for early in (self.now, (self.now + deadline) / 2, deadline - 1e-6):
            assert deepcopy(settled).tick(early, wanted=self.wanted) == []
        assert settled.tick(deadline, wanted=self.wanted) != []

    def teardown(self) -> None:
        """From wherever it has come to: a drain ends when the jobs do, and a halt whatever the workers do."""
        drained = deepcopy(self.fleet)
        drained.drain(self.now)
        for slot, state in drained.slots.items():
            if isinstance(state, Busy):
                for _ in range(1 + (state.next is not None)):
                    drained.handle(Finished(slot=slot, rss_bytes=0), self.now)
        for slot in drained.slots:
            drained.handle(Exited(slot=slot, how="exit 0"), self.now)
        assert drained.halted
        self.carry_out(self.fleet.halt(self.now))
        for _ in range(3 * MOST):
            self.the_deadline_comes()
        assert self.fleet.halted
        assert self.held == self.next == {}


TestFleetMachine = FleetMachine.TestCase


# --------------------------------------------------------------------------------------------------- ways, by name


class Course:
    """A fleet, a clock moved by hand, and everything that was ordered so far."""

    def __init__(self, most: int = 1, **changes: Any) -> None:
        self.fleet = Fleet(replace(SETTINGS, **changes), most)
        self.now = 0.0
        self.orders: list[Command] = []

    def tick(self, after_s: float = 0.0, *, wanted: int = 1) -> list[Command]:
        self.now += after_s
        return self._noted(self.fleet.tick(self.now, wanted=wanted))

    def told(self, *events: Event) -> list[Command]:
        return self._noted([command for event in events for command in self.fleet.handle(event, self.now)])

    def drain(self) -> list[Command]:
        return self._noted(self.fleet.drain(self.now))

    def halt(self) -> list[Command]:
        return self._noted(self.fleet.halt(self.now))

    def _noted(self, commands: list[Command]) -> list[Command]:
        self.orders += commands
        return commands

    def idle(self, workers: int = 1) -> "Course":
        self.tick(wanted=workers)
        self.told(*(WorkerReady(slot=slot) for slot in range(workers)))
        return self

    def busy(self, workers: int = 1, timeout_s: float = 60.0) -> "Course":
        self.idle(workers)
        self.told(*(Assigned(slot=slot, job=slot + 1, timeout_s=timeout_s) for slot in range(workers)))
        return self


def lost(how: str, *, outside: bool, slot: int = 0, job: int = 1) -> JobLost:
    return JobLost(slot=slot, job=job, outcome=Crashed(how=how, outside=outside))


def test_workers_are_started_for_the_work_there_is_and_not_more() -> None:
    course = Course(most=3)
    assert course.tick(wanted=2) == [Spawn(slot=0), Spawn(slot=1)]
    assert course.tick(wanted=2) == []
    assert course.tick(wanted=9) == [Spawn(slot=2)]


def test_a_worker_that_has_just_worked_is_taken_first_so_that_the_others_can_leave() -> None:
    course = Course(most=2).busy(workers=2)
    course.told(Finished(slot=1, rss_bytes=0))
    course.now += 1
    course.told(Finished(slot=0, rss_bytes=0))
    assert course.fleet.idle() == [0, 1]


def test_a_missed_deadline_brings_sigterm_then_sigkill_and_the_job_has_timed_out() -> None:
    course = Course().busy(timeout_s=60.0)
    assert course.tick(59.9) == []
    assert course.tick(0.1) == [Terminate(slot=0, reason=StopReason.HUNG)]
    assert course.tick(TERM_GRACE_S) == [Kill(slot=0, reason=StopReason.HUNG)]
    assert course.told(Exited(slot=0, how="SIGKILL")) == [
        JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=60.0)),
    ]


def test_the_deadline_starts_anew_with_the_grant() -> None:
    course = Course().busy(timeout_s=60.0)
    course.now = 50.0
    course.told(Granted(slot=0, timeout_s=20.0))
    assert course.fleet.next_deadline() == 70.0
    course.tick(20.0)
    assert course.told(Exited(slot=0, how="SIGTERM")) == [JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=20.0))]


def test_a_job_that_ends_while_its_late_worker_is_being_ended_has_ended() -> None:
    course = Course().busy(timeout_s=60.0)
    course.tick(60.0)
    assert course.told(Finished(slot=0, rss_bytes=0), Exited(slot=0, how="SIGTERM")) == []


def test_a_worker_that_breaks_off_while_it_is_ended_for_its_deadline_has_timed_out_all_the_same() -> None:
    course = Course().busy(timeout_s=60.0)
    course.tick(60.0)
    assert course.told(Broke(slot=0, detail="half a frame")) == [Kill(slot=0, reason=StopReason.HUNG)]
    assert course.told(Broke(slot=0, detail="again")) == []
    assert course.told(Exited(slot=0, how="SIGKILL")) == [JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=60.0))]


def test_a_worker_that_does_not_die_is_lost_and_its_slot_freed() -> None:
    course = Course().busy(timeout_s=60.0)
    for grace_s in (60.0, TERM_GRACE_S):
        course.tick(grace_s)
    assert course.tick(LOST_AFTER_S) == [
        JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=60.0)),
        Abandon(slot=0),
        Spawn(slot=0),
    ]


@pytest.mark.parametrize("how", OUTSIDE)
def test_a_kill_from_outside_is_not_the_sources_doing(how: str) -> None:
    assert Course().busy().told(Exited(slot=0, how=how)) == [lost(how, outside=True)]


@pytest.mark.parametrize("how", OWN)
def test_any_other_end_is_the_sources_doing(how: str) -> None:
    assert Course().busy().told(Exited(slot=0, how=how)) == [lost(how, outside=False)]


def test_a_worker_that_breaks_the_protocol_is_killed_and_its_source_charged() -> None:
    course = Course().busy()
    assert course.told(Broke(slot=0, detail="garbage")) == [Kill(slot=0, reason=StopReason.HUNG)]
    assert course.told(Exited(slot=0, how="SIGKILL")) == [lost("broke the protocol", outside=False)]


def test_a_worker_that_speaks_out_of_turn_breaks_the_protocol() -> None:
    assert Course().busy().told(WorkerReady(slot=0)) == [Kill(slot=0, reason=StopReason.HUNG)]
    assert Course().idle().told(Finished(slot=0, rss_bytes=0)) == [Kill(slot=0, reason=StopReason.HUNG)]


def test_a_job_for_a_worker_that_is_not_there_for_it_is_lost_at_once() -> None:
    course = Course(most=2)
    course.tick()
    assigned = [Assigned(slot=slot, job=5 + slot, timeout_s=60.0) for slot in (0, 1)]
    assert course.told(*assigned) == [
        lost("no worker was there for it", outside=True, slot=slot, job=5 + slot) for slot in (0, 1)
    ]


def test_a_job_that_is_called_off_ends_with_its_worker_and_is_nobodys_fault() -> None:
    course = Course().busy()
    assert course.fleet.stop_job(1, course.now) == [Terminate(slot=0, reason=StopReason.SURPLUS)]
    assert course.fleet.stop_job(1, course.now) == []
    assert course.told(Exited(slot=0, how="SIGTERM")) == [lost("ended by us (surplus)", outside=True)]


# ---- the next job


def rendering(**changes: Any) -> Course:
    """One worker that renders job 1."""
    course = Course(**changes).busy()
    course.told(Granted(slot=0, timeout_s=20.0))
    return course


def with_next(**changes: Any) -> Course:
    """The same, and has been sent job 2."""
    course = rendering(**changes)
    course.told(AssignedNext(slot=0, job=2, timeout_s=7.0))
    return course


def test_a_worker_that_has_its_next_job_goes_on_with_it_and_has_the_time_for_it_from_then_on() -> None:
    course = with_next()
    course.now = 15.0
    assert course.told(Finished(slot=0, rss_bytes=0)) == []
    assert course.fleet.slots[0] == Busy(job=2, since=15.0, deadline=22.0, timeout_s=7.0, jobs=2)
    course.tick(7.0)
    assert course.told(Exited(slot=0, how="SIGTERM")) == [JobLost(slot=0, job=2, outcome=TimedOut(timeout_s=7.0))]


@pytest.mark.parametrize("how", OUTSIDE + OWN)
def test_the_end_of_a_worker_is_never_charged_to_the_job_that_it_had_not_begun(how: str) -> None:
    outside = how in OUTSIDE
    assert with_next().told(Exited(slot=0, how=how)) == [lost(how, outside=outside), JobReturned(slot=0, job=2)]


@pytest.mark.parametrize("how", OUTSIDE + OWN)
def test_the_end_of_a_worker_is_charged_to_its_next_job_once_it_has_begun_that(how: str) -> None:
    course = with_next()
    course.told(Finished(slot=0, rss_bytes=0))
    assert course.told(Exited(slot=0, how=how)) == [lost(how, outside=how in OUTSIDE, job=2)]


def test_a_job_that_misses_its_deadline_does_not_take_the_next_one_with_it() -> None:
    course = with_next()
    assert course.tick(20.0) == [Terminate(slot=0, reason=StopReason.HUNG)]
    assert course.told(Exited(slot=0, how="SIGTERM")) == [
        JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=20.0)),
        JobReturned(slot=0, job=2),
    ]


def test_a_worker_that_ends_its_job_while_it_is_being_ended_does_not_go_on_with_the_next() -> None:
    course = with_next()
    course.tick(20.0)
    assert course.told(Finished(slot=0, rss_bytes=0), Exited(slot=0, how="SIGTERM")) == [JobReturned(slot=0, job=2)]


def test_the_next_job_of_a_worker_that_does_not_die_comes_back_with_its_slot() -> None:
    course = with_next()
    for grace_s in (20.0, TERM_GRACE_S):
        course.tick(grace_s)
    assert course.tick(LOST_AFTER_S) == [
        JobLost(slot=0, job=1, outcome=TimedOut(timeout_s=20.0)),
        JobReturned(slot=0, job=2),
        Abandon(slot=0),
        Spawn(slot=0),
    ]


def test_a_halt_brings_the_next_job_back() -> None:
    course = with_next()
    course.halt()
    assert course.told(Exited(slot=0, how="SIGTERM"))[1:] == [JobReturned(slot=0, job=2)]


@pytest.mark.parametrize("stop", ["drain", "renew", "resize"])
def test_a_worker_that_is_to_leave_after_its_job_does_the_next_one_before(stop: str) -> None:
    course = with_next()
    if stop == "resize":
        course.fleet.resize(SETTINGS, 0, rest_factor=0.0)
    else:
        getattr(course.fleet, stop)(course.now)
    assert course.told(Finished(slot=0, rss_bytes=0)) == []
    ordered = course.told(Finished(slot=0, rss_bytes=0))
    assert [type(order) for order in ordered] == [Dismiss]


def test_a_worker_that_has_grown_too_large_leaves_after_the_next_job_and_gets_no_other_one() -> None:
    course = with_next()
    assert course.told(Finished(slot=0, rss_bytes=5_000), Granted(slot=0, timeout_s=20.0)) == []
    assert course.fleet.open_to_next() == []
    assert course.told(Finished(slot=0, rss_bytes=5_000)) == [Dismiss(slot=0, reason=StopReason.BLOATED)]


def test_a_next_job_is_for_a_worker_that_renders_and_has_none_yet() -> None:
    assert Course().idle().fleet.open_to_next() == []
    assert Course().busy().fleet.open_to_next() == []
    assert rendering().fleet.open_to_next() == [0]
    assert with_next().fleet.open_to_next() == []


def test_nobody_has_a_next_job_while_somebody_is_idle() -> None:
    course = Course(most=2).idle(workers=2)
    course.told(Assigned(slot=0, job=1, timeout_s=60.0), Granted(slot=0, timeout_s=20.0))
    assert course.fleet.open_to_next() == []
    course.told(Assigned(slot=1, job=2, timeout_s=60.0))
    assert course.fleet.open_to_next() == [0]


def test_a_worker_that_leaves_or_rests_after_its_job_gets_no_next_one() -> None:
    assert rendering(recycle_after_jobs=1).fleet.open_to_next() == []
    for change in ("drain", "renew"):
        course = rendering()
        getattr(course.fleet, change)(course.now)
        assert course.fleet.open_to_next() == []
    course = rendering()
    course.fleet.resize(SETTINGS, 1, rest_factor=0.5)
    assert course.fleet.open_to_next() == []


def test_a_next_job_that_cannot_be_taken_comes_back_at_once() -> None:
    for course in (Course(), Course().idle(), Course().busy(), with_next()):
        assert course.told(AssignedNext(slot=0, job=9, timeout_s=7.0)) == [JobReturned(slot=0, job=9)]


# ---- recycling, surplus


def test_a_worn_worker_leaves_after_its_job_and_is_replaced() -> None:
    course = Course(recycle_after_jobs=2).busy()
    assert course.told(Finished(slot=0, rss_bytes=0)) == []
    course.told(Assigned(slot=0, job=2, timeout_s=60.0))
    assert course.told(Finished(slot=0, rss_bytes=0)) == [Dismiss(slot=0, reason=StopReason.WORN)]
    assert course.tick() == []  # its place is taken until its exit is seen
    course.told(Exited(slot=0, how="exit 0"))
    assert course.tick() == [Spawn(slot=0)]


def test_a_bloated_worker_leaves_after_its_job() -> None:
    course = Course(recycle_above_bytes=100).busy()
    assert course.told(Finished(slot=0, rss_bytes=101)) == [Dismiss(slot=0, reason=StopReason.BLOATED)]


def test_a_worker_that_does_not_leave_when_asked_is_made_to() -> None:
    course = Course(recycle_after_jobs=1).busy()
    course.told(Finished(slot=0, rss_bytes=0))
    assert course.tick(DISMISS_GRACE_S) == [Terminate(slot=0, reason=StopReason.WORN)]
    assert course.tick(TERM_GRACE_S) == [Kill(slot=0, reason=StopReason.WORN)]
    assert course.tick(LOST_AFTER_S) == [Abandon(slot=0), Spawn(slot=0)]


def test_surplus_workers_leave_the_longest_rested_first_and_only_after_a_while() -> None:
    course = Course(most=3).idle(workers=3)
    course.told(Assigned(slot=1, job=1, timeout_s=60.0))
    course.now = 1.0
    course.told(Finished(slot=1, rss_bytes=0))
    assert course.tick(wanted=1) == []
    assert course.fleet.next_deadline() == SURPLUS_AFTER_S
    course.now = SURPLUS_AFTER_S
    assert course.tick(wanted=1) == [Dismiss(slot=slot, reason=StopReason.SURPLUS) for slot in (0, 2)]
    assert course.fleet.idle() == [1]


def test_after_a_resize_workers_above_the_number_leave_at_once_or_with_the_end_of_their_job() -> None:
    course = Course(most=3).idle(workers=3)
    course.told(Assigned(slot=0, job=1, timeout_s=60.0))
    course.fleet.resize(PoolSettings(), 1, rest_factor=0.0)
    assert course.tick(wanted=3) == [Dismiss(slot=slot, reason=StopReason.SURPLUS) for slot in (1, 2)]
    assert course.told(Finished(slot=0, rss_bytes=0)) == []

    course = Course(most=2).idle(workers=2)
    course.told(Assigned(slot=0, job=1, timeout_s=60.0))
    course.told(Assigned(slot=1, job=2, timeout_s=60.0))
    course.fleet.resize(PoolSettings(), 1, rest_factor=0.0)
    assert course.tick(wanted=2) == []
    assert course.told(Finished(slot=1, rss_bytes=0)) == [Dismiss(slot=1, reason=StopReason.SURPLUS)]
    assert course.told(Finished(slot=0, rss_bytes=0)) == []


def test_after_a_resize_to_more_the_wanted_workers_are_started() -> None:
    course = Course(most=1).idle(workers=1)
    course.fleet.resize(PoolSettings(), 3, rest_factor=0.0)
    assert course.tick(wanted=3) == [Spawn(slot=1), Spawn(slot=2)]


def test_a_renewal_replaces_those_without_a_job_at_once_and_the_others_after_it() -> None:
    course = Course(most=3).idle(workers=2)
    course.told(Assigned(slot=0, job=1, timeout_s=60.0))
    course.tick(wanted=3)
    assert course.fleet.renew(course.now) == [Dismiss(slot=slot, reason=StopReason.OUTDATED) for slot in (1, 2)]
    assert course.told(Finished(slot=0, rss_bytes=0)) == [Dismiss(slot=0, reason=StopReason.OUTDATED)]
    course.told(*(Exited(slot=slot, how="exit 0") for slot in range(3)))
    assert course.tick(wanted=1) == [Spawn(slot=0)]
    course.told(WorkerReady(slot=0), Assigned(slot=0, job=2, timeout_s=60.0))
    assert course.told(Finished(slot=0, rss_bytes=0)) == []


def test_a_worker_that_crashes_before_its_renewal_is_followed_by_one_that_stays() -> None:
    course = Course(most=1).busy()
    assert course.fleet.renew(course.now) == []
    course.told(Exited(slot=0, how="SIGSEGV"))
    course.busy()
    assert course.told(Finished(slot=0, rss_bytes=0)) == []


def test_in_a_drain_nothing_is_renewed() -> None:
    course = Course(most=1).busy()
    course.drain()
    assert course.fleet.renew(course.now) == []
    assert course.told(Finished(slot=0, rss_bytes=0)) == [Dismiss(slot=0, reason=StopReason.SHUTDOWN)]


def test_workers_that_rest_but_are_wanted_stay_and_wake_nobody() -> None:
    """All their work may lie on a paused disk: a deadline in the past would spin the loop."""
    course = Course(most=2).idle(workers=2)
    assert course.tick(2 * SURPLUS_AFTER_S, wanted=2) == []
    assert course.fleet.next_deadline() is None


# ---- starting


def test_a_worker_that_is_not_ready_in_time_is_killed_and_counts_as_a_boot_failure() -> None:
    course = Course(boot_timeout_s=10.0)
    course.tick()
    assert course.tick(10.0) == [Kill(slot=0, reason=StopReason.BOOT_FAILED)]
    assert course.told(Exited(slot=0, how="SIGKILL")) == []


def fail_to_start(course: Course, event: Event) -> list[Command]:
    commands = course.told(event)
    if any(isinstance(command, Kill) for command in commands):
        commands += course.told(Exited(slot=0, how="SIGKILL"))
    course.tick(MAX_RESPAWN_DELAY_S)
    return commands


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Exited(slot=0, how="exit 1", last_words="no module named x"), "(exit 1): no module named x"),
        (NotStarted(slot=0, detail="out of processes"), "out of processes"),
        (Broke(slot=0, detail="not JSON"), "not JSON"),
    ],
)
def test_workers_that_cannot_start_end_the_daemon_with_the_reason(event: Event, words: str) -> None:
    course = Course()
    course.tick()
    for _ in range(MAX_BOOT_FAILURES - 1):
        assert not any(isinstance(command, GiveUp) for command in fail_to_start(course, event))
    given_up = [command for command in fail_to_start(course, event) if isinstance(command, GiveUp)]
    assert len(given_up) == 1
    assert words in given_up[0].detail
    assert course.tick(60.0) == []
    assert course.fleet.next_deadline() is None


def test_a_worker_that_gets_ready_ends_the_row_of_boot_failures() -> None:
    course = Course()
    course.tick()
    for _ in range(3):
        for _ in range(MAX_BOOT_FAILURES - 1):
            fail_to_start(course, Exited(slot=0, how="exit 1"))
        course.told(WorkerReady(slot=0), Exited(slot=0, how="SIGKILL"))
        course.tick(MAX_RESPAWN_DELAY_S)
    assert not any(isinstance(order, GiveUp) for order in course.orders)


def test_kills_from_outside_while_starting_only_space_the_starts_out() -> None:
    course = Course()
    course.tick()
    waits = []
    for _ in range(8):
        course.told(Exited(slot=0, how="SIGKILL"))
        deadline = course.fleet.next_deadline()
        assert deadline is not None
        waits.append(round(deadline - course.now, 3))
        assert course.tick(deadline - course.now) == [Spawn(slot=0)]
    assert waits == [0.1, 0.2, 0.4, 0.8, *[MAX_KILLED_DELAY_S] * 4]


def test_failures_to_start_space_the_starts_out_until_no_more_are_made() -> None:
    course = Course(most=2).idle()
    waits = []
    for _ in range(8):
        assert Spawn(slot=1) in course.tick(wanted=2)
        course.told(Exited(slot=1, how="exit 1"))
        waits.append(round((course.fleet.next_deadline() or 0.0) - course.now, 3))
        course.now += waits[-1]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, MAX_RESPAWN_DELAY_S, MAX_RESPAWN_DELAY_S]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
def test_workers_that_were_ready_are_replaced_at_once_however_often_they_are_killed(how: str) -> None:
    course = Course(most=2)
    for _ in range(50):
        course.busy(workers=2)
        course.told(Exited(slot=0, how=how), Exited(slot=1, how=how))
        assert course.tick(wanted=2) == [Spawn(slot=0), Spawn(slot=1)]
        course.told(
            *(WorkerReady(slot=slot) for slot in (0, 1)), *(Exited(slot=slot, how="SIGKILL") for slot in (0, 1))
        )


def test_a_kill_of_a_worker_at_work_does_not_hide_that_others_cannot_start() -> None:
    course = Course(most=2).busy()
    for _ in range(MAX_LATER_BOOT_FAILURES):
        course.tick(MAX_RESPAWN_DELAY_S, wanted=2)
        course.told(Exited(slot=1, how="exit 1"))
    assert course.fleet.degraded
    course.told(Exited(slot=0, how="SIGKILL"))
    course.tick(MAX_RESPAWN_DELAY_S, wanted=1)
    orders = course.told(Exited(slot=0, how="exit 1"))
    assert [type(order) for order in orders] == [GiveUp]


def test_a_worker_that_gets_ready_lets_the_next_one_start_at_once() -> None:
    course = Course(most=2).idle(workers=2)
    course.told(Exited(slot=0, how="exit 1"))
    assert course.fleet.next_deadline() is None or course.tick(wanted=2) == []
    assert course.tick(FIRST_RESPAWN_DELAY_S, wanted=2) == [Spawn(slot=0)]
    course.told(Exited(slot=1, how="SIGKILL"), WorkerReady(slot=0))
    assert course.tick(wanted=2) == [Spawn(slot=1)]


def test_a_death_that_leaves_enough_workers_wakes_nobody() -> None:
    course = Course(most=2).idle(workers=2)
    course.told(Exited(slot=0, how="SIGKILL"))
    course.tick(60.0, wanted=1)
    assert course.fleet.next_deadline() is None


@pytest.mark.parametrize("end", [Exited(slot=0, how="SIGSEGV"), Broke(slot=0, detail="garbage")])
def test_too_many_idle_workers_that_die_end_the_daemon(end: Event) -> None:
    course = Course()
    for _ in range(MAX_UNEXPLAINED + 1):
        course.idle()
        course.told(end, Exited(slot=0, how="SIGKILL"))
        course.now += MAX_RESPAWN_DELAY_S
    given_up = [order for order in course.orders if isinstance(order, GiveUp)]
    assert [f"{MAX_UNEXPLAINED + 1} idle workers" in order.detail for order in given_up] == [True]


def test_idle_workers_that_die_now_and_then_are_replaced() -> None:
    course = Course()
    for _ in range(5 * MAX_UNEXPLAINED):
        course.idle()
        course.told(Exited(slot=0, how="SIGSEGV"))
        course.now += 7.0
    assert not any(isinstance(order, GiveUp) for order in course.orders)


def test_sources_that_crash_their_workers_never_end_the_daemon() -> None:
    course = Course()
    for _ in range(5 * MAX_UNEXPLAINED):
        course.busy()
        course.told(Exited(slot=0, how="SIGSEGV"))
        course.now += FIRST_RESPAWN_DELAY_S
    assert not any(isinstance(order, GiveUp) for order in course.orders)


# ---- ends


def test_draining_ends_idle_and_starting_workers_and_lets_busy_ones_finish() -> None:
    course = Course(most=3).idle(workers=2)
    course.told(Assigned(slot=0, job=1, timeout_s=60.0))
    course.tick(wanted=3)
    assert course.drain() == [Dismiss(slot=slot, reason=StopReason.SHUTDOWN) for slot in (1, 2)]
    assert course.told(*(Exited(slot=slot, how="exit 0") for slot in (1, 2))) == []
    assert not course.fleet.halted
    assert course.told(Finished(slot=0, rss_bytes=0)) == [Dismiss(slot=0, reason=StopReason.SHUTDOWN)]
    course.told(Exited(slot=0, how="exit 0"))
    assert course.fleet.halted
    assert course.tick(60.0, wanted=3) == []


def test_a_worker_that_gets_ready_while_draining_is_given_nothing() -> None:
    course = Course()
    course.tick()
    course.drain()
    assert course.told(WorkerReady(slot=0)) == []
    assert course.fleet.idle() == []


def test_halting_ends_all_and_no_job_is_to_blame() -> None:
    course = Course(most=2).busy(workers=2)
    assert course.halt() == [Terminate(slot=slot, reason=StopReason.SHUTDOWN) for slot in (0, 1)]
    ends = [Exited(slot=slot, how="SIGTERM") for slot in (0, 1)]
    assert course.told(*ends) == [
        lost("ended by us (shutdown)", outside=True, slot=slot, job=slot + 1) for slot in (0, 1)
    ]
    assert course.fleet.halted


def test_halting_kills_a_worker_that_is_starting() -> None:
    course = Course(most=2).busy()
    course.tick(wanted=2)
    assert course.halt() == [
        Terminate(slot=0, reason=StopReason.SHUTDOWN),
        Kill(slot=1, reason=StopReason.SHUTDOWN),
    ]


def test_halting_again_does_not_put_off_what_is_under_way() -> None:
    course = Course().busy()
    course.halt()
    course.now += TERM_GRACE_S / 2
    assert course.halt() == []
    assert course.fleet.next_deadline() == TERM_GRACE_S


def test_a_drain_after_a_halt_is_still_a_halt() -> None:
    course = Course().busy()
    course.halt()
    course.drain()
    assert course.fleet.mode is Mode.HALTING


def test_a_job_whose_worker_is_lost_in_a_halt_is_not_to_blame() -> None:
    course = Course().busy()
    course.halt()
    course.tick(TERM_GRACE_S)
    assert course.tick(LOST_AFTER_S) == [lost("ended by us (shutdown)", outside=True), Abandon(slot=0)]
    assert course.fleet.halted


def test_time_at_work_is_counted_to_its_end_however_it_ends() -> None:
    course = Course(most=2).busy(workers=2)
    course.now = 2.0
    course.told(Finished(slot=0, rss_bytes=0), Exited(slot=1, how="SIGSEGV"))
    assert course.fleet.busy_seconds(10.0) == 4.0


def test_what_can_be_seen_of_the_slots() -> None:
    course = Course(most=2).busy()
    course.tick(wanted=2)
    assert [type(state) for state in course.fleet.slots.values()] == [Busy, Starting]
    assert course.fleet.busy() == 1
    course.told(WorkerReady(slot=1))
    assert isinstance(course.fleet.slots[1], Idle)


def test_a_worker_rests_after_its_work_and_is_then_idle_again() -> None:
    fleet = Fleet(SETTINGS, 1, rest_factor=0.5)
    fleet.tick(0.0, wanted=1)
    fleet.handle(WorkerReady(slot=0), 0.0)
    fleet.handle(Assigned(slot=0, job=1, timeout_s=60.0), 10.0)
    fleet.handle(Finished(slot=0, rss_bytes=0, cpu_s=4.0 + REST_CREDIT_S / 1.5), 14.0)

    assert fleet.slots == {0: Resting(deadline=16.0, jobs=1)}
    assert (fleet.idle(), fleet.next_deadline()) == ([], 16.0)
    fleet.tick(16.0, wanted=1)
    assert fleet.idle() == [0]


def test_a_resting_worker_leaves_in_a_drain() -> None:
    fleet = Fleet(SETTINGS, 1, rest_factor=9.0)
    fleet.tick(0.0, wanted=1)
    fleet.handle(WorkerReady(slot=0), 0.0)
    fleet.handle(Assigned(slot=0, job=1, timeout_s=60.0), 10.0)
    fleet.handle(Finished(slot=0, rss_bytes=0, cpu_s=1.0), 11.0)

    assert fleet.drain(12.0) == [Dismiss(slot=0, reason=StopReason.SHUTDOWN)]
    fleet.handle(Exited(slot=0, how="exit 0"), 12.1)
    assert fleet.halted


def used(*, cpu_s: float, wall_s: float, gap_s: float, rest_factor: float) -> float:
    """CPU seconds a second of a worker that has one job after another, each so long, with such gaps between them."""
    fleet, now = Fleet(SETTINGS_OF_REST, 1, rest_factor=rest_factor), 100.0
    fleet.tick(now, wanted=1)
    fleet.handle(WorkerReady(slot=0), now)
    begun, jobs = now, int(60 / wall_s)
    for number in range(jobs):
        state = fleet.slots[0]
        now = max(now, state.deadline if isinstance(state, Resting) else now) + gap_s
        fleet.tick(now, wanted=1)
        fleet.handle(Assigned(slot=0, job=number, timeout_s=60.0), now)
        now += wall_s
        fleet.handle(Finished(slot=0, rss_bytes=0, cpu_s=cpu_s), now)
    return jobs * cpu_s / (now - begun)


SETTINGS_OF_REST = PoolSettings(recycle_after_jobs=0, recycle_above_bytes=0)


@pytest.mark.parametrize(
    ("cpu_s", "wall_s", "gap_s"),
    [(0.1, 0.1, 0.0), (0.003, 0.003, 0.001), (0.1, 0.14, 0.01), (2.0, 2.0, 0.1), (0.004, 0.005, 0.0)],
    ids=["photos", "tiny ones", "photos on a busy machine", "giants", "tiny ones on a busy machine"],
)
def test_a_worker_uses_its_share_whatever_its_jobs_are_like(cpu_s: float, wall_s: float, gap_s: float) -> None:
    share = 0.6
    assert used(cpu_s=cpu_s, wall_s=wall_s, gap_s=gap_s, rest_factor=1 / share - 1) == pytest.approx(share, rel=0.02)


def test_a_worker_that_gets_less_than_its_share_anyway_does_not_rest() -> None:
    assert used(cpu_s=0.1, wall_s=0.2, gap_s=0.0, rest_factor=1 / 0.6 - 1) == pytest.approx(0.5)


def test_idle_time_is_not_saved_up() -> None:
    fleet = Fleet(SETTINGS, 1, rest_factor=1.0)
    fleet.tick(0.0, wanted=1)
    fleet.handle(WorkerReady(slot=0), 0.0)
    fleet.handle(Assigned(slot=0, job=1, timeout_s=60.0), 1_000.0)
    fleet.handle(Finished(slot=0, rss_bytes=0, cpu_s=2.0), 1_002.0)

    assert fleet.slots == {0: Resting(deadline=1_004.0 - REST_CREDIT_S, jobs=1)}


def test_no_rest_is_longer_than_its_most() -> None:
    fleet = Fleet(SETTINGS, 1, rest_factor=9.0)
    fleet.tick(0.0, wanted=1)
    fleet.handle(WorkerReady(slot=0), 0.0)
    fleet.handle(Assigned(slot=0, job=1, timeout_s=60.0), 0.0)
    fleet.handle(Finished(slot=0, rss_bytes=0, cpu_s=50.0), 50.0)

    assert fleet.slots == {0: Resting(deadline=50.0 + MAX_REST_S, jobs=1)}
