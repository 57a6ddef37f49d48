"""How many files may be open: each root takes some for its events, its hands, and what they have fetched.

The limit that a program begins with (1,024 nearly everywhere) is a courtesy to programs that use select(2); a program
that does not may raise it by itself as far as the other one goes (systemd gives 524,288; see its NEWS for 240).
"""

import contextlib
import resource


def limit() -> int:
    """As many as there may be, once `raise_limit` was called."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_limit() -> None:
    """Have as many as there may be. Workers go back to few (`pool/fence/fence.py`)."""
    with contextlib.suppress(OSError, ValueError):  # then it stays as it is, which suffices for some roots
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit(), limit()))
