"""The kernel's limit of waiting inotify events, lowered for a watcher that is just being made.

The limit is the whole machine's, and a descriptor keeps the one that it was made under. So it is lowered for as short
as can be, and tests in other processes are kept from making theirs meanwhile.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
SHORT = 16
_KERNEL_DEFAULT = "16384"
_SHORTEST_KEPT = 256
"""No machine has so short a queue of itself: a test run was killed at the wrong moment."""


@contextmanager
def steady_limit(mode: int = fcntl.LOCK_SH) -> Iterator[None]:
    """Keep others from changing the limit (LOCK_SH), or from relying on it as well (LOCK_EX), whatever their TMPDIR."""
    with LIMIT.open() as held:
        fcntl.flock(held, mode)
        yield


@contextmanager
def short_queue(events: int = SHORT) -> Iterator[None]:
    """Inotify descriptors that are made in the block keep so many events and no more."""
    with steady_limit(fcntl.LOCK_EX):
        before = LIMIT.read_text()
        if int(before) <= _SHORTEST_KEPT:
            before = _KERNEL_DEFAULT
        try:
            LIMIT.write_text(str(events))
        except OSError as error:
            pytest.skip(f"fs.inotify.max_queued_events may only be changed by root: {error}")
        try:
            yield
        finally:
            LIMIT.write_text(before)
