"""Nothing is forgotten: retries, uploads and deletions outlast restarts, failed looks and failed removals."""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.daemon.outside import FULL, File
from tests.daemon.world import World
from watcherd.daemon.effects import AskHands
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.verbs.requests import renew
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    Change,
    ChangeKind,
    Failed,
    Incomplete,
    JobClass,
    OutputFormat,
    Reason,
    Rejected,
    Rendered,
    Source,
    State,
)
from watcherd.pool.frames import Ended
from watcherd.pool.slots import Busy
from watcherd.watch.hands.hands import Broken, Fault, Fetch, Remove, StatMany, Stats
from watcherd.watch.reports import Found
from watcherd.watch.roots import RootState

BAD = Failed(reason=Reason.DECODER_ERROR, detail="it went wrong")
HALF = Incomplete(reason=Reason.TRUNCATED, detail="no end")
DERIVATIVES = {b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"}


def once(world: World, kind: type, answer: Callable[[AskHands], object]) -> None:
    """The hands answer the next request of a kind in this way."""

    def hook(asked: AskHands) -> object:
        is_look_at_root = isinstance(asked.request, StatMany) and not asked.request.paths
        if not isinstance(asked.request, kind) or is_look_at_root:
            return None
        world.hook = None
        return answer(asked)

    world.hook = hook


def fault(number: int) -> Callable[[AskHands], Fault]:
    return lambda asked: Fault(
        root=asked.root, ticket=asked.request.ticket, path=b"", errno=number, operation="open_root"
    )


def ask_for(world: World, path: bytes) -> None:
    """Somebody asks for another attempt at a source that is known."""
    renew(world.ledger, world.entry(path))
    change = Change(kind=ChangeKind.CREATED, source=Source(world.root, path))
    world.carry_out(world.core.intake.change(change, world.moment, arriving=JobClass.MANUAL))


def fails_and_waits(world: World) -> None:
    world.plays[b"bad"] = BAD
    world.put(b"a.jpg", b"bad")
    world.run(1.0)
    assert world.core.outcomes.waiting == 1


# ------------------------------------------------------------------------------------------------------------- retries


def test_a_retry_that_is_due_at_start_is_not_lost(world: World) -> None:
    fails_and_waits(world)
    world.die()
    world.now += 60
    world.plays.clear()
    world.start()
    world.run()

    assert world.entry(b"a.jpg").state is State.DONE


def test_a_change_while_a_retry_waits_takes_its_place(world: World) -> None:
    fails_and_waits(world)
    world.slow.add(b"good")
    world.put(b"a.jpg", b"good")
    world.run(20)
    world.release(b"good")
    world.run()

    assert world.rendered == [b"good"]
    assert world.entry(b"a.jpg").state is State.DONE
    assert world.core.quiet


def test_an_attempt_that_was_asked_for_takes_the_place_of_the_retry_that_waits(world: World) -> None:
    fails_and_waits(world)
    world.run(6)
    assert world.core.outcomes.waiting == 1
    world.plays.clear()
    world.slow.add(b"bad")
    ask_for(world, b"a.jpg")
    world.run(20)
    world.release(b"bad")
    world.run()

    assert world.rendered == [b"bad"]
    assert world.entry(b"a.jpg").state is State.DONE
    assert world.core.quiet


def test_retries_that_come_due_while_their_root_is_paused_are_done_when_it_is_back(world: World) -> None:
    many = [b"%d" % number for number in range(1_900)]
    world.plays |= dict.fromkeys(many, BAD)
    for content in many:
        world.put(content + b".jpg", content)
    world.run(0.6)
    world.faults["probe"] = FULL
    full = Fault(root=world.root, ticket=0, path=b"", errno=FULL, operation="write")
    world.carry_out(world.core.conditions.fault(full, world.moment))
    world.run(60)
    world.plays.clear()
    world.faults.clear()
    world.run(4_000)

    assert {state: number for state, number in world.ledger.counts()[world.root].items() if number} == {
        State.DONE: len(many)
    }


def test_a_one_shot_scan_retries_all_that_failed_however_many(world: World) -> None:
    world.die()
    world.patient = False
    world.start()
    many = [b"%d" % number for number in range(1_800)]
    world.plays |= dict.fromkeys(many, BAD)
    for content in many:
        world.put(content + b".jpg", content)
    world.run(0.6)
    for _ in range(20):
        world.settle_down()
        if world.core.quiet and not world.core.retry_now(world.moment, Scope()):
            break

    assert world.ledger.counts()[world.root].get(State.PENDING, 0) == 0


def test_a_retry_that_is_due_in_a_drain_asks_for_no_passes(world: World) -> None:
    world.slow.add(b"slow")
    world.put(b"b.jpg", b"slow")
    fails_and_waits(world)
    world.carry_out(world.core.fleet.drain(world.now))
    world.now += 30
    world.settle_down()

    deadline = world.core.next_deadline()
    assert deadline is not None
    assert deadline > world.now


def test_a_source_in_hand_that_is_asked_for_is_still_in_hand(world: World) -> None:
    world.slow.add(b"picture a")
    world.put(b"a.jpg", b"picture a")
    world.run(1)
    ask_for(world, b"a.jpg")
    world.run(1)

    assert world.entry(b"a.jpg").in_hand is True


# ------------------------------------------------------------------------------------------------- looks that go wrong


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_an_upload_that_could_not_be_looked_at_is_looked_at_again(world: World, number: int) -> None:
    def answer(asked: AskHands) -> Stats:
        assert isinstance(asked.request, StatMany)
        bad = [(path, replace(fault(number)(asked), path=path)) for path in asked.request.paths]
        return Stats(root=asked.root, ticket=asked.request.ticket, results=tuple(bad))

    once(world, StatMany, answer)
    world.put(b"a.jpg", b"picture a")
    world.run(600)

    assert world.entry(b"a.jpg").state is State.DONE


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_uploads_outlast_a_root_that_could_not_be_opened(world: World, number: int) -> None:
    once(world, StatMany, fault(number))
    world.put(b"a.jpg", b"picture a")
    world.run(600)

    assert world.entry(b"a.jpg").state is State.DONE


def test_one_error_of_the_hands_keeps_no_other_upload_waiting(world: World) -> None:
    once(
        world,
        StatMany,
        lambda asked: Broken(root=asked.root, ticket=asked.request.ticket, operation="stat", text="ValueError"),
    )
    world.put(b"a.jpg", b"picture a")
    world.put(b"b.jpg", b"picture b")
    world.run(600)

    assert [world.entry(path).state for path in (b"a.jpg", b"b.jpg")] == [State.DONE, State.DONE]
    assert world.core.quiet


def test_an_incomplete_upload_whose_look_fails_is_tried_all_the_same(world: World) -> None:
    world.plays[b"half"] = HALF
    world.put(b"a.jpg", b"half")
    world.run(5)
    once(world, StatMany, fault(errno.EMFILE))
    world.run(4_000)

    assert world.entry(b"a.jpg").state is State.DONE


def test_an_incomplete_upload_that_is_asked_for_is_tried_at_once_and_keeps_its_reason(world: World) -> None:
    world.plays[b"half"] = HALF
    world.put(b"a.jpg", b"half")
    world.run(5)
    ask_for(world, b"a.jpg")
    world.run()

    assert world.core.totals.ended == {"incomplete": 2}
    assert (world.entry(b"a.jpg").state, world.entry(b"a.jpg").reason) == (State.INCOMPLETE, Reason.TRUNCATED)


def test_what_is_asked_for_while_its_root_is_away_is_done_when_it_is_back(world: World) -> None:
    world.plays[b"bad"] = Rejected(reason=Reason.DAMAGED, detail="torn")
    world.put(b"a.jpg", b"bad")
    world.run(1)
    world.plays.clear()
    world.absent.add(world.root)
    ask_for(world, b"a.jpg")
    world.run()
    assert world.core.conditions.state(world.root) is RootState.OFFLINE
    world.absent.clear()
    world.carry_out(world.core.conditions.present(world.root, world.moment))
    world.run(100)

    assert world.entry(b"a.jpg").state is State.DONE


# ---------------------------------------------------------------------------------------------------------- departures


def gone(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run(5)
    world.delete(b"a.jpg")
    world.run(5)
    assert set(world.disk) == DERIVATIVES


@pytest.mark.parametrize("kind", [StatMany, Remove])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EROFS])
def test_a_deletion_outlasts_a_request_that_fails(world: World, kind: type, number: int) -> None:
    gone(world)
    once(world, kind, fault(number))
    world.run(4_000)

    assert world.disk == {}
    assert world.ledger.entry(Source(world.root, b"a.jpg")) is None


