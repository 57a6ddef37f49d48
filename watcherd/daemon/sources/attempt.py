"""One attempt: where it is, what is known of it, and what lies at the names of its derivatives already.

Not responsible for: moving it on (`attempts.py`).
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import Any, Protocol

from watcherd.daemon.effects import WatchedRoot
from watcherd.ledger.ledger import Ledger
from watcherd.model import (
    Derivative,
    Entry,
    Failed,
    Header,
    Ignored,
    JobClass,
    Outcome,
    Reason,
    Rejected,
    Rendered,
    Source,
    Variant,
)
from watcherd.naming import Mark, Names
from watcherd.pool.frames import Ended, Work
from watcherd.queue import retry
from watcherd.queue.jobqueue import Job
from watcherd.queue.plan import NO_PICTURES
from watcherd.settings import LimitSettings
from watcherd.watch.hands.hands import Collect, Fetch, Fetched, Item


class Safekeeping(Protocol):
    """Hears of attempts whose derivatives need not be on the disk at once (`safety.py`)."""

    def begun(self, source: Source) -> bool:
        """Whether an attempt that begins is one of these."""

    def ended(self, attempt: "Attempt") -> None:
        """An attempt has ended, one of these or another."""


class Phase(StrEnum):
    """Where an attempt is."""

    FETCHING = "fetching"
    FETCHED = "fetched"
    NEXT = "next"
    IDENTIFYING = "identifying"
    RENDERING = "rendering"
    COLLECTING = "collecting"
    RELOCATING = "relocating"
    PUBLISHING = "publishing"


AHEAD = frozenset({Phase.FETCHING, Phase.FETCHED})
AFTER_WORKER = frozenset({Phase.COLLECTING, Phase.RELOCATING, Phase.PUBLISHING})
WITH_WORKER = frozenset({Phase.NEXT, Phase.IDENTIFYING, Phase.RENDERING})
_WITH_HANDS = frozenset({Phase.FETCHING, Phase.COLLECTING, Phase.RELOCATING, Phase.PUBLISHING})
_NOTHING_SEEN: dict[str, Any] = {"width": 0, "height": 0, "phash": None, "dhash": None, "captured": ""}
_MOST_HELD = 16
"""So many sources of a root may be with its hands, beyond those fetched ahead: a slow disk must not fill the memory."""

_QUICK_PIXELS = 1_000_000
"""What a worker renders may have so many, of all its variants together, for another source to wait for that very one
(chosen: some 20 ms). Where it takes longer, the way between two sources does not matter."""
_SLOW_KINDS = NO_PICTURES | {"svg"}
"""Kinds whose pixels do not tell how long they take."""
_LIGHT_BYTES = 64 * 1024
"""So large may a source be that waits with a worker (chosen: whatever it turns out to be, it is no large photo)."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One execution of a job. Owned by the loop's thread."""

    ticket: int
    job: Job
    root: WatchedRoot
    started: float
    phase: Phase = Phase.FETCHING
    fetched: Fetched | None = None
    slot: int | None = None
    worker: int = 0
    other_decoder: bool = False
    digest: bytes | None = None
    header: Header | None = None
    right: tuple[Derivative, ...] = ()
    wanted: tuple[Variant, ...] = ()
    taken: tuple[bytes, ...] = ()
    twin: Entry | None = None
    reused: bool = False
    decode_s: float = 0.0
    encode_s: float = 0.0
    publishing_since: float = 0.0
    publish_s: float = 0.0
    phash: int | None = None
    dhash: int | None = None
    captured: str = ""
    bytes_out: int = 0
    notes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    relaxed: bool = False
    """Its derivatives are published without waiting for the disk; `checksums` then tells, by variant, their bytes."""
    checksums: tuple[tuple[str, int], ...] = ()


def mark_of(attempt: Attempt, variant: Variant) -> Mark:
    """The mark that a derivative of an identified source must carry."""
    if attempt.digest is None:
        raise AssertionError("a source is identified before anything is made of it")
    return Mark(variant=variant.name, digest=attempt.digest, fingerprint=variant.fingerprint)


def item_of(attempt: Attempt, variant: Variant, fd: int, width: int, height: int) -> Item:
    """What the hands need to publish one derivative."""
    path = attempt.root.names.path_of(attempt.job.source.path, variant)
    return Item(
        variant=variant.name,
        path=path,
        fd=fd,
        mark=mark_of(attempt, variant),
        width=width,
        height=height,
        of_twin=attempt.reused,
    )


