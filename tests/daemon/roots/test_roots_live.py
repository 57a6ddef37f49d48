"""Roots that come, go and change while the daemon runs: what is in hand is finished, nothing pending is lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.world import World, scan_ended
from watcherd.daemon.effects import WatchedRoot
from watcherd.model import Incomplete, JobClass, Reason, Source, State, Variant
from watcherd.watch.hands.hands import Fetch, Publish
from watcherd.watch.reports import Found, ScanResult, Watching
from watcherd.watch.roots import RootState

MEDIUM = Variant(name="medium", width=800, height=800)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, paths=(b"/photos", b"/others")) as world:
        yield world


def state_of(world: World, root: int, path: bytes) -> State | None:
    entry = world.ledger.entry(Source(root, path))
    return entry.state if entry else None


def test_what_is_queued_for_a_dropped_root_stays_pending_and_is_done_when_it_is_back(two: World) -> None:
    two.slow |= {b"a", b"b"}
    for name in (b"a", b"b", b"c", b"d", b"e"):  # two with workers, two fetched ahead, one queued
        two.put(name + b".jpg", name, root=two.other)
    two.run(2)
    root = two.core.roots[two.other]
    two.core.drop_root(two.other)
    two.release(b"a")
    two.release(b"b")
    two.run(60)

    states = [state_of(two, two.other, name) for name in (b"a.jpg", b"b.jpg", b"c.jpg", b"d.jpg", b"e.jpg")]
    assert states == [State.DONE] * 4 + [State.PENDING]
    assert two.core.left() == 0
    assert two.open_descriptors() == 0
    two.core.add_root(root, two.moment)
    two.run(10)
    assert state_of(two, two.other, b"e.jpg") is State.DONE


def test_a_root_that_is_dropped_leaves_the_others_alone(two: World) -> None:
    two.put(b"a.jpg", b"a")
    two.core.drop_root(two.other)
    two.put(b"z.jpg", b"z", root=two.other)
    two.run(10)

    assert state_of(two, two.root, b"a.jpg") is State.DONE
    assert state_of(two, two.other, b"z.jpg") is None
    assert two.core.conditions.state(two.other) is RootState.OFFLINE


@pytest.mark.parametrize("kind", [Fetch, Publish])
def test_what_the_hands_have_of_a_dropped_root_ends_well(two: World, kind: type) -> None:
    held: list[object] = []

    def hold(asked: object) -> None:
        if isinstance(asked.request, kind) and not held:  # type: ignore[attr-defined]
            held.append(asked)
            two.core.drop_root(two.other)

    two.hook = hold
    two.put(b"a.jpg", b"a", root=two.other)
    two.run(10)

    assert state_of(two, two.other, b"a.jpg") is State.DONE
    assert (len(two.core.attempts), two.open_descriptors()) == (0, 0)


def test_an_incomplete_source_and_one_that_waits_for_memory_do_not_come_back_into_a_dropped_root(two: World) -> None:
    two.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="no end")
    two.costs[b"giant"] = two.costs[b"other giant"] = (1 << 30) - 1
    two.slow.add(b"giant")
    two.put(b"g.jpg", b"giant")
    two.put(b"h.jpg", b"half", root=two.other)
    two.put(b"o.jpg", b"other giant", root=two.other)
    two.run(5)
    two.core.drop_root(two.other)
    two.release(b"giant")
    two.run(2_000)

    assert state_of(two, two.other, b"h.jpg") is State.INCOMPLETE
    assert state_of(two, two.other, b"o.jpg") is State.PENDING
    assert two.core.left() == 0


def test_late_reports_of_a_dropped_root_change_nothing(two: World) -> None:
    gone = two.other
    two.core.drop_root(gone)
    ended = scan_ended(gone, result=ScanResult.ROOT_EMPTIED)
    for report in (Watching(root=gone), Found(root=gone, changes=(), ticket=None, arriving=JobClass.BACKLOG), ended):
        two.report(report)
    two.run(5)

    assert two.scans_asked == []
    assert two.core.failure is None


def watched(world: World, root: int, *variants: Variant) -> WatchedRoot:
    pairs = [(variant.name, variant.format.extension) for variant in variants]
    world.ledger.note_variants(pairs)
    before = world.core.roots[root]
    return replace(before, variants=variants, names=replace(before.names, known=world.ledger.known_variants()))


def test_a_source_in_hand_is_finished_as_it_began_and_then_gets_the_new_variants(world: World) -> None:
    world.slow.add(b"a")
    world.put(b"a.jpg", b"a")
    world.run(2)
    world.core.refit_root(watched(world, world.root, *world.variants, MEDIUM), anew=True)
    world.release(b"a")
    world.settle_down()
    first = {derivative.variant for derivative in world.entry(b"a.jpg").derivatives}
    world.run(10)

    assert first == {"thumbnail", "preview"}
    assert {derivative.variant for derivative in world.entry(b"a.jpg").derivatives} == {
        "thumbnail",
        "preview",
        "medium",
    }


def test_the_derivatives_of_a_variant_that_was_taken_out_are_kept(world: World) -> None:
    world.put(b"a.jpg", b"a")
    world.run(5)
    thumbnail = world.variants[0]
    world.core.refit_root(watched(world, world.root, thumbnail), anew=True)
    world.put(b"a.jpg", b"other content")
    world.run(10)

    assert {derivative.variant for derivative in world.entry(b"a.jpg").derivatives} == {"thumbnail", "preview"}
    assert b"a.jpg.preview.jpg" in world.disk
