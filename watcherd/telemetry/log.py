"""How log lines are written: JSON, or readable on a terminal; always one line for one event.

Responsible for: structlog's set-up, the look of values, the level, the writing. Not responsible for: which events there
are (`telemetry/events.py`).

Loggers are cached by the modules that use them, so `configure` changes what stands behind them: it may be called again,
for instance when a reload changes the level. Without it, events from INFO up go to standard error.

A name in a log line was chosen by a stranger: nothing that is not printable leaves here unescaped, so a file name can
neither begin a line of its own nor talk to a terminal. A stream that refuses a line (full disk, closed pipe) costs that
line and nothing else. The same warning again and again is written now and then (`repeats.py`).
"""

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TextIO

import structlog

from watcherd.model import Source
from watcherd.settings import LogFormat, LogLevel, LogSettings
from watcherd.telemetry.events import ALWAYS, EVENTS
from watcherd.telemetry.outlet import Outlet
from watcherd.telemetry.repeats import Repeats

Fields = MutableMapping[str, Any]

_SEVERITY = {LogLevel.DEBUG: 10, LogLevel.INFO: 20, LogLevel.WARNING: 30, LogLevel.ERROR: 40}
_PRIORITY = {LogLevel.DEBUG: "<7>", LogLevel.INFO: "<6>", LogLevel.WARNING: "<4>", LogLevel.ERROR: "<3>"}


class UndeclaredEventError(ValueError):
    """An event, its level or a field is not in the table; only raised when strict."""


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger; cheap to hold at the top of a module, and never stale."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def configure(settings: LogSettings, stream: TextIO | None = None, *, strict: bool = False) -> None:
    """Set up the log of this process, on `stream` or on standard error, whatever that is at the time.

    `strict` is for tests: an event that is not in the table then raises UndeclaredEventError where it is logged.
    """
    _target.open(stream)
    as_json = settings.format is LogFormat.JSON or (settings.format is LogFormat.AUTO and not _target.is_terminal)
    _rules.severity = _SEVERITY[settings.level]
    _rules.strict = strict
    _rules.repeats = Repeats()
    _rules.render = _json if as_json else _Console(colours=_target.is_terminal and not os.environ.get("NO_COLOR"))
    _listen_to_libraries()


def is_heard(level: LogLevel) -> bool:
    """Whether events of this level are written: to be asked before one that takes work to put together."""
    return _SEVERITY[level] >= _rules.severity


def lost_lines() -> int:
    """How many lines could not be written since the start."""
    return _target.lost


# ------------------------------------------------------------------------------------------------------- processing


class _Rules:
    """What `configure` last said; read for every event."""

    severity = _SEVERITY[LogLevel.INFO]
    strict = False
    render: Any = None
    repeats = Repeats()


def _process(_logger: object, level: str, event: Fields) -> str:
    """The only processor: from the fields of an event to its line."""
    if _SEVERITY[LogLevel(level)] < _rules.severity:
        raise structlog.DropEvent
    if _rules.strict:
        check(level, event)
    repeated = _rules.repeats.left_out(level, event, time.monotonic())
    if repeated is None:
        raise structlog.DropEvent
    if repeated:
        event["repeated"] = repeated
    if event.get("exc_info"):
        structlog.processors.format_exc_info(None, level, event)  # becomes the field "exception"
    name = event.pop("event", "")
    moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    fields = {key: plain(value) for key, value in event.items()}
    line: str = _rules.render({"timestamp": moment, "level": level, "event": plain(name), **fields})
    if _target.is_journal:
        return "\n".join(_PRIORITY[LogLevel(level)] + part for part in line.split("\n"))
    return line


