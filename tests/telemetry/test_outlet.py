"""Lines to somebody who does not read them."""

import fcntl
import json
import os
from collections.abc import Iterator

import pytest

from watcherd.settings import LogFormat, LogSettings
from watcherd.telemetry import outlet
from watcherd.telemetry.log import configure, get_logger, lost_lines
from watcherd.telemetry.outlet import Outlet

LINE = b"x" * 999 + b"\n"


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setattr(outlet, "PATIENCE_S", 0.0)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def filled(one: Outlet, line: bytes = LINE) -> int:
    """How many lines it takes until it refuses one."""
    return next(count for count in range(100) if not one.write(line))


def test_a_reader_that_stands_still_holds_nobody_up(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    one = Outlet(writer)

    taken = filled(one)

    assert 1 <= taken <= 9
    assert os.read(reader, 1 << 20) == LINE * taken
    assert one.write(LINE)


def test_a_line_that_was_begun_is_finished_before_the_next_one(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    one = Outlet(writer)
    long = b"a" * 20_000 + b"\n"

    assert one.write(long)  # the part of it that fits
    assert not one.write(LINE)
    came = b""
    while len(came) < len(long):
        came += os.read(reader, 1 << 20)
        one.write(LINE)
    assert came.replace(LINE, b"") == long


def test_a_descriptor_on_which_nobody_listens_is_told() -> None:
    reader, orphan = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        Outlet(orphan).write(LINE)
    os.close(orphan)


def test_the_log_goes_on_and_says_how_many_lines_were_lost(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log, before = get_logger(), lost_lines()
    with os.fdopen(os.dup(writer), "w") as stream:
        configure(LogSettings(format=LogFormat.JSON), stream)
        log.info("daemon.ready")  # takes the report of lines that another test has lost
        os.read(reader, 1 << 20)
        for number in range(200):
            log.info("daemon.stopped", exit_code=0, uptime_s=float(number))
        came = os.read(reader, 1 << 20)
        log.info("daemon.ready")
        came += os.read(reader, 1 << 20)
        configure(LogSettings())

    lines = [json.loads(line) for line in came.splitlines()]
    lost = lost_lines() - before
    assert 0 < lost < 200
    assert [line["event"] for line in lines if line["event"] == "log.lost"] == ["log.lost"]
    assert sum(line.get("lines", 0) for line in lines) == lost
    assert len(lines) == 200 - lost + 2
