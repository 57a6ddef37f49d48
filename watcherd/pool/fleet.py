"""The fleet: all workers as the supervisor knows them, as a state machine. Pure.

Theory of operation
-------------------
A *slot* is a place for one worker. The shell (`processes.py`) tells what happened as events; the fleet answers with
commands, and compares wanted with actual on every call, so that no step has to assume that an earlier one worked:

    (empty) --Spawn--> Starting --Ready--> Idle --Assigned--> Busy --Finished--> Idle
       ^                  |                  |                  |
       |                  +-------------- Stopping <------------+      (deadline, recycling, surplus, shutdown)
       +--- Exited -------+------------------+------------------+

- A worker keeps its slot until its exit is *seen*. One that is not gone `LOST_AFTER_S` after SIGKILL is *lost*: its
  slot is free again, its process is the kernel's problem (a hung disk, state D), and its exit is taken note of later.
- Who held a job when its worker ended is always known, because a worker has one job at a time: `JobLost` names it.
  An end by our own deadline is `TimedOut`; a signal that only others send (KILL, TERM, INT, HUP) is *outside*: the
  source is not to blame. Anything else is the source's doing.
- A missed deadline brings SIGTERM, the next one SIGKILL. Other ends begin by closing the worker's socket, which a
  healthy worker answers by leaving.
- Deaths that no source explains (while starting or idle) and boot failures are counted. More than `MAX_UNEXPLAINED`
  within `UNEXPLAINED_WINDOW_S`, or `MAX_BOOT_FAILURES` in a row, and the fleet gives up: restarting cannot cure it,
  the service manager decides. Kills from outside are not counted; they only space the restarts out.
- Draining ends idle workers and lets busy ones finish; halting ends all. Halted means: no worker left.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from watcherd.model import Crashed, StopReason, TimedOut
from watcherd.pool.orders import (
    Abandon,
    Assigned,
    Broke,
    Command,
    Dismiss,
    Event,
    Exited,
    Finished,
    GiveUp,
    Granted,
    JobLost,
    Kill,
    NotStarted,
    Spawn,
    Terminate,
    WorkerReady,
)
from watcherd.settings import PoolSettings

DISMISS_GRACE_S = 3.0
TERM_GRACE_S = 2.0
LOST_AFTER_S = 5.0
SURPLUS_AFTER_S = 30.0
MAX_UNEXPLAINED = 10
UNEXPLAINED_WINDOW_S = 60.0
MAX_BOOT_FAILURES = 3
FIRST_RESPAWN_DELAY_S = 0.1
MAX_RESPAWN_DELAY_S = 5.0
_OUTSIDE_SIGNALS = frozenset({"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"})

# ------------------------------------------------------------------------------------------------------- a slot's state


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
class Busy:
    """Holding a job until `deadline`."""

    job: int
    since: float
    deadline: float
    timeout_s: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """On its way out: asked, then SIGTERM, then SIGKILL, each at its `deadline`."""

    reason: StopReason
    step: "Step"
    deadline: float
    job: int | None
    timeout_s: float = 0.0


class Step(StrEnum):
    """How hard we have asked a worker to leave."""

    DISMISSED = "dismissed"
    TERMINATED = "terminated"
    KILLED = "killed"


SlotState = Starting | Idle | Busy | Stopping


class Mode(StrEnum):
    """What the fleet as a whole is doing."""

    RUNNING = "running"
    DRAINING = "draining"
    HALTING = "halting"


# ------------------------------------------------------------------------------------------------------------- machine


class Fleet:
    """Slots 0 to `most` - 1. Call `handle` for each event and `tick` on each pass, and carry out what they return."""

    def __init__(self, settings: PoolSettings, most: int) -> None:
        self._settings = settings
        self._most = most
        self._slots: dict[int, SlotState] = {}
        self._mode = Mode.RUNNING
        self._unexplained: deque[float] = deque()
        self._boot_failures = 0
        self._respawn_delay_s = 0.0
        self._respawn_at = 0.0
        self._given_up = False
        self._busy_s = 0.0

    # ---- what can be seen

    @property
    def mode(self) -> Mode:
        """What the fleet as a whole is doing."""
        return self._mode

    @property
    def slots(self) -> dict[int, SlotState]:
        """A copy of the occupied slots' states."""
        return dict(self._slots)

    @property
    def halted(self) -> bool:
        """Whether no worker is left after a drain or a halt."""
        return self._mode is not Mode.RUNNING and not self._slots

    def idle(self) -> list[int]:
        """Slots that can take a job now, the longest rested last, so that surplus workers stay idle and leave."""
        if self._mode is not Mode.RUNNING:
            return []
        rested = [(state.since, slot) for slot, state in self._slots.items() if isinstance(state, Idle)]
        return [slot for _, slot in sorted(rested, reverse=True)]

    def busy(self) -> int:
        """How many workers hold a job."""
        return sum(isinstance(state, Busy) for state in self._slots.values())

    def busy_seconds(self, now: float) -> float:
        """Seconds that workers have held jobs, all together since the start."""
        running = sum(now - state.since for state in self._slots.values() if isinstance(state, Busy))
        return self._busy_s + running

    def next_deadline(self) -> float | None:
        """When `tick` has something to do even if nothing happens."""
        deadlines = [state.deadline for state in self._slots.values() if not isinstance(state, Idle)]
        rested = sorted(state.since for state in self._slots.values() if isinstance(state, Idle))
        deadlines += [since + SURPLUS_AFTER_S for since in rested[:1] if len(self._slots) > 1]
        if self._respawn_delay_s:
            deadlines.append(self._respawn_at)
        return min(deadlines, default=None)

    # ---- what happens

    def drain(self, now: float) -> list[Command]:
        """Finish what is running, start nothing."""
        self._mode = Mode.DRAINING
        idle = [slot for slot, state in self._slots.items() if isinstance(state, Idle | Starting)]
        return [self._dismiss(slot, StopReason.SHUTDOWN, now) for slot in idle]

    def halt(self, now: float) -> list[Command]:
        """Stop now."""
        self._mode = Mode.HALTING
        return [self._terminate(slot, StopReason.SHUTDOWN, now) for slot in list(self._slots)]

    def stop_job(self, job: int, now: float) -> list[Command]:
        """End the worker that holds this job (its source is gone, or its caller has gone away)."""
        held = [slot for slot, state in self._slots.items() if isinstance(state, Busy) and state.job == job]
        return [self._terminate(slot, StopReason.SURPLUS, now) for slot in held]

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event in. Events for slots that are empty (lost workers) change nothing."""
        match event:
            case NotStarted():
                self._slots.pop(event.slot, None)
                return self._boot_failed(event.detail, now)
            case Exited():
                return self._exited(event, now)
            case _ if event.slot not in self._slots:
                return []
            case Broke():
                return [self._kill(event.slot, StopReason.HUNG, now)]
            case _:
                return self._progress(event, self._slots[event.slot], now)

    def tick(self, now: float, *, wanted: int) -> list[Command]:
        """Compare wanted with actual: deadlines, surplus, recycling, new workers."""
        commands = [command for slot in list(self._slots) for command in self._overdue(slot, now)]
        if self._mode is Mode.RUNNING:
            commands += self._shrink(wanted, now)
            commands += self._grow(min(wanted, self._most), now)
        return commands

    # ---- transitions

    def _progress(
        self, event: WorkerReady | Assigned | Granted | Finished, state: SlotState, now: float
    ) -> list[Command]:
        match event, state:
            case WorkerReady(), Starting():
                self._boot_failures, self._respawn_delay_s = 0, 0.0
                self._slots[event.slot] = Idle(since=now, jobs=0)
                return [] if self._mode is Mode.RUNNING else [self._dismiss(event.slot, StopReason.SHUTDOWN, now)]
            case Finished(), Stopping():
                self._slots[event.slot] = replace(state, job=None)
            case _, Stopping():
                pass  # whatever else it still says, it is on its way out
            case Assigned(job=job, timeout_s=timeout_s), Idle(jobs=jobs):
                deadline = now + timeout_s
                self._slots[event.slot] = Busy(
                    job=job, since=now, deadline=deadline, timeout_s=timeout_s, jobs=jobs + 1
                )
            case Granted(timeout_s=timeout_s), Busy():
                self._slots[event.slot] = replace(state, deadline=now + timeout_s, timeout_s=timeout_s)
            case Finished(rss_bytes=rss_bytes), Busy(jobs=jobs, since=since):
                self._busy_s += now - since
                self._slots[event.slot] = Idle(since=now, jobs=jobs)
                reason = self._why_end(jobs, rss_bytes)
                return [self._dismiss(event.slot, reason, now)] if reason else []
            case _:
                return [self._kill(event.slot, StopReason.HUNG, now)]
        return []

    def _why_end(self, jobs: int, rss_bytes: int) -> StopReason | None:
        if self._mode is not Mode.RUNNING:
            return StopReason.SHUTDOWN
        if self._settings.recycle_after_jobs and jobs >= self._settings.recycle_after_jobs:
            return StopReason.WORN
        if self._settings.recycle_above_bytes and rss_bytes > self._settings.recycle_above_bytes:
            return StopReason.BLOATED
        return None

    def _exited(self, event: Exited, now: float) -> list[Command]:
        state = self._slots.pop(event.slot, None)
        match state:
            case Busy(job=job):
                outcome = Crashed(how=event.how, outside=event.how in _OUTSIDE_SIGNALS)
                self._space_out(now)
                return [JobLost(slot=event.slot, job=job, outcome=outcome)]
            case Stopping(job=int(job), reason=StopReason.HUNG, timeout_s=timeout_s) if timeout_s:
                return [JobLost(slot=event.slot, job=job, outcome=TimedOut(timeout_s=timeout_s))]
            case Stopping(job=int(job), reason=reason):
                # One that broke the protocol is to blame; one that we ended for our own reasons is not.
                how = f"ended by us ({reason})" if reason is not StopReason.HUNG else "broke the protocol"
                outcome = Crashed(how=how, outside=reason is not StopReason.HUNG)
                return [JobLost(slot=event.slot, job=job, outcome=outcome)]
            case Starting() if event.how not in _OUTSIDE_SIGNALS:
                return self._boot_failed(f"a worker ended before it was ready ({event.how})", now)
            case Idle() if event.how not in _OUTSIDE_SIGNALS:
                return self._died_unexplained(event.how, now)
            case Starting() | Idle():
                self._space_out(now)
        return []

    def _overdue(self, slot: int, now: float) -> Iterator[Command]:
        state = self._slots[slot]
        if isinstance(state, Idle) or now < state.deadline:
            return
        match state:
            case Starting():
                yield self._kill(slot, StopReason.BOOT_FAILED, now)
                yield from self._boot_failed("a worker was not ready in time", now)
            case Busy():
                yield self._terminate(slot, StopReason.HUNG, now)
            case Stopping(step=Step.DISMISSED):
                yield self._terminate(slot, state.reason, now)
            case Stopping(step=Step.TERMINATED):
                yield self._kill(slot, state.reason, now)
            case Stopping(step=Step.KILLED):
                del self._slots[slot]
                if state.job is not None:
                    outcome = (
                        TimedOut(timeout_s=state.timeout_s) if state.timeout_s else Crashed(how="lost", outside=False)
                    )
                    yield JobLost(slot=slot, job=state.job, outcome=outcome)
                yield Abandon(slot=slot)

    def _shrink(self, wanted: int, now: float) -> list[Command]:
        surplus = sum(not isinstance(state, Stopping) for state in self._slots.values()) - wanted
        rested = sorted(
            (state.since, slot)
            for slot, state in self._slots.items()
            if isinstance(state, Idle) and now >= state.since + SURPLUS_AFTER_S
        )
        return [self._dismiss(slot, StopReason.SURPLUS, now) for _, slot in rested[: max(0, surplus)]]

    def _grow(self, wanted: int, now: float) -> list[Command]:
        if self._given_up or now < self._respawn_at:
            return []
        useful = sum(not isinstance(state, Stopping) for state in self._slots.values())
        free = [slot for slot in range(self._most) if slot not in self._slots]
        spawned = free[: max(0, wanted - useful)]
        for slot in spawned:
            self._slots[slot] = Starting(deadline=now + self._settings.boot_timeout_s)
        return [Spawn(slot=slot) for slot in spawned]

    # ---- ends

    def _job_of(self, slot: int) -> tuple[int | None, float]:
        match self._slots[slot]:
            case Busy(job=job, timeout_s=timeout_s):
                return job, timeout_s
            case Stopping(job=job, timeout_s=timeout_s):
                return job, timeout_s
        return None, 0.0

    def _dismiss(self, slot: int, reason: StopReason, now: float) -> Command:
        self._slots[slot] = Stopping(reason=reason, step=Step.DISMISSED, deadline=now + DISMISS_GRACE_S, job=None)
        return Dismiss(slot=slot, reason=reason)

    def _terminate(self, slot: int, reason: StopReason, now: float) -> Command:
        job, timeout_s = self._job_of(slot)
        timeout_s = timeout_s if reason is StopReason.HUNG else 0.0
        deadline = now + TERM_GRACE_S
        self._slots[slot] = Stopping(
            reason=reason, step=Step.TERMINATED, deadline=deadline, job=job, timeout_s=timeout_s
        )
        return Terminate(slot=slot, reason=reason)

    def _kill(self, slot: int, reason: StopReason, now: float) -> Command:
        state = self._slots[slot]
        job, _ = self._job_of(slot)
        timeout_s = state.timeout_s if isinstance(state, Stopping) else 0.0
        self._slots[slot] = Stopping(
            reason=reason, step=Step.KILLED, deadline=now + LOST_AFTER_S, job=job, timeout_s=timeout_s
        )
        return Kill(slot=slot, reason=reason)

    def _boot_failed(self, detail: str, now: float) -> list[Command]:
        self._boot_failures += 1
        self._space_out(now)
        if self._boot_failures < MAX_BOOT_FAILURES:
            return []
        return self._give_up(f"{self._boot_failures} workers in a row could not start: {detail}")

    def _died_unexplained(self, how: str, now: float) -> list[Command]:
        self._space_out(now)
        self._unexplained.append(now)
        while self._unexplained and self._unexplained[0] < now - UNEXPLAINED_WINDOW_S:
            self._unexplained.popleft()
        if len(self._unexplained) <= MAX_UNEXPLAINED:
            return []
        return self._give_up(f"{len(self._unexplained)} idle workers died within {UNEXPLAINED_WINDOW_S:.0f} s ({how})")

    def _give_up(self, detail: str) -> list[Command]:
        if self._given_up or self._mode is not Mode.RUNNING:
            return []
        self._given_up = True
        return [GiveUp(detail=detail)]

    def _space_out(self, now: float) -> None:
        """Each death in a row without a worker getting ready doubles the pause before the next start."""
        doubled = self._respawn_delay_s * 2 or FIRST_RESPAWN_DELAY_S
        self._respawn_delay_s = min(doubled, MAX_RESPAWN_DELAY_S)
        self._respawn_at = now + self._respawn_delay_s