def check(level: str, event: Mapping[str, Any]) -> None:
    """Hold one event against the table.

    Raises UndeclaredEventError where its name, its level or one of its fields is not declared.
    """
    name = event.get("event")
    declared = EVENTS.get(str(name))
    if declared is None:
        raise UndeclaredEventError(f"the event {name!r} is not declared in telemetry/events.py")
    if declared.level != level:
        raise UndeclaredEventError(f"{name} is declared as {declared.level}, not {level}")
    unknown = event.keys() - declared.fields - ALWAYS - {"event"}
    if unknown:
        raise UndeclaredEventError(f"{name} has undeclared fields: {', '.join(sorted(unknown))}")


def plain(value: object) -> object:
    r"""A value as JSON knows it. Paths become text; bytes in them that are no UTF-8 show as `\xNN`."""
    if isinstance(value, Enum):
        value = value.value
    elif isinstance(value, Source):
        value = value.path
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if value.isprintable() else _readable(value)
    if isinstance(value, float):
        return round(value, 6) if abs(value) < float("inf") else str(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return plain(str(value))


def _readable(text: str) -> str:
    """Text without lone surrogates (they come from names that are not UTF-8, and break strict readers of JSON)."""
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.encode("utf-8", "backslashreplace").decode()


def _json(line: Fields) -> str:
    return json.dumps(line)


class _Console:
    """`12:00:01 info     job.done  source=a.jpg`, in colour where the terminal shows it."""

    def __init__(self, *, colours: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False)

    def __call__(self, line: Fields) -> str:
        exception = str(line.pop("exception", ""))
        shown = {key: self._shown(value) for key, value in line.items()}
        lines = [str(self._render(None, "", shown)), *exception.splitlines()]
        return "\n    ".join(_escaped(part) if number else part for number, part in enumerate(lines))

    @staticmethod
    def _shown(value: object) -> object:
        if isinstance(value, list | dict):
            value = json.dumps(value, ensure_ascii=False)
        return _escaped(value) if isinstance(value, str) else value


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# ---------------------------------------------------------------------------------------------------------- writing


class _Target:
    """Where lines go: whole ones, without a buffer that would keep a refused one."""

    lost = 0
    is_terminal = False
    is_journal = False

    def __init__(self) -> None:
        self._stream: TextIO | None = None
        self._follows_stderr = True
        self._outlet: Outlet | None = None
        self._unreported = 0

    def open(self, stream: TextIO | None) -> None:
        self._follows_stderr = stream is None
        stream = self._stream = stream or sys.stderr
        self._outlet, self.is_terminal, self.is_journal = None, False, False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            descriptor = stream.fileno()
            self.is_terminal, self.is_journal = os.isatty(descriptor), _is_journal(descriptor)
            self._outlet = Outlet(descriptor)

    def msg(self, line: str) -> None:
        if self._follows_stderr and self._stream is not sys.stderr:
            self.open(None)
        if not self._write(line):
            self.lost += 1
            self._unreported += 1
        elif self._unreported:
            lines, self._unreported = self._unreported, 0
            log.warning("log.lost", lines=lines)

    debug = info = warning = error = msg

    def _write(self, line: str) -> bool:
        if self._stream is None or self._stream.closed:
            return False
        try:
            if self._outlet is not None:
                return self._outlet.write((line + "\n").encode("utf-8", "backslashreplace"))
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # full, gone, or closed
            return False
        return True


def _is_journal(descriptor: int) -> bool:
    """Whether systemd's journal reads this descriptor (sd-daemon(3), `$JOURNAL_STREAM`)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    found = os.fstat(descriptor)
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class _FromLibraries(logging.Handler):
    """Warnings that libraries write to Python's own logging become events."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log.warning("library.warned", library=record.name, text=record.getMessage())
        except Exception:  # noqa: BLE001 - a library's thread must not end because of what it has to say
            self.handleError(record)


def _listen_to_libraries() -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _FromLibraries) for handler in root.handlers):
        root.addHandler(_FromLibraries(logging.WARNING))


_rules = _Rules()
_rules.render = _json
_target = _Target()
structlog.configure(
    processors=[_process],
    wrapper_class=structlog.make_filtering_bound_logger(0),
    logger_factory=lambda *_: _target,
    cache_logger_on_first_use=True,
)
log = get_logger()
