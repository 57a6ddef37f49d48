"""What a worker's place can be in. Each state carries only what is valid in it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from watcherd.model import StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """Spawned, not yet ready."""

    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Ready for a job."""

    since: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A job that a busy worker has been sent, and does not touch before it has said what became of the one before."""

    job: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Holding a job until `deadline`, and perhaps its next one. `granted`: it is being rendered.

    `rss_bytes`: the worker's size when it turned to the job by itself; 0 where it was idle before.
    """

    job: int
    since: float
    deadline: float
    timeout_s: float
    jobs: int
    granted: bool = False
    next: Next | None = None
    rss_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """On its way out: asked, then SIGTERM, then SIGKILL, each at its `deadline`."""

    reason: StopReason
    step: "Step"
    deadline: float
    job: int | None
    timeout_s: float = 0.0
    next: Next | None = None


class Step(StrEnum):
    """How hard we have asked a worker to leave."""

    DISMISSED = "dismissed"
    TERMINATED = "terminated"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """Ready, but not for a job before `deadline`: the machine's cores are not all for us."""

    deadline: float
    jobs: int


SlotState = Starting | Idle | Resting | Busy | Stopping


class Mode(StrEnum):
    """What the fleet as a whole is doing."""

    RUNNING = "running"
    DRAINING = "draining"
    HALTING = "halting"
