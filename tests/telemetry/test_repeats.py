"""The same warning again and again: written a few times, then now and then with the number of those left out."""

import io
import json

import pytest

from watcherd.settings import LogFormat, LogSettings
from watcherd.telemetry.log import configure, get_logger
from watcherd.telemetry.repeats import FREELY, MOST_KNOWN, WINDOW_S, Repeats


def warn(repeats: Repeats, now: float, **fields: object) -> int | None:
    return repeats.left_out("warning", {"event": "root.away", **fields}, now)


def test_the_first_few_are_written_and_then_one_a_window_with_the_number_left_out() -> None:
    repeats = Repeats()
    answers = [warn(repeats, 0.1 * number, root=b"/a", errno=number) for number in range(FREELY + 7)]

    assert answers == [0] * FREELY + [None] * 7
    assert warn(repeats, WINDOW_S, root=b"/a") == 7
    assert warn(repeats, WINDOW_S + 1, root=b"/a") == 0


@pytest.mark.parametrize("other", [{"root": b"/b"}, {"root": b"/a", "reason": "full"}])
def test_another_subject_or_reason_is_another_warning(other: dict[str, object]) -> None:
    repeats = Repeats()
    for _ in range(20):
        warn(repeats, 1.0, root=b"/a")

    assert warn(repeats, 1.0, **other) == 0
    assert warn(repeats, 1.0, root=b"/a") is None


@pytest.mark.parametrize("level", ["debug", "info"])
def test_what_is_no_warning_is_always_written(level: str) -> None:
    repeats = Repeats()

    assert [repeats.left_out(level, {"event": "job.done"}, 1.0) for _ in range(50)] == [0] * 50


def test_what_is_kept_is_bounded() -> None:
    repeats = Repeats()
    for number in range(3 * MOST_KNOWN):
        assert warn(repeats, 1.0, root=b"/%d" % number) == 0

    assert len(repeats._lines) <= MOST_KNOWN


def test_the_log_leaves_repeats_out() -> None:
    stream = io.StringIO()
    configure(LogSettings(format=LogFormat.JSON), stream, strict=True)
    try:
        for number in range(50):
            get_logger().warning("scan.unreadable", root="/a", directory=b"b", errno=number, cause="no")
            get_logger().info("root.watching", root="/a")
    finally:
        configure(LogSettings())
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]

    assert (events.count("scan.unreadable"), events.count("root.watching")) == (FREELY, 50)
