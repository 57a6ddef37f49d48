"""Starts that fail: how they are counted, and a fleet that goes on with fewer workers than it wants."""

from watcherd.pool.fleet import Fleet
from watcherd.pool.orders import Command, Dismiss, Exited, GiveUp, NotStarted, Spawn, WorkerReady
from watcherd.pool.restarts import (
    MAX_BOOT_FAILURES,
    MAX_LATER_BOOT_FAILURES,
    MAX_RESPAWN_DELAY_S,
    MAX_UNEXPLAINED,
    UNEXPLAINED_WINDOW_S,
    Restarts,
)
from watcherd.settings import PoolSettings

NO_PROCESS = "out of processes"


def test_starts_that_fail_together_have_failed_once() -> None:
    restarts = Restarts()
    told = [restarts.boot_failed(NO_PROCESS, 10.0) for _ in range(5 * MAX_BOOT_FAILURES)]

    assert told == [None] * len(told)
    assert restarts.cannot_start is False


def test_starts_that_fail_one_after_another_are_a_reason_to_give_up() -> None:
    restarts = Restarts()
    told = [restarts.boot_failed(NO_PROCESS, restarts.not_before) for _ in range(MAX_BOOT_FAILURES)]

    assert told == [None, None, f"{MAX_BOOT_FAILURES} workers in a row could not start: {NO_PROCESS}"]
    assert restarts.cannot_start is True


def test_where_workers_could_be_started_before_more_failures_are_borne() -> None:
    restarts = Restarts()
    restarts.worker_ready(0.0)
    told = [restarts.boot_failed("SIGABRT", restarts.not_before) for _ in range(MAX_LATER_BOOT_FAILURES)]

    assert told == [None] * (len(told) - 1) + [f"{MAX_LATER_BOOT_FAILURES} workers in a row could not start: SIGABRT"]
    assert 15 < restarts.not_before - MAX_RESPAWN_DELAY_S < 30


def test_a_worker_that_gets_ready_makes_up_for_all_failures() -> None:
    restarts = Restarts()
    for _ in range(MAX_BOOT_FAILURES):
        restarts.boot_failed(NO_PROCESS, restarts.not_before)
    restarts.worker_ready(60.0)

    assert (restarts.cannot_start, restarts.not_before) == (False, 60.0)


def test_one_moment_without_processes_does_not_end_the_daemon() -> None:
    fleet = Fleet(PoolSettings(), 4)
    fleet.tick(0.0, wanted=4)
    told = [fleet.handle(NotStarted(slot=slot, detail=NO_PROCESS), 0.0) for slot in range(4)]

    assert told == [[], [], [], []]
    assert fleet.tick(MAX_RESPAWN_DELAY_S, wanted=4) == [Spawn(slot=slot) for slot in range(4)]


def one_of_two_stands() -> tuple[Fleet, list[Command], float]:
    """A fleet of which one worker stands and the other cannot be started, what it ordered, and the time."""
    fleet, now = Fleet(PoolSettings(), 2), 0.0
    fleet.tick(now, wanted=1)
    fleet.handle(WorkerReady(slot=0), now)
    orders: list[Command] = []
    for _ in range(MAX_LATER_BOOT_FAILURES):
        orders += fleet.tick(now, wanted=2)
        orders += fleet.handle(NotStarted(slot=1, detail=NO_PROCESS), now)
        now += MAX_RESPAWN_DELAY_S
    return fleet, orders, now


def test_a_fleet_of_which_a_worker_stands_is_degraded_and_keeps_trying() -> None:
    fleet, orders, _ = one_of_two_stands()

    assert orders == [Spawn(slot=1)] * MAX_LATER_BOOT_FAILURES
    assert fleet.degraded is True


def test_a_fleet_whose_workers_can_be_started_again_is_degraded_no_more() -> None:
    fleet, _, now = one_of_two_stands()
    fleet.tick(now, wanted=2)
    fleet.handle(WorkerReady(slot=1), now)

    assert fleet.degraded is False


def test_a_fleet_that_has_lost_its_last_worker_and_cannot_start_another_gives_up() -> None:
    fleet, _, now = one_of_two_stands()
    fleet.handle(Exited(slot=0, how="SIGKILL"), now)
    fleet.tick(now + MAX_RESPAWN_DELAY_S, wanted=1)
    orders = fleet.handle(NotStarted(slot=0, detail=NO_PROCESS), now + MAX_RESPAWN_DELAY_S)

    assert fleet.degraded is False
    assert [type(order) for order in orders] == [GiveUp]


# ----------------------------------------------------------------------------------------- one instead of several


class Mortal:
    """A fleet whose idle workers die as soon as there are more of them than `at_most`."""

    def __init__(self, *, at_most: int) -> None:
        self.fleet, self.now, self.at_most = Fleet(PoolSettings(), 4), 0.0, at_most
        self.orders: list[Command] = []
        self.alive: set[int] = set()

    def run(self, seconds: float, *, wanted: int = 4) -> None:
        end = self.now + seconds
        while self.now < end and not self.gave_up:
            self.carry_out(self.fleet.tick(self.now, wanted=wanted))
            if len(self.alive) > self.at_most:
                slot = max(self.alive)
                self.alive.remove(slot)
                self.carry_out(self.fleet.handle(Exited(slot=slot, how="SIGBUS"), self.now))
            self.now += 0.5

    def carry_out(self, commands: list[Command]) -> None:
        self.orders += commands
        for command in commands:
            if isinstance(command, Spawn):
                self.alive.add(command.slot)
                self.fleet.handle(WorkerReady(slot=command.slot), self.now)
            elif isinstance(command, Dismiss):
                self.alive.remove(command.slot)
                self.fleet.handle(Exited(slot=command.slot, how="exit 0"), self.now)

    @property
    def gave_up(self) -> bool:
        return any(isinstance(order, GiveUp) for order in self.orders)


def test_where_several_workers_do_not_stay_alive_one_is_tried_and_the_reason_is_told() -> None:
    course = Mortal(at_most=1)
    course.run(40.0)

    assert (course.gave_up, course.fleet.degraded, len(course.alive)) == (False, True, 1)
    assert course.fleet.trouble == f"{MAX_UNEXPLAINED + 1} idle workers died within 60 s (SIGBUS)"


def test_a_fleet_of_one_that_holds_returns_to_full_strength() -> None:
    course = Mortal(at_most=1)
    course.run(40.0)
    course.at_most = 4
    course.run(UNEXPLAINED_WINDOW_S)

    assert (course.gave_up, course.fleet.degraded, course.fleet.trouble, len(course.alive)) == (False, False, "", 4)


def test_a_fleet_of_which_not_even_one_stays_alive_gives_up() -> None:
    course = Mortal(at_most=0)
    course.run(UNEXPLAINED_WINDOW_S)

    assert [type(order) for order in course.orders if isinstance(order, GiveUp)] == [GiveUp]


def test_a_fleet_that_wants_no_more_than_one_is_not_degraded() -> None:
    course = Mortal(at_most=1)
    course.run(40.0)
    course.run(1.0, wanted=1)

    assert course.fleet.degraded is False