def items_of_twin(attempt: Attempt, descriptors: Sequence[int]) -> list[Item]:
    """The pictures of a twin, as the derivatives of this source: one for each variant that is wanted."""
    sizes = {d.variant: (d.width, d.height) for d in attempt.twin.derivatives} if attempt.twin else {}
    return [
        item_of(attempt, variant, fd, *sizes.get(variant.name, (0, 0)))
        for variant, fd in zip(attempt.wanted, descriptors, strict=True)
    ]


def items_made(attempt: Attempt, message: Ended, descriptors: Sequence[int]) -> list[Item]:
    """The pictures that a worker made."""
    wanted = {variant.name: variant for variant in attempt.wanted}
    return [
        item_of(attempt, wanted[made.variant], fd, made.width, made.height)
        for made, fd in zip(message.made, descriptors, strict=True)
    ]


def full_roots(attempts: Iterable[Attempt], ahead: int) -> set[int]:
    """The roots of which nothing more is fetched now. Each counts for itself: one that hangs keeps no other waiting."""
    ahead_of: defaultdict[int, int] = defaultdict(int)  # a Counter takes three times as long, with each pass
    held_of: defaultdict[int, int] = defaultdict(int)
    for attempt in attempts:
        ahead_of[attempt.root.number] += attempt.phase in AHEAD
        held_of[attempt.root.number] += attempt.phase in _WITH_HANDS
    return {root for root in ahead_of if ahead_of[root] >= ahead or held_of[root] >= ahead + _MOST_HELD}


def twin_of(attempt: Attempt, digest: bytes, ledger: Ledger, is_online: Callable[[int], bool]) -> Entry | None:
    """A source with the same content that has all the derivatives that this one lacks, in a root that is there.

    One that is gone will do: a moved source finds its derivatives at its old place until they are removed.
    """
    if not ledger.is_done(digest):
        return None
    wanted = {(variant.name, variant.fingerprint) for variant in attempt.wanted}
    ask = partial(ledger.twins, digest, excluding=attempt.job.source)
    for twin in chain(ask(), ask(gone=True)):
        has = {(derivative.variant, derivative.fingerprint) for derivative in twin.derivatives}
        if wanted <= has and is_online(twin.source.root):
            return twin
    return None


def fetch_of(attempt: Attempt, max_bytes: int) -> Fetch:
    """What the hands are asked to bring."""
    path, names, variants = attempt.job.source.path, attempt.root.names, attempt.root.variants
    elsewhere = [(variant.name, old) for variant in variants for old, _ in names.ways_of(path, variant.name)]
    return Fetch(
        ticket=attempt.ticket,
        path=path,
        stamp=attempt.job.stamp,
        max_bytes=max_bytes,
        derivatives=tuple((variant.name, names.path_of(path, variant)) for variant in variants),
        elsewhere=tuple(elsewhere),
    )


def collect_of(attempt: Attempt, twin: Entry, names: Names) -> Collect:
    """What the hands of a twin's root are asked to bring; `names` are those of that root."""
    known = {derivative.variant: derivative for derivative in twin.derivatives}
    path_of = partial(names.path_of, twin.source.path)
    items = tuple(
        (path_of(v, layout=known[v.name].layout), mark_of(attempt, v), known[v.name].size_bytes) for v in attempt.wanted
    )
    root = attempt.root
    is_local = root.keeps_identity and not root.network
    mount = root.file_system if is_local and isinstance(root.file_system, int) else None
    return Collect(ticket=attempt.ticket, items=items, mount=mount)


def read_from(attempt: Attempt) -> Fetched:
    """The content of an attempt that was fetched."""
    if attempt.fetched is None:
        raise AssertionError("no worker gets what was not fetched")
    return attempt.fetched


def may_follow(attempt: Attempt, holder: Attempt) -> bool:
    """Whether a worker that renders one source may be sent the other: both small, and nobody suspects them."""
    if any(one.job.suspect or one.job.whole_budget for one in (attempt, holder)):
        return False
    if holder.phase is not Phase.RENDERING or holder.header is None or holder.header.kind in _SLOW_KINDS:
        return False
    pixels = holder.header.pixels * holder.header.frames * len(holder.wanted)
    return pixels <= _QUICK_PIXELS and read_from(attempt).stamp.size_bytes <= _LIGHT_BYTES


def wants_other_decoder(job: Job, ledger: Ledger) -> bool:
    """Whether another decoder than usual has its turn, after what became of the attempts before."""
    entry = ledger.entry(job.source) if job.job_class is JobClass.RETRY else None
    return entry is not None and retry.wants_other_decoder(entry.reason, entry.faults)


