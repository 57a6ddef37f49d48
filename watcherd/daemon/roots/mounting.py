"""The mount table in the loop's selector: it says at once that something was mounted or unmounted.

Responsible for: the descriptor, and reading the table again when it wakes. Touches no watched file system.
Not responsible for: what a change means for a root (`conditions.py`).

A change shows as an exceptional condition of /proc/self/mountinfo (proc(5)), which `selectors` does not know of; that
the table can be *read* is always true. So it lies in an epoll of its own, and that one's descriptor in the selector.
"""

import os
import select
import selectors

from watcherd.watch import mounts


class MountTable:
    """The table of this process's mount namespace."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._table = os.open(mounts.TABLE, os.O_RDONLY | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._table, select.EPOLLPRI)
        selector.register(self._epoll.fileno(), selectors.EVENT_READ, self._changed)

    def read(self) -> tuple[mounts.Mount, ...]:
        """The table as it is now."""
        return mounts.table()

    def close(self) -> None:
        """Let go of the descriptors."""
        self._selector.unregister(self._epoll.fileno())
        self._epoll.close()
        os.close(self._table)

    def _changed(self) -> list[object]:
        self._epoll.poll(0)
        return [mounts.MountsChanged(table=self.read())]
