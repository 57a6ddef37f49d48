"""Reading a running daemon's metrics over its socket, in the command line's process."""

import socket
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from watcherd.daemon.sockets import short

TIMEOUT_S = 10.0


class Unscraped(Exception):  # noqa: N818  a condition, with its own exit code
    """No daemon gives its metrics at this socket; the text says why."""


def scrape(path: str) -> str:
    """The metrics' text. Raises Unscraped."""
    with closing(_OverUnix(path)) as connection:
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, HTTPException) as error:
            raise Unscraped(
                f"no daemon gives metrics at {path}: {error}; is one running, and [metrics] socket not false?"
            ) from error
    if response.status != HTTPStatus.OK:
        raise Unscraped(f"the daemon at {path} gives no metrics: {text.strip()}")
    return text


class _OverUnix(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        with short(self._path) as name:
            self.sock.connect(name)
