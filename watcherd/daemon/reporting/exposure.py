"""How the daemon's figures get out: the metrics endpoint, and node_exporter's text file.

Responsible for: when they go out, and for answering scrapers in a pass of the loop, so that nobody else reads its
state. Not responsible for: the figures (`totals.py`, `readings.py`), HTTP (`telemetry/endpoint.py`), the
log's line (`metrics_line.py`).
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.reload.reloads import LastReload
from watcherd.daemon.reporting.metrics_line import resident_bytes
from watcherd.daemon.reporting.readings import readings
from watcherd.daemon.sockets import listen_at
from watcherd.daemon.timer import Every
from watcherd.pool.processes import Workers
from watcherd.settings import MetricsSettings
from watcherd.telemetry.endpoint import Endpoint, TextFile, Unanswered
from watcherd.telemetry.log import get_logger
from watcherd.telemetry.metrics import Reading

log = get_logger()

ANSWER_WITHIN_S = 4.0
"""A loop that takes longer for a pass is ill, which is then what the scraper is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Scrape:
    """Somebody wants the readings."""

    reply: SimpleQueue[list[Reading]] = field(default_factory=SimpleQueue)


class Exposure:
    """What others can read the figures from.

    `post` leaves word for the loop, from any thread; `last_read` says how the last reload ended, `is_stalled` whether
    the ledger cannot be written just now.
    """

    def __init__(
        self,
        *,
        core: Core,
        workers: Workers,
        socket_path: str,
        post: Callable[[object], None],
        last_read: Callable[[], LastReload | None],
        is_stalled: Callable[[], bool],
    ) -> None:
        self._core = core
        self._last_read = last_read
        self._is_stalled = is_stalled
        self._workers = workers
        self._post = post
        self._started_at_s = time.time()
        self._timer = Every(core.settings.daemon.metrics_interval_s)
        settings = core.settings.metrics
        self._socket_path = socket_path if settings.socket else ""
        self._endpoints = [Endpoint(listener, self._ask) for listener in _listeners(self._socket_path, settings)]
        self._file = TextFile(settings.textfile) if settings.textfile else None
        self._trouble = ""

    def close(self) -> None:
        """Show nothing more; the figures of a daemon that has ended are taken away."""
        for endpoint in self._endpoints:
            endpoint.close()
        if self._socket_path:
            with suppress(OSError):
                os.unlink(self._socket_path)
        if self._file:
            self._file.close()

    # ---- in other threads

    def _ask(self) -> list[Reading]:
        scrape = Scrape()
        self._post(scrape)
        try:
            return scrape.reply.get(timeout=ANSWER_WITHIN_S)
        except Empty as error:
            raise Unanswered(f"the daemon's loop did not answer within {ANSWER_WITHIN_S:g} s") from error

    # ---- in the loop

    def scraped(self, item: object, moment: Moment) -> list[Effect]:
        """Answer a scraper."""
        if isinstance(item, Scrape):
            item.reply.put(self._readings(moment))
        return []

    def due(self, moment: Moment) -> float | None:
        """Write the file when it is time."""
        if self._file is None:
            return None
        self._timer.change(self._core.settings.daemon.metrics_interval_s, moment.now)
        if self._timer.is_due(moment.now):
            self._look_at(self._file)
            self._file.write(self._readings(moment))
        return self._timer.deadline()

    def _readings(self, moment: Moment) -> list[Reading]:
        return readings(
            self._core,
            moment,
            resident_bytes=resident_bytes(self._workers),
            started_at_s=self._started_at_s,
            last_read=self._last_read(),
            is_stalled=self._is_stalled(),
        )

    def _look_at(self, file: TextFile) -> None:
        """Say once that the file cannot be written, and once more when the reason is another."""
        trouble = str(file.trouble or "")
        if trouble and trouble != self._trouble:
            hint = "let the folder be there and writable for the daemon's user, or change [metrics] textfile"
            log.warning("metrics.unwritten", path=file.path, cause=trouble, hint=hint)
        self._trouble = trouble


def _listeners(socket_path: str, settings: MetricsSettings) -> list[socket.socket]:
    """The sockets to serve. One that cannot be had costs only itself, with a word about it."""
    listeners = []
    if socket_path:
        hint = "let the state directory be writable for the daemon's user, or turn off [metrics] socket"
        listeners.append(_had(socket_path, lambda: listen_at(socket_path), hint))
    if settings.port:
        address = ("127.0.0.1", settings.port)
        hint = "another program has this port, or a sandbox of the service manager forbids the family"
        listeners.append(_had(f"127.0.0.1:{settings.port}", lambda: socket.create_server(address, backlog=16), hint))
    return [listener for listener in listeners if listener]


def _had(subject: str, make: Callable[[], socket.socket], hint: str) -> socket.socket | None:
    try:
        return make()
    except OSError as error:
        log.warning("metrics.unserved", subject=subject, cause=str(error), hint=hint)
        return None
