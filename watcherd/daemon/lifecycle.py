"""The life of a daemon, and of a one-shot scan: composition, start, drain, end.

Here all rooms meet: what one stage needs of another is handed in here. Not responsible for: what happens in between
(`loop.py`, `core.py`).
"""

import hashlib
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from watcherd import __version__
from watcherd.daemon import machine
from watcherd.daemon.control import Control, Request
from watcherd.daemon.core import Core
from watcherd.daemon.duties import Health, Metrics, Rescans, ServiceManager
from watcherd.daemon.effects import AskScanner, Effect, Moment, WatchedRoot
from watcherd.daemon.loop import Duty, Inbox, Loop
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.tally import Scope
from watcherd.daemon.verbs import Verbs
from watcherd.imaging.decoders import decoder_table
from watcherd.imaging.sniff import kind_of
from watcherd.ledger.errors import LedgerDamaged
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    Change,
    ChangeKind,
    Entry,
    JobClass,
    LimitSettings,
    RootSettings,
    Settings,
    Source,
    Stamp,
    State,
)
from watcherd.pool.processes import Workers
from watcherd.pool.sizing import memory_budget, worker_count
from watcherd.queue.plan import Skip, plan
from watcherd.telemetry.log import get_logger
from watcherd.watch import mounts
from watcherd.watch.compare import Wanted
from watcherd.watch.hands import Hands, Place
from watcherd.watch.ignore import Globs, compile_globs, prunes, why_ignored
from watcherd.watch.observer import Observer
from watcherd.watch.scanner import Scanner

log = get_logger()

EXIT_OK, EXIT_FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal came."""

    number: int


# -------------------------------------------------------------------------------------------------------- composition


class Composition:
    """Builds the rooms of one run and takes them down again. A context manager; the lock is held by the caller."""

    def __init__(
        self, settings: Settings, state: StateDirectory, roots: Iterable[RootSettings], *, patient: bool
    ) -> None:
        self.settings = settings
        self.state = state
        self.instance = state.instance()
        self.run = secrets.token_hex(4)
        self.inbox = Inbox()
        self._stack = ExitStack()
        self._stack.callback(self.inbox.close)
        self.ledger = self._stack.enter_context(open_ledger(state))
        self.duties: list[Duty] = []
        self._globs: dict[int, Globs | None] = {}
        table = mounts.table()
        self.roots = {root.number: root for root in (self._root(one, table) for one in roots)}
        self.ledger.note_variants([(v.name, v.format.extension) for v in settings.variants])
        self.ledger.commit()
        self.seen_by = seen_by(settings.limits)
        there = machine.look()
        budget_bytes = memory_budget(settings.pool, there)
        self.core = Core(
            settings=settings,
            ledger=self.ledger,
            roots=self.roots,
            most_workers=worker_count(settings.pool, there, budget_bytes),
            budget_bytes=budget_bytes,
            seen_by=self.seen_by,
            why_ignored=lambda root, path: why_ignored(path, globs=self._globs[root]),
            patient=patient,
        )
        self.hands = {number: Hands(self._place(root), post=self.inbox.post) for number, root in self.roots.items()}
        self.scanners = {number: self._scanner(root) for number, root in self.roots.items()}
        module = os.environ.get("WATCHERD_WORKER_MODULE", "watcherd.pool.worker")
        self.workers = Workers(module=module)
        self.loop = Loop(
            core=self.core,
            inbox=self.inbox,
            workers=self.workers,
            hands=self.hands,
            scanners=self.scanners,
            duties=self.duties,
        )

    def __enter__(self) -> "Composition":
        for scanner in self.scanners.values():
            scanner.start()
        return self

    def __exit__(self, *_: object) -> None:
        for scanner in self.scanners.values():
            scanner.stop()
        for hands in self.hands.values():
            hands.close()
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.ledger.commit()
        self._stack.close()

    def _root(self, settings: RootSettings, table: tuple[mounts.Mount, ...]) -> WatchedRoot:
        path = os.fsencode(settings.path)
        number = self.ledger.root_id(path)
        self._globs[number] = compile_globs(settings.ignore)
        mount = mounts.mount_of(path, table)
        kind = mount.kind if mount else b""
        return WatchedRoot(
            number=number,
            path=path,
            settings=settings,
            variants=self.settings.variants_of(settings),
            network=mounts.is_network(kind),
            keeps_identity=mounts.keeps_identity(kind),
            file_system=mount.number if mount else None,
        )

    def _place(self, root: WatchedRoot) -> Place:
        return Place(
            root=root.number,
            path=root.path,
            instance=self.instance,
            run=self.run,
            kind_of=kind_of,
            known=self.ledger.known_variants(),
            keeps_identity=root.keeps_identity,
        )

    def _scanner(self, root: WatchedRoot) -> Scanner:
        globs = self._globs[root.number]
        wanted = self._wanted(root)
        return Scanner(
            root.number,
            root.path,
            reader=lambda: Ledger.open(self.state.ledger, read_only=True),
            wanted=lambda: wanted,
            judge=_judge,
            why_ignored=lambda path: why_ignored(path, globs=globs),
            prunes=lambda name: prunes(name, globs=globs),
            post=self.inbox.post,
            instance=self.instance,
            run=self.run,
        )

    def _wanted(self, root: WatchedRoot) -> Wanted:
        current = [(variant.name, variant.format.extension) for variant in root.variants]
        known = (*current, *(pair for pair in self.ledger.known_variants() if pair not in current))
        fingerprints = {variant.name: variant.fingerprint for variant in root.variants}
        return Wanted(
            recipe_set=_number([sorted(fingerprints.items()), root.settings.ignore, self.seen_by]),
            fingerprints=fingerprints,
            seen_by=self.seen_by,
            known=known,
            keeps_identity=root.keeps_identity,
        )


def _judge(stamp: Stamp, entry: Entry | None, present: Mapping[str, tuple[int, int]], wanted: Wanted) -> State | None:
    """The scanner's question to the plan: the state in which a source rests, or None."""
    decision = plan(
        stamp,
        entry,
        fingerprints=wanted.fingerprints,
        present=present,
        seen_by=wanted.seen_by,
        keeps_identity=wanted.keeps_identity,
        arriving=JobClass.BACKLOG,
    )
    return decision.state if isinstance(decision, Skip) else None


