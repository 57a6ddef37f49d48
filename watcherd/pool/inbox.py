"""The inbox: how other threads leave word for the one thread that owns all state.

Responsible for: taking items in from any thread or a signal handler, and waking a selector. Not responsible for: what
the items mean.
"""

import contextlib
import os
from collections import deque

_MAX_ITEMS = 5_000
"""How much of it one pass takes: a burst must not keep the owner from its workers."""


class Inbox:
    """Where every other thread leaves word for the loop. Appending is the only thing that they do to us."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()
        self._patient = False
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def post(self, item: object) -> None:
        """Leave word, from any thread or a signal handler. Not after `close`."""
        self._items.append(item)
        if not self._patient:
            os.eventfd_write(self.descriptor, 1)

    def is_empty(self, *, patient: bool) -> bool:
        """To be asked before waiting. While the owner is `patient`, nobody wakes it, and it looks again by itself.

        Set first and asked then: what is posted meanwhile is either seen here or wakes the owner.
        """
        self._patient = patient
        return not self._items

    def take(self) -> list[object]:
        """What has come, at most a pass's worth of it; what is left keeps the loop awake."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)
        return self.take_unwoken()

    def take_unwoken(self) -> list[object]:
        """The same, without asking whether somebody has woken us: for an owner that looks by itself."""
        taken = [self._items.popleft() for _ in range(min(len(self._items), _MAX_ITEMS))]
        if self._items:
            os.eventfd_write(self.descriptor, 1)
        return taken

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self.descriptor)
