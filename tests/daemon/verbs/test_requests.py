"""The verbs of the control socket: what is asked for is done or refused, and never ends the daemon."""

from typing import Any

import pytest

from tests.daemon.world import World, scan_ended
from watcherd.daemon.control import Connection, Request
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.reporting.status import Status
from watcherd.daemon.verbs.requests import Verbs
from watcherd.daemon.verbs.upkeep import Upkeep
from watcherd.model import Failed, Incomplete, Reason, Rejected, State
from watcherd.watch.reports import ScanEnded


class Client(Connection):
    """A connection that keeps what it is sent."""

    def __init__(self) -> None:
        nowhere: Any = None
        super().__init__(socket=nowhere, peer="pid 1 uid 1")
        self.answers: list[dict[str, Any]] = []

    def send(self, body: Any, *, last: bool = False) -> None:
        super().send(body, last=last)
        self.answers.append({**body, "last": last})


def ask(world: World, body: dict[str, Any]) -> tuple[Verbs, list[dict[str, Any]]]:
    status = Status(world.core)

    def tell(item: Request, moment: Moment) -> list[Effect]:
        item.connection.send(status.told(moment), last=True)
        return []

    client = Client()
    upkeep = Upkeep(world.core, lambda effect: world.carry_out([effect]))
    verbs = Verbs(world.core, upkeep, {"status": tell})
    world.carry_out(verbs.requested(Request(connection=client, body=body), world.moment))
    return verbs, client.answers


def done_with(world: World, by_state: dict[State, int]) -> ScanEnded:
    return scan_ended(world.root, ticket=1_000_000, sources=1, by_state=by_state)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"verb": None},
        {"verb": ["scan"]},
        {"verb": "dance"},
        {"verb": "scan"},
        {"verb": "scan", "paths": []},
        {"verb": "scan", "paths": "/photos"},
        {"verb": "scan", "paths": [3]},
        {"verb": "scan", "paths": ["/photos"], "files": []},
        {"verb": "scan", "paths": ["/photos"], "files": 3},
        {"verb": "scan", "paths": ["/photos/\ud800"]},
        {"verb": "scan", "paths": ["/photos/a\0.jpg"], "files": [True]},
        {"verb": "scan", "paths": ["/elsewhere"]},
        {"verb": "retry"},
        {"verb": "retry", "paths": ["/photos/\ud800"]},
        {"verb": "retry", "paths": ["/photos/a\0.jpg"]},
        {"verb": "retry", "paths": ["/photos/never_seen.jpg"]},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_daemon_goes_on(world: World, body: dict[str, Any]) -> None:
    _, answers = ask(world, body)
    world.put(b"a.jpg", b"picture a")
    world.run()

    assert [(sorted(answer), answer["last"]) for answer in answers] == [(["error", "last"], True)]
    assert world.entry(b"a.jpg").state is State.DONE


def test_a_fault_in_serving_a_request_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Status, "told", lambda _self, _moment: 1 // 0)
    _, answers = ask(world, {"verb": "status"})

    assert answers == [{"error": "the request could not be served: ZeroDivisionError", "last": True}]


def test_the_status_of_sources_with_endless_names_fits_into_an_answer(world: World) -> None:
    folder = b"/".join([b"\xff" * 250] * 16)
    for number in range(40):
        content = b"%d" % number
        world.slow.add(content)
        world.put(folder + b"/" + content + b".jpg", content)
    world.run(2)
    _, answers = ask(world, {"verb": "status"})

    assert [len(answer["upcoming"]) for answer in answers] == [20]


def test_a_rejected_source_that_is_asked_for_is_tried_again(world: World) -> None:
    world.plays[b"bad"] = Rejected(reason=Reason.DAMAGED, detail="torn")
    world.put(b"a.jpg", b"bad")
    world.run(1)
    world.plays.clear()
    _, answers = ask(world, {"verb": "retry", "paths": ["/photos/a.jpg"]})
    world.run()

    assert answers == [{"retried": 1, "last": True}]
    assert world.entry(b"a.jpg").state is State.DONE


def test_a_scan_does_not_wait_for_incomplete_files(world: World) -> None:
    world.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="no end")
    world.put(b"a.jpg", b"half")
    world.run(5)
    verbs, answers = ask(world, {"verb": "scan", "paths": ["/photos"], "files": [False]})
    world.report(done_with(world, {State.INCOMPLETE: 1}))
    world.run(1)
    verbs.due(world.moment)

    assert (answers[-1]["last"], answers[-1]["counts"]["incomplete"]) == (True, 1)


def test_a_scan_makes_the_retries_that_wait_at_once(world: World) -> None:
    world.plays[b"bad"] = Failed(reason=Reason.DECODER_ERROR, detail="it went wrong")
    world.put(b"a.jpg", b"bad")
    world.run(1)
    assert world.core.outcomes.waiting == 1
    world.plays.clear()
    verbs, answers = ask(world, {"verb": "scan", "paths": ["/photos"], "files": [False]})
    world.report(done_with(world, {}))
    for _ in range(2):
        world.run(0.5)
        verbs.due(world.moment)

    assert (answers[-1]["last"], answers[-1]["counts"]["rendered"]) == (True, 1)
    assert world.entry(b"a.jpg").state is State.DONE


def test_a_scan_of_a_root_that_goes_away_ends_and_says_so(world: World) -> None:
    verbs, answers = ask(world, {"verb": "scan", "paths": ["/photos"], "files": [False]})
    world.carry_out(world.core.conditions.emptied(world.root, world.moment))
    verbs.due(world.moment)

    assert answers[-1]["last"] is True
    assert answers[-1]["unfinished"].startswith("/photos: ")
