"""The metrics endpoint: a small HTTP server on a listening socket, and the file that node_exporter reads.

Responsible for: `GET /metrics` in a thread of its own, one scraper at a time, and replacing the text file whole. Not
responsible for: the readings (asked for, from the loop's thread), nor for making the socket.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import SimpleQueue

from watcherd.telemetry.exposition import exposition
from watcherd.telemetry.metrics import Reading

REQUEST_WITHIN_S = 8.0
"""A scraper that has not asked and taken its answer by then is dropped (chosen: below Prometheus' own 10 s)."""

_LAST_WRITE_S = 2.0


class Unanswered(Exception):  # noqa: N818  a condition, told to the scraper
    """The loop did not give its readings in time."""


class Endpoint:
    """Serves what `ask` gives, on a socket that listens already and is closed with us.

    `ask` is called in our thread and may block for a while; it raises Unanswered. `within_s` is for a whole request.
    """

    def __init__(
        self, listener: socket.socket, ask: Callable[[], Iterable[Reading]], *, within_s: float = REQUEST_WITHIN_S
    ) -> None:
        listener.setblocking(True)  # else `handle_request` does not wait for anybody
        self._listener = listener
        self._server = _Server(listener, ask, within_s)
        self._is_closed = False
        self.thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Serve nobody any more. A request that is being served may still get its answer."""
        self._is_closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread

    def _serve(self) -> None:
        while not self._is_closed:
            self._server.handle_request()
        self._server.server_close()


class _Server(HTTPServer):
    address_family = socket.AF_UNIX  # of a socket that is put away at once: every sandbox allows this family

    def __init__(self, listener: socket.socket, ask: Callable[[], Iterable[Reading]], within_s: float) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.ask = ask
        self.within_s = within_s

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper has gone, or is none: its trouble, and no reason for a traceback on our standard error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "watcherd"
    sys_version = ""

    def setup(self) -> None:
        """A socket's own timeout begins anew with each byte, so the whole request gets a deadline."""
        super().setup()
        self._deadline = threading.Timer(self.server.within_s, self._drop)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        """The scraper has its answer, or has gone."""
        self._deadline.cancel()
        super().finish()

    def _drop(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)  # wakes who reads or writes

    def do_GET(self) -> None:
        if self.path.partition("?")[0] not in {"/metrics", "/"}:
            self._send(404, b"the metrics are at /metrics\n", "text/plain; charset=utf-8")
            return
        try:
            readings = self.server.ask()
        except Unanswered as error:
            self._send(503, f"{error}\n".encode(), "text/plain; charset=utf-8")
            return
        self._send(200, *exposition(readings, accept=self.headers.get("Accept", "")))

    def _send(self, code: int, body: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line each."""


class TextFile:
    """Replaces a file with the metrics' text whenever readings are given to it, in a thread of its own.

    `trouble` is why the last replacement did not succeed; None where it did. When it is closed, the file goes: by the
    same thread, after what that is still writing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.trouble: Exception | None = None
        self._readings: SimpleQueue[list[Reading] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="metrics-file", daemon=True)
        self.thread.start()

    def write(self, readings: list[Reading]) -> None:
        """Have the file replaced soon; left out where the disk has not even taken the one before."""
        if self._readings.empty():
            self._readings.put(readings)

    def close(self) -> None:
        """Take the file away, and write nothing more. Does not wait long for a disk that hangs."""
        self._readings.put(None)
        self.thread.join(_LAST_WRITE_S)

    def _work(self) -> None:
        while (readings := self._readings.get()) is not None:
            try:
                text, _ = exposition(readings)
                _replace(self.path, text)
            except Exception as error:  # noqa: BLE001  of any kind: it is told by who gives the readings
                self.trouble = error
            else:
                self.trouble = None
        with suppress(OSError):
            os.unlink(self.path)


def _replace(path: str, text: bytes) -> None:
    """The collector reads the folder at any moment: the new text is there whole, or not at all."""
    unfinished = f"{path}.{os.getpid()}"
    try:
        with open(unfinished, "wb") as file:
            file.write(text)
        os.chmod(unfinished, 0o644)  # node_exporter is another user
        os.replace(unfinished, path)
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
