"""The control socket: a stream socket in the state directory over which the command line speaks to the daemon.

Responsible for: the socket, its connections, frames in and out, all in the loop's selector and without ever blocking.
Not responsible for: what the verbs do (`verbs/requests.py`). A request is one frame, `{"verb": ..., ...}`; the answer
is one frame or several, the last of which has `"last": true`.
"""

import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from watcherd.daemon.sockets import listen_at, short
from watcherd.pool.frames import Decoder, FrameError, encode

_READ_BYTES = 64 * 1024
_MAX_CONNECTIONS = 64
_BACKLOG = 128
_MAX_UNSENT_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 10.0
_BUSY = "the daemon is busy: it serves as many requests over its control socket as it can; ask again"


class Unreachable(Exception):  # noqa: N818  a condition, with its own exit code
    """No daemon answers at this socket."""


class Silent(Unreachable):
    """A daemon has the socket open, but does not answer: it is busy, or hangs."""


@dataclass(slots=True, eq=False)
class Connection:
    """One client. What it has not read yet waits here, up to a bound, beyond which it is dropped.

    `asked`: it has sent a request, so it is not to be dropped for another one.
    """

    socket: socket.socket
    peer: str
    asked: bool = False
    decoder: Decoder = field(default_factory=Decoder)
    unsent: bytearray = field(default_factory=bytearray)
    closing: bool = False
    closed: bool = False

    def send(self, body: Mapping[str, object], *, last: bool = False) -> None:
        """Queue one frame of the answer; it is written when the client takes it."""
        if not self.closed:
            self.unsent += encode({**body, "last": last})
            self.closing = self.closing or last


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Somebody asked for something."""

    connection: Connection
    body: dict[str, Any]


class Control:
    """The listening socket and its clients."""

    def __init__(self, path: str, selector: selectors.BaseSelector) -> None:
        self._path = path
        self._selector = selector
        self._connections: dict[Connection, None] = {}  # in the order of their coming
        self._listener = listen_at(path, backlog=_BACKLOG)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """End all connections and take the socket away."""
        for connection in list(self._connections):
            self._write(connection)
            self._close(connection)
        self._selector.unregister(self._listener)
        self._listener.close()
        if os.path.lexists(self._path):
            os.unlink(self._path)

    def flush(self) -> None:
        """Write what clients take now; watch for those that do not take all."""
        for connection in list(self._connections):
            if connection.unsent or connection.closing:
                self._write(connection)

    def _accept(self) -> list[object]:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # it has gone again, or there is no descriptor left for it
            return []
        accepted.setblocking(False)
        if len(self._connections) >= _MAX_CONNECTIONS and not self._make_room():
            with suppress(OSError):
                accepted.send(encode({"error": _BUSY, "last": True}))
            accepted.close()
            return []
        connection = Connection(accepted, _peer(accepted))
        self._connections[connection] = None
        self._selector.register(accepted, selectors.EVENT_READ, lambda: self._ready(connection))
        return []

    def _make_room(self) -> bool:
        """Drop the oldest connection that has asked for nothing; whether there was one."""
        idle = next((connection for connection in self._connections if not connection.asked), None)
        if idle is not None:
            self._close(idle)
        return idle is not None

    def _ready(self, connection: Connection) -> list[object]:
        try:
            data = connection.socket.recv(_READ_BYTES)
            connection.decoder.feed(data)
            requests: list[object] = [
                Request(connection=connection, body=frame.body) for frame in connection.decoder.frames()
            ]
            connection.asked = connection.asked or bool(requests)
        except BlockingIOError:
            requests, data = [], b"-"
        except (OSError, FrameError):
            self._close(connection)
            return []
        if not data:
            self._close(connection)
        elif connection.unsent:
            self._write(connection)
        return requests

    def _write(self, connection: Connection) -> None:
        try:
            while connection.unsent:
                sent = connection.socket.send(connection.unsent)
                del connection.unsent[:sent]
        except BlockingIOError:
            if len(connection.unsent) > _MAX_UNSENT_BYTES:
                self._close(connection)
                return
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(connection.socket, both, lambda: self._ready(connection))
            return
        except OSError:
            self._close(connection)
            return
        if connection.closing:
            self._close(connection)
        else:
            self._selector.modify(connection.socket, selectors.EVENT_READ, lambda: self._ready(connection))

    def _close(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._connections.pop(connection, None)


def ask(
    path: str, body: Mapping[str, object], on_frame: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Ask a running daemon, in the command line's process; blocks until the last frame, which is returned.

    Raises Unreachable where nobody listens, Silent where somebody does, but does not answer.
    """
    try:
        client = _connected(path)
    except OSError as error:
        raise Unreachable(f"no daemon answers at {path}: {error}") from error
    with client:
        try:
            with suppress(ConnectionError):  # we were turned away; the word that came with that can still be read
                client.sendall(encode(body))
            if on_frame is not None:
                client.settimeout(None)
            return _answers(client, on_frame)
        except TimeoutError as error:
            text = f"the daemon at {path} has not answered for {TIMEOUT_S:.0f} s; its log may say why"
            raise Silent(text) from error
        except (OSError, FrameError) as error:
            raise Silent(f"the daemon at {path} did not answer: {error}") from error


def _connected(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(TIMEOUT_S)
        with short(path) as name:
            client.connect(name)
    except TimeoutError as error:
        client.close()
        raise Silent(f"the daemon at {path} has taken no connection for {TIMEOUT_S:.0f} s") from error
    except OSError:
        client.close()
        raise
    return client


def _answers(client: socket.socket, on_frame: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
    decoder = Decoder()
    while True:
        for frame in decoder.frames():
            if frame.body.get("last"):
                return frame.body
            if on_frame is not None:
                on_frame(frame.body)
        data = client.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("the daemon closed the connection before it had answered")
        decoder.feed(data)


def _peer(accepted: socket.socket) -> str:
    pid, uid, _ = struct.unpack("iII", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"pid {pid} uid {uid}"
