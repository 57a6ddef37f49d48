"""Outdated derivatives: those that nobody would ever come back to, because something else is recorded now.

Responsible for: which of a source's derivatives are to be removed after an attempt. Not responsible for: removing them
(`departures.py`).
"""

from dataclasses import replace

from watcherd.daemon.relocations import left_behind
from watcherd.model import Entry, Reason
from watcherd.queue.follow import is_outdated

BY_PATH = frozenset({Reason.NAME_TAKEN, Reason.NOT_PERMITTED, Reason.TOO_MANY_BYTES, Reason.TOO_MUCH_MEMORY})
"""Rejections that hold for this path, or for the memory there was, and say nothing of the content."""


def outdated_of(before: Entry, now: Entry | None, layout: int) -> Entry | None:
    """The entry with those of its derivatives that show what is not there any more, or are elsewhere.

    A content that cannot be done has replaced one that was: the old one's derivatives would go on showing it. And what
    was made anew where it belongs (`layout`) leaves the old one behind where an earlier layout had it.
    """
    if now is None:
        return None
    if is_outdated(before, now):
        return now
    left = left_behind(before, now, layout)
    return replace(before, derivatives=left) if left else None
