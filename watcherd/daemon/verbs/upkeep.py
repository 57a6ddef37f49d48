"""Upkeep: the control socket's verbs `prune` and `discard`, and a pruning without a daemon.

Not responsible for: what is pruned (`pruning.py`), the socket (`control.py`), the command line's words (`cli/`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from watcherd.daemon.composition import Composition
from watcherd.daemon.control import Connection, Request
from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.verbs.former import Former
from watcherd.daemon.verbs.places import locate
from watcherd.daemon.verbs.pruning import Finding, Pruning, Scope
from watcherd.model import Entry
from watcherd.settings import RootSettings, Settings

_MOST_UNSENT_BYTES = 256 * 1024
_AGAIN_S = 0.02


@dataclass(slots=True, kw_only=True)
class _Running:
    pruning: Pruning
    connection: Connection
    carry_out: Callable[[Effect], None]
    former: Former | None = None
    dry_run: bool = False

    def close(self) -> None:
        """It is over. Former roots of which nothing is left are forgotten."""
        if self.former is None:
            return
        if self.pruning.finished and not (self.dry_run or self.pruning.failed or self.pruning.skipped):
            self.former.forget()
        self.former.close()


class Upkeep:
    """Serves the verbs, and leads the prunings that were asked for to their end."""

    def __init__(
        self, core: Core, carry_out: Callable[[Effect], None], former: Callable[[], Former] | None = None
    ) -> None:
        self._core = core
        self._carry_out = carry_out
        self._former = former
        self._running: list[_Running] = []

    def prune(self, item: Request) -> list[Effect]:
        """Begin a pruning of all roots, or of some former ones; each file is told of in a frame of its own."""
        former = self._opened(item.body.get("roots") or [])
        dry_run = bool(item.body.get("dry_run"))
        connection = item.connection
        pruning = Pruning(
            self._core,
            self._core.roots if former is None else former.roots,
            Scope.ALL if former is None else Scope.WHOLE_ROOT,
            dry_run=dry_run,
            tell=lambda finding: connection.send({"finding": told(finding)}),
            spared=() if former is None else [root.path for root in self._core.roots.values()],
        )
        carry_out = self._carry_out if former is None else former.carry_out
        running = _Running(pruning=pruning, connection=connection, carry_out=carry_out, former=former, dry_run=dry_run)
        self._running.append(running)
        return []

    def _opened(self, paths: list[str]) -> Former | None:
        """Those of the named roots; None where none is named. Raises Refusal."""
        if not paths or self._former is None:
            return None
        former = self._former()
        former.open([os.fsencode(path) for path in paths])
        return former

    def discard(self, entries: Iterable[tuple[Entry, tuple[str, ...]]]) -> list[Effect]:
        """Remove derivatives that somebody found damaged, each by its entry and variants, and have them made anew."""
        return [
            effect
            for entry, variants in entries
            for effect in self._core.departures.remove_derivatives(
                replace(entry, derivatives=tuple(made for made in entry.derivatives if made.variant in variants)),
                again=True,
            )
        ]

    def waits(self) -> bool:
        """Whether hands were asked for something and have not answered yet."""
        return any(one.pruning.waits for one in self._running)

    def due(self, moment: Moment) -> float | None:
        """Have each of them take a step, unless its client is behind."""
        self._running = [one for one in self._running if not self._step(one, moment)]
        return moment.now + _AGAIN_S if self._running else None

    def _step(self, one: _Running, moment: Moment) -> bool:
        """Whether it is over."""
        if one.connection.closed:
            one.close()
            return True
        if len(one.connection.unsent) > _MOST_UNSENT_BYTES:
            return False
        for effect in one.pruning.due(moment):
            one.carry_out(effect)
        if one.pruning.finished:
            one.close()
            skipped = sorted(os.fsdecode(path) for path in one.pruning.skipped)
            one.connection.send({"skipped": skipped, "failed": one.pruning.failed}, last=True)
        return one.pruning.finished


def told(finding: Finding) -> dict[str, str]:
    """A finding as it goes over the socket and to standard output."""
    fate = str(finding.fate) if finding.fate is not None else "dry_run"
    return {"path": os.fsdecode(finding.path), "why": str(finding.why), "fate": fate}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a pruning ended: the roots that were not there, and how many files could not be removed."""

    skipped: tuple[str, ...]
    failed: int


def prune_once(
    settings: Settings,
    state: StateDirectory,
    roots: Iterable[RootSettings],
    scope: Scope,
    *,
    dry_run: bool,
    tell: Callable[[Finding], None],
) -> Report:
    """Prune without a daemon. The caller holds the lock. With WHOLE_ROOT, the roots are forgotten after that."""
    roots = tuple(roots)
    with Composition(replace(settings, roots=roots), state, roots, patient=False) as parts:
        core = parts.core
        pruning = Pruning(core, core.roots, scope, dry_run=dry_run, tell=tell)
        parts.duties.append(_Course(pruning, parts.loop.carry_out))
        parts.loop.run(lambda: pruning.finished or core.failure is not None)
        if scope is Scope.WHOLE_ROOT and not dry_run and not pruning.failed and not pruning.skipped:
            for number in tuple(core.roots):
                parts.ledger.drop_root(number)
        return Report(skipped=tuple(sorted(map(os.fsdecode, pruning.skipped))), failed=pruning.failed)


def discard_once(settings: Settings, state: StateDirectory, damaged: Mapping[bytes, Sequence[str]]) -> None:
    """Remove damaged derivatives without a daemon: of each source, by its absolute path. The caller holds the lock."""
    with Composition(settings, state, settings.roots, patient=False) as parts:
        core = parts.core
        paths = {number: root.path for number, root in core.roots.items()}
        for path, variants in damaged.items():
            source = locate(path, paths)
            entry = core.ledger.entry(source) if source is not None else None
            made = tuple(one for one in entry.derivatives if one.variant in variants) if entry is not None else ()
            if entry is not None and made:
                for effect in core.departures.remove_derivatives(replace(entry, derivatives=made)):
                    parts.loop.carry_out(effect)
        parts.loop.run(lambda: not core.departures.asked_now or core.failure is not None)


@dataclass(frozen=True, slots=True)
class _Course:
    pruning: Pruning
    carry_out: Callable[[Effect], None]

    def due(self, moment: Moment) -> float | None:
        """One step."""
        for effect in self.pruning.due(moment):
            self.carry_out(effect)
        return moment.now
