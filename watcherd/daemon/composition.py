"""The composition root: here all rooms meet, and what one stage needs of another is handed in.

Responsible for: building everything that a run of the daemon or a one-shot scan consists of, and taking it down again.
Not responsible for: what happens in between (`loop.py`, `core.py`), and how a run begins and ends (`lifecycle.py`).
"""

import os
import random
import secrets
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import chain
from typing import Self

from watcherd.daemon.core import Core
from watcherd.daemon.damage import open_ledger, set_aside_if_damaged
from watcherd.daemon.effects import WatchedRoot
from watcherd.daemon.loop import Duty, Loop
from watcherd.daemon.roots.layouts import names_of, take_into_use
from watcherd.daemon.roots.mounting import MountTable
from watcherd.daemon.roots.rooms import House, RootRooms, number_of
from watcherd.daemon.statedir import StateDirectory
from watcherd.imaging.decoders import decoder_table
from watcherd.ledger.errors import LedgerError
from watcherd.model import Variant
from watcherd.pool import machine
from watcherd.pool.fleet import Fleet
from watcherd.pool.inbox import Inbox
from watcherd.pool.processes import Workers
from watcherd.pool.sizing import address_space, pool_size
from watcherd.settings import LimitSettings, RootSettings, Settings
from watcherd.telemetry.log import get_logger
from watcherd.watch import mounts

log = get_logger()


class Composition:
    """Builds the rooms of one run and takes them down again. A context manager; the lock is held by the caller."""

    def __init__(
        self,
        settings: Settings,
        state: StateDirectory,
        roots: Iterable[RootSettings],
        *,
        patient: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.state = state
        self.inbox = Inbox()
        self._stack = ExitStack()
        self._stack.callback(self.inbox.close)
        self.ledger = self._stack.enter_context(open_ledger(state))
        self.duties: list[Duty] = []
        self.machine = machine.look()
        self.house = self._house()
        self.rooms: dict[int, RootRooms] = {}
        """Of each root that is watched, and of those that are leaving."""
        decoders_and_limits = seen_by(settings.limits)
        for root in self.survey(settings, roots):
            self.rooms[root.number] = RootRooms(root, self.house, seen_by=decoders_and_limits)
        self.drop_nested()
        self.core = self._core(settings, decoders_and_limits, patient=patient, jitter=jitter)
        self.roots = self.core.roots
        for number in self.roots:  # a one-shot run too has to know which disks are away
            self.core.conditions.points.told(number, mounts.table())
        self.ledger.commit()
        module = os.environ.get("WATCHERD_WORKER_MODULE", "watcherd.pool.worker")
        space = address_space(self.core.admission.budget_bytes)
        self.workers = Workers(memory_bytes=space, sandbox=settings.pool.sandbox, module=module)
        self.loop = Loop(core=self.core, inbox=self.inbox, workers=self.workers, rooms=self.rooms, duties=self.duties)
        self._stack.callback(self.loop.selector.close)
        self._stack.callback(MountTable(self.loop.selector).close)

    def __enter__(self) -> Self:
        for rooms in self.rooms.values():
            rooms.start()
        return self

    def __exit__(self, *_: object) -> None:
        for rooms in self.rooms.values():
            rooms.close()
        self.workers.close()
        with suppress(LedgerError):  # if it failed, that was said, and what it holds is right
            self.core.attempts.lay_down_all()
            self.ledger.commit()
        self._stack.close()
        if self.core.failure is not None:
            set_aside_if_damaged(self.state.ledger)

    def survey(self, settings: Settings, roots: Iterable[RootSettings]) -> list[WatchedRoot]:
        """Each root as the daemon is to work with it, by these settings. Touches none of them."""
        table = mounts.table()
        self.ledger.note_variants([(v.name, v.format.extension) for v in settings.variants])
        return [self._root(one, settings.variants_of(one), table) for one in roots]

    def _house(self) -> House:
        return House(
            ledger=self.state.ledger,
            instance=self.state.instance(),
            run=secrets.token_hex(4),
            post=self.inbox.post,
            scan_rate=lambda: self.core.settings.daemon.scan_rate,
            places=self._places,
        )

    def _places(self, number: int) -> list[bytes]:
        """Where no link of a root may lead to, asked by scanners from their threads.

        Of two roots whose links lead to one folder the one with the lower number has it, at each start the same.
        """
        roots = list(self.core.roots.values())
        state = os.path.realpath(os.fsencode(self.state.path))
        others = (root.path for root in roots if root.number != number)
        mirrors = filter(None, (root.names.layout.tree for root in roots))
        before = (root.number for root in roots if root.number < number)
        return [state, *others, *mirrors, *chain.from_iterable(map(self.core.conditions.points.reserved, before))]

    def drop_nested(self) -> None:
        """Forget roots that lie inside one of ours now: their files have it for a root, and one answer is enough.

        Nothing is rendered again for that: the marks tell what the derivatives are of.
        """
        ours = [rooms.root.path.rstrip(b"/") + b"/" for rooms in self.rooms.values()]
        for number, path in self.ledger.roots().items():
            if number not in self.rooms and any(path.startswith(holder) for holder in ours):
                self.ledger.drop_root(number)

    def _core(
        self, settings: Settings, decoders_and_limits: int, *, patient: bool, jitter: Callable[[], float]
    ) -> Core:
        size = pool_size(settings.pool, self.machine)
        return Core(
            settings=settings,
            ledger=self.ledger,
            roots={number: rooms.root for number, rooms in self.rooms.items()},
            fleet=Fleet(settings.pool, size.most_workers, rest_factor=size.rest_factor),
            most_workers=size.most_workers,
            budget_bytes=size.budget_bytes,
            seen_by=decoders_and_limits,
            why_ignored=lambda root, path: self.rooms[root].why_ignored(path),
            patient=patient,
            jitter=jitter,
        )

    def _root(
        self, settings: RootSettings, variants: tuple[Variant, ...], table: tuple[mounts.Mount, ...]
    ) -> WatchedRoot:
        path = os.fsencode(settings.path)
        number = self.ledger.root_id(path)
        take_into_use(settings, number, self.ledger)
        mount = mounts.mount_of(path, table)
        kind = mount.kind if mount else b""
        return WatchedRoot(
            number=number,
            path=path,
            settings=settings,
            variants=variants,
            names=names_of(settings, number, variants, self.ledger),
            kind=os.fsdecode(kind),
            network=mounts.is_network(kind),
            keeps_identity=mounts.keeps_identity(kind),
            file_system=mount.number if mount else None,
            since_s=self.state.first_contact(path, self.ledger.since_s(number)),
        )


def seen_by(limits: LimitSettings) -> int:
    """A number for what a rejection holds for: the decoders that there are, and the limits."""
    return number_of([decoder_table(), repr(limits)])
