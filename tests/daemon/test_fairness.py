"""Nobody waits for ever for another: roots that are away, giants in a stream of small ones, limits that were raised."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.daemon.outside import FULL, File
from tests.daemon.world import World
from watcherd.daemon.oneshot import _ScanCourse
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.signals import Signalled
from watcherd.model import ChangeKind, Entry, Failed, JobClass, Reason, Source, State
from watcherd.pool.slots import Busy
from watcherd.watch.hands.hands import Collect, Fault, Fetch, Publish

GIANT_BYTES = 1_000 << 20


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    """Two roots: `root` and `other`."""
    with World(tmp_path, paths=(b"/photos", b"/other")) as world:
        yield world


def hangs(world: World, request: type) -> None:
    """The other root does not answer these requests any more, and that was noticed."""
    world.frozen.add((world.other, request))
    for number in range(30):
        world.put(b"o%d.jpg" % number, b"o%d" % number, world.other)
    world.run(2)
    world.carry_out(world.core.conditions.hung(world.other, world.moment, is_hung=True))


def finish_the_longest(world: World) -> None:
    held = {slot: state for slot, state in world.core.fleet.slots.items() if isinstance(state, Busy)}
    world.finish(min(held, key=lambda slot: held[slot].since))
    world.run(1)


# --------------------------------------------------------------------------------------------------------------- roots


@pytest.mark.parametrize("request_type", [Fetch, Publish])
def test_a_root_that_hangs_keeps_no_other_root_waiting(two: World, request_type: type) -> None:
    hangs(two, request_type)
    two.put(b"a.jpg", b"picture a")
    two.run(100)

    assert two.entry(b"a.jpg").state is State.DONE


@pytest.fixture
def twin(two: World) -> World:
    """Two roots, the other of which has a source that is done."""
    two.put(b"o.jpg", b"same", two.other)
    two.run(2)
    return two


def test_a_twin_in_a_root_that_hangs_is_not_asked(twin: World) -> None:
    twin.frozen.add((twin.other, Collect))
    twin.carry_out(twin.core.conditions.hung(twin.other, twin.moment, is_hung=True))
    twin.put(b"a.jpg", b"same")
    twin.run(100)

    assert twin.entry(b"a.jpg").state is State.DONE
    assert twin.rendered == [b"same", b"same"]


def test_a_twin_in_a_root_that_is_away_is_asked_once(twin: World) -> None:
    twin.absent.add(twin.other)
    twin.put(b"a.jpg", b"same")
    twin.run(5)

    assert twin.entry(b"a.jpg").state is State.DONE
    assert twin.rendered == [b"same", b"same"]


def test_twins_are_copied_from_one_root_to_another(twin: World) -> None:
    twin.put(b"a.jpg", b"same")
    twin.run(2)

    assert twin.entry(b"a.jpg").state is State.DONE
    assert twin.rendered == [b"same"]


def test_workers_leave_while_all_that_waits_lies_on_a_full_disk(world: World) -> None:
    for number in range(5):
        world.put(b"%d.jpg" % number, b"%d" % number)
    world.run(0.2)
    world.faults["probe"] = FULL
    full = Fault(root=world.root, ticket=0, path=b"", errno=FULL, operation="write")
    world.carry_out(world.core.conditions.fault(full, world.moment))
    world.run(600)

    assert len(world.workers) <= 1


# --------------------------------------------------------------------------------------------------------------- giants


def test_a_giant_has_its_turn_in_a_stream_of_small_ones(world: World) -> None:
    small = [b"s%d" % number for number in range(300)]
    world.slow |= set(small)
    world.costs[b"giant"] = GIANT_BYTES
    for content in small[:2]:
        world.put(content + b".jpg", content)
    world.run(1)
    world.put(b"giant.jpg", b"giant")
    for content in small[2:]:
        world.put(content + b".jpg", content)
    world.run(1)
    for _ in range(250):
        finish_the_longest(world)

    assert b"giant" in world.rendered


def test_what_was_too_large_for_the_budget_is_done_with_a_larger_one(tmp_path: Path) -> None:
    with World(tmp_path, budget_bytes=50 << 20) as world:
        world.put(b"a.jpg", b"picture a")
        world.run(5)
        assert world.entry(b"a.jpg").reason is Reason.TOO_MUCH_MEMORY
        world.die()
        world.budget_bytes = 4 << 30
        world.start()
        world.tell(ChangeKind.FOUND, b"a.jpg", world.disk[b"a.jpg"].stamp)
        world.run(5)

        assert world.entry(b"a.jpg").state is State.DONE


def test_a_copy_of_what_was_too_large_is_judged_anew(tmp_path: Path) -> None:
    with World(tmp_path, budget_bytes=50 << 20) as world:
        world.put(b"a.jpg", b"picture a")
        world.run(5)
        world.die()
        world.budget_bytes = 4 << 30
        world.start()
        world.put(b"copy.jpg", b"picture a")
        world.run(5)

        assert world.entry(b"copy.jpg").state is State.DONE


def test_a_retry_with_the_whole_budget_is_one_after_a_restart_too(world: World) -> None:
    world.plays[b"bad"] = Failed(reason=Reason.OUT_OF_MEMORY, detail="none left")
    world.put(b"a.jpg", b"bad")
    world.run(1)
    world.die()
    world.start()

    assert [job.whole_budget for job in world.core.outcomes.waiting_in(Scope())] == [True]


# ---------------------------------------------------------------------------------------------------------------- ends


def test_a_drain_waits_for_what_is_being_copied(twin: World) -> None:
    twin.frozen.add((twin.other, Collect))
    twin.put(b"a.jpg", b"same")
    twin.run(2)
    twin.carry_out(twin.core.fleet.drain(twin.now))
    twin.settle_down()

    assert twin.core.attempts.finishing() == 1


def test_what_is_laid_down_at_the_end_is_not_suspected(twin: World) -> None:
    twin.frozen.add((twin.other, Collect))
    twin.put(b"a.jpg", b"same")
    twin.run(2)
    assert twin.entry(b"a.jpg").in_hand
    twin.core.attempts.lay_down_all()

    assert twin.entry(b"a.jpg").in_hand is False


def test_a_second_signal_ends_a_scan_whose_publish_hangs(world: World) -> None:
    world.frozen.add((world.root, Publish))
    world.put(b"a.jpg", b"picture a")
    world.run(2)
    parts: Any = SimpleNamespace(core=world.core)
    course = _ScanCourse(parts, Scope(), lambda _counts, _left: None)
    over = []
    for _ in range(2):
        world.carry_out(course.signalled(Signalled(2), world.moment))
        world.run(20)
        over.append(course.is_over())

    assert over == [False, True]


# --------------------------------------------------------------------------------------------------------------- scopes


def test_a_scan_of_one_file_leaves_the_rest_of_its_root_alone(world: World) -> None:
    waiting = [b"%d" % number for number in range(50)]
    world.slow |= set(waiting)
    for content in waiting:
        world.put(content + b".jpg", content)
    world.run(1)
    world.die()
    world.slow.clear()
    world.patient = False
    world.scope = Scope(places=(Source(world.root, b"one.jpg"),))
    world.start()
    world.put(b"one.jpg", b"one")
    world.run(60)

    assert world.rendered == [b"one"]
    assert world.core.quiet


def test_a_scan_of_a_folder_takes_up_what_an_earlier_run_left_in_it(world: World) -> None:
    world.slow |= {b"here", b"there"}
    world.put(b"in/a.jpg", b"here")
    world.put(b"b.jpg", b"there")
    world.run(1)
    world.die()
    world.slow.clear()
    world.patient = False
    world.scope = Scope(places=(Source(world.root, b"in"),))
    world.start()
    world.run(60)

    assert world.rendered == [b"here"]
    assert world.entry(b"b.jpg").in_hand is True


# ------------------------------------------------------------------------------------------------- uploads and backlog


class _Old(set[bytes]):
    """Contents whose workers wait to be told to end: all of the backlog's, and what is added."""

    def __contains__(self, content: object) -> bool:
        return (isinstance(content, bytes) and content.startswith(b"old")) or super().__contains__(content)


