"""Requests in a played world: workers are frames that the test makes up, and the fleet is the real one."""

from concurrent.futures import Future
from itertools import count
from typing import Any, TypeVar

from watcherd.model import Failed, Header, Reason, Rejected, Rendered, Variant
from watcherd.pool.admission import Admission
from watcherd.pool.crew import FrameCame, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.frames import Ended, Frame, Identified, Made, identified, ready
from watcherd.pool.library.request import (
    Cancel,
    Close,
    CloseDescriptors,
    Deliver,
    Effect,
    Give,
    LetDown,
    NotGiven,
    Refuse,
    Request,
    Tell,
)
from watcherd.pool.library.requests import Requests
from watcherd.pool.orders import Kill, NotStarted, Spawn, Terminate
from watcherd.pool.processes import Ending
from watcherd.settings import LimitSettings, PoolSettings

E = TypeVar("E")
MIB = 1 << 20
BUDGET = 100 * MIB


class World:
    """Requests with so many workers, all ready, and a clock."""

    def __init__(self, workers: int = 1, **settings: Any) -> None:
        self.now = 1_000.0
        self.settings = PoolSettings(**settings)
        self.requests = Requests(
            fleet=Fleet(self.settings, workers),
            admission=Admission(BUDGET),
            variant=Variant(name="standard", width=10, height=10),
            most_workers=workers,
            settings=self.settings,
            limits=LimitSettings(),
            jitter=lambda: 0.0,
        )
        self._tickets = count(1)

    def step(self, *inputs: Any, after_s: float = 0.0) -> list[Effect]:
        self.now += after_s
        return self.requests.step(self.now, inputs)

    def submit(self, size: int = 1) -> tuple[Request, list[Effect]]:
        request = Request(ticket=next(self._tickets), image=b"x" * size, future=Future())
        return request, self.step(request)

    def says(self, slot: int, body: dict[str, object], *descriptors: int) -> list[Effect]:
        return self.step(FrameCame(slot=slot, frame=Frame(body, descriptors), rss_bytes=0, pid=1))

    def ready(self, slot: int = 0) -> list[Effect]:
        return self.says(slot, ready(()))

    def identified(self, request: Request, memory_bytes: int = MIB, slot: int = 0) -> list[Effect]:
        header = Header(kind="jpeg", width=4, height=3, frames=1, memory_bytes=memory_bytes)
        return self.says(slot, identified(Identified(job=request.ticket, digest=bytes(32), header=header)))

    def ended(self, request: Request, outcome: Any, slot: int = 0) -> list[Effect]:
        return self.says(slot, Ended(job=request.ticket, outcome=outcome).body())

    def rendered(self, request: Request, slot: int = 0) -> list[Effect]:
        made = (Made(variant="standard", width=4, height=3),)
        return self.says(slot, Ended(job=request.ticket, outcome=Rendered(), made=made).body(), 77)

    def dies(self, slot: int = 0, how: str = "SIGSEGV") -> list[Effect]:
        return self.step(WorkerEnded(slot=slot, ending=Ending(pid=1, how=how, stderr="", stop_reason=None)))

    def given(self, slot: int = 0) -> Request:
        """A request that a worker holds: the first one of a world."""
        request, _ = self.submit()
        assert only(Give, self.ready(slot))[0].request is request
        return request


