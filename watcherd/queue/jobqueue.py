"""Which job is next.

Responsible for: one live job a source, the order of jobs, fair turns between classes and between roots, and a bound on
how many jobs are in memory.
Not responsible for: what is in a worker's hands (the loop knows), delays (a job is pushed when it is due), and the
ledger's rows (the loop reads them when a lane wants more). Pure.

A *lane* is a FIFO for one root and one class. The class is picked by stride scheduling: each pick moves the class on by
64 / weight, and the class that is furthest behind is next. A class without jobs does not save up turns: it
comes back at the position of the last pick. Each weight is above 0, so nothing starves; in 147 picks with all classes
busy, each gets exactly its weight. Inside a class, roots take turns.

A full lane *spills*: its further jobs stay pending in the ledger, where they were recorded before the push, and are
fetched by their sequence once the lane is half empty. Until all of them are fetched, new jobs go the same way.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice

from watcherd.model import JobClass, Source, Stamp

WEIGHTS = {
    JobClass.MANUAL: 64,
    JobClass.RETRY: 32,
    JobClass.UPLOAD: 32,
    JobClass.EDITED: 16,
    JobClass.RECIPE: 2,
    JobClass.BACKLOG: 1,
}
"""The share of each class, best first. Uploads overtake a backlog of any length (chosen, not measured, like 10,000)."""

_STRIDES = {job_class: 64 // weight for job_class, weight in WEIGHTS.items()}
_LANE_MIN = 100
_LOOK_AHEAD = 256
"""So many jobs of a lane are offered to `accept` in one pick: a lane full of giants must not make a pass slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Bring one source's derivatives up to date.

    `stamp` is the settled one; `queued_at` is monotonic. `suspect`: only one such job at a time. `whole_budget`: alone,
    with all the memory. `tolerant`: the decoder may take a damaged picture. `memory_bytes` and `digest` are known once
    a worker was answered *Later*.
    """

    source: Source
    job_class: JobClass
    sequence: int
    stamp: Stamp
    queued_at: float
    suspect: bool = False
    whole_budget: bool = False
    tolerant: bool = False
    memory_bytes: int | None = None
    digest: bytes | None = None


class Push(StrEnum):
    """What became of a job that was pushed."""

    QUEUED = "queued"
    ALREADY = "already"
    SPILLED = "spilled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A lane that wants `room` jobs from the ledger: those recorded with a sequence above `after_sequence`."""

    root: int
    job_class: JobClass
    after_sequence: int
    room: int


@dataclass(slots=True, eq=False)
class _Lane:
    root: int
    job_class: JobClass
    jobs: OrderedDict[Source, Job] = field(default_factory=OrderedDict)
    spilled: bool = False
    after_sequence: int = -1

    def append(self, job: Job) -> None:
        self.jobs[job.source] = job
        self.after_sequence = max(self.after_sequence, job.sequence)


class _Turns:
    """Whose turn it is. `position` is where the last pick stood; `passes` is where each class stands."""

    def __init__(self) -> None:
        self.position = 0
        self.passes = dict.fromkeys(WEIGHTS, 0)
        self.rotation: dict[JobClass, list[_Lane]] = {job_class: [] for job_class in WEIGHTS}

    def copy(self) -> "_Turns":
        other = _Turns()
        other.position = self.position
        other.passes = dict(self.passes)
        other.rotation = {job_class: list(lanes) for job_class, lanes in self.rotation.items()}
        return other

    def choose(self, offer: Callable[[_Lane], Job | None]) -> Job | None:
        """The first job offered, asking the lanes in the order of their turns; that lane's turn is then over."""
        for lane in self._in_order():
            job = offer(lane)
            if job is not None:
                self._over(lane)
                return job
        return None

    def _in_order(self) -> Iterator[_Lane]:
        for job_class in sorted(filter(self.rotation.__getitem__, WEIGHTS), key=self._standing):
            yield from self.rotation[job_class]

    def _standing(self, job_class: JobClass) -> int:
        return max(self.position, self.passes[job_class])

    def _over(self, lane: _Lane) -> None:
        self.position = self._standing(lane.job_class)
        self.passes[lane.job_class] = self.position + _STRIDES[lane.job_class]
        self.rotation[lane.job_class].remove(lane)
        self.rotation[lane.job_class].append(lane)


