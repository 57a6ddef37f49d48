"""Blame: what becomes of the jobs of a worker that has ended. Pure.

The job that it was at is charged with its end, or not: an end by our own deadline is `TimedOut`; a signal that only
others send (KILL, TERM, INT, HUP, QUIT), an end for want of a thread, one that nobody saw and one by our own wish are
*outside*, and the source is not to blame; anything else is the source's doing, and so is a breach of the protocol. The
job after it was not touched: it goes back.

Not responsible for: when a worker is ended (`fleet.py`), what follows for the source (`queue/retry.py`).
"""

from watcherd.model import Crashed, Failed, Reason, StopReason, TimedOut
from watcherd.pool.orders import NO_THREAD, OUT_OF_MEMORY, UNSEEN, Command, JobLost, JobReturned
from watcherd.pool.slots import Busy, Next, Stopping

_OUTSIDE = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", NO_THREAD, UNSEEN})


def is_outside(how: str) -> bool:
    """Whether a worker's end is the doing of somebody else than the worker."""
    return how in _OUTSIDE


def ended_by_itself(slot: int, state: Busy, how: str) -> list[Command]:
    """A worker has ended while it was at a job, and nobody here had asked it to."""
    return [JobLost(slot=slot, job=state.job, outcome=_end_of_busy(how)), *_returned(slot, state.next)]


def ended_by_us(slot: int, state: Stopping) -> list[Command]:
    """A worker has ended that we have ended. One that broke the protocol is to blame."""
    back = _returned(slot, state.next)
    if state.job is None:
        return back
    if state.timeout_s:
        return [JobLost(slot=slot, job=state.job, outcome=TimedOut(timeout_s=state.timeout_s)), *back]
    broke = state.reason is StopReason.HUNG
    how = "broke the protocol" if broke else f"ended by us ({state.reason})"
    return [JobLost(slot=slot, job=state.job, outcome=Crashed(how=how, outside=not broke)), *back]


def _returned(slot: int, after: Next | None) -> list[Command]:
    return [] if after is None else [JobReturned(slot=slot, job=after.job)]


def _end_of_busy(how: str) -> Crashed | Failed:
    if how == OUT_OF_MEMORY:
        return Failed(reason=Reason.OUT_OF_MEMORY, detail="the kernel ended its worker for want of memory")
    return Crashed(how=how, outside=is_outside(how))
