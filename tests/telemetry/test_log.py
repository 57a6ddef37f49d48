"""Log lines: what they look like, and that nothing breaks them."""

import io
import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watcherd.model import JobClass, Source
from watcherd.settings import LogFormat, LogLevel, LogSettings
from watcherd.telemetry.log import UndeclaredEventError, configure, get_logger, lost_lines, plain

log = get_logger()
JSON = LogSettings(format=LogFormat.JSON)
CONSOLE = LogSettings(format=LogFormat.CONSOLE)
HOSTILE = b'a\n2026 [error] daemon.failed\xff\x1b[31m\r\t" \xe2\x80\xae.jpg'


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    handlers = logging.getLogger().handlers[:]
    yield
    configure(JSON, io.StringIO())
    log.info("daemon.ready")  # takes the report of lines that a test has lost
    configure(LogSettings())
    logging.getLogger().handlers[:] = handlers


def lines(settings: LogSettings, **fields: Any) -> list[str]:
    stream = io.StringIO()
    configure(settings, stream)
    log.info("job.done", **fields)
    return stream.getvalue().splitlines()


def fail(message: str) -> None:
    """Log an exception with this text."""
    try:
        _ = {}[message]  # type: ignore[var-annotated]
    except KeyError:
        error = ValueError(message)
        log.exception("daemon.failed", exc_info=error)


def test_a_json_line_has_time_level_event_and_fields_in_this_order() -> None:
    (line,) = lines(JSON, source=b"a.jpg", queue_s=0.12345678, attempt=1, reason=None)
    made = json.loads(line)
    assert list(made) == ["timestamp", "level", "event", "source", "queue_s", "attempt", "reason"]
    assert (made["level"], made["event"], made["source"]) == ("info", "job.done", "a.jpg")
    assert (made["queue_s"], made["timestamp"][-1]) == (0.123457, "Z")


def test_auto_is_json_where_there_is_no_terminal() -> None:
    (line,) = lines(LogSettings(), source=b"a.jpg")
    assert json.loads(line)["event"] == "job.done"


@pytest.mark.parametrize("settings", [JSON, CONSOLE])
def test_no_name_begins_a_line_of_its_own_or_talks_to_the_terminal(settings: LogSettings) -> None:
    (line,) = lines(settings, source=HOSTILE, variants=[HOSTILE], detail=os.fsdecode(HOSTILE))
    assert (line.isprintable(), "daemon.failed" in line) == (True, True)


def test_no_exception_forges_a_line_on_the_console() -> None:
    stream = io.StringIO()
    configure(CONSOLE, stream)
    fail("x\n2026 [error] daemon.failed \x1b[31m")
    first, *others = stream.getvalue().splitlines()
    assert ("daemon.failed" in first, [line for line in others if not line.startswith("    ")]) == (True, [])
    assert "\x1b" not in stream.getvalue()


def test_an_exception_is_a_field_of_a_json_line() -> None:
    stream = io.StringIO()
    configure(JSON, stream)
    fail("x")
    assert json.loads(stream.getvalue())["exception"].splitlines()[-1] == "ValueError: x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        ("caf\udce9.jpg", "caf\\xe9.jpg"),
        ("\ud800", "\\ud800"),
        ("café", "café"),
        (Source(1, b"a/b"), "a/b"),
        (JobClass.UPLOAD, "upload"),
        ((b"a", 1), ["a", 1]),
        ({b"a": {1}}, {"a": [1]}),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (True, True),
        (Path("/x"), "/x"),
    ],
)
def test_a_value_becomes_plain(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_the_level_holds_and_can_be_changed_for_loggers_in_use() -> None:
    stream = io.StringIO()
    configure(LogSettings(format=LogFormat.JSON, level=LogLevel.WARNING), stream)
    log.info("daemon.ready")
    configure(JSON, stream)
    log.info("daemon.draining")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["daemon.draining"]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("daemon.redy", {}, "'daemon.redy' is not declared"),
        ("daemon.failed", {}, "declared as error, not info"),
        ("daemon.ready", {"colour": 1}, "undeclared fields: colour"),
    ],
)
def test_strict_refuses_what_is_not_in_the_table(name: str, fields: dict[str, Any], message: str) -> None:
    configure(JSON, io.StringIO(), strict=True)
    with pytest.raises(UndeclaredEventError, match=message):
        log.info(name, **fields)


def test_strict_takes_what_is_in_the_table() -> None:
    stream = io.StringIO()
    configure(JSON, stream, strict=True)
    log.error("daemon.failed", cause="x", exc_info=False)
    assert json.loads(stream.getvalue())["cause"] == "x"


def test_a_full_disk_costs_lines_and_says_so_afterwards() -> None:
    before = lost_lines()
    with open("/dev/full", "w") as full:
        configure(JSON, full)
        log.info("daemon.ready")
        log.info("daemon.ready")
    configure(JSON, stream := io.StringIO())
    log.info("daemon.draining")
    made = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in made] == ["daemon.draining", "log.lost"]
    assert (made[1]["lines"], lost_lines() - before) == (2, 2)


def test_a_closed_pipe_or_stream_costs_lines_only() -> None:
    before = lost_lines()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        configure(JSON, stream)
        log.info("daemon.ready")
    log.info("daemon.ready")
    assert lost_lines() - before == 2


def test_under_the_journal_each_line_begins_with_its_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure(CONSOLE, stream)
        log.info("daemon.ready")
        fail("x")
    priorities = [line[:3] for line in path.read_text().splitlines()]
    assert priorities == ["<6>"] + ["<3>"] * (len(priorities) - 1)
    assert len(priorities) >= 3


def test_another_stream_than_the_journals_has_no_priorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    path = tmp_path / "log"
    with path.open("w") as stream:
        configure(JSON, stream)
        log.info("daemon.ready")
    assert path.read_text()[0] == "{"


def test_a_librarys_warning_becomes_an_event() -> None:
    stream = io.StringIO()
    configure(JSON, stream)
    configure(JSON, stream)
    library = logging.getLogger("some.library")
    library.info("quiet")
    library.warning("watch %s\nlost", "a")
    (line,) = stream.getvalue().splitlines()
    made = json.loads(line)
    assert (made["event"], made["library"], made["text"]) == ("library.warned", "some.library", "watch a\nlost")


def test_without_configuration_lines_go_to_standard_error() -> None:
    program = textwrap.dedent("""
        from watcherd.telemetry.log import get_logger
        get_logger().debug("daemon.ready")
        get_logger().info("daemon.ready", roots=1)
    """)
    ended = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, json.loads(ended.stderr)["roots"]) == ("", 1)
