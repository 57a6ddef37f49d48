"""The fleet: all workers as the supervisor knows them, as a state machine. Pure.

Theory of operation
-------------------
A *slot* is a place for one worker. The shell (`processes.py`) tells what happened as events; the fleet answers with
commands, and compares wanted with actual on every call, so that no step has to assume that an earlier one worked:

    (empty) --Spawn--> Starting --Ready--> Idle --Assigned--> Busy --Finished--> (Resting ->) Idle
       ^                  |                  |                  |
       |                  +-------------- Stopping <------------+      (deadline, recycling, surplus, shutdown)
       +--- Exited -------+------------------+------------------+

- A worker keeps its slot until its exit is *seen*. One that is not gone `LOST_AFTER_S` after SIGKILL is *lost*: its
  slot is free again, its process is the kernel's problem (a hung disk, state D), and its exit is taken note of later.
- Who held a job when its worker ended is always known, because a worker is at one job at a time: `JobLost` names it,
  once, and whose doing it was (`blame.py`). A job for a slot that cannot take one is lost at once.
- A worker that is rendering may be sent its *next* job, so that neither waits for the other between two small ones. It
  does not touch that before it has said what became of the first: until then its end is the first one's affair, and the
  next one comes back (`JobReturned`), which was no attempt. With `Finished` the next one is its job, and its deadline
  begins. Nobody gets a next job while somebody is idle, or where it is to leave or to rest after the one that it has;
  a worker that is to leave since then does both before. One that cannot take a next job gives it back at once.
- A missed deadline brings SIGTERM, the next one SIGKILL. Other ends begin by closing the worker's socket, which a
  healthy worker answers by leaving. Each step is taken once, and the first reason stands.
- Deaths and breaches that no source explains (while idle) are counted, and those while starting are boot failures.
  Too many of them (`restarts.py`), and the fleet gives up: restarting cannot cure it, the service manager decides.
  Before that it is *degraded*: where starting fails while a worker stands, it goes on with those that stand; where
  idle workers do not stay alive, with one, and if that one does, with all of them again.
  Both space the next start out, until a worker gets ready. Kills from outside are not counted, and a worker that was
  ready, killed or brought down by a source, is replaced at once: it was proof that starting works.
- Draining ends idle workers and lets busy ones finish; halting ends all, and there is no way back. Halted means: no
  worker left.
- `next_deadline` is exact: before it `tick` has nothing to do, and at it something, while nothing else happens and
  as many workers are wanted as at the last tick.
"""

from dataclasses import replace

from watcherd.model import Crashed, StopReason
from watcherd.pool import blame
from watcherd.pool.orders import (
    Abandon,
    Assigned,
    AssignedNext,
    Broke,
    Command,
    Dismiss,
    Event,
    Exited,
    Finished,
    GiveUp,
    Granted,
    JobLost,
    JobReturned,
    Kill,
    NotStarted,
    Spawn,
    Terminate,
    WorkerReady,
)
from watcherd.pool.restarts import Restarts
from watcherd.pool.rests import Rests
from watcherd.pool.slots import Busy, Idle, Mode, Next, Resting, SlotState, Starting, Step, Stopping
from watcherd.settings import PoolSettings

DISMISS_GRACE_S = 3.0
TERM_GRACE_S = 2.0
LOST_AFTER_S = 5.0
SURPLUS_AFTER_S = 30.0

_GRACE_S = {Step.DISMISSED: DISMISS_GRACE_S, Step.TERMINATED: TERM_GRACE_S, Step.KILLED: LOST_AFTER_S}
_ORDERS: dict[Step, type[Dismiss | Terminate | Kill]] = {
    Step.DISMISSED: Dismiss,
    Step.TERMINATED: Terminate,
    Step.KILLED: Kill,
}


# ------------------------------------------------------------------------------------------------------------- machine