def test_the_time_that_a_deletion_waits_goes_on_over_a_restart(world: World) -> None:
    gone(world)
    world.die()
    world.now += 100
    world.start()
    world.run(1)

    assert world.disk == {}


def test_a_source_that_is_back_before_its_look_is_taken_up_again(world: World) -> None:
    """It vanishes when it is fetched, and no event says that it is back."""
    world.put(b"a.jpg", b"one")
    world.run(5)
    world.put(b"a.jpg", b"two")
    edited = world.disk[b"a.jpg"]
    once(world, Fetch, lambda _: world.disk.pop(b"a.jpg") and None)
    world.run(2)
    assert b"a.jpg" not in world.disk
    world.disk[b"a.jpg"] = edited
    world.run(200)

    assert (world.entry(b"a.jpg").state, world.entry(b"a.jpg").gone_at_s) == (State.DONE, None)
    assert world.rendered == [b"one", b"two"]


def test_another_picture_at_a_path_that_waits_to_be_forgotten_is_rendered(world: World) -> None:
    gone(world)
    world.disk[b"a.jpg"] = File(b"other", world.stamp_of(b"other"))
    world.run(200)

    assert world.rendered == [b"picture a", b"other"]
    assert (world.entry(b"a.jpg").state, world.entry(b"a.jpg").gone_at_s) == (State.DONE, None)


