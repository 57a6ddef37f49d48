"""Whether a source that went wrong is tried again, when, and how carefully.

Responsible for: the two counters and what follows from them.
Not responsible for: what can never be done (a *Rejected* is not tried again), the wait itself, and telling a crash of
its own from a kill from outside (the fleet does). Pure.

*Faults* are what the source did: a crash of its worker, a timeout, memory, the decoder's failure, and reads and writes
that failed. Few are enough to give up. *Interruptions* happened to it: somebody killed the worker, or the daemon went
away. Any source in hand collects them, so it takes many before this one is suspected of causing them: with a limit as
low as that of the faults, 500 kills quarantine 16 innocent sources of 2,000; with ten, none.
"""

from dataclasses import dataclass
from typing import assert_never

from watcherd.model import Crashed, Failed, Reason, State, TimedOut
from watcherd.settings import RetrySettings

_INTERRUPTED_SHARE = 0.2
"""An interrupted source waits this part of the first delay, from the second time on: room for whatever kills to end."""
_NOT_THE_CONTENT = (Reason.READ_ERROR, Reason.WRITE_ERROR)
_OF_THE_DECODER = (Reason.CRASHED, Reason.TIMED_OUT, Reason.DECODER_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try once more after `delay_s`. `suspect`: alone among its like; `whole_budget`: alone, with all the memory."""

    faults: int
    interruptions: int
    delay_s: float
    suspect: bool
    whole_budget: bool
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Enough: QUARANTINED if its content is to blame, FAILED if the disk is."""

    state: State
    faults: int
    interruptions: int
    reason: Reason
    detail: str


def decide(
    outcome: Failed | TimedOut | Crashed, *, faults: int, interruptions: int, policy: RetrySettings, jitter: float
) -> Again | GiveUp:
    """What follows from an attempt that went wrong. The counters are those before it; `jitter` is from [0, 1)."""
    reason, detail = _describe(outcome)
    if isinstance(outcome, Crashed) and outcome.outside:
        return _interrupted(detail, faults=faults, interruptions=interruptions + 1, policy=policy, jitter=jitter)
    faults += 1
    if faults >= policy.max_faults:
        state = State.FAILED if reason in _NOT_THE_CONTENT else State.QUARANTINED
        return GiveUp(state=state, faults=faults, interruptions=interruptions, reason=reason, detail=detail)
    return Again(
        faults=faults,
        interruptions=interruptions,
        delay_s=_with_jitter(_back_off_s(faults, policy), jitter),
        suspect=reason in (Reason.CRASHED, Reason.TIMED_OUT, Reason.OUT_OF_MEMORY),
        whole_budget=reason is Reason.OUT_OF_MEMORY,
        reason=reason,
        detail=detail,
    )


def wants_other_decoder(reason: Reason | None, faults: int) -> bool:
    """Whether the attempt after so many faults, the last one for this reason, is made by another decoder than usual.

    The second one is, and the usual one has the last word; what lacked memory first gets all of it.
    """
    return faults == (2 if reason is Reason.OUT_OF_MEMORY else 1) and (
        reason in _OF_THE_DECODER or reason is Reason.OUT_OF_MEMORY
    )


def _describe(outcome: Failed | TimedOut | Crashed) -> tuple[Reason, str]:
    """The reason, and a sentence for a person."""
    match outcome:
        case Failed(reason=reason, detail=detail):
            return reason, detail
        case TimedOut(timeout_s=timeout_s):
            return Reason.TIMED_OUT, f"took longer than the {timeout_s:.0f} s that it had"
        case Crashed(how=how, outside=True):
            return Reason.INTERRUPTED, f"its worker was ended from outside ({how})"
        case Crashed(how=how):
            return Reason.CRASHED, f"its worker crashed ({how})"
        case _:
            assert_never(outcome)


def _back_off_s(faults: int, policy: RetrySettings) -> float:
    """The full delay after so many faults: doubled each time, up to the policy's longest."""
    doublings = min(max(0, faults - 1), 60)
    return min(policy.max_delay_s, policy.first_delay_s * 2.0**doublings)


def _interrupted(
    detail: str, *, faults: int, interruptions: int, policy: RetrySettings, jitter: float
) -> Again | GiveUp:
    reason = Reason.INTERRUPTED
    if interruptions >= policy.max_interruptions:
        return GiveUp(state=State.QUARANTINED, faults=faults, interruptions=interruptions, reason=reason, detail=detail)
    delay_s = min(policy.max_delay_s, policy.first_delay_s * _INTERRUPTED_SHARE * (interruptions - 1))
    return Again(
        faults=faults,
        interruptions=interruptions,
        delay_s=_with_jitter(delay_s, jitter),
        suspect=faults > 0 or interruptions > 1,
        whole_budget=False,
        reason=reason,
        detail=detail,
    )


def _with_jitter(delay_s: float, jitter: float) -> float:
    return delay_s * (0.5 + 0.5 * jitter)
