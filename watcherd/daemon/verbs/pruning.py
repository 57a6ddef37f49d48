"""Pruning: derivatives that nobody needs any more are removed, because somebody said so.

Responsible for: finding them, page by page so that the loop goes on meanwhile, having them removed, telling of each.
In this order: what the brake of a root holds back, derivatives of variants that their root does not have any more, and
orphans (files with our mark whose source is neither there nor known). Not responsible for: who asked (`requests.py`,
`oneshot.py`). Runs in the loop's thread.

Only what is provably ours and as we wrote it is removed: the hands look at each file once more.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskHands, Effect, Moment
from watcherd.model import Derivative, Source
from watcherd.settings import OnDelete
from watcherd.watch.hands import Broken, Fate, Fault, Remove, Removed
from watcherd.watch.orphans import FindOrphans, OrphansFound

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
    """One pruning of some roots. `tell` hears of each file as soon as its end is known."""

    def __init__(
        self, core: Core, roots: Sequence[int], scope: Scope, *, dry_run: bool, tell: Callable[[Finding], None]
    ) -> None:
        self._core = core
        self._scope = scope
        self._dry_run = dry_run
        self._tell = tell
        self._asked = 0
        self._pages = self._all_pages([root for root in roots if core.conditions.runnable(root)])
        self.skipped = {core.roots[root].path for root in roots if not core.conditions.runnable(root)}
        """Roots that are not there: nothing can be said of what lies in them."""
        self._folders: deque[tuple[int, bytes]] = deque()
        self._confirmed: list[int] = []
        self.failed = 0
        self.finished = False

    def due(self, moment: Moment) -> list[Effect]:
        """The next page, once what was asked for before it is done."""
        if self.finished or self._asked:
            return []
        page = next(self._pages, None)
        if page is not None:
            return self._remove(page)
        if self._folders:
            root, directory = self._folders.popleft()
            return [self._ask(root, FindOrphans(ticket=next(self._core.tickets), directory=directory))]
        if self._confirmed:
            self._core.departures.confirm(self._confirmed.pop(), moment)
        else:
            self.finished = self._dry_run or not self._core.departures.asked_now
        return []

    # ---- what there is

    def _all_pages(self, roots: Sequence[int]) -> Iterator[list[Candidate]]:
        for root in roots:
            watched = self._core.roots[root]
            self._note_held(root)
            if self._scope is not Scope.WITHOUT_VARIANTS:
                yield from self._of_other_variants(root)
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
        wanted = set() if whole else {variant.name for variant in self._core.roots[root].variants}
        why = Why.ROOT_REMOVED if whole else Why.VARIANT_REMOVED
        for entries in self._core.ledger.with_other_variants(root, wanted, gone=whole):
            yield [
                self._candidate(entry.source, made, why)
                for entry in entries
                for made in entry.derivatives
                if made.variant not in wanted
            ]

    def _candidate(self, source: Source, made: Derivative, why: Why) -> Candidate:
        return Candidate(
            source=source,
            paths=self._core.roots[source.root].names.paths_of(source.path, made.variant),
            size_bytes=made.size_bytes,
            mtime_ns=made.mtime_ns,
            why=why,
            derivative=made,
        )

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

    def _ask(self, root: int, request: FindOrphans | Remove, page: Sequence[Candidate] = ()) -> Effect:
        self._asked += 1
        self._core.answers.awaited[request.ticket] = lambda reply: self._answer(root, reply, page)
        return AskHands(root=root, request=request)

    # ---- answers

    def _answer(self, root: int, reply: object, page: Sequence[Candidate]) -> list[Effect]:
        self._asked -= 1
        match reply:
            case Removed(results=results):
                fates = iter(fate for fate, _ in results)
                for candidate in page:
                    self._removed(candidate, {next(fates) for _ in candidate.paths})
            case OrphansFound():
                self._folders.extendleft((root, folder) for folder in reversed(reply.folders))
                return self._remove(self._orphans(root, reply))
            case Fault() | Broken():
                self.skipped.add(self._core.roots[root].path)
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
        path, root = candidate.paths[0], self._core.roots[candidate.source.root].path
        whole = path if path.startswith(b"/") else root.rstrip(b"/") + b"/" + path
        self._tell(Finding(path=whole, why=candidate.why, fate=None if self._dry_run else fate))