def only(kind: type[E], effects: list[Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_the_way_of_an_image() -> None:
    world = World()
    request, effects = world.submit()

    assert only(Spawn, effects) == [Spawn(slot=0)]
    assert [(give.slot, give.request) for give in only(Give, world.ready())] == [(0, request)]
    assert only(Tell, world.identified(request))[0].body["type"] == "grant"
    delivered = only(Deliver, world.rendered(request))[0]
    assert (delivered.request, delivered.descriptor, len(world.requests)) == (request, 77, 0)


def test_what_cannot_be_done_is_refused_and_the_next_one_given() -> None:
    world = World()
    first = world.given()
    second, _ = world.submit()

    effects = world.ended(first, Rejected(reason=Reason.DAMAGED, detail="broken"))

    assert only(Refuse, effects) == [Refuse(first, Reason.DAMAGED, "broken")]
    assert only(Give, effects)[0].request is second


def test_a_crash_is_tried_again_after_a_pause_three_times_in_all() -> None:
    world = World()
    request = world.given()

    for _ in range(2):
        died = world.dies()
        assert (only(Give, died), only(Spawn, died)) == ([], [Spawn(slot=0)])
        assert only(Give, world.ready()) == []
        assert only(Give, world.step(after_s=1.0))[0].request is request

    assert only(Refuse, world.dies()) == [Refuse(request, Reason.CRASHED, "its worker crashed (SIGSEGV)")]


def test_the_pause_before_another_try_is_a_deadline() -> None:
    world = World(workers=2)
    request = world.given()
    world.submit()
    world.ready(1)

    world.ended(request, Failed(reason=Reason.DECODER_ERROR, detail="odd"))

    assert world.requests.next_deadline() == world.now + 0.05
    assert only(Give, world.step(after_s=0.04)) == []
    assert only(Give, world.step(after_s=0.02))[0].request is request


def test_of_those_whose_worker_crashed_one_at_a_time_is_tried() -> None:
    world = World(workers=2)
    one, two = world.given(), world.submit()[0]
    world.ready(1)
    world.dies(0)
    world.dies(1)

    world.step(after_s=5.0)
    effects = [*world.ready(0), *world.ready(1)]

    assert [give.request for give in only(Give, effects)] == [one]
    world.identified(one, slot=0)
    assert [give.request for give in only(Give, world.rendered(one, slot=0))] == [two]


def test_without_memory_it_is_let_go_of_and_given_again_when_there_is_some() -> None:
    world = World(workers=2)
    large, other = world.given(), world.submit()[0]
    world.ready(1)
    world.identified(large, 90 * MIB)

    assert [tell.body["type"] for tell in only(Tell, world.identified(other, 90 * MIB, slot=1))] == ["release"]
    small, effects = world.submit()
    assert only(Give, effects)[0].request is small
    assert [give.request for give in only(Give, world.rendered(large))] == [other]


def test_a_large_image_is_not_passed_for_ever() -> None:
    world = World(workers=2)
    small, large = world.given(), world.submit()[0]
    world.ready(1)
    world.identified(small, 20 * MIB)
    world.identified(large, 90 * MIB, slot=1)
    passing, effects = world.submit()
    assert only(Give, effects)[0].request is passing
    world.identified(passing, 20 * MIB, slot=1)
    world.submit()

    world.step(after_s=10.0)

    assert only(Give, world.rendered(small)) == []
    assert only(Give, world.rendered(passing, slot=1))[0].request is large


def test_what_needs_more_than_the_whole_budget_is_refused() -> None:
    world = World()
    request = world.given()

    effects = world.identified(request, 200 * MIB)

    assert [refuse.reason for refuse in only(Refuse, effects)] == [Reason.TOO_MUCH_MEMORY]
    assert [tell.body["type"] for tell in only(Tell, effects)] == ["release"]


def test_a_lack_of_descriptors_is_a_fault_of_the_reading_and_costs_no_worker() -> None:
    world = World()
    request = world.given()

    for _ in range(2):
        assert only(Kill, world.step(NotGiven(request.ticket, "none left"))) == []
        assert only(Give, world.step(after_s=1.0))[0].request is request

    refused = only(Refuse, world.step(NotGiven(request.ticket, "none left")))
    assert refused == [Refuse(request, Reason.READ_ERROR, "none left")]


def test_cancelling_what_a_worker_holds_ends_the_worker_and_is_heard_of_no_more() -> None:
    world = World()
    request = world.given()

    effects = world.step(Cancel(request.ticket))

    assert [let.request for let in only(LetDown, effects)] == [request]
    assert [one.slot for one in only(Terminate, effects)] == [0]
    assert only(LetDown, world.dies(how="SIGTERM")) == []
    assert len(world.requests) == 0


def test_cancelling_what_waits_ends_no_worker() -> None:
    world = World()
    world.given()
    second, _ = world.submit()

    effects = world.step(Cancel(second.ticket), Cancel(second.ticket), Cancel(99))

    assert [type(effect) for effect in effects] == [LetDown]


def test_closing_waits_for_what_was_submitted() -> None:
    world = World()
    request = world.given()

    assert only(Terminate, world.step(Close(at_once=False))) == []
    world.identified(request)
    assert only(Terminate, world.rendered(request)) != []
    assert not world.requests.finished
    world.dies(how="SIGTERM")
    assert world.requests.finished


def test_closing_at_once_lets_everybody_down() -> None:
    world = World()
    held, waiting = world.given(), world.submit()[0]

    effects = world.step(Close(at_once=True))

    assert [let.request for let in only(LetDown, effects)] == [held, waiting]
    assert len(only(Terminate, effects)) == 1


def test_when_workers_cannot_start_everybody_is_let_down_with_the_reason() -> None:
    world = World()
    request, _ = world.submit()

    effects = []
    for _ in range(3):
        effects += world.step(NotStarted(slot=0, detail="no more processes"))
        effects += world.step(after_s=10.0)

    assert [let.request for let in only(LetDown, effects)] == [request]
    assert "no more processes" in world.requests.failure
    assert world.requests.finished
    late, effects = world.submit()
    assert [let.request for let in only(LetDown, effects)] == [late]


def test_a_worker_that_makes_something_up_is_ended_and_its_descriptors_are_closed() -> None:
    world = World()
    request = world.given()

    effects = world.rendered(request)  # it was not granted yet

    assert only(CloseDescriptors, effects) == [CloseDescriptors((77,))]
    assert [kill.slot for kill in only(Kill, effects)] == [0]
    assert only(Deliver, effects) == []
    world.identified(Request(ticket=99, image=b"", future=Future()))
    assert only(Refuse, world.dies(how="SIGKILL")) == []
    assert len(world.requests) == 1
