"""One attempt: where it is, what is known of it, and what lies at the names of its derivatives already.

Not responsible for: moving it on (`attempts.py`).
"""

from dataclasses import dataclass
from enum import StrEnum

from watcherd.daemon.effects import WatchedRoot
from watcherd.model import Derivative, Entry, Header, Variant
from watcherd.naming import Mark, derivative_path
from watcherd.queue.jobqueue import Job
from watcherd.watch.hands import Fetched, Item


class Phase(StrEnum):
    """Where an attempt is."""

    FETCHING = "fetching"
    FETCHED = "fetched"
    IDENTIFYING = "identifying"
    RENDERING = "rendering"
    COLLECTING = "collecting"
    PUBLISHING = "publishing"


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


def mark_of(attempt: Attempt, variant: Variant) -> Mark:
    """The mark that a derivative of an identified source must carry."""
    if attempt.digest is None:
        raise AssertionError("a source is identified before anything is made of it")
    return Mark(variant=variant.name, digest=attempt.digest, fingerprint=variant.fingerprint)


def item_of(attempt: Attempt, variant: Variant, fd: int, width: int, height: int) -> Item:
    """What the hands need to publish one derivative."""
    path = derivative_path(attempt.job.source.path, variant)
    return Item(variant=variant.name, path=path, fd=fd, mark=mark_of(attempt, variant), width=width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What lies at our names: right already, to be made (absent, or ours but stale or damaged), not ours."""

    right: tuple[Derivative, ...]
    wanted: tuple[Variant, ...]
    taken: tuple[bytes, ...]


def compare(attempt: Attempt, entry: Entry | None) -> Comparison:
    """Sort what the hands found beside an identified source, by the marks, and by what the ledger remembers."""
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
            taken.append(derivative_path(attempt.job.source.path, variant))
            continue
        known = recorded.get(variant.name)
        if known is not None and known.fingerprint != variant.fingerprint:
            known = None
        # With our mark, but not of the size that we wrote: cut off or damaged since. Its time alone says nothing.
        if (
            item is None
            or item.mark != mark_of(attempt, variant)
            or (known is not None and known.size_bytes != item.size_bytes)
        ):
            wanted.append(variant)
            continue
        right.append(
            Derivative(
                variant=variant.name,
                fingerprint=variant.fingerprint,
                size_bytes=item.size_bytes,
                mtime_ns=item.mtime_ns,
                width=known.width if known else item.width,
                height=known.height if known else item.height,
            )
        )
    return Comparison(right=tuple(right), wanted=tuple(wanted), taken=tuple(taken))
