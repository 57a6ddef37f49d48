"""Turns, bounds and one live job a source."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.strategies import jobs, sources
from watcherd.model import JobClass, Source, Stamp
from watcherd.queue.jobqueue import WEIGHTS, Job, JobQueue, Lane, Push

STAMP = Stamp(size_bytes=1, mtime_ns=2, ctime_ns=3, inode=4, nlink=1)


def job(number: int, job_class: JobClass = JobClass.UPLOAD, *, root: int = 1) -> Job:
    source = Source(root, b"%d.jpg" % number)
    return Job(source=source, job_class=job_class, sequence=number, stamp=STAMP, queued_at=float(number))


def filled(*waiting: Job, capacity: int = 10_000) -> JobQueue:
    queue = JobQueue(capacity)
    for one in waiting:
        queue.push(one)
    return queue


def drained(queue: JobQueue) -> list[Job]:
    popped = []
    while (one := queue.pop(suspects=True)) is not None:
        popped.append(one)
    return popped


def test_an_empty_queue_has_no_job() -> None:
    assert JobQueue().pop(suspects=True) is None


def test_jobs_of_one_lane_leave_in_the_order_of_their_push() -> None:
    waiting = [job(number) for number in range(5)]

    assert drained(filled(*waiting)) == waiting


def test_each_class_gets_exactly_its_weight_while_all_are_busy() -> None:
    queue = filled(*(job(1000 * place + n, kind) for place, kind in enumerate(WEIGHTS) for n in range(300)))
    total = sum(WEIGHTS.values())

    picked = [queue.pop(suspects=True) for _ in range(2 * total)]

    assert Counter(one.job_class for one in picked[:total] if one) == WEIGHTS
    assert Counter(one.job_class for one in picked[total:] if one) == WEIGHTS


def test_an_upload_behind_a_long_backlog_is_next_but_one_at_the_latest() -> None:
    queue = filled(*(job(number, JobClass.BACKLOG) for number in range(1000)))
    for _ in range(500):
        queue.pop(suspects=True)
    queue.push(job(5000))

    assert job(5000) in [queue.pop(suspects=True) for _ in range(2)]


def test_backlog_is_not_starved_by_endless_uploads() -> None:
    queue = filled(job(0, JobClass.BACKLOG))
    picked = []
    for number in range(1, 100):
        queue.push(job(number))
        picked.append(queue.pop(suspects=True))

    assert job(0, JobClass.BACKLOG) in picked[:33]


def test_a_class_that_had_no_jobs_does_not_save_up_turns() -> None:
    queue = filled(*(job(number) for number in range(500)))
    for _ in range(400):
        queue.pop(suspects=True)
    for number in range(1000, 1100):
        queue.push(job(number, JobClass.BACKLOG))

    picked = [queue.pop(suspects=True) for _ in range(40)]

    assert Counter(one.job_class for one in picked if one)[JobClass.BACKLOG] <= 2


def test_roots_take_turns_inside_a_class() -> None:
    first = [job(number, root=1) for number in range(4)]
    second = [job(number, root=2) for number in range(2)]

    assert [one.source.root for one in drained(filled(*first, *second))] == [1, 2, 1, 2, 1, 1]


def test_an_upload_of_a_quiet_root_does_not_wait_for_a_busy_one() -> None:
    queue = filled(*(job(number, root=1) for number in range(1000)))
    queue.pop(suspects=True)
    queue.push(job(1, root=2))

    assert job(1, root=2) in [queue.pop(suspects=True) for _ in range(2)]


def test_a_source_has_one_live_job_which_is_brought_up_to_date() -> None:
    queue = filled(job(1), job(2))
    changed = replace(job(1), sequence=9, queued_at=9.0, stamp=STAMP._replace(size_bytes=7))

    assert queue.push(changed) is Push.ALREADY
    assert drained(queue) == [replace(job(1), stamp=changed.stamp), job(2)]


def test_a_better_class_moves_a_job_up() -> None:
    queue = filled(job(1, JobClass.BACKLOG), job(2, JobClass.MANUAL))

    assert queue.push(replace(job(1), job_class=JobClass.MANUAL, sequence=3, queued_at=3.0)) is Push.ALREADY
    assert queue.depth()[JobClass.BACKLOG] == 0
    assert drained(queue) == [
        job(2, JobClass.MANUAL),
        replace(job(1), job_class=JobClass.MANUAL, sequence=3, queued_at=1.0),
    ]


def test_what_was_learnt_of_a_content_is_kept_for_the_same_stamp_only() -> None:
    known = replace(job(1), memory_bytes=5, digest=b"d" * 32, suspect=True)
    queue = filled(known)
    queue.push(job(1))
    assert queue.pop(suspects=True) == known

    queue.push(known)
    queue.push(replace(job(1), stamp=STAMP._replace(mtime_ns=9)))
    assert queue.pop(suspects=True) == replace(job(1), stamp=STAMP._replace(mtime_ns=9))


def test_a_job_put_back_is_next_in_its_lane_even_if_the_lane_is_full() -> None:
    queue = filled(*(job(number) for number in range(200)), capacity=0)
    first = queue.pop(suspects=True)
    assert first == job(0)
    queue.push(job(300))

    queue.put_back(first)

    assert len(queue) == 100
    assert queue.pop(suspects=True) == first


def test_a_job_put_back_joins_the_one_that_came_meanwhile() -> None:
    queue = filled(job(1, JobClass.BACKLOG), job(2))
    newer = replace(job(2, JobClass.BACKLOG), sequence=7, stamp=STAMP._replace(size_bytes=9))
    in_hand = queue.pop(suspects=True)
    assert in_hand == job(2)
    queue.push(newer)

    queue.put_back(in_hand)

    assert len(queue) == 2
    assert replace(job(2), stamp=newer.stamp) in drained(queue)


def test_a_suspect_keeps_its_place_until_it_may_run() -> None:
    suspect = replace(job(1), suspect=True)
    queue = filled(suspect, job(2), job(3))

    assert queue.pop(suspects=False) == job(2)
    assert queue.pop(suspects=True) == suspect
    assert queue.pop(suspects=True) == job(3)


def test_a_job_that_is_not_accepted_keeps_its_place_and_costs_no_turn() -> None:
    queue = filled(job(1), job(2), job(3, root=2))

    assert queue.pop(suspects=True, accept=lambda one: one.sequence == 3) == job(3, root=2)
    assert queue.pop(suspects=True, accept=lambda _: False) is None
    assert drained(queue) == [job(1), job(2)]


def test_full_roots_are_passed_over_without_a_look_at_their_jobs() -> None:
    queue = filled(job(1), job(2), job(3, root=2))
    asked: list[Job] = []

    assert queue.pop(suspects=True, accept=lambda one: not asked.append(one), full={1}) == job(3, root=2)
    assert queue.pop(suspects=True, full={1, 2}) is None
    assert asked == [job(3, root=2)]
    assert drained(queue) == [job(1), job(2)]


def test_blocked_roots_are_passed_over_and_keep_their_place() -> None:
    queue = filled(job(1, root=1), job(2, root=2))
    queue.block(1)

    assert queue.upcoming(9) == [job(2, root=2)]
    assert drained(queue) == [job(2, root=2)]
    queue.unblock(1)
    assert drained(queue) == [job(1, root=1)]


def test_a_dropped_root_has_nothing_left_and_others_go_on() -> None:
    queue = filled(job(1, root=1), job(2, root=2), job(3, JobClass.BACKLOG, root=1))
    queue.mark_spilled(1, JobClass.RETRY)
    queue.block(1)
    queue.drop_root(1)

    assert queue.wants() == []
    assert drained(queue) == [job(2, root=2)]
    queue.push(job(4, root=1))  # it is watched again
    assert drained(queue) == [job(4, root=1)]


def test_a_removed_job_does_not_run() -> None:
    queue = filled(job(1), job(2))

    assert queue.remove(job(1).source) == job(1)
    assert queue.remove(job(1).source) is None
    assert drained(queue) == [job(2)]


def test_depth_and_oldest_tell_what_waits() -> None:
    queue = filled(job(5), job(3), job(4, root=2), job(9, JobClass.BACKLOG))

    assert queue.depth() == dict.fromkeys(WEIGHTS, 0) | {JobClass.UPLOAD: 3, JobClass.BACKLOG: 1}
    assert queue.oldest(JobClass.UPLOAD) == 3.0
    assert queue.oldest(JobClass.MANUAL) is None


@given(st.lists(jobs(), max_size=40), st.integers(min_value=0, max_value=50))
def test_upcoming_is_what_will_be_popped_and_changes_nothing(waiting: list[Job], count: int) -> None:
    queue = filled(*(replace(one, sequence=number) for number, one in enumerate(waiting)))
    for _ in range(3):
        queue.pop(suspects=True)

    expected = queue.upcoming(count)

    assert expected == drained(queue)[:count]


# ------------------------------------------------------------------------------------------------------- spilling


def test_a_full_lane_spills_and_others_do_not() -> None:
    queue = filled(*(job(number) for number in range(100)), capacity=0)

    assert queue.push(job(100)) is Push.SPILLED
    assert job(100).source not in queue
    assert queue.push(job(101, JobClass.EDITED)) is Push.QUEUED


def test_a_spilled_lane_keeps_spilling_until_it_is_refilled_to_its_end() -> None:
    queue = filled(*(job(number) for number in range(102)), capacity=0)
    assert queue.wants() == []
    for _ in range(51):
        queue.pop(suspects=True)

    assert queue.push(job(102)) is Push.SPILLED
    [lane] = queue.wants()
    assert lane == Lane(root=1, job_class=JobClass.UPLOAD, after_sequence=99, room=51)

    queue.refill(lane, [job(100)], exhausted=False)
    assert queue.push(job(103)) is Push.SPILLED
    queue.pop(suspects=True)
    queue.pop(suspects=True)

    [lane] = queue.wants()
    queue.refill(lane, [job(101), job(102), job(103)], exhausted=True)
    assert queue.push(job(104)) is Push.QUEUED
    assert [one.sequence for one in drained(queue)] == list(range(53, 105))


def test_a_refill_passes_over_what_is_queued_or_in_hand_and_goes_on_behind_it() -> None:
    queue = filled(job(1, JobClass.MANUAL))
    queue.mark_spilled(1, JobClass.UPLOAD)
    [lane] = queue.wants()
    assert lane.after_sequence == -1

    queue.refill(lane, [job(1), job(2), job(3)], exhausted=False, in_hand={job(2).source, job(3).source})

    assert [lane.after_sequence for lane in queue.wants()] == [3]
    assert drained(queue) == [job(1, JobClass.MANUAL)]


def test_a_suspect_put_back_at_start_up_does_not_hide_older_rows() -> None:
    queue = JobQueue()
    queue.put_back(job(500))
    queue.mark_spilled(1, JobClass.UPLOAD)

    [lane] = queue.wants()
    queue.refill(lane, [job(1), job(500)], exhausted=True)

    assert drained(queue) == [job(500), job(1)]


def test_a_lane_marked_as_spilled_wants_all_rows_whatever_was_pushed_before() -> None:
    queue = filled(job(500))
    queue.mark_spilled(1, JobClass.UPLOAD)

    [lane] = queue.wants()
    queue.refill(lane, [job(1), job(500)], exhausted=True)

    assert drained(queue) == [job(500), job(1)]


def test_rows_that_become_no_jobs_are_not_asked_for_twice() -> None:
    queue = JobQueue()
    queue.mark_spilled(1, JobClass.RETRY)
    [lane] = queue.wants()

    queue.refill(lane, [], exhausted=False, read_to=1666)

    assert [lane.after_sequence for lane in queue.wants()] == [1666]


def test_a_job_that_a_refill_would_not_reach_is_taken_by_a_full_lane() -> None:
    queue = filled(*(job(number) for number in range(1, 102)), capacity=0)

    assert queue.push(replace(job(500), sequence=0)) is Push.QUEUED
    assert queue.push(replace(job(501), sequence=501)) is Push.SPILLED


def test_a_job_moved_up_into_a_spilled_lane_leaves_memory() -> None:
    queue = filled(*(job(number) for number in range(101)), job(200, JobClass.BACKLOG), capacity=0)

    assert queue.push(replace(job(200), sequence=201)) is Push.SPILLED
    assert job(200).source not in queue


@pytest.mark.parametrize("roots", [1, 3, 20])
def test_capacity_bounds_the_queue_but_each_lane_may_hold_a_hundred(roots: int) -> None:
    queue = JobQueue(3_600)
    for root in range(roots):
        queue.push(job(0, root=root))
    for number in range(1, 1100):
        for root in range(roots):
            for place, kind in enumerate(WEIGHTS):
                queue.push(job(10_000 * place + number, kind, root=root))

    assert len(queue) == max(3_600, 600 * roots)


class _Ledger(RuleBasedStateMachine):
    """The queue with a ledger of pending rows behind it: nothing is lost, and nothing runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = JobQueue(capacity=0)
        self.queue.mark_spilled(1, JobClass.UPLOAD)
        self.rows: dict[Source, Job] = {}
        self.in_hand: dict[Source, Job] = {}
        self.sequence = 0

    @rule(number=st.integers(min_value=0, max_value=400), kind=st.sampled_from([JobClass.UPLOAD, JobClass.BACKLOG]))
    def push_some(self, number: int, kind: JobClass) -> None:
        for source in (Source(1, b"%d" % (number + step)) for step in range(60)):
            known = self.rows.get(source)
            if source in self.in_hand or (known and WEIGHTS[known.job_class] >= WEIGHTS[kind]):
                continue
            self.sequence += 1
            self.rows[source] = Job(
                source=source, job_class=kind, sequence=self.sequence, stamp=STAMP, queued_at=float(self.sequence)
            )
            self.queue.push(self.rows[source])

    @rule(count=st.integers(min_value=1, max_value=120))
    def pop_some(self, count: int) -> None:
        for _ in range(count):
            popped = self.queue.pop(suspects=True)
            if popped is not None:
                assert popped.source not in self.in_hand
                assert popped.source in self.rows
                self.in_hand[popped.source] = popped

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def end_one(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(sorted(self.in_hand)))
        ended = self.in_hand.pop(source)
        if data.draw(st.booleans()):
            del self.rows[source]
        else:
            self.queue.put_back(ended)

    @rule(limit=st.integers(min_value=1, max_value=80))
    def refill(self, limit: int) -> None:
        for lane in self.queue.wants():
            behind = sorted(
                (row for row in self.rows.values() if row.job_class is lane.job_class), key=lambda row: row.sequence
            )
            behind = [row for row in behind if row.sequence > lane.after_sequence]
            taken = behind[: min(limit, lane.room)]
            self.queue.refill(lane, taken, exhausted=len(taken) == len(behind), in_hand=self.in_hand)

    def teardown(self) -> None:
        """Everything recorded comes out in the end, each source once."""
        ran = set(self.in_hand)
        for _ in range(50):
            self.refill(80)
            for one in drained(self.queue):
                assert one.source not in ran
                ran.add(one.source)
                self.in_hand[one.source] = one
        assert ran == set(self.rows)


TestTheQueueWithItsLedger = _Ledger.TestCase


@given(st.lists(st.tuples(jobs(), st.sampled_from(["push", "pop", "put_back", "remove"])), max_size=60), sources())
def test_whatever_happens_a_source_is_queued_at_most_once(steps: list[tuple[Job, str]], asked: Source) -> None:
    queue = JobQueue()
    expected: set[Source] = set()
    for one, step in steps:
        match step:
            case "push":
                queue.push(one)
                expected.add(one.source)
            case "put_back":
                queue.put_back(one)
                expected.add(one.source)
            case "remove":
                assert (queue.remove(one.source) is not None) == (one.source in expected)
                expected.discard(one.source)
            case _:
                popped = queue.pop(suspects=True)
                assert (popped is None) == (not expected)
                expected -= {popped.source} if popped else set()
    assert len(queue) == sum(queue.depth().values()) == len(expected)
    assert (asked in queue) == (asked in expected)
    assert {one.source for one in drained(queue)} == expected
