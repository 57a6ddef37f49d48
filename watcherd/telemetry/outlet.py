"""The outlet: a descriptor that lines are written to, by a program that must not be held up by whoever reads them.

Responsible for: whole lines, or none. A reader that stands still (a pager, a terminal that was stopped, a log shipper
that hangs) keeps us waiting for `PATIENCE_S` once; what does not fit until it reads on is refused. Not responsible for:
what the lines say, and for counting those that were refused (`log.py`).

A descriptor is never made non-blocking for that: it belongs to others as well. As long as it can be written to at all,
a pipe takes `PIPE_BUF` bytes without waiting (pipe(7)).
"""

import os
import select
import threading

PATIENCE_S = 0.2


class Outlet:
    """Takes lines from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._rest = b""
        self._is_stuck = False

    def write(self, line: bytes) -> bool:
        """Write a line, its end included; False where it is refused. Raises OSError as the system does.

        What has been begun is finished before the next one.
        """
        with self._lock:
            self._rest = self._poured(self._rest)
            if self._rest:
                return False
            rest = self._poured(line)
            if rest == line:
                return False
            self._rest = rest
            return True

    def _poured(self, data: bytes) -> bytes:
        """What is left of it."""
        while data and self._has_room():
            data = data[os.write(self._descriptor, data[: select.PIPE_BUF]) :]
        return data

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        self._is_stuck = not poll.poll(0 if self._is_stuck else PATIENCE_S * 1000)
        return not self._is_stuck
