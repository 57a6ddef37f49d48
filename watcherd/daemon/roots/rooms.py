"""The rooms of one root: its hands, its scanner, and the claim that keeps other daemons out of it and of its mirror.

Responsible for: building them, having them work by other settings, and taking them down; each root for itself, at any
time. Not responsible for: when (`composition.py`), nor for a root's observer, which is replaced now and then by whoever
looks after it.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from watcherd import backfill
from watcherd.backfill import Backfill
from watcherd.daemon.effects import Bind, WatchedRoot
from watcherd.daemon.statedir import claim
from watcherd.imaging.decoders import decoder_for
from watcherd.imaging.sniff import Kind, kind_of
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Ignored, JobClass, Rejected, Stamp, State
from watcherd.naming import temporary_name
from watcherd.queue.plan import NO_PICTURES, DoReason, Skip, plan
from watcherd.settings import Hidden, RootSettings
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Hands, Place
from watcherd.watch.ignore import compile_globs, prunes, why_ignored
from watcherd.watch.linking import Links
from watcherd.watch.observing.observer import Observer
from watcherd.watch.reports import Coverage, OfLink, WatchFailed, Watching
from watcherd.watch.scanning.compare import Wanted
from watcherd.watch.scanning.scanner import Request, Scanner
from watcherd.watch.selection import Selection

log = get_logger()

_CONTESTED = "if that is a watcherd, let only one of the two work here; if not, ask its user what it is (ss -xlp)"


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the rooms of every root have in common. `instance` and `run` name our temporary files.

    `places`: where no link of a root may lead to, by the root's number: what others have, and the state directory.
    """

    ledger: str
    instance: str
    run: str
    post: Callable[[object], None]
    scan_rate: Callable[[], int] = lambda: 0
    places: Callable[[int], Iterable[bytes]] = lambda _: ()