class Fleet:
    """Slots 0 to `most` - 1. Call `handle` for each event and `tick` on each pass, and carry out what they return.

    `rest_factor`: for how many times the CPU time of a job its worker rests after it (`rests.py`).
    """

    def __init__(self, settings: PoolSettings, most: int, *, rest_factor: float = 0.0) -> None:
        self._settings = settings
        self._rests = Rests(rest_factor)
        self._most = most
        self._slots: dict[int, SlotState] = {}
        self._mode = Mode.RUNNING
        self._wanted = 0
        self._asked = 0
        self._restarts = Restarts()
        self._given_up = False
        self._busy_s = 0.0
        self._outdated: set[int] = set()

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

    def open_to_next(self) -> list[int]:
        """Slots whose workers may be sent the job after the one that they render; none while a worker is idle."""
        if self._mode is not Mode.RUNNING or self._rests.factor or self.idle():
            return []
        at_work = ((slot, state) for slot in self._slots if (state := self.at_work(slot)))
        able = [(slot, one.jobs, one.rss_bytes) for slot, one in at_work if one.granted and not one.next]
        return [each[0] for each in able if not self._why_end(*each)]

    def at_work(self, slot: int) -> Busy | None:
        """What a worker is at; None where it is at nothing, or is being ended."""
        state = self._slots.get(slot)
        return state if isinstance(state, Busy) else None

    @property
    def degraded(self) -> bool:
        """Whether some workers work, but fewer than are wanted: no more of them start, or stay alive."""
        return self._asked > self._wanted or (self._restarts.cannot_start and self._stands())

    @property
    def trouble(self) -> str:
        """Why it is degraded; empty if it is not."""
        return self._restarts.detail if self.degraded else ""

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
        if self._mode is Mode.RUNNING:
            useful = self._useful()
            rested = [state.since for state in self._slots.values() if isinstance(state, Idle)]
            if rested and useful > self._wanted:
                deadlines.append(min(rested) + SURPLUS_AFTER_S)
            if useful < self._asked and len(self._slots) < self._most and not self._given_up:
                alone_until = self._restarts.alone_until if useful >= self._wanted else 0.0
                deadlines.append(max(self._restarts.not_before, alone_until))
        return min(deadlines, default=None)

    # ---- what happens

    def resize(self, settings: PoolSettings, most: int, *, rest_factor: float) -> None:
        """Work by other settings from now on. Workers above `most` leave as soon as they hold no job."""
        self._settings, self._most, self._rests.factor = settings, most, rest_factor

    def renew(self, now: float) -> list[Command]:
        """Replace every worker, those that hold a job after it: what they were started with holds no more."""
        if self._mode is not Mode.RUNNING:
            return []
        self._outdated = {slot for slot, state in self._slots.items() if isinstance(state, Busy)}
        free = [slot for slot, state in self._slots.items() if isinstance(state, Idle | Resting | Starting)]
        return [self._stop(slot, StopReason.OUTDATED, Step.DISMISSED, now) for slot in free]

    def drain(self, now: float) -> list[Command]:
        """Finish what is running, start nothing."""
        if self._mode is Mode.RUNNING:
            self._mode = Mode.DRAINING
        idle = [slot for slot, state in self._slots.items() if isinstance(state, Idle | Resting | Starting)]
        return [self._stop(slot, StopReason.SHUTDOWN, Step.DISMISSED, now) for slot in idle]

    def halt(self, now: float) -> list[Command]:
        """Stop now. Workers that are being ended with more than words already go on being ended so.

        One that is starting is killed: it may still ignore SIGTERM, as whoever started us did, and has nothing to lose.
        """
        self._mode = Mode.HALTING
        steps = {
            slot: Step.KILLED if isinstance(state, Starting) else Step.TERMINATED
            for slot, state in self._slots.items()
            if not isinstance(state, Stopping) or state.step is Step.DISMISSED
        }
        return [self._stop(slot, StopReason.SHUTDOWN, step, now) for slot, step in steps.items()]

    def stop_job(self, job: int, now: float) -> list[Command]:
        """End the worker that holds this job (its source is gone, or its caller has gone away)."""
        held = [slot for slot, state in self._slots.items() if isinstance(state, Busy) and state.job == job]
        return [self._stop(slot, StopReason.SURPLUS, Step.TERMINATED, now) for slot in held]

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event in. Events for slots that are empty (lost workers) change nothing."""
        match event:
            case NotStarted():
                self._slots.pop(event.slot, None)
                return self._boot_failed(event.detail, now)
            case Exited():
                return self._exited(event, now)
            case Assigned(slot=slot, job=job) if not isinstance(self._slots.get(slot), Idle):
                return [JobLost(slot=slot, job=job, outcome=Crashed(how="no worker was there for it", outside=True))]
            case AssignedNext(slot=slot, job=job) if slot not in self.open_to_next():
                return [JobReturned(slot=slot, job=job)]
            case _ if event.slot not in self._slots:
                return []
            case Broke():
                return self._broken(event.slot, event.detail, now)
            case _:
                return self._progress(event, self._slots[event.slot], now)

    def tick(self, now: float, *, wanted: int) -> list[Command]:
        """Compare wanted with actual: deadlines, surplus, recycling, new workers."""
        self._asked = min(wanted, self._most)
        self._wanted = min(self._asked, 1) if now < self._restarts.alone_until else self._asked
        commands = [command for slot in list(self._slots) for command in self._overdue(slot, now)]
        if self._mode is Mode.RUNNING:
            commands += self._shrink(now)
            commands += self._grow(now)
        return commands

    # ---- transitions

    def _progress(
        self, event: WorkerReady | Assigned | AssignedNext | Granted | Finished, state: SlotState, now: float
    ) -> list[Command]:
        match event, state:
            case Finished(), Stopping():
                self._slots[event.slot] = replace(state, job=None)
            case _, Stopping():
                pass  # whatever else it still says, it is on its way out
            case WorkerReady(), Starting():
                self._restarts.worker_ready(now)
                self._slots[event.slot] = Idle(since=now, jobs=0)
            case Assigned(job=job, timeout_s=timeout_s), Idle(jobs=jobs):
                self._slots[event.slot] = _begun(Next(job=job, timeout_s=timeout_s), jobs, now)
            case Granted(timeout_s=timeout_s), Busy():
                deadline = now + timeout_s
                self._slots[event.slot] = replace(state, deadline=deadline, timeout_s=timeout_s, granted=True)
            case AssignedNext(job=job, timeout_s=timeout_s), Busy():
                self._slots[event.slot] = replace(state, next=Next(job=job, timeout_s=timeout_s))
            case Finished(rss_bytes=rss_bytes), Busy(jobs=jobs, since=since):
                self._busy_s += now - since
                rest_s = self._rests.after(event.slot, cpu_s=event.cpu_s, since=since, now=now)
                if state.next is not None:
                    self._slots[event.slot] = _begun(state.next, jobs, now, rss_bytes)
                    return []
                after = Resting(deadline=now + rest_s, jobs=jobs) if rest_s else Idle(since=now, jobs=jobs)
                self._slots[event.slot] = after
                reason = self._why_end(event.slot, jobs, rss_bytes)
                return [self._stop(event.slot, reason, Step.DISMISSED, now)] if reason else []
            case _:
                return self._broken(event.slot, f"{type(event).__name__} while {type(state).__name__}", now)
        return []

    def _why_end(self, slot: int, jobs: int, rss_bytes: int) -> StopReason | None:
        if self._mode is not Mode.RUNNING:
            return StopReason.SHUTDOWN
        if self._useful() > self._most:
            return StopReason.SURPLUS
        if slot in self._outdated:
            return StopReason.OUTDATED
        if self._settings.recycle_after_jobs and jobs >= self._settings.recycle_after_jobs:
            return StopReason.WORN
        if self._settings.recycle_above_bytes and rss_bytes > self._settings.recycle_above_bytes:
            return StopReason.BLOATED
        return None

    def _broken(self, slot: int, detail: str, now: float) -> list[Command]:
        match self._slots[slot]:
            case Starting():
                kill = self._stop(slot, StopReason.BOOT_FAILED, Step.KILLED, now)
                return [kill, *self._boot_failed(f"a worker broke the protocol at its start ({detail})", now)]
            case Idle() | Resting():
                kill = self._stop(slot, StopReason.HUNG, Step.KILLED, now)
                return [kill, *self._died_unexplained(detail, now)]
            case Busy():
                return [self._stop(slot, StopReason.HUNG, Step.KILLED, now)]
            case Stopping(step=Step.KILLED):
                return []
            case Stopping(reason=reason):
                return [self._stop(slot, reason, Step.KILLED, now)]

    def _exited(self, event: Exited, now: float) -> list[Command]:
        state = self._slots.pop(event.slot, None)
        self._outdated.discard(event.slot)
        outside = blame.is_outside(event.how)
        match state:
            case Busy(since=since):
                self._busy_s += now - since
                return blame.ended_by_itself(event.slot, state, event.how)
            case Stopping():
                return blame.ended_by_us(event.slot, state)
            case Starting() if not outside:
                words = f": {event.last_words}" if event.last_words else ""
                return self._boot_failed(f"a worker ended before it was ready ({event.how}){words}", now)
            case Idle() | Resting() if not outside:
                return self._died_unexplained(event.how, now)
            case Starting():
                self._restarts.killed_while_starting(now)
        return []

    def _overdue(self, slot: int, now: float) -> list[Command]:
        state = self._slots[slot]
        if isinstance(state, Idle) or now < state.deadline:
            return []
        match state:
            case Starting():
                kill = self._stop(slot, StopReason.BOOT_FAILED, Step.KILLED, now)
                return [kill, *self._boot_failed("a worker was not ready in time", now)]
            case Resting(jobs=jobs):
                self._slots[slot] = Idle(since=now, jobs=jobs)
                return []
            case Busy():
                return [self._stop(slot, StopReason.HUNG, Step.TERMINATED, now)]
            case Stopping(step=Step.DISMISSED):
                return [self._stop(slot, state.reason, Step.TERMINATED, now)]
            case Stopping(step=Step.TERMINATED):
                return [self._stop(slot, state.reason, Step.KILLED, now)]
            case Stopping():
                del self._slots[slot]
                self._outdated.discard(slot)
                return [*blame.ended_by_us(slot, state), Abandon(slot=slot)]

    def _useful(self) -> int:
        return sum(not isinstance(state, Stopping) for state in self._slots.values())

    def _shrink(self, now: float) -> list[Command]:
        excess = self._useful() - self._most  # after a resize: more than there may be do not wait
        surplus = excess if excess > 0 else self._useful() - self._wanted
        if surplus <= 0:
            return []
        idle = sorted((state.since, slot) for slot, state in self._slots.items() if isinstance(state, Idle))
        rested = [(since, slot) for since, slot in idle if excess > 0 or now >= since + SURPLUS_AFTER_S]
        return [self._stop(slot, StopReason.SURPLUS, Step.DISMISSED, now) for _, slot in rested[:surplus]]

    def _grow(self, now: float) -> list[Command]:
        if self._given_up or now < self._restarts.not_before:
            return []
        free = [slot for slot in range(self._most) if slot not in self._slots]
        spawned = free[: max(0, self._wanted - self._useful())]
        for slot in spawned:
            self._slots[slot] = Starting(deadline=now + self._settings.boot_timeout_s)
        return [Spawn(slot=slot) for slot in spawned]

    # ---- ends

    def _stop(self, slot: int, reason: StopReason, step: Step, now: float) -> Command:
        """The only way into `Stopping`, and from one step of it to the next."""
        job, timeout_s, after = None, 0.0, None
        match self._slots[slot]:
            case Busy() as busy:
                self._busy_s += now - busy.since
                job, after = busy.job, busy.next
                timeout_s = busy.timeout_s if (reason, step) == (StopReason.HUNG, Step.TERMINATED) else 0.0
            case Stopping() as before:
                job, timeout_s, after = before.job, before.timeout_s, before.next
        deadline = now + _GRACE_S[step]
        self._slots[slot] = Stopping(
            reason=reason, step=step, deadline=deadline, job=job, timeout_s=timeout_s, next=after
        )
        return _ORDERS[step](slot=slot, reason=reason)

    def _boot_failed(self, detail: str, now: float) -> list[Command]:
        """As long as one worker stands, the fleet goes on with fewer than it wants (degraded), and keeps trying."""
        why = self._restarts.boot_failed(detail, now)
        return [] if self._stands() else self._give_up(why)

    def _died_unexplained(self, how: str, now: float) -> list[Command]:
        return self._give_up(self._restarts.died_unexplained(how, now, of_several=self._most > 1))

    def _stands(self) -> bool:
        return any(isinstance(state, Idle | Resting | Busy) for state in self._slots.values())

    def _give_up(self, why: str | None) -> list[Command]:
        if why is None or self._given_up or self._mode is not Mode.RUNNING:
            return []
        self._given_up = True
        return [GiveUp(detail=why)]


def _begun(job: Next, jobs: int, now: float, rss_bytes: int = 0) -> Busy:
    """The state of a worker that turns to a job, after so many others."""
    deadline, timeout_s = now + job.timeout_s, job.timeout_s
    return Busy(job=job.job, since=now, deadline=deadline, timeout_s=timeout_s, jobs=jobs + 1, rss_bytes=rss_bytes)
