"""Outdated derivatives: those that nobody would ever come back to, because something else is recorded now.

Responsible for: which of a source's derivatives are to be removed after an attempt. Not responsible for: removing them
(`departures.py`).
"""

from collections.abc import Iterable
from dataclasses import replace

from watcherd.daemon.roots.relocations import left_behind
from watcherd.model import Derivative, Entry, Reason, State
from watcherd.queue.follow import is_outdated
from watcherd.watch.hands.hands import Found

BY_PATH = frozenset({Reason.NAME_TAKEN, Reason.NOT_PERMITTED, Reason.TOO_MANY_BYTES, Reason.TOO_MUCH_MEMORY})
"""Rejections that hold for this path, or for the memory there was, and say nothing of the content."""


def outdated_of(before: Entry, now: Entry | None, layout: int, found: Iterable[Found]) -> Entry | None:
    """The entry with those of its derivatives that show what is not there any more, or are elsewhere.

    A content that cannot be done has replaced one that was: the old one's derivatives would go on showing it, whether
    they are recorded, or only `found` at their places (a folder that was renamed meanwhile). And what was made anew
    where it belongs (`layout`) leaves the old one behind where an earlier layout had it.
    """
    if now is None:
        return None
    strays = _strays(now, found, layout)
    if is_outdated(before, now):
        recorded = {derivative.variant for derivative in now.derivatives}
        return replace(now, derivatives=(*now.derivatives, *(one for one in strays if one.variant not in recorded)))
    if strays:
        return replace(now, derivatives=strays)
    left = left_behind(before, now, layout)
    return replace(before, derivatives=left) if left else None


def _strays(now: Entry, found: Iterable[Found], layout: int) -> tuple[Derivative, ...]:
    """What our marks say was made of another content, beside one of which nothing is made."""
    if now.state not in {State.REJECTED, State.QUARANTINED} or now.reason in BY_PATH or now.digest is None:
        return ()
    return tuple(
        Derivative(
            variant=one.variant,
            fingerprint=one.mark.fingerprint,
            size_bytes=one.size_bytes,
            mtime_ns=one.mtime_ns,
            width=one.width,
            height=one.height,
            layout=layout,
        )
        for one in found
        if one.mark is not None and one.mark.digest != now.digest
    )
