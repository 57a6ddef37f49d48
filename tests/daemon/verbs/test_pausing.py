"""Pauses and quiet hours: what is held, for how long, and that nothing is lost by it."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.outside import START_S
from tests.daemon.verbs.test_requests import Client
from tests.daemon.world import World
from watcherd.daemon.control import Request
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.verbs.pauses import pause_verbs
from watcherd.daemon.verbs.pausing import ALLOWED, EVERYTHING, Pauses, Pausing, held_lanes, keep, load
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.daemon.verbs.requests import hasten
from watcherd.model import JobClass, Source, State
from watcherd.settings import DaemonSettings, QuietWork, Settings


class Held:
    """A world with pauses, whose duty is served after each second."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.file = str(world.folder / "pauses.json")
        self.restart()

    def restart(self) -> None:
        self.pausing = Pausing(self.world.core, self.file, local=time.gmtime)
        self.pausing.due(self.world.moment)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.run(1)
            self.pausing.due(self.world.moment)
        self.world.run(1)

    def ask(self, verb: str, **body: object) -> dict[str, object]:
        client = Client()
        request = Request(connection=client, body={"verb": verb, **body})
        self.world.carry_out(pause_verbs(self.world.core, self.pausing)[verb](request, self.world.moment))
        return client.answers[0]


@pytest.fixture
def held(world: World) -> Held:
    return Held(world)


def test_in_a_pause_nothing_is_begun_and_everything_is_recorded(held: Held) -> None:
    answer = held.ask("pause")
    held.world.put(b"a.jpg", b"a")
    held.run(30)

    assert answer["until_s"] is None
    assert held.world.entry(b"a.jpg").state is State.PENDING
    assert held.world.rendered == []
    assert held.ask("resume")["resumed"] == 1
    held.run(2)
    assert held.world.entry(b"a.jpg").state is State.DONE


def test_what_is_in_hand_is_finished(held: Held) -> None:
    held.world.slow.add(b"a")
    held.world.put(b"a.jpg", b"a")
    held.run(2)
    answer = held.ask("pause")
    held.world.release(b"a")
    held.run(2)

    assert answer["in_hand"] == 1
    assert held.world.entry(b"a.jpg").state is State.DONE


def test_a_pause_for_a_while_ends_by_itself(held: Held) -> None:
    held.ask("pause", for_s=60)
    held.world.put(b"a.jpg", b"a")
    held.run(50)
    assert held.world.rendered == []
    deadline = held.pausing.due(held.world.moment)
    assert deadline is not None
    assert 0 < deadline - held.world.now < 10
    held.run(12)

    assert held.world.rendered == [b"a"]
    assert held.pausing.summary() == ""


def test_a_pause_survives_a_restart(held: Held) -> None:
    held.ask("pause")
    held.world.put(b"a.jpg", b"a")
    held.run(3)
    held.world.ledger.commit()
    held.world.die()
    held.world.start()
    held.restart()
    held.run(5)

    assert held.world.rendered == []
    assert held.pausing.summary() == "PAUSED until somebody resumes it"
    held.ask("resume")
    held.run(2)
    assert held.world.rendered == [b"a"]


