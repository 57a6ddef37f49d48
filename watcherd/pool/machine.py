"""What the machine has: cores and memory that this process may use, cgroup limits included."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from watcherd.pool.sizing import Machine

_CGROUP = "/sys/fs/cgroup"
_LOOKS_APART_S = 1.0


def look() -> Machine:
    """The machine as it is now."""
    return Machine(cores=len(os.sched_getaffinity(0)), available_bytes=min(_available()))


@dataclass(frozen=True, slots=True)
class _Names:
    """What a version of cgroups calls its files, and the lines in them (cgroup-v2.rst, cgroup-v1/memory.rst)."""

    limit: str
    usage: str
    cache: tuple[str, str]
    kills: str


_V1 = _Names(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
    "memory.oom_control",
)
_V2 = _Names("memory.max", "memory.current", ("inactive_file", "active_file"), "memory.events")


def _available() -> Iterator[int]:
    """What could be had: of the machine's memory, and of each limit that a cgroup above us sets."""
    yield _lines("/proc/meminfo").get("MemAvailable:", 0) * 1024
    for folder, names in _groups():
        yield from _limits(folder, names)


def _groups() -> Iterator[tuple[str, _Names]]:
    """The cgroups that account for our memory: their folders, and how their files are called."""
    with open("/proc/self/cgroup", encoding="ascii") as lines:
        groups = [line.rstrip("\n").split(":", 2) for line in lines]
    for _, controllers, path in groups:
        if not controllers:
            yield _CGROUP + path.rstrip("/"), _V2
        elif "memory" in controllers.split(","):
            yield f"{_CGROUP}/memory{path.rstrip('/')}", _V1


def _limits(folder: str, names: _Names) -> Iterator[int]:
    """Of each limit what is not used. Cached files count as used there, and make room when memory is needed."""
    while folder.startswith(_CGROUP) and folder != _CGROUP:
        most, used = _number(f"{folder}/{names.limit}"), _number(f"{folder}/{names.usage}")
        if most is not None and used is not None:
            fields = _lines(f"{folder}/memory.stat")
            yield max(0, most - used + sum(fields.get(name, 0) for name in names.cache))
        folder = os.path.dirname(folder)


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _lines(path: str) -> dict[str, int]:
    """A file of lines `name number`; empty where there is none."""
    try:
        with open(path, encoding="ascii") as lines:
            return {fields[0]: int(fields[1]) for line in lines if len(fields := line.split()) > 1}
    except OSError:
        return {}


class OutOfMemory:
    """Who was ended by the kernel for want of memory, as well as can be told.

    The kernel says how often it did that: in our cgroup (which is about us alone), else on the machine. A SIGKILL that
    nobody owns up to belongs to such an end if there has been one since that worker was given its job, and if no other
    worker's end was put down to it already.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        ours = (f"{folder}/{names.kills}" for folder, names in _groups())
        self._counter = next((path for path in ours if "oom_kill" in _lines(path)), "/proc/vmstat")
        self._clock = clock
        self._looked = clock()
        self._last = self._claimed = self._count()

    def count(self) -> int:
        """How many until now, or until some moment of the last second: the machine's count takes 0.2 ms to be made."""
        if self._clock() - self._looked >= _LOOKS_APART_S:
            self._looked = self._clock()
            self._last = self._count()
        return self._last

    def claim(self, since: int) -> bool:
        """Whether one of those after the count `since` can be put down to one more worker."""
        first = max(since, self._claimed)
        if self._count() <= first:
            return False
        self._claimed = first + 1
        return True

    def _count(self) -> int:
        return _lines(self._counter).get("oom_kill", 0)
