"""What the machine has: cores and memory that this process may use, cgroup limits included."""

import os
import time
from collections.abc import Callable, Iterator

from watcherd.pool.sizing import Machine

_CGROUP = "/sys/fs/cgroup"
_LOOKS_APART_S = 1.0


def look() -> Machine:
    """The machine as it is now."""
    return Machine(cores=len(os.sched_getaffinity(0)), available_bytes=min(_available()))


def _available() -> Iterator[int]:
    """What could be had: of the machine's memory, and of each limit that a cgroup above us sets."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    yield int(fields["MemAvailable"].split()[0]) * 1024
    with open("/proc/self/cgroup", encoding="ascii") as lines:
        groups = [line.rstrip("\n").split(":", 2) for line in lines]
    for _, controllers, path in groups:
        if not controllers:
            yield from _limits(_CGROUP + path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            yield from _limits(f"{_CGROUP}/memory{path}", "memory.limit_in_bytes", "memory.usage_in_bytes")


def _limits(folder: str, limit: str, usage: str) -> Iterator[int]:
    while folder.startswith(_CGROUP) and folder != _CGROUP:
        most, used = _number(f"{folder}/{limit}"), _number(f"{folder}/{usage}")
        if most is not None and used is not None:
            yield max(0, most - used)
        folder = os.path.dirname(folder)


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


class OutOfMemory:
    """Whether the kernel has ended a process for memory since the last question, here or in any cgroup (proc(5))."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._before = _oom_kills()

    def look(self) -> None:
        """Take note of the count now: what struck before is not about what comes. To be called as often as one likes.

        The kernel counts through all its cores for an answer (0.2 ms), so it is asked once a second at the most.
        """
        if self._clock() - self._looked >= _LOOKS_APART_S:
            self._looked = self._clock()
            self._before = _oom_kills()

    def has_struck(self) -> bool:
        """A SIGKILL that nobody owns up to, and a count that has risen, belong together as far as can be told."""
        before, self._before = self._before, _oom_kills()
        return self._before > before


def _oom_kills() -> int:
    with open("/proc/vmstat", encoding="ascii") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
