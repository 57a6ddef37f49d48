"""What lies outside of the daemon's core, played: a disk, the hands of its roots, its workers.

Without threads, processes or waiting: each answers at once, by leaving an item for the next pass. Contents are bytes;
what a worker would say of one is looked up in `Outside.plays`. The played disk is one for all roots, so that tests give
their files different names.
"""

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from watcherd.daemon.effects import AskHands, Moment, TellWorker
from watcherd.model import (
    Derivative,
    Disturbed,
    Failed,
    Header,
    Ignored,
    Incomplete,
    Rejected,
    Rendered,
    Stamp,
    Vanished,
)
from watcherd.naming import Mark, note_path
from watcherd.pool.crew import FrameCame, WorkerEnded
from watcherd.pool.frames import Ended, Frame, Identified, Made, Work, identified, ready
from watcherd.pool.processes import Ending
from watcherd.watch.hands.following import Arrived, Carried, Follow, Followed, Move
from watcherd.watch.hands.hands import (
    Annotate,
    Annotated,
    Collect,
    Collected,
    Fate,
    Fault,
    Fetch,
    Fetched,
    Found,
    Probe,
    Probed,
    Publish,
    Published,
    Recognise,
    Recognised,
    Refused,
    Relocate,
    Relocated,
    Remove,
    Removed,
    Reply,
    StatMany,
    Stats,
)
from watcherd.watch.hands.orphans import FindOrphans, OrphansFound
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Sight

START_S = 1_800_000_000.0
SEEN_BY = 7
FULL = errno.ENOSPC
MEGAPIXELS = 100_000_000

Play = Rendered | Ignored | Incomplete | Rejected | Failed | str
"""What a worker makes of a content: an outcome, or the name of the signal by which the content kills it."""


@dataclass(slots=True)
class File:
    """One file of the played disk."""

    content: bytes
    stamp: Stamp
    mark: Mark | None = None


@dataclass(slots=True)
class Descriptor:
    """What a number stands for that would be a memfd."""

    content: bytes
    mark: Mark | None = None


@dataclass(slots=True)
class PlayedWorker:
    """A worker that answers at once, unless it is told to wait (`World.slow`). `next`: what it does not look at yet."""

    pid: int
    work: Work | None = None
    content: bytes = b""
    next: tuple[Work, bytes] | None = None


