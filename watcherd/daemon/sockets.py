"""Listening sockets at a path, which the kernel wants short.

Responsible for: names beyond 107 bytes, what an earlier run left there, the mode. Not responsible for: what is said
over them (`control.py`, `reporting/exposure.py`).
"""

import os
import socket

_LONGEST = 100


def listen_at(path: str, *, backlog: int = 16) -> socket.socket:
    """A non-blocking stream socket that listens at a path, for the owner and the group. Takes the place of an old one.

    The caller holds the state directory's lock, which says that nobody else listens there. Raises OSError.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with short(path) as name:
            if os.path.lexists(path):
                os.unlink(path)
            mask = os.umask(0o117)
            try:
                listener.bind(name)
            finally:
                os.umask(mask)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


class short:  # noqa: N801  reads as a verb at its use
    """A name for a socket's path that fits the kernel's 107 bytes, however deep the folder lies."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) < _LONGEST:
            return self._path
        folder, name = os.path.split(self._path)
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder}/{name}"

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            os.close(self._folder)
