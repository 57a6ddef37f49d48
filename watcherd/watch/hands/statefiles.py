"""The files of our own ledger, which nothing of ours may open over a link.

Responsible for: telling them from all other files, by an open O_PATH descriptor. Not responsible for: opening sources
(`reading.py`), and the ledger itself.

Closing any descriptor of a file drops all POSIX locks that the process has on it (fcntl(2)), SQLite's among them, and
without these another process may remove the write-ahead log under a ledger that is in use. So a link to one must not
even be opened and closed. An O_PATH descriptor does not count as one of the file.
"""

import os
from contextlib import suppress

from watcherd.derivatives.standing import NotRegularError

KIND = "state"
"""What is `Ignored` that lies in the state directory."""

_SUFFIXES = (b"", b"-wal", b"-shm", b"-journal")


def require_foreign(handle: int, found: os.stat_result, ledger: bytes) -> None:
    """Raise NotRegularError for a file in the folder of the ledger, or one of the ledger's by any other path.

    `handle`: an O_PATH descriptor of it, so that its inode number cannot become another file's meanwhile. `ledger`: its
    path without links; empty where there is none.
    """
    if not ledger:
        return
    folder = os.path.dirname(ledger)
    if os.path.dirname(os.readlink(b"/proc/self/fd/%d" % handle)) == folder or _is_one_of(found, ledger):
        raise NotRegularError(KIND)


def _is_one_of(found: os.stat_result, ledger: bytes) -> bool:
    for suffix in _SUFFIXES:
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.stat(ledger + suffix)):
                return True
    return False
