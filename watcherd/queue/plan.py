"""Whether a settled source needs work, which, and why.

Responsible for: the first gate for "unchanged" (stamp, fingerprints and files against the ledger), and which of a
source's variants are due.
Not responsible for: reading anything; the second gate, where a worker has hashed the content (the daemon
compares marks there); sources that are gone (`daemon/sources/departures.py`). Pure.

The content counts as the same while size and mtime are, and inode too where the file system keeps it. A ctime of its
own (hard links of a backup, changed attributes, a restored mtime) is looked into at backlog pace: re-hashed, and not
rendered if the content is the same. The number of links never counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from watcherd.model import Derivative, Entry, JobClass, Reason, Stamp, State
from watcherd.queue.jobqueue import WEIGHTS

_CURED_ELSEWHERE = frozenset((Reason.NOT_PERMITTED, Reason.READ_ERROR, Reason.WRITE_ERROR, Reason.TOO_MUCH_MEMORY))
"""Reasons whose cure leaves no trace on the source (a permission, a mended disk, more memory): each scan tries anew."""


NO_PICTURES = frozenset(("video", "pdf"))
"""Kinds that are ignored as long as nothing is installed that makes pictures of them."""


LEFT_OUT = "backfill"
"""The detail of what was there before us, and is ignored because the root's backfill leaves it out."""


class DoReason(StrEnum):
    """Why a source has work to do."""

    NEW = "new"
    PENDING = "pending"
    CONTENT = "content"
    IDENTITY = "identity"
    RECIPE = "recipe"
    LAYOUT = "layout"
    MISSING = "missing"
    DECODERS = "decoders"
    LEFT_OUT = "left_out"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Nothing to do: the source is what the ledger says, and `state` is what came of it."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Make these variants; none of them: only look whether the content is still the same."""

    variants: tuple[str, ...]
    job_class: JobClass
    reason: DoReason


class _Content(StrEnum):
    SAME = "same"
    DOUBTFUL = "doubtful"
    OTHER = "other"


def plan(
    stamp: Stamp,
    entry: Entry | None,
    *,
    fingerprints: Mapping[str, int],
    present: Mapping[str, tuple[int, int]] | None,
    seen_by: int,
    keeps_identity: bool,
    arriving: JobClass = JobClass.UPLOAD,
    layout: int = 0,
) -> Skip | Do:
    """Judge a source by its stamp and its entry.

    `fingerprints`: of the variants wanted. `present`: variant -> (size_bytes, mtime_ns) of the files that bear the
    names of its derivatives; None if nobody looked. `seen_by`: decoder table and limits of now. `keeps_identity`:
    whether inode and ctime mean something on this file system. `arriving`: the class of a new source; MANUAL stands
    for all others too. `layout`: the ledger's number of where derivatives are to lie.
    """
    if entry is None or entry.stamp is None:
        return _do(fingerprints, arriving, DoReason.NEW, arriving)
    content = _compare(stamp, entry.stamp, entry, keeps_identity=keeps_identity)
    if content is _Content.OTHER:
        return _do(fingerprints, _class_of_change(entry, arriving), DoReason.CONTENT, arriving)
    if entry.state is State.PENDING:
        return _do(fingerprints, _class_of_change(entry, arriving), DoReason.PENDING, arriving)
    if entry.state is State.DONE or entry.reason is Reason.NAME_TAKEN:
        return _plan_files(entry, content, fingerprints, present, arriving, layout)
    if entry.state is State.IGNORED and entry.detail == LEFT_OUT:  # whether it is wanted now, the caller knows
        return _do(fingerprints, JobClass.BACKLOG, DoReason.LEFT_OUT, arriving)
    if present is not None and entry.reason in _CURED_ELSEWHERE:
        return _do(fingerprints, JobClass.BACKLOG, DoReason.ELSEWHERE, arriving)
    return _plan_again(entry, content, fingerprints, seen_by, arriving)


