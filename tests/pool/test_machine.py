"""What the machine has, read from files as kernels write them, in a folder that stands for the real one."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from watcherd.pool import machine

GIB = 1 << 30
V1 = "9:cpu:/x\n4:memory:/slice/unit\n0::/\n"
V2 = "0::/slice/unit\n"
Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Puts files under `sys` (the cgroups) and `proc`, and has the module read those."""
    groups = str(tmp_path / "sys")
    monkeypatch.setattr(machine, "_CGROUP", groups)
    real = open

    def redirected(path: str, *arguments: object, **named: object) -> object:
        where = str(tmp_path) + path if path.startswith("/proc/") else path
        return real(where, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(machine, "open", redirected, raising=False)

    def put(content: dict[str, str]) -> Path:
        for name, text in content.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    put({"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {20 << 20} kB\n", "proc/self/cgroup": "", "proc/vmstat": ""})
    return put


def test_without_limits_it_is_what_the_machine_has(files: Files) -> None:
    files({"proc/self/cgroup": V2})
    assert machine.look().available_bytes == 20 * GIB


@pytest.mark.parametrize(
    ("groups", "unit", "limit", "usage"),
    [
        (V1, "sys/memory/slice/unit", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        (V2, "sys/slice/unit", "memory.max", "memory.current"),
    ],
    ids=["v1", "v2"],
)
def test_the_limit_of_a_cgroup_counts_less_what_is_used_in_it(
    files: Files, groups: str, unit: str, limit: str, usage: str
) -> None:
    files({"proc/self/cgroup": groups, f"{unit}/{limit}": f"{3 * GIB}\n", f"{unit}/{usage}": f"{GIB}\n"})
    assert machine.look().available_bytes == 2 * GIB


@pytest.mark.parametrize(
    ("groups", "unit", "limit", "usage", "prefix"),
    [
        (V1, "sys/memory/slice/unit", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
        (V2, "sys/slice/unit", "memory.max", "memory.current", ""),
    ],
    ids=["v1", "v2"],
)
def test_cached_files_make_room(files: Files, groups: str, unit: str, limit: str, usage: str, prefix: str) -> None:
    stat = f"{prefix}inactive_file {GIB // 2}\n{prefix}active_file {GIB // 4}\n{prefix}inactive_anon {GIB}\n"
    files(
        {
            "proc/self/cgroup": groups,
            f"{unit}/{limit}": str(3 * GIB),
            f"{unit}/{usage}": str(3 * GIB),
            f"{unit}/memory.stat": stat,
        }
    )
    assert machine.look().available_bytes == GIB // 2 + GIB // 4


def test_the_limit_of_a_group_further_up_counts_too(files: Files) -> None:
    files(
        {
            "proc/self/cgroup": V2,
            "sys/slice/unit/memory.max": "max\n",
            "sys/slice/unit/memory.current": "0\n",
            "sys/slice/memory.max": f"{GIB}\n",
            "sys/slice/memory.current": "0\n",
        }
    )
    assert machine.look().available_bytes == GIB


# ---------------------------------------------------------------------------------------------------- out of memory


@pytest.mark.parametrize(
    ("groups", "counter"),
    [
        (V1, "sys/memory/slice/unit/memory.oom_control"),
        (V2, "sys/slice/unit/memory.events"),
        ("", "proc/vmstat"),
    ],
    ids=["v1", "v2", "machine"],
)
def test_each_end_for_want_of_memory_is_put_down_to_one_worker(files: Files, groups: str, counter: str) -> None:
    files({"proc/self/cgroup": groups, counter: "other 7\noom_kill 3\n"})
    told = machine.OutOfMemory(clock=count().__next__)
    before = told.count()
    assert told.claim(before) is False
    files({counter: "other 9\noom_kill 5\n"})
    assert [told.claim(before), told.claim(before), told.claim(before)] == [True, True, False]


def test_an_end_before_a_worker_had_its_job_is_not_about_it(files: Files) -> None:
    files({"proc/vmstat": "oom_kill 3\n"})
    told = machine.OutOfMemory(clock=count().__next__)
    files({"proc/vmstat": "oom_kill 4\n"})
    assert told.claim(told.count()) is False


def test_the_count_of_the_own_cgroup_goes_before_that_of_the_machine(files: Files) -> None:
    files({"proc/self/cgroup": V2, "sys/slice/unit/memory.events": "oom_kill 0\n", "proc/vmstat": "oom_kill 3\n"})
    told = machine.OutOfMemory(clock=count().__next__)
    files({"proc/vmstat": "oom_kill 9\n"})
    assert told.claim(0) is False