class JobQueue:
    """All jobs that wait for a worker. `capacity` bounds them, but for 100 jobs that each lane may always hold."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._lanes: dict[tuple[int, JobClass], _Lane] = {}
        self._where: dict[Source, _Lane] = {}
        self._turns = _Turns()
        self._roots: set[int] = set()
        self._blocked: set[int] = set()
        self._held: frozenset[tuple[int, JobClass]] = frozenset()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, source: object) -> bool:
        return source in self._where

    def push(self, job: Job) -> Push:
        """Put a job at the end of its lane. It must be recorded as pending before, with this class and sequence.

        A source has one live job: a second one only brings that up to date (ALREADY), and moves it to the end of the
        better lane if its class has more weight. SPILLED: it is not in memory and will come back by `wants`. A job
        that `wants` would not reach, because its sequence is older than the lane's, is always taken.
        """
        held = self._where.get(job.source)
        if held is not None:
            older = held.jobs[job.source]
            job = _merged(job, older)
            if WEIGHTS[job.job_class] <= WEIGHTS[older.job_class]:
                held.jobs[job.source] = replace(job, job_class=older.job_class, sequence=older.sequence)
                return Push.ALREADY
            self.remove(job.source)
        lane = self._lane(job.source.root, job.job_class)
        if (lane.spilled or len(lane.jobs) >= self._bound) and job.sequence > lane.after_sequence:
            lane.spilled = True
            return Push.SPILLED
        lane.append(job)
        self._where[job.source] = lane
        return Push.QUEUED if held is None else Push.ALREADY

    def runnable(self) -> int:
        """How many jobs are in memory, without those of blocked roots and held lanes."""
        return sum(len(lane.jobs) for lane in self._lanes.values() if not self._rests(lane))

    def sources(self) -> list[Source]:
        """The sources of all jobs in memory."""
        return list(self._where)

    def put_back(self, job: Job) -> None:
        """Put a job that was popped (or was in hand when the daemon ended) at the head of its lane, full or not."""
        queued = self.remove(job.source)
        if queued is not None:
            best = max(job, queued, key=lambda one: WEIGHTS[one.job_class])
            job = replace(_merged(queued, job), job_class=best.job_class, sequence=best.sequence)
        lane = self._lane(job.source.root, job.job_class)
        lane.jobs[job.source] = job
        lane.jobs.move_to_end(job.source, last=False)
        self._where[job.source] = lane

    def pop(
        self, *, suspects: bool, accept: Callable[[Job], bool] | None = None, full: Container[int] = ()
    ) -> Job | None:
        """The next job that may run now, taken out. `suspects`: whether a suspect may be that job.

        Jobs that are not accepted keep their place and are passed over, and so are those of blocked and `full` roots,
        and of held lanes.
        """

        def offer(lane: _Lane) -> Job | None:
            if lane.root in full or self._rests(lane):
                return None
            for job in islice(lane.jobs.values(), _LOOK_AHEAD):
                if (suspects or not job.suspect) and (accept is None or accept(job)):
                    return job
            return None

        job = self._turns.choose(offer)
        return None if job is None else self.remove(job.source)

    def remove(self, source: Source) -> Job | None:
        """Take out the job of a source, wherever it stands."""
        lane = self._where.pop(source, None)
        return None if lane is None else lane.jobs.pop(source)

    def upcoming(self, count: int) -> list[Job]:
        """The next jobs, in the order in which they would be popped if nothing were refused."""
        waiting = {lane: iter(lane.jobs.values()) for lane in self._lanes.values() if not self._rests(lane)}
        nothing: Iterator[Job] = iter(())
        turns = self._turns.copy()
        jobs: list[Job] = []
        while len(jobs) < count and (job := turns.choose(lambda lane: next(waiting.get(lane, nothing), None))):
            jobs.append(job)
        return jobs

    def depth(self) -> dict[JobClass, int]:
        """How many jobs of each class are in memory."""
        depth = dict.fromkeys(WEIGHTS, 0)
        for lane in self._lanes.values():
            depth[lane.job_class] += len(lane.jobs)
        return depth

    def oldest(self, job_class: JobClass) -> float | None:
        """When the job of this class that waits longest was queued (monotonic)."""
        lanes = self._turns.rotation[job_class]
        return min((job.queued_at for lane in lanes for job in lane.jobs.values()), default=None)

    def block(self, root: int) -> None:
        """Pass over the jobs of a root until it is unblocked; they keep their place."""
        self._blocked.add(root)

    def unblock(self, root: int) -> None:
        """Let the jobs of a root run again."""
        self._blocked.discard(root)

    def hold(self, lanes: frozenset[tuple[int, JobClass]]) -> None:
        """Pass over the jobs of these lanes (root, class), and of no others that were held before."""
        self._held = lanes

    def _rests(self, lane: _Lane) -> bool:
        return lane.root in self._blocked or (lane.root, lane.job_class) in self._held

    def drop_root(self, root: int) -> None:
        """Drop all lanes of a root that is not watched any more; what they hold stays pending in the ledger."""
        for lane in [lane for lane in self._lanes.values() if lane.root == root]:
            del self._lanes[lane.root, lane.job_class]
            self._turns.rotation[lane.job_class].remove(lane)
            for source in lane.jobs:
                del self._where[source]
        self._roots.discard(root)
        self._blocked.discard(root)

    def mark_spilled(self, root: int, job_class: JobClass) -> None:
        """Say that the ledger may hold pending jobs of this lane (at start-up): the lane then wants all of them."""
        lane = self._lane(root, job_class)
        lane.spilled, lane.after_sequence = True, -1

    def wants(self) -> list[Lane]:
        """The spilled lanes that are less than half full, best class first."""
        bound = self._bound
        return [
            Lane(
                root=lane.root,
                job_class=lane.job_class,
                after_sequence=lane.after_sequence,
                room=bound - len(lane.jobs),
            )
            for lanes in self._turns.rotation.values()
            for lane in lanes
            if lane.spilled and 2 * len(lane.jobs) < bound
        ]

    def refill(
        self,
        lane: Lane,
        jobs: Iterable[Job],
        *,
        exhausted: bool,
        in_hand: Container[Source] = (),
        read_to: int | None = None,
    ) -> None:
        """Take the jobs that the ledger gave for a wanting lane, in the order of their sequence.

        Those that are queued already or in hand are passed over. `exhausted`: there are no more. `read_to`: the last
        sequence read, where some rows did not become jobs (they wait for their time): the next want starts behind it.
        """
        inside = self._lane(lane.root, lane.job_class)
        inside.after_sequence = max(inside.after_sequence, lane.after_sequence if read_to is None else read_to)
        for job in jobs:
            inside.after_sequence = max(inside.after_sequence, job.sequence)
            if job.source not in self._where and job.source not in in_hand:
                inside.append(job)
                self._where[job.source] = inside
        inside.spilled = not exhausted

    @property
    def _bound(self) -> int:
        return max(_LANE_MIN, self._capacity // (len(WEIGHTS) * max(1, len(self._roots))))

    def _lane(self, root: int, job_class: JobClass) -> _Lane:
        lane = self._lanes.get((root, job_class))
        if lane is None:
            lane = self._lanes[root, job_class] = _Lane(root, job_class)
            self._turns.rotation[job_class].append(lane)
            self._roots.add(root)
        return lane


def _merged(newer: Job, older: Job) -> Job:
    """The newer job with the older one's waiting time and, for the same content, with what was learnt about it."""
    queued_at = min(newer.queued_at, older.queued_at)
    if newer.stamp[:4] != older.stamp[:4]:
        return replace(newer, queued_at=queued_at)
    return replace(
        newer,
        queued_at=queued_at,
        suspect=newer.suspect or older.suspect,
        whole_budget=newer.whole_budget or older.whole_budget,
        tolerant=newer.tolerant or older.tolerant,
        memory_bytes=older.memory_bytes if newer.memory_bytes is None else newer.memory_bytes,
        digest=older.digest if newer.digest is None else newer.digest,
    )