@dataclass(slots=True, kw_only=True)
class Outside:
    """Everything outside of the core.

    `absent` are the roots whose folder is not there, `frozen` the requests that do not come back from a root. `hook`
    sees every other request before the hands do, and answers it unless it gives None. `sight` is what a look at a root
    tells.
    """

    disk: dict[bytes, File] = field(default_factory=dict)
    plays: dict[bytes, Play] = field(default_factory=dict)
    costs: dict[bytes, int] = field(default_factory=dict)
    small: set[bytes] = field(default_factory=set)
    slow: set[bytes] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    sight: Sight = field(default_factory=lambda: Sight(verdict=Verdict.ROOT, file_system=None))
    absent: set[int] = field(default_factory=set)
    frozen: set[tuple[int, type]] = field(default_factory=set)
    hook: Callable[[AskHands], object] | None = None
    on_publish: Callable[[], None] | None = None
    now: float = 1000.0
    rendered: list[bytes] = field(default_factory=list)
    by_other: list[tuple[bytes, bool]] = field(default_factory=list)
    costs_of_other: dict[bytes, int] = field(default_factory=dict)
    workers: dict[int, PlayedWorker] = field(default_factory=dict)
    root: int = field(init=False)
    _inbox: list[object] = field(default_factory=list)
    _descriptors: dict[int, Descriptor] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(5_000, 1_000_000)))

    @property
    def moment(self) -> Moment:
        """The clocks; the wall clock runs with the monotonic one."""
        return Moment(now=self.now, wall_s=START_S + self.now)

    def stamp_of(self, content: bytes) -> Stamp:
        """A stamp made now."""
        moment_ns = int(self.moment.wall_s * 1e9)
        return Stamp(len(content), moment_ns, moment_ns, next(self._numbers), 1)

    def open_descriptors(self) -> int:
        """How many memfds there would be."""
        return len(self._descriptors)

    def _descriptor(self, content: bytes, mark: Mark | None = None) -> int:
        number = next(self._numbers)
        self._descriptors[number] = Descriptor(content, mark)
        return number

    # ---- hands

    def _answer(self, asked: AskHands) -> object:
        reply = self.hook(asked) if self.hook is not None else None
        if reply is None and asked.root in self.absent:
            ticket = asked.request.ticket
            reply = Fault(root=asked.root, ticket=ticket, path=b"", errno=errno.ENOENT, operation="open_root")
        if reply is None:
            return replace(self._hands(asked.request), root=asked.root)
        if isinstance(asked.request, Publish):  # whatever comes of it, its descriptors are closed
            for item in asked.request.items:
                del self._descriptors[item.fd]
        return reply

    def carried_out(self, request: object) -> Reply:
        """What the hands do and say, for a test whose daemon does not live to hear it."""
        return self._hands(request)

    def _hands(self, request: object) -> Reply:  # noqa: PLR0911  one a kind of request
        match request:
            case StatMany(ticket=ticket, paths=paths):
                looks = tuple((path, self._look(path)) for path in paths)
                return Stats(root=self.root, ticket=ticket, results=looks)
            case Fetch():
                return self._fetch(request)
            case Collect(ticket=ticket, items=items):
                held = [self.disk.get(path) for path, _, _ in items]
                fds = tuple(
                    self._descriptor(file.content, file.mark) if file is not None and file.mark == mark else None
                    for file, (_, mark, _) in zip(held, items, strict=True)
                )
                return Collected(root=self.root, ticket=ticket, fds=fds)
            case Publish():
                return self._publish(request)
            case Relocate():
                return self._relocate(request)
            case Remove(ticket=ticket, items=items):
                for path, _, _ in items:
                    self.disk.pop(path, None)
                return Removed(root=self.root, ticket=ticket, results=tuple((Fate.DONE, 0) for _ in items))
            case Recognise(ticket=ticket):
                return Recognised(root=0, ticket=ticket, sight=self.sight)
            case FindOrphans(ticket=ticket):
                return OrphansFound(root=self.root, ticket=ticket, orphans=(), folders=())
            case Follow():
                return self._follow(request)
            case Annotate(ticket=ticket, path=path, text=text):
                self.disk.pop(note_path(path), None)
                if text is not None:
                    self.disk[note_path(path)] = File(text, self.stamp_of(text))
                return Annotated(root=self.root, ticket=ticket, done=True)
            case Probe(ticket=ticket):
                number = self.faults.get("probe", 0)
                return Probed(root=self.root, ticket=ticket, ok=not number, errno=number)
        raise AssertionError(request)

    def _follow(self, request: Follow) -> Reply:
        followed = [move for move in request.moves if self._has_moved(move)]
        taken: dict[tuple[bytes, str], tuple[Carried, bytes, File]] = {}
        for move in followed:
            for carried in move.carried:
                for old, new in carried.ways:
                    path = new if self._is_right(new, carried) else old
                    if self._is_right(path, carried):
                        taken[move.path, carried.mark.variant] = carried, new, self.disk.pop(path)
        for _, new, file in taken.values():
            self.disk[new] = file
        results = tuple(
            Arrived(
                stamp=self.disk[move.path].stamp,
                derivatives=tuple(
                    carried.derivative for (path, _), (carried, _, _) in taken.items() if path == move.path
                ),
            )
            if move in followed
            else None
            for move in request.moves
        )
        return Followed(root=self.root, ticket=request.ticket, results=results)

    def _has_moved(self, move: Move) -> bool:
        new, old = self.disk.get(move.path), self.disk.get(move.old)
        if new is None or new.stamp != move.stamp:
            return False
        return old is None or old.stamp.inode != new.stamp.inode

    def _is_right(self, path: bytes, carried: Carried) -> bool:
        file = self.disk.get(path)
        return file is not None and file.mark == carried.mark

    def _look(self, path: bytes) -> Stamp | Vanished:
        file = self.disk.get(path)
        return file.stamp if file else Vanished()

    def _fetch(self, request: Fetch) -> Reply:
        file = self.disk.get(request.path)
        if "read" in self.faults:
            number = self.faults["read"]
            return Fault(root=self.root, ticket=request.ticket, path=request.path, errno=number, operation="open")
        if file is None:
            return Refused(root=self.root, ticket=request.ticket, outcome=Vanished())
        if file.stamp != request.stamp:
            return Refused(root=self.root, ticket=request.ticket, outcome=Disturbed())
        found = self._standing(request.derivatives)
        missing = {variant for variant, _ in request.derivatives} - {item.variant for item in found}
        elsewhere = self._standing(item for item in request.elsewhere if item[0] in missing)
        return Fetched(
            root=self.root,
            ticket=request.ticket,
            fd=self._descriptor(file.content),
            stamp=file.stamp,
            has_holes=False,
            kind="jpeg",
            found=found,
            elsewhere=elsewhere,
        )

    def _standing(self, derivatives: Iterable[tuple[str, bytes]]) -> tuple[Found, ...]:
        return tuple(
            Found(
                variant=variant,
                path=path,
                mark=other.mark,
                size_bytes=other.stamp.size_bytes,
                mtime_ns=other.stamp.mtime_ns,
            )
            for variant, path in derivatives
            if (other := self.disk.get(path)) is not None
        )

    def _relocate(self, request: Relocate) -> Reply:
        source = self.disk.get(request.path)
        if source is None or source.stamp != request.stamp:
            outcome = Vanished() if source is None else Disturbed()
            return Refused(root=self.root, ticket=request.ticket, outcome=outcome)
        moved = []
        for item in request.displaced:
            ways = ((old, new) for old, new in item.ways if new not in self.disk)
            way = next(((old, new) for old, new in ways if old in self.disk and self.disk[old].mark == item.mark), None)
            if way is not None:
                self.disk[way[1]] = self.disk.pop(way[0])
                moved.append(item.derivative)
        return Relocated(root=self.root, ticket=request.ticket, derivatives=tuple(moved))

    def _publish(self, request: Publish) -> Reply:
        if self.on_publish is not None:
            self.on_publish()
        made = [(item, self._descriptors.pop(item.fd)) for item in request.items]
        if "write" in self.faults:
            number = self.faults["write"]
            return Fault(root=self.root, ticket=request.ticket, path=request.path, errno=number, operation="write")
        source = self.disk.get(request.path)
        if source is None or source.stamp != request.stamp:
            outcome = Vanished() if source is None else Disturbed()
            return Refused(root=self.root, ticket=request.ticket, outcome=outcome)
        derivatives = []
        for item, descriptor in made:
            stamp = self.stamp_of(descriptor.content)
            self.disk[item.path] = File(descriptor.content, stamp, item.mark)
            derivatives.append(
                Derivative(
                    variant=item.variant,
                    fingerprint=item.mark.fingerprint,
                    size_bytes=stamp.size_bytes,
                    mtime_ns=stamp.mtime_ns,
                    width=item.width,
                    height=item.height,
                )
            )
        return Published(root=self.root, ticket=request.ticket, derivatives=tuple(derivatives), adopted=(), taken=())

    # ---- workers

    def _say(self, slot: int, body: dict[str, object], descriptors: tuple[int, ...] = ()) -> None:
        pid = self.workers[slot].pid
        self._inbox.append(FrameCame(slot=slot, frame=Frame(body, descriptors), rss_bytes=50 << 20, pid=pid))

    def end_worker(self, slot: int, how: str, reason: object = None) -> None:
        """A worker's process ends."""
        worker = self.workers.pop(slot, None)
        if worker is not None:
            ending = Ending(pid=worker.pid, how=how, stderr="", stop_reason=reason)  # type: ignore[arg-type]
            self._inbox.append(WorkerEnded(slot=slot, ending=ending))

    def _tell_worker(self, effect: TellWorker) -> None:
        worker = self.workers[effect.slot]
        match effect.body["type"]:
            case "work":
                work, content = Work.parse(effect.body), self._descriptors.pop(effect.descriptors[0]).content
                if worker.work is None:
                    self._begin(effect.slot, work, content)
                else:
                    assert worker.next is None
                    worker.next = work, content
            case "release":
                worker.work = None
            case "grant":
                if worker.content not in self.slow:
                    self.finish(effect.slot, effect.body["variants"])  # type: ignore[arg-type]

    def _begin(self, slot: int, work: Work, content: bytes) -> None:
        worker = self.workers[slot]
        worker.work, worker.content = work, content
        self._identify(slot, worker)

    def _ended(self, slot: int, message: Ended, descriptors: tuple[int, ...] = ()) -> None:
        worker = self.workers[slot]
        self._say(slot, message.body(), descriptors)
        worker.work, after, worker.next = None, worker.next, None
        if after is not None:
            self._begin(slot, *after)

    def _identify(self, slot: int, worker: PlayedWorker) -> None:
        work = worker.work
        assert work is not None
        play = self.plays.get(worker.content, Rendered())
        self.by_other.append((worker.content, work.other_decoder))
        if work.other_decoder and worker.content in self.costs_of_other:
            play = Rendered()
        if work.tolerant and isinstance(play, Incomplete):
            play = Rendered()
        if isinstance(play, str):
            self.end_worker(slot, play)
            return
        digest = hashlib.sha256(worker.content).digest()
        if not isinstance(play, Rendered):
            message = Ended(job=work.job, outcome=play, digest=digest if isinstance(play, Rejected) else None)
            self._ended(slot, message)
            return
        costs = self.costs | (self.costs_of_other if work.other_decoder else {})
        cost = costs.get(worker.content, 100 << 20)
        width, height = (400, 300) if worker.content in self.small else (4000, 3000)
        header = Header(kind="jpeg", width=width, height=height, frames=1, memory_bytes=cost)
        self._say(slot, identified(Identified(job=work.job, digest=digest, header=header)))

    def finish(self, slot: int, variants: list[str] | None = None) -> None:
        """A worker that was granted a job ends it well."""
        worker = self.workers[slot]
        assert worker.work is not None
        names = variants if variants is not None else [variant.name for variant in worker.work.variants]
        made = tuple(Made(variant=name, width=200, height=150) for name in names)
        self.rendered.append(worker.content)
        digest = hashlib.sha256(worker.content).digest()
        fds = tuple(self._descriptor(b"picture of " + worker.content) for _ in names)
        looks = int.from_bytes(digest[:8], "big")
        message = Ended(
            job=worker.work.job,
            outcome=Rendered(),
            digest=digest,
            made=made,
            phash=looks,
            dhash=looks ^ 1,
            captured="2008-05-30T15:56:01",
        )
        self._ended(slot, message, fds)

    def _start_worker(self, slot: int) -> None:
        self.workers[slot] = PlayedWorker(pid=next(self._numbers))
        self._say(slot, ready([]))
