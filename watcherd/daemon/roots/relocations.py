"""Relocations: derivatives that lie where an earlier layout had them, on their way to where they belong.

Responsible for: which derivatives of an attempt's source lie elsewhere, what the hands are asked, and what is recorded
of the answer. Not responsible for: the attempt's way (`sources/attempts.py`), the files (`watch/hands/relocating.py`).

Two ways lead here. A source at rest whose derivatives the ledger knows under another layout is not even read. One of
which the ledger knows nothing (it was lost, or the source is new to it) is hashed first: then the marks of what lies
elsewhere tell that it is this source's.
"""

from dataclasses import replace

from watcherd.daemon.sources.attempt import Attempt, mark_of
from watcherd.model import Derivative, Entry, JobClass, Reason
from watcherd.naming import Mark
from watcherd.watch.hands.hands import Displaced, Relocate


def by_ledger(attempt: Attempt, entry: Entry | None) -> Relocate | None:
    """What to ask for a source whose content is as recorded, as the plan has found, and is not read; None: nothing."""
    if entry is None or entry.reason is not Reason.LAYOUT or attempt.job.job_class is not JobClass.RECIPE:
        return None
    if entry.stamp != attempt.job.stamp or entry.digest is None:
        return None
    names, path = attempt.root.names, entry.source.path
    displaced = tuple(
        Displaced(
            derivative=derivative,
            mark=Mark(variant=derivative.variant, digest=entry.digest, fingerprint=derivative.fingerprint),
            ways=names.ways_of(path, derivative.variant),
        )
        for derivative in entry.derivatives
        if derivative.layout != names.layout.number
    )
    return _request(attempt, displaced)


def by_marks(attempt: Attempt) -> Relocate | None:
    """What to ask for an identified source, by what the hands found under the names of earlier layouts."""
    if attempt.fetched is None:
        return None
    names, path = attempt.root.names, attempt.job.source.path
    displaced = []
    for variant in attempt.wanted:
        mark = mark_of(attempt, variant)
        found = next((f for f in attempt.fetched.elsewhere if (f.variant, f.mark) == (variant.name, mark)), None)
        if found is not None:
            derivative = Derivative(
                variant=variant.name,
                fingerprint=variant.fingerprint,
                size_bytes=found.size_bytes,
                mtime_ns=found.mtime_ns,
                width=found.width,
                height=found.height,
            )
            displaced.append(Displaced(derivative=derivative, mark=mark, ways=names.ways_of(path, variant.name)))
    return _request(attempt, tuple(displaced))


def arrived(attempt: Attempt, derivatives: tuple[Derivative, ...]) -> tuple[Derivative, ...]:
    """The derivatives that lie where they belong now, as they are recorded."""
    return tuple(replace(derivative, layout=attempt.root.names.layout.number) for derivative in derivatives)


def updated(entry: Entry, derivatives: tuple[Derivative, ...]) -> Entry:
    """An entry in which these derivatives stand instead of those of the same variants."""
    by_variant = {derivative.variant: derivative for derivative in derivatives}
    return replace(entry, derivatives=tuple(by_variant.get(one.variant, one) for one in entry.derivatives))


def in_place(attempt: Attempt, entry: Entry) -> tuple[Derivative, ...]:
    """Those of a recorded source's derivatives that are what the root wants, and where."""
    wanted = {variant.name: variant.fingerprint for variant in attempt.root.variants}
    number = attempt.root.names.layout.number
    return tuple(
        one for one in entry.derivatives if wanted.get(one.variant) == one.fingerprint and one.layout == number
    )


def left_behind(before: Entry, now: Entry | None, layout: int) -> tuple[Derivative, ...]:
    """What an earlier layout still has of those derivatives that were made anew where they belong."""
    made = {one.variant for one in now.derivatives if one.layout == layout} if now else set()
    return tuple(one for one in before.derivatives if one.layout != layout and one.variant in made)


def _request(attempt: Attempt, displaced: tuple[Displaced, ...]) -> Relocate | None:
    if not displaced:
        return None
    job = attempt.job
    return Relocate(ticket=attempt.ticket, path=job.source.path, stamp=job.stamp, displaced=displaced)
