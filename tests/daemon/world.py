"""A small world around the daemon's core: a disk, hands, workers and a clock that the tests move by hand.

The core, the ledger, the queue and the fleet are the real ones; what lies outside of them is played here, without
threads, processes or waiting (`outside.py`). There may be several roots.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.daemon.outside import SEEN_BY, File, Outside
from watcherd.daemon.core import Core
from watcherd.daemon.effects import (
    Acknowledge,
    AskHands,
    AskScanner,
    Bind,
    CloseDescriptors,
    Discard,
    Effect,
    TellWorker,
    WatchAnew,
    WatchedRoot,
)
from watcherd.daemon.reporting.tally import Scope
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    PREVIEW,
    THUMBNAIL,
    Change,
    ChangeKind,
    Entry,
    JobClass,
    Source,
    Stamp,
    Variant,
)
from watcherd.naming import SIBLING, Layout, Names
from watcherd.pool.fleet import Fleet
from watcherd.pool.orders import Dismiss, Kill, Spawn, Terminate
from watcherd.pool.slots import Busy
from watcherd.settings import OnDelete, RootSettings, Settings
from watcherd.watch.reports import Found, ScanEnded, ScanResult


def scan_ended(root: int, **fields: Any) -> ScanEnded:
    """The end of a scan: of a whole root, complete, with nothing to tell, where `fields` do not say otherwise."""
    usual: dict[str, Any] = {
        "directory": b"",
        "ticket": None,
        "result": ScanResult.COMPLETE,
        "directories": 1,
        "sources": 0,
        "unchanged": 0,
        "by_state": {},
        "errors": (),
    }
    return ScanEnded(root=root, **usual | fields)


@dataclass(slots=True)
class World(Outside):
    """Everything outside, and the core inside."""

    folder: Path
    paths: tuple[bytes, ...] = (b"/photos",)
    variants: tuple[Variant, ...] = (THUMBNAIL, PREVIEW)
    scope: Scope = field(default_factory=Scope)
    settings: Settings = field(default_factory=Settings)
    most_workers: int = 2
    budget_bytes: int = 1 << 30
    patient: bool = True
    layouts: tuple[Layout, ...] = (SIBLING,)
    scanned: bool = True
    one_file_system: bool = False
    on_delete: OnDelete = OnDelete.REMOVE
    jitter: float = 0.5
    seen_by: int = SEEN_BY
    scans_asked: list[bytes] = field(default_factory=list)
    watched_anew: list[int] = field(default_factory=list)
    bound: list[Bind] = field(default_factory=list)
    acknowledged: int = 0
    ledger: Ledger = field(init=False)
    core: Core = field(init=False)
    other: int = field(init=False)

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
        if self.scanned:
            for number in numbers:
                self.core.departures.seen_whole(number)

    def _watched(self, number: int, path: bytes) -> WatchedRoot:
        text = os.fsdecode(path)
        settings = RootSettings(path=text, on_delete=self.on_delete)
        return WatchedRoot(
            number=number,
            path=path,
            settings=settings,
            variants=self.variants,
            names=Names(layouts=self.layouts, known=self.ledger.known_variants()),
            file_system="one for all" if self.one_file_system else text,
        )

    def die(self) -> None:
        """The daemon is killed: what was not committed is lost, its workers go with it."""
        self.ledger.close()

    # ---- what people do

    def put(self, path: bytes, content: bytes, root: int | None = None) -> None:
        """Somebody writes a file and closes it."""
        self.disk[path] = File(content, self.stamp_of(content))
        self.tell(ChangeKind.CREATED, path, root=root)
        self.tell(ChangeKind.CLOSED, path, root=root)

    def delete(self, path: bytes) -> None:
        """Somebody removes a file."""
        del self.disk[path]
        self.tell(ChangeKind.DELETED, path)

    def rename(self, old: bytes, new: bytes, *, root: int | None = None, told: bool = True) -> None:
        """Somebody renames a file; into another root, its derivatives' paths are that one's. Its ctime changes."""
        file = self.disk.pop(old)
        ctime_ns = int(self.moment.wall_s * 1e9)
        self.disk[new] = File(file.content, file.stamp._replace(ctime_ns=ctime_ns), file.mark)
        if not told:
            return
        if root is not None:
            self.tell(ChangeKind.CREATED, new, root=root)
            self.tell(ChangeKind.DELETED, old)
            return
        source = Source(self.root, new)
        self._inbox.append(Change(kind=ChangeKind.MOVED, source=source, previous=old))

    def scan(self, *found: bytes, missing: tuple[bytes, ...] = ()) -> None:
        """A scan of the whole root finds these, and misses those."""
        changes = [
            Change(kind=ChangeKind.FOUND, source=Source(self.root, path), stamp=self.disk[path].stamp) for path in found
        ]
        changes += [Change(kind=ChangeKind.DELETED, source=Source(self.root, path)) for path in missing]
        self._inbox.append(Found(root=self.root, changes=tuple(changes), ticket=None, arriving=JobClass.BACKLOG))
        self._inbox.append(scan_ended(self.root, sources=len(found)))

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
            case WatchAnew(root=root):
                self.watched_anew.append(root)
                self.scans_asked.append(b"")
            case Bind():
                self.bound.append(effect)
            case TellWorker():
                self._tell_worker(effect)
            case CloseDescriptors(descriptors=descriptors):
                for number in descriptors:
                    del self._descriptors[number]
            case Acknowledge():
                self.acknowledged += 1
            case Discard():
                pass
            case Spawn(slot=slot):
                self._start_worker(slot)
            case Dismiss(slot=slot, reason=reason):
                self.end_worker(slot, "exit 0", reason)
            case Terminate(slot=slot, reason=reason) | Kill(slot=slot, reason=reason):
                self.end_worker(slot, "SIGTERM", reason)

    def release(self, content: bytes) -> None:
        """The workers that were told to wait with a content end it now."""
        self.slow.discard(content)
        held = [slot for slot, worker in self.workers.items() if worker.content == content]
        for slot in held:
            if isinstance(self.core.fleet.slots[slot], Busy):
                self.finish(slot)