def test_one_root_is_paused_and_others_go_on(tmp_path: Path) -> None:
    with World(tmp_path, paths=(b"/photos", b"/others")) as world:
        held = Held(world)
        held.ask("pause", roots=["/others"])
        world.put(b"a.jpg", b"a")
        world.put(b"b.jpg", b"b", root=world.other)
        held.run(5)

        assert world.rendered == [b"a"]
        assert (held.pausing.is_paused(world.root), held.pausing.is_paused(world.other)) == (False, True)
        held.ask("resume", roots=["/others"])
        held.run(3)
        assert world.rendered == [b"a", b"b"]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("pause", {"roots": ["/elsewhere"]}),
        ("pause", {"roots": "/photos"}),
        ("pause", {"roots": [3]}),
        ("pause", {"for_s": 0}),
        ("pause", {"for_s": "2h"}),
        ("pause", {"for_s": float("nan")}),
        ("pause", {"for_s": float("inf")}),
        ("pause", {"for_s": 1e300}),
        ("pause", {"for_s": 10**400}),
        ("resume", {"roots": ["/elsewhere"]}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(held: Held, verb: str, body: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        held.ask(verb, **body)


def test_a_root_is_not_resumed_alone_while_everything_is_paused(held: Held) -> None:
    held.ask("pause")
    with pytest.raises(Refusal, match="everything is paused"):
        held.ask("resume", roots=["/photos"])


def test_a_pause_that_cannot_be_kept_is_refused_and_does_not_hold(held: Held) -> None:
    held.pausing._path = str(held.world.folder / "nowhere" / "pauses.json")
    with pytest.raises(Refusal, match="cannot be written down"):
        held.ask("pause")
    held.world.put(b"a.jpg", b"a")
    held.run(3)

    assert held.world.rendered == [b"a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"until_s": 3}',
        '{"until_s": {"": "soon"}}',
        '{"until_s": {"": Infinity}}',
        '{"until_s": {"": 1e300}}',
    ],
)
def test_a_file_that_makes_no_sense_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pauses.json").write_text(text)

    assert load(str(tmp_path / "pauses.json")) == Pauses()


def test_pauses_are_read_as_they_were_kept(tmp_path: Path) -> None:
    pauses = Pauses(until_s={EVERYTHING: None, "/photos/\udcff": START_S})
    keep(str(tmp_path / "pauses.json"), pauses)

    assert load(str(tmp_path / "pauses.json")) == pauses
    assert json.loads((tmp_path / "pauses.json").read_text())["v"] == 1


# START_S + 1000 is 09:16:40 in UTC


def quiet(world: World, *spans: str, allow: QuietWork = QuietWork.MANUAL) -> Held:
    daemon = DaemonSettings(quiet_hours=spans, quiet_hours_allow=allow)
    world.core.force.settings = replace(Settings(), daemon=daemon)
    return Held(world)


def clock(world: World) -> str:
    return time.strftime("%H:%M", time.gmtime(world.moment.wall_s))


def test_in_quiet_hours_only_manual_work_is_begun(world: World) -> None:
    held = quiet(world, "00:00-23:59")
    world.put(b"a.jpg", b"a")
    held.run(5)
    assert world.rendered == []
    world.core.retry_now(world.moment, world.scope)
    entry = world.entry(b"a.jpg")
    assert entry.stamp is not None
    world.core.intake.enqueue(entry.source, entry.stamp, entry, JobClass.MANUAL, world.moment)
    held.run(2)

    assert world.rendered == [b"a"]
    assert held.pausing.summary() == "quiet hours"


def test_in_quiet_hours_uploads_may_be_allowed(world: World) -> None:
    held = quiet(world, "00:00-23:59", allow=QuietWork.UPLOADS)
    world.put(b"a.jpg", b"a")
    held.run(3)

    assert world.rendered == [b"a"]
    assert held.pausing.rests(world.root)
    assert not held.pausing.is_paused(world.root)


def test_what_waits_for_the_end_of_quiet_hours_is_hastened_by_a_scan_that_a_person_asks_for(world: World) -> None:
    held = quiet(world, "00:00-23:59")
    world.core.rests = held.pausing.rests
    world.put(b"a.jpg", b"a")
    world.put(b"sub/b.jpg", b"b")
    held.run(5)
    hasten(world.core, world.moment, Scope(places=(Source(world.root, b"sub"),)))
    held.run(2)

    assert world.rendered == [b"b"]


def test_quiet_hours_end_by_themselves(world: World) -> None:
    soon = time.strftime("%H:%M", time.gmtime(world.moment.wall_s + 120))
    held = quiet(world, f"00:00-{soon}")
    world.put(b"a.jpg", b"a")
    held.run(30)
    assert world.rendered == []
    held.run(120)

    assert clock(world) >= soon
    assert world.rendered == [b"a"]


def test_gone_sources_are_left_in_peace_as_well(world: World) -> None:
    world.put(b"a.jpg", b"a")
    world.run(5)
    held = Held(world)
    world.core.rests = held.pausing.rests
    held.ask("pause")
    world.delete(b"a.jpg")
    held.run(200)
    assert b"a.jpg.thumbnail.jpg" in world.disk
    held.ask("resume")
    held.run(100)

    assert world.disk == {}


def test_lanes_are_held_by_root_and_class() -> None:
    roots = {1: "/a", 2: "/b"}
    paused = held_lanes(roots, Pauses(until_s={"/a": None}), quiet=False, allowed=ALLOWED[QuietWork.MANUAL])
    by_night = held_lanes(roots, Pauses(), quiet=True, allowed=ALLOWED[QuietWork.UPLOADS])

    assert paused == {(1, job_class) for job_class in JobClass}
    assert by_night == {(root, kind) for root in roots for kind in (JobClass.RECIPE, JobClass.BACKLOG)}