class RootRooms:
    """One root's rooms; `start` begins to take scan requests. `seen_by`: the decoder table and limits in force.

    Raises Busy where another daemon has the root, or its mirror. `is_claimed`: a claim inside of it is ours already,
    which keeps others out.
    """

    def __init__(self, root: WatchedRoot, house: House, *, seen_by: int, is_claimed: bool = False) -> None:
        self._house = house
        self._is_claimed = is_claimed
        self._bound: Bind | None = None
        self._stack = ExitStack()
        self._claimed: set[bytes] = set()
        self._links = Links()
        self._take_over(root, seen_by)
        self.hands = Hands(self._place(), post=house.post)
        self.scanner = self._scanner()

    def start(self) -> None:
        """Start the scanner."""
        self.scanner.start()

    def refit(self, root: WatchedRoot, *, seen_by: int) -> bool:
        """Work by other settings, from the next request on. Whether sources at rest may need a look for that."""
        before = self._wanted
        self._take_over(root, seen_by)
        self.hands.place = self._place()
        return self._wanted.recipe_set != before.recipe_set

    def bind(self, seen: Bind) -> None:
        """Work in this very folder on this very mount, and no other."""
        self._bound = seen
        self._take_over(self.root, self._seen_by)
        self.hands.place = self._place()

    def stop_looking(self) -> None:
        """Look at nothing more; the hands go on with what they are asked for."""
        self.scanner.stop()

    def look_again(self) -> None:
        """Take scan requests again, after `stop_looking`."""
        self.scanner = self._scanner()
        self.scanner.start()

    def close(self) -> None:
        """Take everything down, without waiting for what hangs."""
        self.scanner.stop()
        self.hands.close()
        self._stack.close()

    def observer(self) -> Observer:
        """A new observer, not started yet."""
        root = self.root
        post = self._house.post
        return Observer(root.number, root.path, post=post, on_doubt=post, prunes=self.prunes)

    def link_observer(self, link: bytes, target: bytes) -> Observer:
        """A new observer of the folder that a link leads to, not started yet."""
        root, post = self.root.number, self._house.post

        def say(report: object) -> None:
            is_own = isinstance(report, Watching | WatchFailed | Coverage)
            post(OfLink(root=root, link=link, said=report) if is_own else report)  # type: ignore[arg-type]

        return Observer(root, target, post=say, on_doubt=post, prunes=self.prunes, at=link)

    def temporary_name(self, random: str) -> bytes:
        """A name for a temporary file of ours; `random`: 12 hex digits."""
        return temporary_name(self._house.instance, self._house.run, random)

    def prunes(self, path: bytes) -> str | None:
        """Why nothing in a folder counts, by its path below the root; None if it does. Folders above are not asked."""
        return prunes(path, globs=self._globs, hidden=self._counts_hidden)

    def why_ignored(self, path: bytes) -> str | None:
        """Why a file does not count, by its path below the root; None if it does."""
        return why_ignored(path, globs=self._globs, hidden=self._counts_hidden)

    @property
    def _counts_hidden(self) -> bool:
        return self.root.settings.hidden is Hidden.INCLUDE

    @property
    def _selection(self) -> Selection:
        own = self.root.settings
        return Selection(min_bytes=own.min_bytes, max_bytes=own.max_bytes, max_age_s=own.max_age_s)

    # ---- inside

    def claim(self, root: WatchedRoot) -> None:
        """Keep others out of where we are to work. Raises Busy."""
        if self._is_claimed:
            return
        for folder in {root.path, root.names.layout.tree} - self._claimed - {b""}:
            claimed = self._stack.enter_context(claim(folder))
            for stranger in claimed.strangers:
                log.warning("root.contested", root=folder, pid=stranger.pid, uid=stranger.uid, hint=_CONTESTED)
            self._claimed.add(folder)

    def give_way(self) -> None:
        """Let another root of this very daemon have the place, inside of it or around it; what is in hand goes on."""
        self._stack.close()
        self._claimed.clear()

    def _take_over(self, root: WatchedRoot, seen_by: int) -> None:
        self.claim(root)
        if self._bound is not None:  # what it lies on was told anew since the root was surveyed
            root = replace(root, keeps_identity=self._bound.keeps_identity)
        self.root, self._seen_by = root, seen_by
        self._globs = compile_globs(root.settings.ignore)
        if root.settings.follow_symlinks is not self._links.follows:
            self._links = Links(follows=root.settings.follow_symlinks, others=partial(self._house.places, root.number))
        self._wanted = _wanted(root, seen_by, backfill.parse(root.settings.backfill), self._links)
        self._wanted_all = _wanted(root, seen_by, backfill.ALL, self._links)

    def _place(self) -> Place:
        return Place(
            root=self.root.number,
            path=self.root.path,
            instance=self._house.instance,
            run=self._house.run,
            kind_of=kind_of,
            refusal_of=partial(_refusal_of, svg=self.root.settings.svg),
            names=self.root.names,
            keeps_identity=self._wanted.keeps_identity,
            selection=self._selection,
            inode=self._bound.inode if self._bound else None,
            mount=self._bound.mount if self._bound else None,
            min_free_bytes=self.root.settings.min_free_bytes,
            ledger=os.path.realpath(os.fsencode(self._house.ledger)) if self._links.follows else b"",
            links=self._links,
        )

    def _wanted_of(self, request: Request) -> Wanted:
        """What somebody asks for by hand is wanted whole, and so is a folder that has just come; else the backfill."""
        return self._wanted_all if request.ticket is not None or request.directory else self._wanted

    def _scanner(self) -> Scanner:
        """What it asks us for, it asks from its own thread: each answer is one attribute, replaced as a whole."""
        return Scanner(
            self.root.number,
            self.root.path,
            reader=lambda: Ledger.open(self._house.ledger, read_only=True),
            wanted=self._wanted_of,
            judge=_judge,
            why_ignored=self.why_ignored,
            prunes=self.prunes,
            post=self._house.post,
            instance=self._house.instance,
            run=self._house.run,
            rate=self._house.scan_rate,
            selection=lambda: self._selection,
        )


def _wanted(root: WatchedRoot, in_force: int, taken: Backfill, links: Links) -> Wanted:
    seen_by = root.seen_by(in_force)
    fingerprints = {variant.name: variant.fingerprint for variant in root.variants}
    return Wanted(
        recipe_set=number_of(
            [sorted(fingerprints.items()), _what_counts(root.settings), seen_by, taken, root.names.layout]
        ),
        fingerprints=fingerprints,
        seen_by=seen_by,
        names=root.names,
        keeps_identity=root.keeps_identity,
        takes=lambda stamp: taken.takes(stamp, root.since_s),
        links=links,
    )


def _what_counts(root: RootSettings) -> tuple[object, ...]:
    links = ("links",) if root.follow_symlinks else ()
    return root.ignore, root.hidden, root.min_bytes, root.max_bytes, root.max_age_s, *links


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
        layout=wanted.names.layout.number,
    )
    if isinstance(decision, Skip):
        return decision.state
    if decision.reason is DoReason.LEFT_OUT and entry and entry.stamp and not wanted.takes(entry.stamp):
        return State.IGNORED
    # What is pending will have its turn without being found again.
    return State.PENDING if decision.reason is DoReason.PENDING else None


def _refusal_of(kind: str, *, svg: bool) -> Rejected | Ignored | None:
    """Why a kind cannot be decoded by what is installed here; None where it can.

    A video or a document is no picture: without the extra that makes one of it, it is none of our business.
    """
    decoder = decoder_for(Kind(kind), svg=svg)
    if not isinstance(decoder, Rejected):
        return None
    return Ignored(kind=kind) if kind in NO_PICTURES else decoder


def number_of(value: object) -> int:
    """A number that stands for a value, the same in every run."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big") >> 1