def seen_by(limits: LimitSettings) -> int:
    """A number for what a rejection holds for: the decoders that there are, and the limits."""
    return _number([decoder_table(), repr(limits)])


def _number(value: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big") >> 1


def open_ledger(state: StateDirectory) -> Ledger:
    """The ledger; a damaged one is set aside under a dated name, and a new one is begun.

    That costs reading each source once; the marks in the derivatives save rendering them. Raises LedgerError.
    """
    try:
        return Ledger.open(state.ledger)
    except LedgerDamaged as error:
        aside = f"{state.ledger}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(state.ledger + suffix):
                os.rename(state.ledger + suffix, aside + suffix)
        log.error(
            "ledger.problem",
            path=state.ledger,
            operation="open",
            cause=str(error),
            hint=f"it was set aside as {aside}; a new ledger is built from the files",
        )
        return Ledger.open(state.ledger)


# ---------------------------------------------------------------------------------------------------------------- run


def run(settings: Settings, state: StateDirectory, *, config: str | None) -> int:
    """Run the daemon until it is told to end. The caller holds the lock. Returns the exit code."""
    started = time.monotonic()
    log.info("daemon.starting", version=__version__, pid=os.getpid(), state_dir=state.path, config=config)
    with Composition(settings, state, settings.roots, patient=True) as parts:
        core, loop = parts.core, parts.loop
        service = ServiceManager(core)
        control = Control(state.control, loop.selector)
        verbs = Verbs(core)
        health = Health(
            core=core,
            hands=parts.hands,
            make_observer=lambda root: Observer(
                root, core.roots[root].path, post=parts.inbox.post, on_doubt=parts.inbox.post
            ),
            carry_out=loop.carry_out,
        )
        parts.duties += [Rescans(core, loop.carry_out), Metrics(core), health, service, verbs, _Flush(control)]
        ending = Ending(core, service, settings.daemon.drain_timeout_s, loop.carry_out)
        parts.duties.append(ending)
        loop.handle(Signalled, ending.signalled)
        loop.handle(Request, verbs.requested)
        _listen(parts.inbox, signal.SIGTERM, signal.SIGINT)
        _log_ledger(parts.ledger)
        core.recover(_now())
        health.start()
        try:
            loop.run(ending.is_over)
        finally:
            health.stop()
            control.close()
        code = EXIT_FAILED if core.failure else EXIT_OK
        if core.failure:
            hint = "see the lines before this one; the service manager decides whether to start again"
            log.error("daemon.failed", operation="run", cause=core.failure, hint=hint)
    log.info("daemon.stopped", exit_code=code, uptime_s=round(time.monotonic() - started, 3))
    return code


class Ending:
    """How a run ends: the first signal drains, a second one (or the drain's own deadline) halts."""

    def __init__(
        self, core: Core, service: ServiceManager, drain_timeout_s: float, carry_out: Callable[[Effect], None]
    ) -> None:
        self._core = core
        self._carry_out = carry_out
        self._service = service
        self._drain_timeout_s = drain_timeout_s
        self._halt_at: float | None = None
        self._halted = False

    def signalled(self, item: object, moment: Moment) -> list[Effect]:
        """A signal to end came."""
        name = signal.Signals(item.number).name if isinstance(item, Signalled) else ""
        if self._halt_at is None:
            self._halt_at = moment.now + self._drain_timeout_s
            self._service.stopping()
            log.info("daemon.draining", signal=name, running=self._core.fleet.busy(), queued=len(self._core.queue))
            return [*self._core.fleet.drain(moment.now)]
        return self._halt(name, moment)

    def _halt(self, name: str, moment: Moment) -> list[Effect]:
        if self._halted:
            return []
        self._halted = True
        log.warning("daemon.halting", signal=name, running=self._core.fleet.busy())
        return [*self._core.fleet.halt(moment.now)]

    def due(self, moment: Moment) -> float | None:
        """Halt when the drain takes too long."""
        if self._halt_at is not None and moment.now >= self._halt_at:
            for effect in self._halt("", moment):
                self._carry_out(effect)
        return None if self._halted else self._halt_at

    def is_over(self, moment: Moment) -> bool:
        """Whether the run has ended."""
        if self._core.failure is not None:
            return True
        if self._halt_at is None:
            return False
        if self._halted:
            return self._core.fleet.halted
        return self._core.fleet.halted and not self._core.attempts.finishing()


@dataclass(slots=True)
class _Flush:
    """Writes what control clients take, after each pass."""

    control: Control

    def due(self, moment: Moment) -> float | None:  # noqa: ARG002  every pass
        """Write now."""
        self.control.flush()


def _listen(inbox: Inbox, *numbers: signal.Signals) -> None:
    for number in numbers:
        signal.signal(number, lambda n, _: inbox.post(Signalled(n)))


def _now() -> Moment:
    return Moment(now=time.monotonic(), wall_s=time.time())


def _log_ledger(ledger: Ledger) -> None:
    log.info("ledger.opened", path=ledger.path, size_bytes=os.path.getsize(ledger.path))


# --------------------------------------------------------------------------------------------------------------- scan


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlace:
    """What a scan was asked for: a folder or a file, below a root."""

    root: RootSettings
    path: bytes
    is_file: bool


SCAN_TICKET = 1


def scan(
    settings: Settings,
    state: StateDirectory,
    places: tuple[ScanPlace, ...],
    *,
    progress: Callable[[dict[str, int], int], None],
) -> tuple[dict[str, int], int]:
    """Do everything below some places once. The caller holds the lock. Returns the counts and the exit code's base.

    `progress` is called now and then with the counts so far and the number of sources still to do.
    """
    roots = {place.root.path: place.root for place in places}
    with Composition(settings, state, roots.values(), patient=False) as parts:
        core, loop = parts.core, parts.loop
        numbers = {root.settings.path: number for number, root in parts.roots.items()}
        sources = tuple(Source(numbers[place.root.path], place.path) for place in places)
        core.tally.open(SCAN_TICKET, Scope(places=sources))
        core.recover(_now())
        for place, source in zip(places, sources, strict=True):
            if place.is_file:
                core.intake.change(Change(kind=ChangeKind.CREATED, source=source), _now(), arriving=JobClass.MANUAL)
            else:
                core.tally.await_scans(SCAN_TICKET, 1)
                loop.carry_out(AskScanner(root=source.root, directory=source.path, ticket=SCAN_TICKET))
        course = _ScanCourse(core, parts.inbox, progress)
        parts.duties += [course, Metrics(core)]
        loop.handle(Signalled, course.signalled)
        _listen(parts.inbox, signal.SIGTERM, signal.SIGINT)
        loop.run(course.is_over)
        return core.tally.close(SCAN_TICKET), course.exit_code


class _ScanCourse:
    """Leads a one-shot scan to its end: retries at once when nothing else is left, then it is over."""

    INTERVAL_S = 0.2

    def __init__(self, core: Core, inbox: Inbox, progress: Callable[[dict[str, int], int], None]) -> None:
        self._core = core
        self._inbox = inbox
        self._progress = progress
        self._next_at = 0.0
        self._stopped = False
        self.exit_code = EXIT_OK

    def due(self, moment: Moment) -> float | None:
        """Report progress."""
        if moment.now >= self._next_at:
            self._next_at = moment.now + self.INTERVAL_S
            self._progress(self._core.tally.counts(SCAN_TICKET), self._core.left())
        return self._next_at

    def signalled(self, item: object, moment: Moment) -> list[Effect]:  # noqa: ARG002  any signal ends it
        """Interrupted: what is in hand is finished, then it ends."""
        self.exit_code = 130
        if self._stopped:
            return [*self._core.fleet.halt(moment.now)]
        self._stopped = True
        return [*self._core.fleet.drain(moment.now)]

    def is_over(self, moment: Moment) -> bool:
        """Whether all is done."""
        core = self._core
        if core.failure is not None:
            log.error("daemon.failed", operation="scan", cause=core.failure, hint="see the lines before this one")
            self.exit_code = EXIT_FAILED
            return True
        if self._stopped:
            return core.fleet.halted and not core.attempts.finishing()
        if core.paused_roots:
            self.exit_code = EXIT_FAILED
            return True
        if core.tally.scanning(SCAN_TICKET) or not core.quiet:
            return False
        waiting = core.outcomes.all_waiting()
        for job in waiting:
            core.queue.push(job)
        if waiting:
            self._inbox.post(None)  # another pass
        return not waiting
