"""What the machine has: cores and memory that this process may use, cgroup limits included."""

import os
from collections.abc import Iterator

from watcherd.pool.sizing import Machine

_CGROUP = "/sys/fs/cgroup"


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
