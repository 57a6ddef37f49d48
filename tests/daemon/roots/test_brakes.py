"""The daemon's core in a played world: so many sources go at once that it may be a mistake."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.outside import START_S
from tests.daemon.world import World
from watcherd.daemon.effects import Moment
from watcherd.settings import DaemonSettings, OnDelete, Settings

SETTINGS = Settings(daemon=DaemonSettings(brake_share=0.5, brake_floor=3, brake_grace_s=86_400.0))
DAY_S = 86_400.0
NAMES = [b"%02d.jpg" % number for number in range(10)]


def world_at(folder: Path, on_delete: OnDelete = OnDelete.REMOVE) -> World:
    return World(folder, settings=SETTINGS, on_delete=on_delete, now=1000.125)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_at(tmp_path) as world:
        for name in NAMES:
            world.put(name, b"picture " + name)
        world.run(2)
        yield world


def lose(world: World, count: int) -> None:
    for name in NAMES[:count]:
        world.delete(name)
    world.run(120)


def derivatives(world: World) -> int:
    return sum(name.endswith((b".thumbnail.jpg", b".preview.jpg")) for name in world.disk)


def events(capsys: pytest.CaptureFixture[str], name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["event"] == name]


def test_a_few_deletions_are_deletions(world: World) -> None:
    lose(world, 5)

    assert derivatives(world) == 10
    assert world.ledger.held_since_s(world.root) is None


def test_too_many_at_once_keep_their_derivatives_and_it_is_said_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    lose(world, 6)
    world.run(10_000)

    assert derivatives(world) == 20
    assert world.ledger.count_gone(world.root) == 6
    (said,) = events(capsys, "brake.engaged")
    assert (said["root"], said["gone"]) == ("/photos", 6)
    assert str(said["until_at"]).startswith("2027-01-16")
    assert "prune" in str(said["hint"])


def test_what_is_held_costs_no_look_at_the_disk(world: World) -> None:
    lose(world, 6)
    looks: list[object] = []
    world.hook = looks.append
    world.run(10_000)

    assert looks == []


def test_more_deletions_while_the_brake_holds_are_held_as_well(world: World) -> None:
    lose(world, 6)
    world.run(7200)
    world.delete(NAMES[6])
    world.run(600)

    assert derivatives(world) == 20


def test_confirmed_deletions_are_carried_out(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    lose(world, 6)
    world.core.departures.confirm(world.root, world.moment)
    world.run(1)

    assert derivatives(world) == 8
    assert world.ledger.count_gone(world.root) == 0
    assert world.ledger.held_since_s(world.root) is None
    assert [line["reason"] for line in events(capsys, "brake.released")] == ["it was confirmed"]


def test_the_grace_period_ends(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    lose(world, 6)
    world.run(DAY_S - 200)
    assert derivatives(world) == 20

    world.run(200)
    assert derivatives(world) == 8
    assert [line["reason"] for line in events(capsys, "brake.released")] == ["the grace period is over"]


def test_the_brake_holds_over_a_restart_and_the_grace_period_goes_on(world: World) -> None:
    lose(world, 6)
    world.die()
    world.now += DAY_S / 2
    world.start()
    world.run(1000)
    assert derivatives(world) == 20

    world.run(DAY_S / 2)
    assert derivatives(world) == 8


def test_all_that_went_together_is_counted_also_after_a_restart(world: World) -> None:
    for name in NAMES[:6]:
        world.delete(name)
    world.run(5)
    world.die()
    world.start()
    world.run(120)

    assert world.ledger.held_since_s(world.root) is not None
    assert derivatives(world) == 20


def test_sources_that_are_all_back_release_the_brake_and_keep_everything(world: World) -> None:
    files = {name: world.disk[name] for name in NAMES[:6]}
    lose(world, 6)
    assert world.ledger.held_since_s(world.root) is not None
    world.disk.update(files)
    world.scan(*files)
    world.run(120)

    assert world.ledger.held_since_s(world.root) is None
    assert world.ledger.count_gone(world.root) == 0
    assert (derivatives(world), len(world.rendered)) == (20, 10)


def test_few_that_stay_away_do_not_hold_the_brake_once_most_are_back(world: World) -> None:
    files = {name: world.disk[name] for name in NAMES[:6]}
    lose(world, 6)
    assert world.ledger.held_since_s(world.root) is not None
    back = dict(list(files.items())[:4])
    world.disk.update(back)
    world.scan(*back)
    world.run(200)

    assert world.ledger.held_since_s(world.root) is None
    assert world.ledger.count_gone(world.root) == 0  # the other two were forgotten
    assert derivatives(world) == 16


def test_moved_sources_are_not_counted(world: World) -> None:
    for name in NAMES:
        world.rename(name, b"moved " + name)
    world.run(200)

    assert world.ledger.held_since_s(world.root) is None
    assert set(world.disk) >= {b"moved " + name + b".preview.jpg" for name in NAMES}
    assert (derivatives(world), len(world.rendered)) == (20, 10)


def test_a_root_that_keeps_derivatives_needs_no_brake(tmp_path: Path) -> None:
    with world_at(tmp_path, OnDelete.KEEP) as world:
        for name in NAMES:
            world.put(name, b"picture " + name)
        world.run(2)
        lose(world, 10)

        assert world.ledger.held_since_s(world.root) is None
        assert world.ledger.count_gone(world.root) == 0
        assert derivatives(world) == 20


def test_the_instant_in_the_log_is_the_end_of_the_grace_period(world: World) -> None:
    lose(world, 6)
    since_s = world.ledger.held_since_s(world.root)

    assert since_s is not None
    assert START_S + 1000 < since_s < START_S + 1200
    assert world.core.departures.brakes.held_until_s(world.root) == since_s + DAY_S


def test_after_a_clock_was_set_back_the_end_of_the_grace_is_still_waited_for(world: World) -> None:
    lose(world, 6)
    set_back = Moment(now=world.now + 2 * DAY_S, wall_s=world.moment.wall_s)
    world.carry_out(world.core.departures.due(set_back))
    until = world.core.departures.next_deadline()

    assert until is not None
    assert 0 < until - set_back.now <= DAY_S
    assert world.core.departures.due(Moment(now=until, wall_s=set_back.wall_s + DAY_S))
