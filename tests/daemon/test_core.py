"""The daemon's core in a played world: what becomes of uploads, whatever happens to them."""

import errno
from dataclasses import replace

import pytest

from tests.daemon.outside import START_S
from tests.daemon.world import World
from watcherd.model import (
    ChangeKind,
    Failed,
    Ignored,
    Incomplete,
    JobClass,
    Reason,
    Rejected,
    Source,
    State,
)
from watcherd.naming import Mark
from watcherd.settings import Settings
from watcherd.watch.hands.hands import Fetch, Refused
from watcherd.watch.roots import RootState

# ------------------------------------------------------------------------------------------------------- the good way


def test_an_upload_gets_its_derivatives_once(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()

    assert world.rendered == [b"picture a"]
    assert set(world.disk) == {b"a.jpg", b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"}
    assert world.entry(b"a.jpg").state is State.DONE
    assert [d.variant for d in world.entry(b"a.jpg").derivatives] == ["thumbnail", "preview"]
    assert world.open_descriptors() == 0
    assert world.core.quiet


def test_nothing_is_read_before_the_upload_is_quiet(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run(0.4)

    assert world.rendered == []
    world.run(0.2)
    assert world.rendered == [b"picture a"]


def test_a_touched_source_is_hashed_and_not_rendered_again(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.put(b"a.jpg", b"picture a")
    world.run()

    assert world.rendered == [b"picture a"]
    assert world.core.totals.ended == {"rendered": 1, "unchanged": 1}


def test_other_content_at_the_same_path_is_rendered_anew(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.put(b"a.jpg", b"another one")
    world.run()

    assert world.rendered == [b"picture a", b"another one"]
    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of another one"


def test_twins_are_copied_not_rendered(world: World) -> None:
    world.put(b"a.jpg", b"same")
    world.run()
    world.put(b"b.jpg", b"same")
    world.run()

    assert world.rendered == [b"same"]
    assert world.entry(b"b.jpg").state is State.DONE
    assert (world.entry(b"b.jpg").derivatives[0].width, world.entry(b"b.jpg").derivatives[0].height) == (200, 150)


def test_twins_that_come_together_are_rendered_once(world: World) -> None:
    world.put(b"a.jpg", b"same")
    world.put(b"b.jpg", b"same")
    world.run()

    assert world.rendered == [b"same"]
    assert [world.entry(path).state for path in (b"a.jpg", b"b.jpg")] == [State.DONE, State.DONE]


def test_a_twin_whose_derivatives_are_gone_is_no_twin(world: World) -> None:
    world.put(b"a.jpg", b"same")
    world.run()
    del world.disk[b"a.jpg.preview.jpg"]
    world.put(b"b.jpg", b"same")
    world.run()

    assert world.rendered == [b"same", b"same"]
    assert world.entry(b"b.jpg").state is State.DONE


def test_a_derivative_that_was_taken_away_is_made_again_alone(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.delete(b"a.jpg.preview.jpg")
    world.run()

    assert b"a.jpg.preview.jpg" in world.disk
    assert world.core.totals.ended == {"rendered": 2}
    assert world.entry(b"a.jpg").state is State.DONE


def looks(world: World, path: bytes) -> tuple[int | None, int | None, str]:
    entry = world.entry(path)
    return entry.phash, entry.dhash, entry.captured


def test_what_a_picture_looks_like_is_recorded_and_outlasts_a_touch_and_a_new_copy(world: World) -> None:
    world.put(b"a.jpg", b"same")
    world.run()
    told = looks(world, b"a.jpg")
    assert told[0] is not None
    assert told == (told[0], told[0] ^ 1, "2008-05-30T15:56:01")
    world.put(b"a.jpg", b"same")
    world.put(b"b.jpg", b"same")
    world.run()

    assert world.core.totals.ended == {"rendered": 1, "unchanged": 1, "reused": 1}
    assert looks(world, b"a.jpg") == looks(world, b"b.jpg") == told


def test_what_another_content_looked_like_is_forgotten(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.plays[b"broken"] = Rejected(reason=Reason.DAMAGED, detail="broken")
    world.put(b"a.jpg", b"broken")
    world.run()

    assert world.entry(b"a.jpg").state is State.REJECTED
    assert looks(world, b"a.jpg") == (None, None, "")


def test_a_content_that_was_not_read_has_no_digest_of_an_earlier_one(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.plays[b"text"] = Ignored(kind="no_picture")
    world.put(b"a.jpg", b"text")
    world.run()

    assert world.entry(b"a.jpg").state is State.IGNORED
    assert world.entry(b"a.jpg").digest is None
    assert looks(world, b"a.jpg") == (None, None, "")


def test_a_lost_ledger_costs_no_rendering(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.die()
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (world.folder / name).unlink(missing_ok=True)
    world.start()
    world.tell(ChangeKind.FOUND, b"a.jpg", world.disk[b"a.jpg"].stamp)
    world.run()

    assert world.rendered == [b"picture a"]
    assert world.core.totals.ended == {"reused": 1}
    assert world.entry(b"a.jpg").state is State.DONE


def test_our_own_files_are_no_uploads(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.tell(ChangeKind.CREATED, b"a.jpg.thumbnail.jpg")
    world.tell(ChangeKind.CLOSED, b"a.jpg.preview.jpg")
    world.run()

    assert world.rendered == [b"picture a"]
    assert world.ledger.entry(Source(world.root, b"a.jpg.thumbnail.jpg")) is None


def test_hidden_names_never_become_work(world: World) -> None:
    world.put(b".a.jpg.part", b"half")
    world.run()

    assert world.rendered == []
    assert world.ledger.entry(Source(world.root, b".a.jpg.part")) is None


def test_a_find_is_taken_at_once_if_it_is_old(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world._inbox.clear()
    old = world.disk[b"a.jpg"].stamp._replace(mtime_ns=1, ctime_ns=1)
    world.disk[b"a.jpg"].stamp = old
    world.tell(ChangeKind.FOUND, b"a.jpg", old)
    world.settle_down()

    assert world.rendered == [b"picture a"]


# ------------------------------------------------------------------------------------------------------ what is no good


def test_what_is_no_picture_is_remembered_as_ignored(world: World) -> None:
    world.plays[b"text"] = Ignored(kind="text")
    world.put(b"readme.txt", b"text")
    world.run()

    assert world.entry(b"readme.txt").state is State.IGNORED


def test_a_rejected_content_is_not_looked_at_twice(world: World) -> None:
    world.plays[b"bad"] = Rejected(reason=Reason.DAMAGED, detail="torn")
    world.put(b"a.jpg", b"bad")
    world.run()
    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.reason, entry.detail) == (State.REJECTED, Reason.DAMAGED, "torn")

    del world.plays[b"bad"]  # a worker would make it now, but nobody asks one
    world.put(b"b.jpg", b"bad")
    world.run()
    assert world.entry(b"b.jpg").state is State.REJECTED
    assert world.rendered == []


def test_a_verdict_ends_with_the_decoders_that_it_was_given_by(world: World) -> None:
    world.plays[b"new"] = Rejected(reason=Reason.UNSUPPORTED, detail="a new format")
    world.put(b"a.jxl", b"new")
    world.run()
    world.die()
    del world.plays[b"new"]
    world.seen_by += 1
    world.start()
    world.tell(ChangeKind.FOUND, b"a.jxl", world.disk[b"a.jxl"].stamp)
    world.run()

    assert world.rendered == [b"new"]
    assert world.entry(b"a.jxl").state is State.DONE


def test_a_foreign_file_at_our_name_is_kept_and_named(world: World) -> None:
    world.put(b"a.jpg.preview.jpg", b"my own holiday")
    world.run()
    world.rendered.clear()
    world.disk[b"a.jpg.preview.jpg"].mark = None
    world.put(b"a.jpg", b"picture a")
    world.run()

    assert world.disk[b"a.jpg.preview.jpg"].content == b"my own holiday"
    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.reason) == (State.REJECTED, Reason.NAME_TAKEN)
    assert "a.jpg.preview.jpg" in entry.detail
    assert [d.variant for d in entry.derivatives] == ["thumbnail"]


def test_a_stale_derivative_of_ours_is_replaced(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    old = Mark(variant="preview", digest=bytes(32), fingerprint=1)
    world.disk[b"a.jpg.preview.jpg"] = replace(world.disk[b"a.jpg.preview.jpg"], content=b"stale", mark=old)
    world.tell(ChangeKind.FOUND, b"a.jpg", world.disk[b"a.jpg"].stamp)
    world.run()

    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of picture a"


def test_a_derivative_that_was_cut_off_is_made_again_though_its_mark_is_right(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    whole = world.disk[b"a.jpg.preview.jpg"]
    assert whole.mark is not None
    whole.stamp, whole.content = whole.stamp._replace(size_bytes=3), b"pic"
    whole.mark = replace(whole.mark, digest=bytes(32))  # as a look at a file without its end gives it
    world.tell(ChangeKind.FOUND, b"a.jpg", world.disk[b"a.jpg"].stamp)
    world.run()

    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of picture a"


def test_a_derivative_that_was_edited_by_a_program_that_keeps_comments_is_left_alone_and_told_of(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    edited = world.disk[b"a.jpg.preview.jpg"]
    edited.stamp, edited.content = edited.stamp._replace(size_bytes=3), b"pic"
    world.tell(ChangeKind.FOUND, b"a.jpg", world.disk[b"a.jpg"].stamp)
    world.run()

    assert (edited.content, world.rendered) == (b"pic", [b"picture a"])
    assert "preview is not as it was written" in world.entry(b"a.jpg").detail


@pytest.mark.parametrize("kind", ["no_picture", "empty", "link", "text"])
def test_a_picture_replaced_by_what_is_none_loses_its_derivatives(world: World, kind: str) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.plays[b"something else"] = Ignored(kind=kind)
    world.put(b"a.jpg", b"something else")
    world.run()

    assert set(world.disk) == {b"a.jpg"}
    assert (world.entry(b"a.jpg").state, world.entry(b"a.jpg").derivatives) == (State.IGNORED, ())


@pytest.mark.parametrize("kind", ["video", "pdf"])
def test_a_picture_whose_decoder_is_not_there_any_more_keeps_its_derivatives(world: World, kind: str) -> None:
    world.put(b"a.pdf", b"picture a")
    world.run()
    world.plays[b"picture a"] = Ignored(kind=kind)
    world.put(b"a.pdf", b"picture a")
    world.run()

    assert set(world.disk) == {b"a.pdf", b"a.pdf.thumbnail.jpg", b"a.pdf.preview.jpg"}


@pytest.mark.parametrize(("content", "left"), [(b"much larger", 1), (b"picture a", 3)])
def test_only_what_grew_beyond_the_limit_loses_its_derivatives_not_what_a_lower_limit_meets(
    world: World, content: bytes, left: int
) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    refused = Rejected(reason=Reason.TOO_MANY_BYTES, detail="too large")
    world.hook = lambda asked: (
        Refused(root=asked.root, ticket=asked.request.ticket, outcome=refused)
        if isinstance(asked.request, Fetch)
        else None
    )
    world.put(b"a.jpg", content)
    world.run()

    assert world.entry(b"a.jpg").reason is Reason.TOO_MANY_BYTES
    assert len(world.disk) == left


def test_a_good_picture_replaced_by_a_bad_one_loses_the_derivatives_that_show_the_old_one(world: World) -> None:
    world.put(b"a.jpg", b"good")
    world.run()
    world.plays[b"bad"] = Rejected(reason=Reason.DAMAGED, detail="torn")
    world.put(b"a.jpg", b"bad")
    world.run()

    assert set(world.disk) == {b"a.jpg"}
    assert world.entry(b"a.jpg").derivatives == ()
    assert world.entry(b"a.jpg").state is State.REJECTED


def test_a_verdict_on_the_same_content_takes_nothing_away(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.plays[b"picture a"] = Rejected(reason=Reason.TOO_MANY_PIXELS, detail="the limit was lowered")
    world.put(b"a.jpg", b"picture a")
    world.run()

    assert b"a.jpg.preview.jpg" in world.disk
    assert len(world.entry(b"a.jpg").derivatives) == 2


# ------------------------------------------------------------------------------------------------------- half uploads


def test_an_incomplete_upload_waits_for_more_of_it(world: World) -> None:
    world.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="no end")
    world.put(b"a.jpg", b"half")
    world.run(60)
    assert world.entry(b"a.jpg").state is State.INCOMPLETE
    assert world.rendered == []

    world.put(b"a.jpg", b"half and the other half")
    world.run()
    assert world.entry(b"a.jpg").state is State.DONE


def test_after_the_grace_the_decoder_has_the_last_word(world: World) -> None:
    world.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="no end")
    world.put(b"a.jpg", b"half")
    world.run(899)
    assert world.rendered == []

    world.run(10)
    assert world.rendered == [b"half"]
    assert world.entry(b"a.jpg").state is State.DONE


def test_the_grace_goes_on_over_a_restart(world: World) -> None:
    world.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="no end")
    world.put(b"a.jpg", b"half")
    world.run(600)
    world.die()
    world.start()
    world.run(250)
    assert world.rendered == []

    world.run(100)
    assert world.rendered == [b"half"]


def test_a_source_that_changes_while_it_is_read_is_done_in_the_end(world: World) -> None:
    def change_it() -> None:
        world.on_publish = None
        world.put(b"a.jpg", b"the second version")

    world.on_publish = change_it
    world.put(b"a.jpg", b"the first version")
    world.run()

    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of the second version"
    assert world.entry(b"a.jpg").state is State.DONE
    assert not world.entry(b"a.jpg").in_hand


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_a_source_that_kills_its_worker_is_quarantined_after_three(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"poison.jpg", b"poison")
    world.put(b"good.jpg", b"good")
    world.run(120)

    entry = world.entry(b"poison.jpg")
    assert (entry.state, entry.reason, entry.faults) == (State.QUARANTINED, Reason.CRASHED, 3)
    assert world.entry(b"good.jpg").state is State.DONE
    assert world.core.totals.ended == {"crashed": 3, "rendered": 1}


@pytest.mark.parametrize(("jitter", "delay_s"), [(0.0, 2.5), (0.5, 3.75), (0.9, 4.75)])
def test_the_wait_before_another_attempt_follows_the_jitter_that_is_handed_in(
    world: World, jitter: float, delay_s: float
) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.jitter = jitter
    world.put(b"poison.jpg", b"poison")
    world.run(2)

    due_at_s = world.entry(b"poison.jpg").not_before_at_s or 0.0
    died_at_s = due_at_s - delay_s
    assert 0.5 <= died_at_s - (world.moment.wall_s - 2) < 1.0


def test_attempts_are_counted_over_restarts(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"poison.jpg", b"poison")
    world.run(2)
    assert world.entry(b"poison.jpg").faults == 1
    world.die()
    world.start()
    world.run(300)

    assert world.entry(b"poison.jpg").state is State.QUARANTINED
    assert world.core.totals.ended == {"crashed": 2}


def test_kills_from_outside_are_not_the_sources_fault(world: World) -> None:
    world.slow.add(b"picture a")
    world.put(b"a.jpg", b"picture a")
    for _ in range(5):
        world.run(30)
        (slot,) = [slot for slot, worker in world.workers.items() if worker.content == b"picture a"]
        world.end_worker(slot, "SIGKILL")
    world.slow.clear()
    world.run(30)

    assert world.entry(b"a.jpg").state is State.DONE
    assert world.core.totals.restarts == 5


def test_a_worker_that_hangs_is_ended_at_its_deadline_and_the_source_charged(world: World) -> None:
    world.slow.add(b"picture a")
    world.put(b"a.jpg", b"picture a")
    world.run(1200)

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.reason) == (State.QUARANTINED, Reason.TIMED_OUT)


def test_a_decoder_error_is_retried_then_quarantined(world: World) -> None:
    world.plays[b"odd"] = Failed(reason=Reason.DECODER_ERROR, detail="bug")
    world.put(b"a.jpg", b"odd")
    world.run(120)

    assert world.entry(b"a.jpg").state is State.QUARANTINED
    assert world.core.totals.ended == {"failed": 3}


def test_a_source_that_ran_out_of_memory_is_tried_again_with_all_of_it_and_alone(world: World) -> None:
    world.plays[b"big"] = "out of memory"
    world.put(b"big.jpg", b"big")
    world.run(2)
    entry = world.entry(b"big.jpg")
    assert (entry.state, entry.faults) == (State.PENDING, 1)

    del world.plays[b"big"]
    world.slow.add(b"big")
    world.run(30)
    world.put(b"small.jpg", b"small")
    world.run(5)
    assert world.rendered == []
    (slot,) = [slot for slot, worker in world.workers.items() if worker.content == b"big"]
    world.finish(slot)
    world.run(5)
    assert world.rendered == [b"big", b"small"]


def test_other_content_starts_afresh(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"a.jpg", b"poison")
    world.run(120)
    world.put(b"a.jpg", b"good")
    world.run()

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.faults) == (State.DONE, 0)


def test_a_full_disk_pauses_the_root_burns_no_attempt_and_resumes(world: World) -> None:
    world.faults.update(write=errno.ENOSPC, probe=errno.ENOSPC)
    world.put(b"a.jpg", b"picture a")
    world.run(300)
    assert world.core.conditions.state(world.root) is RootState.PAUSED
    assert world.entry(b"a.jpg").faults == 0
    assert len(world.rendered) == 1, "a paused root's work is not tried over and over"

    world.faults.clear()
    world.run(120)
    assert world.core.conditions.state(world.root) is RootState.ONLINE
    assert world.entry(b"a.jpg").state is State.DONE
    assert world.scans_asked, "what happened meanwhile is looked for"
    assert world.open_descriptors() == 0


def test_sources_in_hand_at_a_kill_are_done_first_and_one_at_a_time(world: World) -> None:
    contents = [b"one", b"two"]
    world.slow.update(contents)
    for number, content in enumerate(contents):
        world.put(b"%d.jpg" % number, content)
    world.run(2)
    assert {worker.content for worker in world.workers.values()} == set(contents)
    world.die()
    world.start()
    world.run(2)

    assert len([worker for worker in world.workers.values() if worker.content]) == 1
    world.slow.clear()
    world.run(400)
    assert {world.entry(b"%d.jpg" % number).state for number in range(2)} == {State.DONE}


def test_what_was_pending_at_a_kill_is_taken_up_without_a_scan(world: World) -> None:
    world.slow.update({b"one", b"two"})
    for content in (b"one", b"two", b"three", b"four"):
        world.put(content + b".jpg", content)
    world.run(2)
    world.die()
    world.slow.clear()
    world.start()
    world.run(30)

    assert world.scans_asked == []
    assert {world.entry(name).state for name in (b"one.jpg", b"two.jpg", b"three.jpg", b"four.jpg")} == {State.DONE}


# ------------------------------------------------------------------------------------------------------------- memory


def test_a_giant_waits_while_small_ones_pass(world: World) -> None:
    world.budget_bytes = 1 << 30
    world.costs.update({b"giant one": 900 << 20, b"giant two": 900 << 20})
    world.slow.add(b"giant one")
    world.put(b"g1.jpg", b"giant one")
    world.run(2)
    world.put(b"g2.jpg", b"giant two")
    for number in range(20):
        world.put(b"%d.jpg" % number, b"small %d" % number)
    world.run(5)

    assert len(world.rendered) == 20
    assert world.core.attempts.parked == 1
    (slot,) = [slot for slot, worker in world.workers.items() if worker.content == b"giant one"]
    world.finish(slot)
    world.run(5)
    assert world.entry(b"g2.jpg").state is State.DONE
    assert not world.entry(b"g2.jpg").in_hand


def test_a_giant_is_not_passed_for_ever(world: World) -> None:
    """There is always a small one at work, and the next one comes before it ends."""
    world.costs[b"giant"] = 1000 << 20
    world.slow.update(b"small %d" % number for number in range(200))
    world.put(b"s0.jpg", b"small 0")
    world.run(2)
    world.put(b"g.jpg", b"giant")
    for number in range(1, 200):
        world.put(b"s%d.jpg" % number, b"small %d" % number)
        world.run(1)
        for slot in [s for s, worker in world.workers.items() if worker.content == b"small %d" % (number - 1)]:
            world.finish(slot)
        world.run(0.1)
        if b"giant" in world.rendered:
            break

    assert b"giant" in world.rendered
    assert 20 < number < 60


def test_what_no_budget_carries_is_rejected_with_the_number(world: World) -> None:
    world.costs[b"huge"] = 5 << 30
    world.put(b"a.jpg", b"huge")
    world.run()

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.reason) == (State.REJECTED, Reason.TOO_MUCH_MEMORY)
    assert "5120 MiB" in entry.detail


# --------------------------------------------------------------------------------------------------------- departures


def test_a_deleted_sources_derivatives_go_after_a_while(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.delete(b"a.jpg")
    world.run(30)
    assert b"a.jpg.preview.jpg" in world.disk
    assert world.entry(b"a.jpg").gone_at_s is not None

    world.run(60)
    assert world.disk == {}
    assert world.ledger.entry(Source(world.root, b"a.jpg")) is None


def test_a_source_that_comes_back_in_time_keeps_everything(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    file = world.disk[b"a.jpg"]
    world.delete(b"a.jpg")
    world.run(30)
    world.disk[b"a.jpg"] = file
    world.tell(ChangeKind.CREATED, b"a.jpg")
    world.run(120)

    assert world.rendered == [b"picture a"]
    assert b"a.jpg.preview.jpg" in world.disk
    assert world.entry(b"a.jpg").gone_at_s is None


def test_a_moved_source_is_not_rendered_again(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run()
    world.disk[b"b.jpg"] = world.disk.pop(b"a.jpg")
    world.disk[b"b.jpg"].stamp = world.stamp_of(b"picture a")
    world._inbox.append(_moved(world, b"a.jpg", b"b.jpg"))
    world.run(200)

    assert world.rendered == [b"picture a"]
    assert set(world.disk) == {b"b.jpg", b"b.jpg.thumbnail.jpg", b"b.jpg.preview.jpg"}


def _moved(world: World, previous: bytes, path: bytes) -> object:
    from watcherd.model import Change  # noqa: PLC0415  only here

    return Change(kind=ChangeKind.MOVED, source=Source(world.root, path), previous=previous)


# ---------------------------------------------------------------------------------------------------------------- end


def test_a_drain_finishes_what_runs_and_starts_nothing(world: World) -> None:
    world.slow.update({b"one", b"two"})
    for content in (b"one", b"two", b"three"):
        world.put(content + b".jpg", content)
        world.run(1)
    for effect in world.core.fleet.drain(world.now):
        world._carry_out(effect)
    world.run(1)
    for slot in list(world.workers):
        world.finish(slot)
    world.run(5)

    assert world.core.fleet.halted
    assert sorted(world.rendered) == [b"one", b"two"]
    assert world.entry(b"three.jpg").state is State.PENDING
    assert world.ledger.in_hand() == []


def test_a_halt_costs_the_sources_in_hand_nothing(world: World) -> None:
    world.slow.add(b"one")
    world.put(b"one.jpg", b"one")
    world.run(2)
    for effect in world.core.fleet.halt(world.now):
        world._carry_out(effect)
    world.run(5)

    entry = world.entry(b"one.jpg")
    assert (entry.state, entry.faults, entry.interruptions, entry.in_hand) == (State.PENDING, 0, 0, False)


@pytest.mark.parametrize("spilled", [300])
def test_more_jobs_than_fit_in_memory_are_all_done(world: World, spilled: int) -> None:
    world.core.queue._capacity = 10  # a lane may always hold 100
    for number in range(spilled):
        world.put(b"%03d.jpg" % number, b"content %d" % number)
    world.run(30)

    assert len(world.rendered) == spilled
    assert world.ledger.counts()[world.root] == {State.DONE: spilled}


def test_an_idle_daemon_has_no_deadline_but_its_surplus_workers(world: World) -> None:
    world.put(b"a.jpg", b"picture a")
    world.run(300)

    assert len(world.workers) == 1
    assert world.core.next_deadline() is None


def test_settings_are_what_the_limits_come_from(world: World) -> None:
    assert world.core.settings == Settings()
    assert world.moment.wall_s == START_S + world.now
    assert JobClass.UPLOAD in world.core.queue.depth()