def _plan_files(
    entry: Entry,
    content: _Content,
    fingerprints: Mapping[str, int],
    present: Mapping[str, tuple[int, int]] | None,
    arriving: JobClass,
    layout: int,
) -> Skip | Do:
    recorded = {derivative.variant: derivative for derivative in entry.derivatives}
    elsewhere = {variant for variant, derivative in recorded.items() if derivative.layout != layout}
    stale, missing = _stale(recorded, fingerprints), _missing(recorded, present) - elsewhere
    if entry.state is not State.DONE:  # a name is taken: what could not be published is not recorded
        unrecorded = fingerprints.keys() - recorded.keys()
        stale -= unrecorded
        missing |= unrecorded - (present.keys() if present is not None else unrecorded)
        elsewhere -= present.keys() if present is not None else elsewhere
    due = tuple(variant for variant in fingerprints if variant in stale or variant in missing)
    if elsewhere and content is _Content.SAME:
        return _do(due, JobClass.RECIPE, DoReason.LAYOUT, arriving)
    if stale or elsewhere:
        return _do(due, JobClass.RECIPE, DoReason.RECIPE if stale else DoReason.IDENTITY, arriving)
    if due:
        return _do(due, JobClass.BACKLOG, DoReason.MISSING, arriving)
    if content is _Content.DOUBTFUL:
        return _do((), JobClass.BACKLOG, DoReason.IDENTITY, arriving)
    return Skip(state=entry.state)


def _plan_again(
    entry: Entry, content: _Content, fingerprints: Mapping[str, int], seen_by: int, arriving: JobClass
) -> Skip | Do:
    """Judge a source without derivatives: try again what its new ctime or our new decoders might cure."""
    if content is _Content.DOUBTFUL:
        job_class = arriving if entry.state is State.INCOMPLETE else JobClass.BACKLOG
        return _do(fingerprints, job_class, DoReason.IDENTITY, arriving)
    if entry.state in (State.REJECTED, State.FAILED, State.QUARANTINED) and entry.seen_by != seen_by:
        return _do(fingerprints, JobClass.RECIPE, DoReason.DECODERS, arriving)
    if entry.state is State.IGNORED and entry.detail in NO_PICTURES and entry.seen_by != seen_by:
        return _do(fingerprints, JobClass.RECIPE, DoReason.DECODERS, arriving)
    return Skip(state=entry.state)


def _stale(recorded: Mapping[str, Derivative], fingerprints: Mapping[str, int]) -> set[str]:
    """The wanted variants that were never made, or by another recipe."""
    return {
        variant
        for variant, fingerprint in fingerprints.items()
        if variant not in recorded or recorded[variant].fingerprint != fingerprint
    }


def _missing(recorded: Mapping[str, Derivative], present: Mapping[str, tuple[int, int]] | None) -> set[str]:
    """The variants whose file is not there, or not the one that we wrote."""
    if present is None:
        return set()
    return {
        variant
        for variant, derivative in recorded.items()
        if present.get(variant) != (derivative.size_bytes, derivative.mtime_ns)
    }


def _compare(stamp: Stamp, known: Stamp, entry: Entry, *, keeps_identity: bool) -> _Content:
    if stamp[:2] != known[:2] or (keeps_identity and stamp.inode != known.inode):
        return _Content.OTHER
    # rights are ctime's business everywhere: a file that may be read from now on shows it nowhere else
    if stamp.ctime_ns != known.ctime_ns and (keeps_identity or entry.reason is Reason.NOT_PERMITTED):
        return _Content.DOUBTFUL
    return _Content.SAME


def _class_of_change(entry: Entry, arriving: JobClass) -> JobClass:
    """An upload that was never finished is still an upload; a change of anything else is an edit."""
    match entry.state:
        case State.PENDING:
            return max(entry.job_class or arriving, arriving, key=WEIGHTS.__getitem__)
        case State.INCOMPLETE:
            return arriving
        case _:
            return JobClass.EDITED


def _do(variants: Iterable[str], job_class: JobClass, reason: DoReason, arriving: JobClass) -> Do:
    job_class = arriving if arriving is JobClass.MANUAL else job_class
    return Do(variants=tuple(variants), job_class=job_class, reason=reason)