def work_of(attempt: Attempt, fetched: Fetched, limits: LimitSettings) -> Work:
    """What a worker is told."""
    return Work(
        job=attempt.ticket,
        variants=attempt.root.variants,
        limits=limits,
        has_holes=fetched.has_holes,
        tolerant=attempt.job.tolerant,
        other_decoder=attempt.other_decoder,
        svg=attempt.root.settings.svg,
    )


def is_answer(attempt: Attempt, message: Ended) -> bool:
    """Whether a worker's last word fits what it was asked: exactly these pictures, of the content that it named."""
    if attempt.digest is not None and message.digest not in {None, attempt.digest}:
        return False
    if not isinstance(message.outcome, Rendered):
        return True
    asked = sorted(variant.name for variant in attempt.wanted)
    return attempt.phase is Phase.RENDERING and sorted(made.variant for made in message.made) == asked


def too_large(attempt: Attempt, header: Header, budget_bytes: int) -> Rejected | Failed:
    """Why a picture is not decoded at all, with the number that would allow it.

    Where it is only the other decoder that needs so much, that one has failed, and the usual one is tried again.
    """
    needed, budget = header.memory_bytes >> 20, budget_bytes >> 20
    detail = f"needs about {needed} MiB to decode, more than the budget of {budget} MiB; raise [pool] memory_bytes"
    if attempt.other_decoder:
        return Failed(reason=Reason.DECODER_ERROR, detail=f"by the other decoder it {detail}")
    return Rejected(reason=Reason.TOO_MUCH_MEMORY, detail=detail)


def seen_in(attempt: Attempt, before: Entry, outcome: Outcome, seen_by: int) -> Entry:
    """A source's entry with what an attempt has seen of it; what the outcome means for it is still to be said.

    All at once: copying an entry, which is done for each source several times, takes 6 microseconds.
    """
    unread = attempt.digest is None and isinstance(outcome, Ignored | Rejected)
    is_other = unread or attempt.digest not in {None, before.digest}  # what was known is (perhaps) of another content
    return replace(
        before,
        stamp=attempt.fetched.stamp if attempt.fetched else attempt.job.stamp,
        digest=attempt.digest or (None if is_other else before.digest),
        seen_by=seen_by,
        in_hand=False,
        gone_at_s=None,
        **(_NOTHING_SEEN if is_other else {}),
    )


def name_taken(attempt: Attempt) -> Rejected:
    """What becomes of a source when not all of its derivatives' names are free."""
    names = ", ".join(os.fsdecode(path) for path in attempt.taken)
    detail = f"a file that is not ours has the name of a derivative: {names}; move it away and retry"
    return Rejected(reason=Reason.NAME_TAKEN, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What lies at our names: right already, to be made (absent, or ours but stale or damaged), not ours."""

    right: tuple[Derivative, ...]
    wanted: tuple[Variant, ...]
    taken: tuple[bytes, ...]


def compare(attempt: Attempt, entry: Entry | None) -> Comparison:
    """Sort what the hands found beside an identified source, by the marks, and by what the ledger remembers.

    A picture that a person edited in a program which keeps comments has our mark still: it is taken as it is, with a
    note.
    """
    if attempt.fetched is None:
        raise AssertionError("nothing is compared that was not fetched")
    found = {item.variant: item for item in attempt.fetched.found}
    recorded = {derivative.variant: derivative for derivative in entry.derivatives} if entry else {}
    right: list[Derivative] = []
    wanted: list[Variant] = []
    taken: list[bytes] = []
    for variant in attempt.root.variants:
        item = found.get(variant.name)
        if item is not None and item.mark is None:
            taken.append(attempt.root.names.path_of(attempt.job.source.path, variant))
            continue
        known = recorded.get(variant.name)
        if known is not None and known.fingerprint != variant.fingerprint:
            known = None
        if item is None or item.mark != mark_of(attempt, variant):  # what was cut off has no right mark
            wanted.append(variant)
            continue
        if known is not None and known.size_bytes != item.size_bytes:
            attempt.notes += (f"{variant.name} is not as it was written: somebody has changed it, so it is left alone",)
        right.append(
            Derivative(
                variant=variant.name,
                fingerprint=variant.fingerprint,
                size_bytes=item.size_bytes,
                mtime_ns=item.mtime_ns,
                width=known.width if known else item.width,
                height=known.height if known else item.height,
                layout=attempt.root.names.layout.number,
            )
        )
    return Comparison(right=tuple(right), wanted=tuple(wanted), taken=tuple(taken))
