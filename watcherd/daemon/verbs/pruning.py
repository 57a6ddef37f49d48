"""Pruning: derivatives that nobody needs any more are removed, because somebody said so.

Responsible for: finding them, page by page so that the loop goes on meanwhile, having them removed, telling of each.
In this order: what the brake of a root holds back, derivatives of variants that their root does not have any more, and
orphans (files with our mark whose source is neither there nor known). Of a root that is not watched any more, all.
Not responsible for: who asked (`upkeep.py`), rooms for roots that are not watched (`former.py`). Runs in the loop's
thread.

Only what is provably ours and as we wrote it is removed: the hands look at each file once more.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskHands, Effect, Moment, WatchedRoot
from watcherd.model import Derivative, Source
from watcherd.settings import OnDelete
from watcherd.watch.hands.hands import Broken, Fate, Fault, Remove, Removed
from watcherd.watch.hands.orphans import FindOrphans, OrphansFound
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Recognise, Recognised, known_files

_A_REQUEST = 200


class Why(StrEnum):
    """Why a derivative is not needed."""

    SOURCE_GONE = "source_gone"
    VARIANT_REMOVED = "variant_removed"
    ROOT_REMOVED = "root_removed"
    ORPHAN = "orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file to be removed, at one of these paths; of a source that stays, with the derivative as it is recorded."""

    source: Source
    paths: tuple[bytes, ...]
    size_bytes: int
    mtime_ns: int
    why: Why
    derivative: Derivative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is told of one file: the absolute path, why it is not needed, and what became of it (None: a dry run)."""

    path: bytes
    why: Why
    fate: Fate | None


class Scope(StrEnum):
    """What is pruned: derivatives of variants taken out are (or are not) among it; or all derivatives of a root."""

    ALL = "all"
    WITHOUT_VARIANTS = "without_variants"
    WHOLE_ROOT = "whole_root"


class Pruning:
    """One pruning of some roots. `tell` hears of each file as soon as its end is known.

    `spared`: folders that are not to be looked into, because they are others' (absolute paths).
    """

    def __init__(
        self,
        core: Core,
        roots: Mapping[int, WatchedRoot],
        scope: Scope,
        *,
        dry_run: bool,
        tell: Callable[[Finding], None],
        spared: Sequence[bytes] = (),
    ) -> None:
        self._core = core
        self._roots = dict(roots)
        self._scope = scope
        self._dry_run = dry_run
        self._tell = tell
        self._spared = tuple(folder.rstrip(b"/") + b"/" for folder in spared)
        self._asked: Counter[int] = Counter()
        self._unseen = list(roots) if scope is Scope.WHOLE_ROOT else []
        away = set() if scope is Scope.WHOLE_ROOT else {one for one in roots if not core.conditions.runnable(one)}
        self._pages = self._all_pages()
        self._absent = away
        self._folders: deque[tuple[int, bytes]] = deque()
        self._confirmed: list[int] = []
        self.failed = 0
        self.finished = False

    @property
    def skipped(self) -> set[bytes]:
        """Roots that are not there: nothing can be said of what lies in them."""
        return {self._roots[root].path for root in self._absent}

    @property
    def waits(self) -> bool:
        """Whether hands were asked for something and have not answered yet."""
        return bool(self._asked.total())

    def due(self, moment: Moment) -> list[Effect]:
        """The next page, once what was asked for before it is done."""
        self._let_go()
        if self.finished or self.waits:
            return []
        if self._unseen:
            return [self._look(self._unseen.pop())]
        page = next(self._pages, None)
        if page is not None:
            return self._remove(page)
        if self._folders:
            root, directory = self._folders.popleft()
            if root in self._absent:
                return []
            return [self._ask(root, FindOrphans(ticket=next(self._core.tickets), directory=directory))]
        if self._confirmed:
            self._core.departures.confirm(self._confirmed.pop(), moment)
        else:
            self.finished = self._dry_run or not self._core.departures.asked_now
        return []

    def _let_go(self) -> None:
        """Wait for nothing more from roots that a reload has taken out meanwhile."""
        if self._scope is not Scope.WHOLE_ROOT:
            for root in self._roots.keys() - self._core.roots.keys() - self._absent:
                self._absent.add(root)
                self._asked.pop(root, None)

    # ---- what there is

    def _look(self, root: int) -> Effect:
        """Is it what it was? An unmounted disk is no root whose derivatives have gone."""
        ledger = self._core.ledger
        known, sample = ledger.identity(root), tuple(known_files(ledger, root))
        return self._ask(root, Recognise(ticket=next(self._core.tickets), known=known, sample=sample))

    def _all_pages(self) -> Iterator[list[Candidate]]:
        for root, watched in self._roots.items():
            if root in self._absent:
                continue
            if self._scope is not Scope.WHOLE_ROOT:
                self._note_held(root)
            if self._scope is not Scope.WITHOUT_VARIANTS:
                yield from (page for page in self._of_other_variants(root) if root not in self._absent)
            if watched.settings.on_delete is not OnDelete.KEEP:
                trees = (layout.tree for layout in watched.names.layouts if layout.tree)
                self._folders.extend((root, directory) for directory in (b"", *trees))

    def _note_held(self, root: int) -> None:
        """What a brake holds is told of; it is removed once the brake is let go, after a last look at each source."""
        ledger = self._core.ledger
        if ledger.held_since_s(root) is None:
            return
        for source, _ in ledger.gone_sources():
            entry = ledger.entry(source) if source.root == root else None
            for made in entry.derivatives if entry is not None else ():
                self._say(self._candidate(source, made, Why.SOURCE_GONE), Fate.DONE)
        if not self._dry_run:
            self._confirmed.append(root)

    def _of_other_variants(self, root: int) -> Iterator[list[Candidate]]:
        whole = self._scope is Scope.WHOLE_ROOT
        wanted = set() if whole else {variant.name for variant in self._roots[root].variants}
        why = Why.ROOT_REMOVED if whole else Why.VARIANT_REMOVED
        for entries in self._core.ledger.with_other_variants(root, wanted, gone=whole):
            yield [
                self._candidate(entry.source, made, why)
                for entry in entries
                if whole or not self._core.conditions.points.is_away(entry.source)
                for made in entry.derivatives
                if made.variant not in wanted and not self._is_spared(root, entry.source.path)
            ]

    def _candidate(self, source: Source, made: Derivative, why: Why) -> Candidate:
        return Candidate(
            source=source,
            paths=self._roots[source.root].names.paths_of(source.path, made.variant),
            size_bytes=made.size_bytes,
            mtime_ns=made.mtime_ns,
            why=why,
            derivative=made,
        )

    def _is_spared(self, root: int, path: bytes) -> bool:
        whole = path if path.startswith(b"/") else self._roots[root].path.rstrip(b"/") + b"/" + path
        return (whole + b"/").startswith(self._spared) if self._spared else False

    # ---- asking

    def _remove(self, page: Sequence[Candidate]) -> list[Effect]:
        if self._dry_run:
            for candidate in page:
                self._say(candidate, Fate.DONE)
            return []
        effects: list[Effect] = []
        for start in range(0, len(page), _A_REQUEST):
            part = page[start : start + _A_REQUEST]
            items = tuple((path, one.size_bytes, one.mtime_ns) for one in part for path in one.paths)
            effects.append(self._ask(part[0].source.root, Remove(ticket=next(self._core.tickets), items=items), part))
        return effects

    def _ask(self, root: int, request: FindOrphans | Remove | Recognise, page: Sequence[Candidate] = ()) -> Effect:
        self._asked[root] += 1
        self._core.answers.awaited[request.ticket] = lambda reply: self._answer(root, reply, page)
        return AskHands(root=root, request=request)

    # ---- answers

    def _answer(self, root: int, reply: object, page: Sequence[Candidate]) -> list[Effect]:
        if root in self._absent:
            return []
        self._asked[root] -= 1
        match reply:
            case Recognised(sight=sight) if sight.verdict is not Verdict.ROOT:
                self._absent.add(root)
            case Removed(results=results):
                fates = iter(fate for fate, _ in results)
                for candidate in page:
                    self._removed(candidate, {next(fates) for _ in candidate.paths})
            case OrphansFound():
                folders = (folder for folder in reversed(reply.folders) if not self._is_spared(root, folder))
                self._folders.extendleft((root, folder) for folder in folders)
                return self._remove(self._orphans(root, reply))
            case Fault() | Broken():
                self._absent.add(root)
                for candidate in page:
                    self._say(candidate, Fate.FAILED)
        return []

    def _orphans(self, root: int, reply: OrphansFound) -> list[Candidate]:
        return [
            Candidate(
                source=Source(root, orphan.source),
                paths=(orphan.path,),
                size_bytes=orphan.size_bytes,
                mtime_ns=orphan.mtime_ns,
                why=Why.ORPHAN,
            )
            for orphan in reply.orphans
            if self._core.ledger.entry(Source(root, orphan.source)) is None
        ]

    def _removed(self, candidate: Candidate, fates: set[Fate]) -> None:
        """What has gone, or is not ours any more, is not recorded any more."""
        fate = next((fate for fate in (Fate.DONE, Fate.FAILED, Fate.FOREIGN) if fate in fates), Fate.MISSING)
        self._say(candidate, fate)
        entry = self._core.ledger.entry(candidate.source) if candidate.derivative is not None else None
        if entry is not None and fate is not Fate.FAILED:
            left = tuple(made for made in entry.derivatives if made != candidate.derivative)
            self._core.ledger.record(replace(entry, derivatives=left))

    def _say(self, candidate: Candidate, fate: Fate) -> None:
        self.failed += fate is Fate.FAILED
        path, root = candidate.paths[0], self._roots[candidate.source.root].path
        whole = path if path.startswith(b"/") else root.rstrip(b"/") + b"/" + path
        self._tell(Finding(path=whole, why=candidate.why, fate=None if self._dry_run else fate))
