"""Two counters, and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import Crashed, Failed, Reason, State, TimedOut
from watcherd.queue.retry import Again, GiveUp, decide, wants_other_decoder
from watcherd.settings import RetrySettings

POLICY = RetrySettings(max_faults=3, max_interruptions=10, first_delay_s=5.0, max_delay_s=600.0)
CRASH = Crashed(how="SIGSEGV", outside=False)
KILL = Crashed(how="SIGKILL", outside=True)
TOO_LONG = TimedOut(timeout_s=60.0)
MEMORY = Failed(reason=Reason.OUT_OF_MEMORY, detail="out of memory")
DECODER = Failed(reason=Reason.DECODER_ERROR, detail="bad Huffman code")
READ = Failed(reason=Reason.READ_ERROR, detail="input/output error")
OUTCOMES = st.sampled_from([CRASH, KILL, TOO_LONG, MEMORY, DECODER, READ])
JITTER = st.floats(min_value=0, max_value=1, exclude_max=True)


def after(
    outcome: Failed | TimedOut | Crashed, faults: int = 0, interruptions: int = 0, jitter: float = 0.0
) -> Again | GiveUp:
    return decide(outcome, faults=faults, interruptions=interruptions, policy=POLICY, jitter=jitter)


@pytest.mark.parametrize(
    ("outcome", "suspect", "whole_budget", "reason"),
    [
        (CRASH, True, False, Reason.CRASHED),
        (TOO_LONG, True, False, Reason.TIMED_OUT),
        (MEMORY, True, True, Reason.OUT_OF_MEMORY),
        (DECODER, False, False, Reason.DECODER_ERROR),
        (READ, False, False, Reason.READ_ERROR),
    ],
)
def test_a_first_fault_is_tried_again_with_the_care_that_it_needs(
    outcome: Failed | TimedOut | Crashed, suspect: bool, whole_budget: bool, reason: Reason
) -> None:
    again = after(outcome)

    assert isinstance(again, Again)
    assert (again.faults, again.interruptions, again.delay_s) == (1, 0, 2.5)
    assert (again.suspect, again.whole_budget, again.reason) == (suspect, whole_budget, reason)


@pytest.mark.parametrize("outcome", [CRASH, TOO_LONG, MEMORY, DECODER])
def test_the_third_fault_of_a_content_quarantines_it(outcome: Failed | TimedOut | Crashed) -> None:
    assert isinstance(after(outcome, faults=1), Again)

    end = after(outcome, faults=2)

    assert isinstance(end, GiveUp)
    assert (end.state, end.faults) == (State.QUARANTINED, 3)


@pytest.mark.parametrize("reason", [Reason.READ_ERROR, Reason.WRITE_ERROR])
def test_what_the_disk_did_is_not_held_against_the_content(reason: Reason) -> None:
    end = after(Failed(reason=reason, detail="no luck"), faults=2)

    assert end == GiveUp(state=State.FAILED, faults=3, interruptions=0, reason=reason, detail="no luck")


def test_a_kill_from_outside_is_no_fault_and_hardly_waits() -> None:
    again = after(KILL)

    assert isinstance(again, Again)
    assert (again.faults, again.interruptions, again.delay_s, again.suspect) == (0, 1, 0.0, False)


def test_nine_kills_from_outside_quarantine_nobody() -> None:
    assert isinstance(after(KILL, interruptions=8, faults=2), Again)

    end = after(KILL, interruptions=9, faults=2)

    assert isinstance(end, GiveUp)
    assert (end.state, end.reason, end.faults) == (State.QUARANTINED, Reason.INTERRUPTED, 2)


def test_whoever_is_interrupted_again_or_crashed_before_is_suspected() -> None:
    for again in (after(KILL, interruptions=1), after(KILL, faults=1)):
        assert isinstance(again, Again)
        assert again.suspect


def test_delays_double_up_to_the_longest() -> None:
    policy = RetrySettings(max_faults=99, first_delay_s=5.0, max_delay_s=50.0)
    decisions = [decide(CRASH, faults=n, interruptions=0, policy=policy, jitter=0.0) for n in (0, 1, 2, 3, 4, 98)]

    delays = [decision.delay_s for decision in decisions if isinstance(decision, Again)]
    assert delays == [2.5, 5.0, 10.0, 20.0, 25.0]
    assert isinstance(decisions[-1], GiveUp)


@given(OUTCOMES, st.integers(0, 2), st.integers(0, 9), JITTER, JITTER)
def test_delays_stay_within_their_bounds_and_grow_with_jitter(
    outcome: Failed | TimedOut | Crashed, faults: int, interruptions: int, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    first, second = after(outcome, faults, interruptions, low), after(outcome, faults, interruptions, high)

    assert type(first) is type(second)
    if isinstance(first, Again) and isinstance(second, Again):
        assert 0.0 <= first.delay_s <= second.delay_s <= min(POLICY.max_delay_s, 2 * first.delay_s + 1e-9)


@given(st.lists(OUTCOMES, max_size=40), JITTER)
def test_whatever_happens_it_ends_and_only_after_enough_of_one_kind(
    outcomes: list[Failed | TimedOut | Crashed], jitter: float
) -> None:
    faults = interruptions = attempts = 0
    for outcome in outcomes:
        attempts += 1
        decision = after(outcome, faults, interruptions, jitter)
        assert decision.faults + decision.interruptions == attempts
        faults, interruptions = decision.faults, decision.interruptions
        if isinstance(decision, GiveUp):
            assert faults == POLICY.max_faults or interruptions == POLICY.max_interruptions
            break
        assert faults < POLICY.max_faults
        assert interruptions < POLICY.max_interruptions
    assert attempts <= POLICY.max_faults + POLICY.max_interruptions - 1


@pytest.mark.parametrize(
    ("reason", "by_attempt"),
    [
        (Reason.CRASHED, [True, False]),
        (Reason.TIMED_OUT, [True, False]),
        (Reason.DECODER_ERROR, [True, False]),
        (Reason.OUT_OF_MEMORY, [False, True]),
        (Reason.READ_ERROR, [False, False]),
        (Reason.INTERRUPTED, [False, False]),
        (None, [False, False]),
    ],
)
def test_the_other_decoder_has_one_attempt_where_the_usual_one_failed(
    reason: Reason | None, by_attempt: list[bool]
) -> None:
    assert [wants_other_decoder(reason, faults) for faults in (1, 2)] == by_attempt
    assert wants_other_decoder(reason, 0) is False