def with_a_backlog(world: World, count: int) -> None:
    """A ledger as a first scan of a large library leaves it, taken up by the next run."""
    for number in range(count):
        path = b"old/%06d.jpg" % number
        world.disk[path] = File(b"old %d" % number, world.stamp_of(path))
        world.ledger.record(
            Entry(
                source=Source(world.root, path),
                state=State.PENDING,
                stamp=world.disk[path].stamp,
                job_class=JobClass.BACKLOG,
                sequence=world.ledger.next_sequence(),
            )
        )
    world.ledger.commit()
    world.die()
    world.slow = _Old()
    world.start()
    world.run(1)


def finished_until_rendered(world: World, content: bytes) -> int:
    """How many other jobs end before this one, from now on."""
    before = len(world.rendered)
    while content not in world.rendered:
        finish_the_longest(world)
    return len(world.rendered) - before - 1


def in_hand_and_ahead(world: World) -> int:
    return len(world.core.attempts)


def test_an_upload_behind_a_backlog_of_100_000_waits_for_what_is_in_hand_and_a_few_strides(world: World) -> None:
    with_a_backlog(world, 100_000)
    for _ in range(20):
        finish_the_longest(world)
    assert world.ledger.counts()[world.root][State.PENDING] == 100_000 - 20
    world.slow.add(b"new")
    world.put(b"new.jpg", b"new")
    world.run(1)
    in_hand = in_hand_and_ahead(world)

    others = finished_until_rendered(world, b"new")

    assert in_hand <= 2 * world.most_workers
    assert others <= in_hand + 2


def test_a_burst_of_5_000_in_one_root_does_not_hold_another_roots_upload(two: World) -> None:
    two.slow = _Old()
    for number in range(5_000):
        two.put(b"%d.jpg" % number, b"old %d" % number)
    two.run(2)
    for _ in range(20):
        finish_the_longest(two)
    two.slow.add(b"new")
    two.put(b"new.jpg", b"new", two.other)
    two.run(1)
    in_hand = in_hand_and_ahead(two)

    others = finished_until_rendered(two, b"new")

    assert in_hand <= 2 * two.most_workers + 1
    assert others <= in_hand + 2


def test_a_backlog_goes_on_under_uploads_without_end(world: World) -> None:
    with_a_backlog(world, 200)
    for number in range(200):
        content = b"new %d" % number
        world.slow.add(content)
        world.put(content + b".jpg", content)
        world.run(1)
        finish_the_longest(world)

    old = sum(content.startswith(b"old") for content in world.rendered)
    assert len(world.rendered) == 200
    assert 200 // 33 <= old < 200 // 8
