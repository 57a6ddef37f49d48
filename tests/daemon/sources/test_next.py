"""The next source: behind a backlog, a worker that renders something small is sent what it goes on with."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.world import World
from watcherd.daemon.reporting.status import Status
from watcherd.daemon.sources.attempt import may_follow
from watcherd.model import Failed, Reason, Source, State
from watcherd.queue.jobqueue import Job

NAMES = (b"a.jpg", b"b.jpg", b"c.jpg", b"d.jpg")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One worker, and contents that take their time, each of which is its own name."""
    with World(tmp_path, most_workers=1) as world:
        world.small |= set(NAMES)
        world.slow |= set(NAMES)
        yield world


def backlog(world: World, *names: bytes) -> None:
    for name in names:
        world.put(name, name)
    world.run(1)


def phases(world: World) -> dict[bytes, str]:
    return {attempt.job.source.path: str(attempt.phase) for attempt in world.core.attempts.under_way()}


def faults(world: World, *names: bytes) -> list[int]:
    return [world.entry(name).faults for name in names]


def test_a_worker_holds_the_next_source_and_goes_on_with_it_by_itself(world: World) -> None:
    backlog(world, *NAMES)
    assert phases(world) == {b"a.jpg": "rendering", b"b.jpg": "next", b"c.jpg": "fetched"}
    world.release(b"a.jpg")
    world.pass_()  # its last word about the first, its first word about the second
    assert phases(world) == {b"a.jpg": "publishing", b"b.jpg": "rendering", b"c.jpg": "next", b"d.jpg": "fetching"}
    for name in NAMES:
        world.release(name)
        world.settle_down()
    assert world.rendered == list(NAMES)
    assert world.core.totals.ended == {"rendered": 4}
    assert world.open_descriptors() == 0
    assert world.core.quiet


@pytest.mark.parametrize("kind", ["svg", "video", "pdf"])
def test_nothing_waits_behind_a_kind_whose_pixels_do_not_tell_its_time(world: World, kind: str) -> None:
    backlog(world, *NAMES)
    (holder, following, *_) = world.core.attempts.under_way()
    assert holder.header is not None
    assert following.fetched is not None
    assert may_follow(following, holder)
    holder.header = replace(holder.header, kind=kind)
    assert not may_follow(following, holder)


def test_what_kills_its_worker_does_no_harm_to_the_next_source(world: World) -> None:
    backlog(world, *NAMES)
    world.end_worker(0, "SIGSEGV")
    world.pass_()
    assert faults(world, *NAMES) == [1, 0, 0, 0]
    assert [world.entry(name).in_hand for name in NAMES] == [False] * 4
    world.slow.clear()
    world.run(600)
    assert sorted(world.rendered) == sorted(NAMES)
    assert [world.entry(name).interruptions for name in NAMES] == [0] * 4


def test_a_next_source_that_kills_its_worker_is_charged_with_that_and_the_one_before_is_done(world: World) -> None:
    world.plays[b"b.jpg"] = "SIGSEGV"
    backlog(world, *NAMES)
    world.release(b"a.jpg")
    world.pass_()
    world.pass_()
    assert faults(world, *NAMES) == [0, 1, 0, 0]
    assert world.entry(b"a.jpg").state is State.DONE


def test_a_next_source_that_is_no_picture_ends_in_its_turn(world: World) -> None:
    world.plays[b"b.jpg"] = Failed(reason=Reason.DECODER_ERROR, detail="broken")
    backlog(world, *NAMES)
    world.slow.clear()
    world.release(b"a.jpg")
    world.settle_down()
    assert world.rendered == [b"a.jpg", b"c.jpg", b"d.jpg"]
    assert faults(world, *NAMES) == [0, 1, 0, 0]


def test_a_next_source_that_is_a_twin_waits_for_the_one_before_as_usual(world: World) -> None:
    world.put(b"b.jpg", b"a.jpg")
    backlog(world, b"a.jpg", b"c.jpg", b"d.jpg")
    world.slow.clear()
    world.release(b"a.jpg")
    world.settle_down()
    assert world.core.totals.ended == {"rendered": 3, "reused": 1}


def test_what_no_worker_has_looked_at_is_next_again_after_the_daemon_was_killed(world: World) -> None:
    backlog(world, *NAMES)
    world.die()
    world.slow.clear()
    world.start()
    world.run(600)
    assert sorted(world.rendered) == sorted(NAMES)
    assert faults(world, *NAMES) == [0] * 4


def test_behind_a_large_picture_nothing_waits(world: World) -> None:
    world.small.discard(b"a.jpg")
    backlog(world, *NAMES)
    assert phases(world) == {b"a.jpg": "rendering", b"b.jpg": "fetched"}


def test_a_large_file_waits_for_whichever_worker_is_free_first(world: World) -> None:
    world.put(b"a.jpg", b"a.jpg")
    world.put(b"b.jpg", b"b" * 70_000)
    backlog(world, b"c.jpg", b"d.jpg")
    assert phases(world) == {b"a.jpg": "rendering", b"b.jpg": "fetched"}


def test_the_last_ones_are_for_whichever_worker_is_free_first(world: World) -> None:
    backlog(world, *NAMES[:2])
    assert phases(world) == {b"a.jpg": "rendering", b"b.jpg": "fetched"}


@pytest.mark.parametrize("doubt", ["suspect", "whole_budget"])
@pytest.mark.parametrize("which", [b"a.jpg", b"b.jpg"])
def test_a_suspect_holds_nothing_else_and_is_held_by_nobody(world: World, doubt: str, which: bytes) -> None:
    push = world.core.queue.push

    def doubted(job: Job) -> object:
        return push(replace(job, **{doubt: True}) if job.source == Source(world.root, which) else job)

    world.core.queue.push = doubted  # type: ignore[method-assign,assignment]
    backlog(world, *NAMES)
    assert "next" not in phases(world).values()


def test_the_status_tells_what_each_holds(world: World) -> None:
    backlog(world, *NAMES)
    told = Status(world.core).told(world.moment)
    assert [(one["source"], one["phase"]) for one in told["workers"]["each"]] == [("/photos/a.jpg", "rendering")]
    assert [(one["source"], one["phase"]) for one in told["in_hand"]] == [
        ("/photos/a.jpg", "rendering"),
        ("/photos/b.jpg", "next"),
        ("/photos/c.jpg", "fetched"),
    ]
    assert [one["source"] for one in told["upcoming"]] == ["/photos/d.jpg"]


def test_a_drain_ends_with_what_the_workers_hold(world: World) -> None:
    backlog(world, *NAMES)
    world.carry_out(world.core.fleet.drain(world.now))
    world.slow.clear()
    world.release(b"a.jpg")
    world.settle_down()
    assert world.rendered == [b"a.jpg", b"b.jpg"]
    assert world.core.fleet.halted
    assert [world.entry(name).state for name in NAMES] == [State.DONE, State.DONE, State.PENDING, State.PENDING]
