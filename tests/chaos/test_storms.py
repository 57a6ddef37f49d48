"""Storms: workers killed at random, again and again, over a backlog of small pictures.

`WATCHERD_CHAOS_FULL=1` asks for 500 signals over 2,000 pictures; without it there are fewer of both. What is counted is
what the daemon's log and ledger say, and what the kernel says of its processes, descriptors and memory.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.chaos.audit import audit, temporary_files
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import fill

FULL = os.environ.get("WATCHERD_CHAOS_FULL") == "1"
SIGNALS, PICTURES = (500, 2_000) if FULL else (60, 240)
SIZE = (800, 600)
TIMEOUT_S = 1800 if FULL else 300
OF_A_WORKER = 4
"""Descriptors that the daemon has for each worker: its socket, its pidfd, its standard error, its figures in /proc."""
FLAT_BYTES = 16 << 20
"""What the daemon may have grown by between the first fifth of a storm and its end."""
CONFIG = """
[retry]
first_delay_s = 0.2
[pool]
timeout_s = 2
boot_timeout_s = 5
"""
KILLS = (signal.SIGKILL,)
MIXED = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP)


@dataclass(slots=True)
class Seen:
    """What was seen from outside during a storm."""

    sent: Counter[str] = field(default_factory=Counter)
    pids: set[int] = field(default_factory=set)
    rss_bytes: list[int] = field(default_factory=list)


class Tail:
    """How many attempts have ended well, read from the log as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._half = path, 0, b""
        self.rendered = 0

    def read(self) -> int:
        with self._path.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        self._at += len(new)
        *lines, self._half = (self._half + new).split(b"\n")
        self.rendered += sum(b'"outcome": "rendered"' in line for line in lines)
        return self.rendered


def storm(daemon: Daemon, signals: Sequence[signal.Signals], chance: random.Random) -> Seen:
    """Send so many signals to random workers, evenly over the backlog."""
    seen, tail = Seen(), Tail(daemon.folder / "log-2.jsonl")
    for number in range(SIGNALS):
        goal = number * (PICTURES - 10) // SIGNALS
        eventually(lambda goal=goal: tail.read() >= goal, within_s=90, what=f"{goal} are done", every_s=0.005)
        time.sleep(chance.uniform(0.0, 0.02))
        worker = eventually(lambda: _one_of(daemon, chance), within_s=20, what="there is a worker", every_s=0.01)
        what = chance.choice(signals)
        try:
            worker.send_signal(what)
        except psutil.NoSuchProcess:
            continue
        seen.sent[what.name] += 1
        seen.pids.add(worker.pid)
        seen.rss_bytes.append(psutil.Process(daemon.pid).memory_info().rss)
    return seen


def _one_of(daemon: Daemon, chance: random.Random) -> psutil.Process | None:
    workers = daemon.workers()
    return chance.choice(workers) if workers else None


def other_descriptors(daemon: Daemon) -> int:
    """The daemon's descriptors that are not for one of its workers."""
    return psutil.Process(daemon.pid).num_fds() - OF_A_WORKER * len(daemon.workers())


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("signals", [KILLS, MIXED], ids=["kills", "mixed"])
def test_a_storm_over_a_backlog_loses_nothing_and_leaves_nothing(
    watched: Path, daemon_at: Callable[..., Daemon], chance: random.Random, signals: Sequence[signal.Signals]
) -> None:
    daemon = daemon_at(watched, config=CONFIG).start()
    daemon.rested(sources=0)
    before = other_descriptors(daemon)
    assert daemon.stop() == 0
    sources = fill(watched, PICTURES, size=SIZE)

    daemon.start()
    started = time.monotonic()
    seen = storm(daemon, signals, chance)
    counts = daemon.rested(sources=PICTURES, within_s=300)
    seconds = time.monotonic() - started

    ended = daemon.lines("worker.exited")
    grown = seen.rss_bytes[-1] - seen.rss_bytes[len(seen.rss_bytes) // 5]
    hit = sum(bool(line["source"]) for line in ended)
    print(
        f"{dict(seen.sent)} to {len(seen.pids)} workers within {seconds:.0f} s, {hit} of them at work; "
        f"{dict(counts)}; {dict(daemon.outcomes())}; grown by {grown >> 10} KiB"
    )
    _nothing_is_lost(daemon, counts, sources, with_faults=signals is not KILLS)
    _nothing_is_left(daemon, seen, before, stopped=signal.SIGSTOP in signals)
    assert grown < FLAT_BYTES
    assert audit(watched, daemon.state).problems == []
    assert temporary_files(watched) == []
    assert daemon.stop() == 0


def _nothing_is_lost(daemon: Daemon, counts: dict[str, int], sources: Sequence[Path], *, with_faults: bool) -> None:
    """Each source is done, or in quarantine for what was done to its worker; each attempt has one line."""
    quarantined = daemon.lines("job.quarantined")
    assert counts["done"] + counts["quarantined"] == sum(counts.values()) == len(sources)
    assert len(quarantined) == counts["quarantined"]
    assert {line["reason"] for line in quarantined} <= ({"crashed", "timed_out"} if with_faults else set())
    attempts = Counter(line["attempt"] for line in daemon.lines("job.done"))
    assert set(attempts.values()) == {1}
    rendered = daemon.rendered()
    assert set(rendered.values()) == {1}
    assert set(rendered) | {line["source"] for line in quarantined} == set(map(str, sources))
    assert set(rendered) & {line["source"] for line in quarantined} == set()


def _nothing_is_left(daemon: Daemon, seen: Seen, descriptors: int, *, stopped: bool) -> None:
    """No zombie, no descriptor, no worker whose end was not told. One that was stopped without work waits stopped."""
    by_status = {child.pid: child.status() for child in psutil.Process(daemon.pid).children()}
    assert psutil.STATUS_ZOMBIE not in by_status.values()
    assert stopped or set(by_status) & seen.pids == set()
    assert len({line["pid"] for line in daemon.lines("worker.exited")}) == len(daemon.lines("worker.exited"))
    what = f"{descriptors} descriptors; the last status' connection may still be open"
    eventually(lambda: other_descriptors(daemon) <= descriptors, within_s=10, what=what)
