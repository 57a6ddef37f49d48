"""Reloads: reading the configuration again while the daemon runs, and what comes of it.

Responsible for: one reading at a time, in a thread of its own (it looks at folders, and the loop looks at none); its
time limit; telling the log, the service manager, and whoever asked. A file that is wrong changes nothing.
Not responsible for: reading (`origin.py`), nor for applying what was read (`refitting.py`).
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcherd.config import ConfigError
from watcherd.daemon.control import Connection
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.reload.origin import Origin
from watcherd.daemon.reload.refitting import Refitted
from watcherd.daemon.statedir import Busy
from watcherd.settings import Settings
from watcherd.telemetry.log import get_logger
from watcherd.telemetry.notify import Notifier

log = get_logger()

READING_LIMIT_S = 30.0
"""So long the folders of a configuration may take to answer (chosen: slower than slow disks)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The configuration was read, or something is wrong with it: (file, line, message)."""

    number: int
    settings: Settings | None
    wrong: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReload:
    """How the last reload ended. `errors` is empty where it did what was asked; `restart` names what has to wait."""

    at_s: float
    errors: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Reloads:
    """The reloads of one run. `seen` tells the roots and mirrors that may be missing (real paths)."""

    origin: Origin
    apply: Callable[[Settings, Moment], Refitted]
    post: Callable[[object], None]
    notifier: Notifier
    summary: Callable[[], str]
    seen: Callable[[], frozenset[str]]
    last: LastReload | None = None
    _number: int = 0
    _since: float | None = None
    _waiting: list[Connection] = field(default_factory=list)
    _next: list[Connection] | None = None

    def ask(self, connection: Connection | None, moment: Moment) -> None:
        """Begin a reload, or have another one follow: the file may have changed after it was read."""
        asking = [connection] if connection is not None else []
        if self._since is not None:
            self._next = [*(self._next or []), *asking]
            return
        self._waiting = asking
        self._since = moment.now
        self._number += 1
        self.notifier.reloading()
        arguments = (self._number, self.seen())
        threading.Thread(target=self._read, args=arguments, name="config-reader", daemon=True).start()

    def came(self, item: object, moment: Moment) -> list[Effect]:
        """The reading has ended: apply it, or refuse it."""
        if not isinstance(item, Read) or item.number != self._number or self._since is None:
            return []  # it took too long, and that was said
        if item.settings is None:
            return self._refused(item.wrong, moment)
        try:
            refitted = self.apply(item.settings, moment)
        except Busy as error:
            return self._refused(((self.origin.file or "", 0, str(error)),), moment)
        self._reloaded(refitted, item.settings, moment)
        return [*refitted.effects]

    def due(self, moment: Moment) -> float | None:
        """Give a reading up that takes too long."""
        if self._since is None:
            return None
        if moment.now - self._since < READING_LIMIT_S:
            return self._since + READING_LIMIT_S
        message = f"a folder that it names did not answer for {READING_LIMIT_S:.0f} s"
        self._refused(((self.origin.file or "", 0, message),), moment)
        return None

    # ---- the thread

    def _read(self, number: int, seen: frozenset[str]) -> None:
        wrong: tuple[tuple[str, int, str], ...] = ()
        settings = None
        try:
            settings = self.origin.read(seen=seen)
        except ConfigError as error:
            wrong = tuple((problem.file, problem.line, problem.message) for problem in error.errors)
        except Exception as error:  # noqa: BLE001  the loop has to hear of it: no silent thread
            wrong = ((self.origin.file or "", 0, f"cannot be read: {type(error).__name__}: {error}"),)
        self.post(Read(number=number, settings=settings, wrong=wrong))

    # ---- ends

    def _refused(self, wrong: tuple[tuple[str, int, str], ...], moment: Moment) -> list[Effect]:
        for file, line, message in wrong:
            log.error("config.refused", file=file, line=line, cause=message, hint="the settings in force stay")
        texts = tuple(f"{file}:{line}: {message}" if line else f"{file}: {message}" for file, line, message in wrong)
        self.last = LastReload(at_s=moment.wall_s, errors=texts)
        self._answer({"error": "\n".join(texts), "errors": list(texts)}, moment)
        return []

    def _reloaded(self, refitted: Refitted, settings: Settings, moment: Moment) -> None:
        paths = {
            "added": [os.fsdecode(path) for path in refitted.added],
            "removed": [os.fsdecode(path) for path in refitted.removed],
            "rescanned": [os.fsdecode(path) for path in refitted.rescanned],
        }
        names = {"changed": list(refitted.changed), "restart": list(refitted.restart)}
        log.info(
            "config.reloaded",
            file=self.origin.file,
            roots=len(settings.roots),
            variants=[variant.name for variant in settings.variants],
            elapsed_s=round(moment.now - (self._since or moment.now), 3),
            **paths,
            **names,
        )
        self.last = LastReload(at_s=moment.wall_s, restart=refitted.restart)
        self._answer({"reloaded": True, **paths, **names}, moment)

    def _answer(self, body: Mapping[str, object], moment: Moment) -> None:
        for connection in self._waiting:
            connection.send(body, last=True)
        self._waiting, self._since = [], None
        self.notifier.ready(self.summary())
        following, self._next = self._next, None
        if following is not None:
            self.ask(None, moment)
            self._waiting = following