def test_a_deleted_source_leaves_no_derivative_of_an_earlier_or_a_later_format(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run(5)
    world.die()
    world.variants = (replace(THUMBNAIL, format=OutputFormat.WEBP), PREVIEW)
    world.start()
    world.put(b"a.jpg", b"picture b")
    world.run(5)
    assert b"a.jpg.thumbnail.webp" in world.disk
    world.delete(b"a.jpg")
    world.run(200)

    assert world.disk == {}


# ---------------------------------------------------------------------------------------------------- workers' messages


def test_a_worker_that_ends_a_job_with_another_digest_is_not_believed(world: World) -> None:
    world.slow.add(b"same")
    world.put(b"a.jpg", b"same")
    world.put(b"b.jpg", b"same")
    world.run(1)
    slot = next(slot for slot, state in world.core.fleet.slots.items() if isinstance(state, Busy))
    work = world.workers[slot].work
    assert work is not None
    lie = Ended(job=work.job, outcome=Rejected(reason=Reason.DAMAGED, detail="torn"), digest=bytes(32))
    world._say(slot, lie.body())
    world.slow.clear()
    world.run(1_000)

    assert [world.entry(path).state for path in (b"a.jpg", b"b.jpg")] == [State.DONE, State.DONE]
    assert world.core.quiet


def test_a_job_that_ends_without_its_pictures_is_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(self: World, slot: int, worker: object) -> None:  # noqa: ARG001  as the one that it stands for
        work = self.workers[slot].work
        assert work is not None
        self._say(slot, Ended(job=work.job, outcome=Rendered(), digest=bytes(32)).body())

    monkeypatch.setattr(World, "_identify", lie)
    world.put(b"a.jpg", b"picture a")
    world.run(2)

    assert world.entry(b"a.jpg").state is State.PENDING


# ------------------------------------------------------------------------------------------------------------- classes


def test_what_is_found_in_doubt_is_an_upload(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world._inbox.clear()
    change = Change(kind=ChangeKind.FOUND, source=Source(world.root, b"a.jpg"), stamp=world.disk[b"a.jpg"].stamp)
    world.report(Found(root=world.root, changes=(change,), ticket=None, arriving=JobClass.UPLOAD))
    world.run()

    assert world.entry(b"a.jpg").job_class is JobClass.UPLOAD


@pytest.mark.parametrize("kind", [ChangeKind.CREATED, ChangeKind.CLOSED, ChangeKind.DELETED])
def test_a_change_of_an_ignore_file_leads_to_a_scan_of_its_folder(world: World, kind: ChangeKind) -> None:
    world.tell(kind, b"in/.watcherdignore")
    world.settle_down()
    assert world.scans_asked == [b"in"]
