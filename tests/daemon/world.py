"""A small world around the daemon's core: a disk, hands, workers and a clock that the tests move by hand.

The core, the ledger, the queue and the fleet are the real ones; what lies outside of them is played here, without
threads, processes or waiting. Contents are bytes; what a worker would say of one is looked up in `World.plays`.
There may be several roots; the played disk is one for all of them, so that tests give their files different names.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from watcherd.daemon.core import Core
from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    CloseDescriptors,
    Discard,
    Effect,
    Moment,
    TellWorker,
    WatchedRoot,
)
from watcherd.daemon.tally import Scope
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    Change,
    ChangeKind,
    Derivative,
    Disturbed,
    Entry,
    Failed,
    Header,
    Ignored,
    Incomplete,
    Rejected,
    Rendered,
    Source,
    Stamp,
    Vanished,
    Variant,
)
from watcherd.naming import Mark
from watcherd.pool.crew import FrameCame, WorkerEnded
from watcherd.pool.fleet import Fleet
from watcherd.pool.frames import Ended, Frame, Identified, Made, Work, identified, ready
from watcherd.pool.orders import Dismiss, Kill, Spawn, Terminate
from watcherd.pool.processes import Ending
from watcherd.pool.slots import Busy
from watcherd.settings import RootSettings, Settings
from watcherd.watch.hands import (
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
    Refused,
    Remove,
    Removed,
    Reply,
    StatMany,
    Stats,
)

START_S = 1_800_000_000.0
SEEN_BY = 7
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
    """A worker that answers at once, unless it is told to wait (`World.slow`)."""

    pid: int
    work: Work | None = None
    content: bytes = b""


@dataclass(slots=True)
class World:
    """Everything outside, and the core inside.

    `absent` are the roots whose folder is not there, `frozen` the requests that do not come back from a root. `hook`
    sees every other request before the hands do, and answers it unless it gives None.
    """

    folder: Path
    paths: tuple[bytes, ...] = (b"/photos",)
    variants: tuple[Variant, ...] = (THUMBNAIL, PREVIEW)
    scope: Scope = field(default_factory=Scope)
    settings: Settings = field(default_factory=Settings)
    most_workers: int = 2
    budget_bytes: int = 1 << 30
    patient: bool = True
    jitter: float = 0.5
    seen_by: int = SEEN_BY
    disk: dict[bytes, File] = field(default_factory=dict)
    plays: dict[bytes, Play] = field(default_factory=dict)
    costs: dict[bytes, int] = field(default_factory=dict)
    slow: set[bytes] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    absent: set[int] = field(default_factory=set)
    frozen: set[tuple[int, type]] = field(default_factory=set)
    hook: Callable[[AskHands], object] | None = None
    on_publish: Callable[[], None] | None = None
    now: float = 1000.0
    rendered: list[bytes] = field(default_factory=list)
    scans_asked: list[bytes] = field(default_factory=list)
    workers: dict[int, PlayedWorker] = field(default_factory=dict)
    ledger: Ledger = field(init=False)
    core: Core = field(init=False)
    root: int = field(init=False)
    other: int = field(init=False)
    _inbox: list[object] = field(default_factory=list)
    _descriptors: dict[int, Descriptor] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(5_000, 1_000_000)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()

    def start(self) -> None:
        """Begin a run of the daemon, on the ledger that an earlier one may have left."""
        self.ledger = Ledger.open(str(self.folder / "ledger.db"))
        numbers = {self.ledger.root_id(path): path for path in self.paths}
        self.root, self.other = min(numbers), max(numbers)
        self.ledger.note_variants([(variant.name, variant.format.extension) for variant in self.variants])
        self.core = Core(
            settings=self.settings,
            ledger=self.ledger,
            roots={number: self._watched(number, path) for number, path in numbers.items()},
            fleet=Fleet(self.settings.pool, self.most_workers),
            most_workers=self.most_workers,
            budget_bytes=self.budget_bytes,
            seen_by=self.seen_by,
            why_ignored=lambda _, path: "hidden" if os.path.basename(path).startswith(b".") else None,
            patient=self.patient,
            jitter=lambda: self.jitter,
        )
        self.workers.clear()
        self._inbox.clear()
        self._descriptors.clear()
        self.core.recover(self.moment, self.scope)

    def _watched(self, number: int, path: bytes) -> WatchedRoot:
        text = os.fsdecode(path)
        settings = RootSettings(path=text)
        return WatchedRoot(number=number, path=path, settings=settings, variants=self.variants, file_system=text)

    def die(self) -> None:
        """The daemon is killed: what was not committed is lost, its workers go with it."""
        self.ledger.close()

    # ---- what people do

    @property
    def moment(self) -> Moment:
        """The clocks; the wall clock runs with the monotonic one."""
        return Moment(now=self.now, wall_s=START_S + self.now)

    def stamp_of(self, content: bytes) -> Stamp:
        """A stamp made now."""
        moment_ns = int(self.moment.wall_s * 1e9)
        return Stamp(len(content), moment_ns, moment_ns, next(self._numbers), 1)

    def put(self, path: bytes, content: bytes, root: int | None = None) -> None:
        """Somebody writes a file and closes it."""
        self.disk[path] = File(content, self.stamp_of(content))
        self.tell(ChangeKind.CREATED, path, root=root)
        self.tell(ChangeKind.CLOSED, path, root=root)

    def delete(self, path: bytes) -> None:
        """Somebody removes a file."""
        del self.disk[path]
        self.tell(ChangeKind.DELETED, path)

    def tell(self, kind: ChangeKind, path: bytes, stamp: Stamp | None = None, root: int | None = None) -> None:
        """Report something, true or not."""
        self._inbox.append(Change(kind=kind, source=Source(root or self.root, path), stamp=stamp))

    def report(self, item: object) -> None:
        """Something comes in that is no change."""
        self._inbox.append(item)

    def entry(self, path: bytes) -> Entry:
        """What the ledger says of a source."""
        entry = self.ledger.entry(Source(self.root, path))
        assert entry is not None, path
        return entry

    # ---- time

    def pass_(self) -> None:
        """One pass of the loop."""
        inputs, self._inbox = self._inbox, []
        effects = self.core.step(self.moment, inputs)
        self.ledger.commit()
        for effect in effects:
            self._carry_out(effect)

    def settle_down(self) -> None:
        """Pass after pass, at this instant, until nothing happens any more."""
        self.pass_()
        for _ in range(2_000):
            if not self._inbox:
                return
            self.pass_()
        raise AssertionError("the daemon does not come to rest")

    def run(self, seconds: float = 10.0) -> None:
        """Let time go by, stopping at each deadline."""
        end = self.now + seconds
        while True:
            self.settle_down()
            deadline = self.core.next_deadline()
            if deadline is None or deadline > end:
                break
            assert deadline > self.now - 1.0, "a deadline that is not met"
            self.now = max(deadline, self.now + 1e-6)
        self.now = end
        self.settle_down()

    # ---- what the daemon asks for

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Do what a room asks for that a test has called by itself."""
        for effect in effects:
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AskHands(root=root, request=request) if (root, type(request)) in self.frozen:
                pass
            case AskHands():
                self._inbox.append(self._answer(effect))
            case AskScanner(directory=directory):
                self.scans_asked.append(directory)
            case TellWorker():
                self._tell_worker(effect)
            case CloseDescriptors(descriptors=descriptors):
                for number in descriptors:
                    del self._descriptors[number]
            case Discard() | Acknowledge():
                pass
            case Spawn(slot=slot):
                self.workers[slot] = PlayedWorker(pid=next(self._numbers))
                self._say(slot, ready([]))
            case Dismiss(slot=slot, reason=reason):
                self.end_worker(slot, "exit 0", reason)
            case Terminate(slot=slot, reason=reason) | Kill(slot=slot, reason=reason):
                self.end_worker(slot, "SIGTERM", reason)

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

    def _hands(self, request: object) -> Reply:
        match request:
            case StatMany(ticket=ticket, paths=paths):
                looks = tuple((path, self._look(path)) for path in paths)
                return Stats(root=self.root, ticket=ticket, results=looks)
            case Fetch():
                return self._fetch(request)
            case Collect(ticket=ticket, items=items):
                held = [self.disk.get(path) for path, _ in items]
                fds = tuple(
                    self._descriptor(file.content, file.mark) if file is not None and file.mark == mark else None
                    for file, (_, mark) in zip(held, items, strict=True)
                )
                return Collected(root=self.root, ticket=ticket, fds=fds)
            case Publish():
                return self._publish(request)
            case Remove(ticket=ticket, items=items):
                for path, _, _ in items:
                    self.disk.pop(path, None)
                return Removed(root=self.root, ticket=ticket, results=tuple((Fate.DONE, 0) for _ in items))
            case Probe(ticket=ticket):
                number = self.faults.get("probe", 0)
                return Probed(root=self.root, ticket=ticket, ok=not number, errno=number)
        raise AssertionError(request)

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
        beside = [(variant, self.disk.get(path)) for variant, path in request.derivatives]
        found = tuple(
            Found(variant=variant, mark=other.mark, size_bytes=other.stamp.size_bytes, mtime_ns=other.stamp.mtime_ns)
            for variant, other in beside
            if other is not None
        )
        return Fetched(
            root=self.root,
            ticket=request.ticket,
            fd=self._descriptor(file.content),
            stamp=file.stamp,
            has_holes=False,
            kind="jpeg",
            found=found,
        )

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
                worker.work = Work.parse(effect.body)
                worker.content = self._descriptors.pop(effect.descriptors[0]).content
                self._identify(effect.slot, worker)
            case "grant":
                if worker.content not in self.slow:
                    self.finish(effect.slot, effect.body["variants"])  # type: ignore[arg-type]

    def _identify(self, slot: int, worker: PlayedWorker) -> None:
        assert worker.work is not None
        play = self.plays.get(worker.content, Rendered())
        if worker.work.tolerant and isinstance(play, Incomplete):
            play = Rendered()
        if isinstance(play, str):
            self.end_worker(slot, play)
            return
        digest = hashlib.sha256(worker.content).digest()
        if not isinstance(play, Rendered):
            message = Ended(job=worker.work.job, outcome=play, digest=digest if isinstance(play, Rejected) else None)
            self._say(slot, message.body())
            return
        cost = self.costs.get(worker.content, 100 << 20)
        header = Header(kind="jpeg", width=4000, height=3000, frames=1, memory_bytes=cost)
        self._say(slot, identified(Identified(job=worker.work.job, digest=digest, header=header)))

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
        self._say(slot, message.body(), fds)

    def release(self, content: bytes) -> None:
        """The workers that were told to wait with a content end it now."""
        self.slow.discard(content)
        held = [slot for slot, worker in self.workers.items() if worker.content == content]
        for slot in held:
            if isinstance(self.core.fleet.slots[slot], Busy):
                self.finish(slot)


FULL = errno.ENOSPC
