"""The way of a scan's findings to the loop: gathered into batches, sent when one is full or old.

Responsible for: the order and size of the reports. Not responsible for: what is found (`walk.py`), and holding back
while the loop is behind (`scanner.py`).
"""

import time
from typing import Protocol

from watcherd.model import Change, ChangeKind, Source, Stamp

BATCH_CHANGES = 500
"""How many changes go into one report."""

_BATCH_AGE_S = 0.5


class Outlet(Protocol):
    """Where the walk's reports go."""

    def post(self, report: object) -> None:
        """Hand over a small report."""

    def send(self, changes: tuple[Change, ...]) -> None:
        """Hand over a batch of changes; waits while the receiver is behind. Raises Stopped."""

    def stopped(self) -> bool:
        """Whether the walk should be given up."""

    def breathe(self, entries: int) -> None:
        """Called between two folders, after so many entries: others may pass, and the disk rest. Raises Stopped."""


class Batches:
    """The findings of one scan of a root."""

    def __init__(self, root: int, outlet: Outlet) -> None:
        self._root, self._outlet = root, outlet
        self._changes: list[Change] = []
        self._sent_at_s = time.monotonic()

    def add(self, path: bytes, stamp: Stamp | None) -> None:
        """Report a source: as found with this stamp, or as missing (None)."""
        kind = ChangeKind.DELETED if stamp is None else ChangeKind.FOUND
        self._changes.append(Change(kind=kind, source=Source(self._root, path), stamp=stamp))
        if len(self._changes) >= BATCH_CHANGES:
            self.flush()

    def flush_old(self) -> None:
        """Send what has waited for a while."""
        if self._changes and time.monotonic() - self._sent_at_s > _BATCH_AGE_S:
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        changes, self._changes = tuple(self._changes), []
        if changes:
            self._outlet.send(changes)
        self._sent_at_s = time.monotonic()
