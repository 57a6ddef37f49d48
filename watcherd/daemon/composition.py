"""The composition root: here all rooms meet, and what one stage needs of another is handed in.

Responsible for: building everything that a run of the daemon or a one-shot scan consists of, and taking it down again.
Not responsible for: what happens in between (`loop.py`, `core.py`), and how a run begins and ends (`lifecycle.py`).
"""

import hashlib
import os
import random
import secrets
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Self

from watcherd.daemon.core import Core
from watcherd.daemon.effects import WatchedRoot
from watcherd.daemon.loop import Duty, Loop
from watcherd.daemon.statedir import StateDirectory, claim
from watcherd.imaging.decoders import decoder_for, decoder_table
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.ledger.errors import LedgerDamaged, LedgerError
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Ignored, JobClass, Rejected, Stamp, State, Variant
from watcherd.naming import Names
from watcherd.pool import machine
from watcherd.pool.fleet import Fleet
from watcherd.pool.inbox import Inbox
from watcherd.pool.processes import Workers
from watcherd.pool.sizing import memory_budget, rest_factor, worker_count
from watcherd.queue.plan import NO_PICTURES, DoReason, Skip, plan
from watcherd.settings import LimitSettings, RootSettings, Settings
from watcherd.telemetry.log import get_logger
from watcherd.watch import mounts
from watcherd.watch.compare import Wanted
from watcherd.watch.hands import Hands, Place
from watcherd.watch.ignore import Globs, compile_globs, prunes, why_ignored
from watcherd.watch.observer import Observer
from watcherd.watch.scanner import Scanner

log = get_logger()


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
        roots = tuple(roots)
        for one in roots:
            self._stack.enter_context(claim(os.fsencode(one.path)))
        self.ledger = self._stack.enter_context(open_ledger(state))
        self.duties: list[Duty] = []
        self._globs: dict[int, Globs | None] = {}
        table = mounts.table()
        self.ledger.note_variants([(v.name, v.format.extension) for v in settings.variants])
        self.roots = {root.number: root for root in (self._root(one, table) for one in roots)}
        self._drop_nested()
        self.ledger.commit()
        self.seen_by = seen_by(settings.limits)
        self.core = self._core(patient=patient)
        self.hands = {number: Hands(self._place(root), post=self.inbox.post) for number, root in self.roots.items()}
        self.scanners = {number: self._scanner(root) for number, root in self.roots.items()}
        module = os.environ.get("WATCHERD_WORKER_MODULE", "watcherd.pool.worker")
        self.workers = Workers(sandbox=settings.pool.sandbox, module=module)
        self.loop = Loop(
            core=self.core,
            inbox=self.inbox,
            workers=self.workers,
            hands=self.hands,
            scanners=self.scanners,
            duties=self.duties,
        )

    def __enter__(self) -> Self:
        for scanner in self.scanners.values():
            scanner.start()
        return self

    def __exit__(self, *_: object) -> None:
        for scanner in self.scanners.values():
            scanner.stop()
        for hands in self.hands.values():
            hands.close()
        self.workers.close()
        with suppress(LedgerError):  # if it failed, that was said, and what it holds is right
            self.core.attempts.lay_down_all()
            self.ledger.commit()
        self._stack.close()

    def observer(self, root: int) -> Observer:
        """A new observer for a root, not started yet."""
        return Observer(root, self.roots[root].path, post=self.inbox.post, on_doubt=self.inbox.post)

    def _drop_nested(self) -> None:
        """Forget roots that lie inside one of ours now: their files have it for a root, and one answer is enough.

        Nothing is rendered again for that: the marks tell what the derivatives are of.
        """
        ours = [root.path.rstrip(b"/") + b"/" for root in self.roots.values()]
        for number, path in self.ledger.roots().items():
            if number not in self.roots and any(path.startswith(holder) for holder in ours):
                self.ledger.drop_root(number)

    def _core(self, *, patient: bool) -> Core:
        there = machine.look()
        budget_bytes = memory_budget(self.settings.pool, there)
        most = worker_count(self.settings.pool, there, budget_bytes)
        return Core(
            settings=self.settings,
            ledger=self.ledger,
            roots=self.roots,
            fleet=Fleet(self.settings.pool, most, rest_factor=rest_factor(self.settings.pool, there, most)),
            most_workers=most,
            budget_bytes=budget_bytes,
            seen_by=self.seen_by,
            why_ignored=lambda root, path: why_ignored(path, globs=self._globs[root]),
            patient=patient,
            jitter=random.random,
        )

    def _root(self, settings: RootSettings, table: tuple[mounts.Mount, ...]) -> WatchedRoot:
        path = os.fsencode(settings.path)
        number = self.ledger.root_id(path)
        self._globs[number] = compile_globs(settings.ignore)
        variants = self.settings.variants_of(settings)
        mount = mounts.mount_of(path, table)
        kind = mount.kind if mount else b""
        return WatchedRoot(
            number=number,
            path=path,
            settings=settings,
            variants=variants,
            names=self._names(variants),
            network=mounts.is_network(kind),
            keeps_identity=mounts.keeps_identity(kind),
            file_system=mount.number if mount else None,
        )

    def _names(self, variants: Iterable[Variant]) -> Names:
        current = [(variant.name, variant.format.extension) for variant in variants]
        return Names(known=(*current, *(pair for pair in self.ledger.known_variants() if pair not in current)))

    def _place(self, root: WatchedRoot) -> Place:
        return Place(
            root=root.number,
            path=root.path,
            instance=self.instance,
            run=self.run,
            kind_of=kind_of,
            refusal_of=_refusal_of,
            names=root.names,
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
        fingerprints = {variant.name: variant.fingerprint for variant in root.variants}
        return Wanted(
            recipe_set=_number([sorted(fingerprints.items()), root.settings.ignore, self.seen_by]),
            fingerprints=fingerprints,
            seen_by=self.seen_by,
            names=root.names,
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
    if isinstance(decision, Skip):
        return decision.state
    # What is pending will have its turn without being found again.
    return State.PENDING if decision.reason is DoReason.PENDING else None


def _refusal_of(kind: str) -> Rejected | Ignored | None:
    """Why a kind cannot be decoded by what is installed here; None where it can.

    A video or a document is no picture: without the extra that makes one of it, it is none of our business.
    """
    decoder = decoder_for(Kind(kind))
    if not isinstance(decoder, Rejected):
        return None
    return Ignored(kind=kind) if kind in NO_PICTURES else decoder


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
        log.error(  # noqa: TRY400  the cause is told, its traceback would tell nobody more
            "ledger.problem",
            path=state.ledger,
            operation="open",
            cause=str(error),
            hint=f"it was set aside as {aside}; a new ledger is built from the files",
        )
        return Ledger.open(state.ledger)
