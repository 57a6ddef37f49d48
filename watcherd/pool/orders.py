"""The words between `fleet.py` and `processes.py`: what the fleet is told (events), what it orders (commands). Pure."""

from dataclasses import dataclass

from watcherd.model import Crashed, Failed, StopReason, TimedOut

OUT_OF_MEMORY = "out of memory"
"""How a worker ended that the kernel killed for memory: told from other kills as well as the system allows."""


NO_THREAD = "no thread"
"""How a worker ended that was given no thread (a limit on processes, or on memory): it left, and blames no picture."""
EXIT_NO_THREAD = 71
"""The exit code by which it says so (sysexits.h, EX_OSERR)."""
UNSEEN = "unseen"
"""How a worker ended without a word of whom another part of the program has taken the exit status: it ignores SIGCHLD,
or waits for any child. Most often that was a kill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady:
    """It said so itself."""

    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The daemon gives it a job, with `timeout_s` to identify it."""

    slot: int
    job: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedNext:
    """The daemon gives a worker that is rendering the job after that one, with `timeout_s` to identify it then."""

    slot: int
    job: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The job may be rendered: the deadline starts anew."""

    slot: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The job has ended in the worker, or was let go of.

    `rss_bytes` is the worker's size now, `cpu_s` what was used since the last job that said so, ours for it included.
    """

    slot: int
    rss_bytes: int
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """It does not keep to the protocol."""

    slot: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """Its exit was seen. `how` is a signal's name or "exit N"; `last_words` is the last line of what it complained."""

    slot: int
    how: str
    last_words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotStarted:
    """The process could not be made."""

    slot: int
    detail: str


Event = WorkerReady | Assigned | AssignedNext | Granted | Finished | Broke | Exited | NotStarted


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Start a worker in this slot."""

    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismiss:
    """Close the worker's socket."""

    slot: int
    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """Send SIGTERM."""

    slot: int
    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Send SIGKILL."""

    slot: int
    reason: StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """The worker does not die: forget it, its slot is free."""

    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost:
    """A job's worker has ended with it."""

    slot: int
    job: int
    outcome: Crashed | TimedOut | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReturned:
    """A job's worker has ended before its turn came: it goes back to where it came from, and it was no attempt."""

    slot: int
    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """Restarting cannot cure this; the daemon should end."""

    detail: str


Command = Spawn | Dismiss | Terminate | Kill | Abandon | JobLost | JobReturned | GiveUp
