"""The status screen: what a person sees at a glance, made of what the daemon and the ledger tell."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.world import World
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.status_text import length, overall_text, queue_text
from watcherd.daemon.reporting.status import Status
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Reason, Source, State
from watcherd.watch.mountpoints import LinkLeft, PointSeen

LEDGER: dict[str, Any] = {
    "sources": {"done": 12_345, "rejected": 3, "pending": 0},
    "roots": [{"path": "/photos", "sources": {"done": 12_345, "rejected": 3}}],
    "failures_by_reason": [{"state": "rejected", "reason": "damaged", "sources": 3}],
    "failures": [
        {"source": "/photos/a\n.jpg", "state": "rejected", "reason": "damaged", "detail": "it is torn"},
    ],
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as one:
        yield one


def told(world: World, **daemon: Any) -> dict[str, Any]:
    now = Status(world.core).told(world.moment)
    shell = {
        "uptime_s": 90_061.0,
        "pauses": {"paused_until_s": {}, "quiet": False},
        "reload": None,
        "ledger": {"writable": True, "reason": ""},
    }
    return LEDGER | {"daemon": now | shell | daemon}


def test_one_screen_tells_how_it_goes(world: World) -> None:
    for name in (b"a", b"b", b"c", b"d", b"e"):
        world.slow.add(name)
        world.put(name + b".jpg", name)
    world.run(2)
    lines = overall_text(told(world)).splitlines()

    assert lines[0].startswith(f"daemon: pid {os.getpid()}, up for 1 d 1 h; 2 working")
    assert "root: /photos [online], scan (its watches are not in place yet), 12,348 sources" in lines
    assert "queue: 1 upload (oldest 1.5 s); 0 settling, 0 waiting for a retry or for memory" in lines
    assert "pace: 0.0 a second; 5 left: nothing has ended in the last minutes" in lines
    assert "workers: 2 of 2" in lines
    assert sum("rendering /photos/" in line for line in lines) == 2
    assert "sources: 12,345 done, 3 rejected" in lines
    assert "not done: 3 rejected (damaged)" in lines
    assert lines[-1] == "  rejected: /photos/a\\n.jpg: damaged: it is torn"


def test_a_root_that_is_away_says_why_and_how_it_is_seen(world: World) -> None:
    world.carry_out(world.core.conditions.emptied(world.root, world.moment))
    (line,) = [line for line in overall_text(told(world)).splitlines() if line.startswith("root:")]

    assert "[offline: " in line
    assert "scan (its watches are not in place yet)" in line


def test_a_disk_below_a_root_that_is_not_mounted_is_named(world: World) -> None:
    seen = PointSeen(root=world.root, directory=b"card\n", identity="", is_there=False)
    world.report(seen)
    world.settle_down()
    (line,) = [line for line in overall_text(told(world)).splitlines() if line.startswith("root:")]
    assert line.endswith("; its disk is away: card\\n")
    world.report(replace(seen, is_there=True))
    world.settle_down()
    assert "disk" not in overall_text(told(world))


def test_pauses_and_reloads_that_failed_are_shown(world: World) -> None:
    until = 1_800_000_000.0
    daemon = told(
        world,
        reload={"at_s": 1.0, "errors": ["c.toml:3: no"], "restart": []},
        pauses={"paused_until_s": {"/photos": until}, "quiet": True},
    )
    text = overall_text(daemon)

    assert "\n  c.toml:3: no\n" in text
    assert f"\n  paused until {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(until))}: /photos\n" in text


@pytest.mark.parametrize(
    ("daemon", "expected"),
    [(None, "daemon: not running"), ({"error": "the daemon is busy"}, "daemon: the daemon is busy")],
)
def test_without_an_answer_the_ledger_still_tells(daemon: dict[str, Any] | None, expected: str) -> None:
    text = overall_text(LEDGER | {"daemon": daemon})

    assert text.startswith(expected + "\n")
    assert "root: /photos, 12,348 sources" in text
    with pytest.raises(Stop) as stopped:
        queue_text(LEDGER | {"daemon": daemon})
    assert stopped.value.exit_code == Exit.UNREACHABLE


def test_a_daemon_that_cannot_be_reached_is_not_said_to_be_none() -> None:
    text = overall_text(LEDGER | {"daemon": None, "holder": "708"})
    assert text.startswith("daemon: none answers, but process 708 works here")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (59.9, "59 s"), (61, "1 min 1 s"), (3_600, "1 h 0 min"), (93_600, "1 d 2 h")],
)
def test_lengths_of_time_are_short(seconds: float, expected: str) -> None:
    assert length(seconds) == expected


def test_failures_are_counted_by_reason(tmp_path: Path) -> None:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        root = ledger.root_id(b"/photos")
        for number, reason in enumerate((Reason.DAMAGED, Reason.DAMAGED, Reason.UNSUPPORTED)):
            ledger.record(Entry(source=Source(root, b"%d.jpg" % number), state=State.REJECTED, reason=reason))
        ledger.record(Entry(source=Source(root, b"q.jpg"), state=State.QUARANTINED, reason=Reason.CRASHED))
        ledger.record(Entry(source=Source(root, b"d.jpg"), state=State.DONE))

        assert ledger.failures_by_reason() == [
            (State.REJECTED, "damaged", 2),
            (State.REJECTED, "unsupported", 1),
            (State.QUARANTINED, "crashed", 1),
        ]


def test_links_that_are_not_followed_are_told_some_of_them(world: World) -> None:
    for number in range(30):
        world.report(LinkLeft(root=world.root, link=b"way %02d" % number, why="it leads to its own root"))
    world.settle_down()
    (line,) = [line for line in overall_text(told(world)).splitlines() if line.startswith("root: /photos ")]
    assert "; link way 00 is not followed: it leads to its own root;" in line
    assert line.count("is not followed") == 20
