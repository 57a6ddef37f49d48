"""The fence: a program of its own tries each forbidden thing behind each layer, and behind all of them."""

import json
import os
import resource
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.imaging.pictures import quarters, saved
from tests.places import as_nobody, public_folder
from tests.pool.probing import permitted
from tests.pool.workshop import REPOSITORY, bench, misbehaving
from watcherd.pool.fence import fence
from watcherd.settings import Sandbox

DENIED = {"EPERM", "EACCES"}
OF_LANDLOCK = {
    "read a file", "read a program's file", "list a folder", "write a file", "make a file", "make a nameless file",
    "truncate", "remove", "rename", "make a link", "make a folder", "make a fifo", "make a socket",
    "start a program", "become a program",
}  # fmt: skip
SINCE = {"listen on a port": 4, "connect to a port": 4, "signal the daemon": 6, "connect to an abstract name": 6}


def probed(folder: Path, *layers: str) -> dict[str, Any]:
    (folder / "there").write_bytes(b"an original")
    (folder / "there").chmod(0o666)
    command = [sys.executable, "-P", "-m", "tests.pool.probing", str(folder), str(os.getpid()), *layers]
    done = subprocess.run(
        command, capture_output=True, check=True, env={"PYTHONPATH": str(REPOSITORY)}, timeout=60, cwd="/"
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == b"still here\n"
    return answer


@cache
def missing() -> tuple[str, ...]:
    """What this kernel lacks, as the fence itself says."""
    code = (
        "from watcherd.pool.fence import fence, landlock, seccomp\n"
        "print(fence._prctl(38, 1), *landlock.close(), '' if seccomp.close() else 'seccomp')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=REPOSITORY, timeout=60)
    return tuple(done.stdout.split()[1:])


def want(*layers: str) -> None:
    lacking = [layer for layer in layers if layer in missing()]
    if lacking:
        pytest.skip(f"this kernel lacks {', '.join(lacking)}")


def denied(answer: dict[str, Any]) -> set[str]:
    return {what for what, how in answer["results"].items() if how in DENIED}


def test_without_a_fence_most_of_it_would_work(tmp_path: Path) -> None:
    """Else the other tests would prove nothing."""
    done = {what for what, how in probed(tmp_path)["results"].items() if how == "done"}
    assert done >= set(permitted()) | {
        "read a file", "list a folder", "write a file", "truncate", "make a file", "change the mode", "change times",
        "listen on a port", "send a datagram", "start a program", "fork", "signal the daemon", "limit the daemon",
        "have the daemon signalled", "outlive the daemon", "become dumpable", "make a pair of sockets",
    }  # fmt: skip


def test_landlock_alone_denies_the_file_system_and_programs(tmp_path: Path) -> None:
    want("landlock")
    answer = probed(tmp_path, "no_new_privileges", "landlock")
    lacking = set(answer["layers"]["landlock"])
    expected = OF_LANDLOCK - ({"truncate"} if "landlock_truncate" in lacking else set())
    abi = 3 if "landlock_network" in lacking else 5 if "landlock_scope" in lacking else 6
    expected |= {what for what, since in SINCE.items() if abi >= since and what != "connect to an abstract name"}
    assert expected - denied(answer) == set()
    assert {answer["results"][what] for what in permitted()} == {"done"}
    assert (tmp_path / "there").read_bytes() == b"an original"


def test_seccomp_alone_denies_everything(tmp_path: Path) -> None:
    want("seccomp")
    answer = probed(tmp_path, "no_new_privileges", "seccomp")
    assert {what: how for what, how in answer["results"].items() if how not in DENIED} == dict.fromkeys(
        permitted(), "done"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_all_layers_together_deny_everything_and_nothing_that_is_needed(tmp_path: Path) -> None:
    want("landlock", "seccomp")
    answer = probed(tmp_path, "resources", "sandbox")
    assert answer["layers"] == {"resources": [], "sandbox": []}
    assert {what: how for what, how in answer["results"].items() if how not in DENIED} == dict.fromkeys(
        permitted(), "done"
    )
    assert (tmp_path / "there").read_bytes() == b"an original"


def test_an_ordinary_user_can_close_the_fence_as_well() -> None:
    want("landlock", "seccomp")
    with public_folder() as folder:
        (folder / "there").write_bytes(b"")
        (folder / "there").chmod(0o666)
        code = (
            "import os, sys\n"
            "from tests.pool.probing import main\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "main(*sys.argv[1:])"
        )
        command = [sys.executable, "-c", code, str(folder), str(os.getpid()), "resources", "sandbox"]
        done = subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["layers"] == {"resources": [], "sandbox": []}
    assert {answer["results"][what] for what in permitted()} == {"done"}
    assert OF_LANDLOCK - denied(answer) == set()


# ------------------------------------------------------------------------------------------------ the worker's own


def status_of(pid: int) -> list[dict[str, str]]:
    """Of each thread."""
    texts = [path.read_text("ascii", "replace") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return [dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line) for text in texts]


def limits_of(pid: int) -> dict[str, tuple[int, int]]:
    names = {"core": resource.RLIMIT_CORE, "descriptors": resource.RLIMIT_NOFILE, "memory": resource.RLIMIT_AS}
    return {name: resource.prlimit(pid, which) for name, which in names.items()}


def test_a_worker_stands_behind_all_of_it_before_it_says_it_is_ready() -> None:
    want("landlock", "seccomp")
    with bench(sandbox=Sandbox.REQUIRE) as one:
        pid = one.start().pid
        assert one.ready().missing_layers == ()
        threads = status_of(pid)
        assert len(threads) == 2  # libvips' own was started within
        assert {(status["Seccomp"], status["NoNewPrivs"]) for status in threads} == {("2", "1")}
        assert limits_of(pid)["core"] == (0, 0)
        assert limits_of(pid)["descriptors"] == (fence.MAX_DESCRIPTORS, fence.MAX_DESCRIPTORS)
        assert limits_of(pid)["memory"] == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= fence.OOM_SCORE


def test_each_job_has_so_much_cpu_time_and_no_more() -> None:
    with bench() as one:
        pid = one.start().pid
        one.ready()
        assert resource.prlimit(pid, resource.RLIMIT_CPU)[0] == resource.RLIM_INFINITY
        seen = []
        for job in (1, 2):
            one.outcome(saved(quarters(), "JPEG"), job=job)
            soft, hard = resource.prlimit(pid, resource.RLIMIT_CPU)
            seen.append(soft)
            assert hard == resource.RLIM_INFINITY
        assert fence.MAX_JOB_CPU_S <= seen[0] <= seen[1] < fence.MAX_JOB_CPU_S + 60


def test_a_job_that_takes_more_cpu_time_ends_its_worker_by_a_signal_of_its_own() -> None:
    code = (
        "from watcherd.pool.fence import fence\n"
        "fence.MAX_JOB_CPU_S = 1\n"
        "fence.close_fence(0)\n"
        "fence.limit_cpu_time()\n"
        "while True: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=REPOSITORY, timeout=60)
    assert done.returncode == -signal.SIGXCPU


def test_the_memory_of_a_worker_can_be_bounded() -> None:
    with bench(memory_bytes=1 << 30) as one:
        pid = one.start().pid
        one.ready()
        assert limits_of(pid)["memory"] == (1 << 30, 1 << 30)


def test_a_worker_without_a_sandbox_says_what_it_lacks_and_keeps_its_limits() -> None:
    with bench(sandbox=Sandbox.OFF) as one:
        pid = one.start().pid
        assert one.ready().missing_layers == fence.SANDBOX_LAYERS
        assert {status["Seccomp"] for status in status_of(pid)} == {"0"}
        assert limits_of(pid)["core"] == (0, 0)


def test_a_worker_on_a_poor_kernel_names_what_is_missing_and_works() -> None:
    with bench(module="tests.pool.unfenced", environment={"PYTHONPATH": str(REPOSITORY)}) as one:
        one.start()
        assert one.ready().missing_layers == ("landlock", "seccomp")


def test_what_landlock_is_too_young_for_is_not_missing_where_seccomp_denies_it() -> None:
    code = (
        "from watcherd.pool.fence import fence, landlock, seccomp\n"
        "landlock.close = lambda: ('landlock_network', 'landlock_scope')\n"
        "seccomp.close = lambda: {}\n"
        "print(*fence.close_sandbox())"
    )
    for there, expected in ((True, ""), (False, "landlock_network landlock_scope seccomp")):
        command = [sys.executable, "-c", code.format(there)]
        done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=REPOSITORY, timeout=60)
        assert done.stdout.strip() == expected


def test_a_fenced_workers_size_can_be_seen_by_an_ordinary_daemon() -> None:
    """A process that is not dumpable belongs to root in /proc; its size is still for everybody to see."""
    with bench(**misbehaving("says_nothing")) as plain, bench() as one:
        plain.start()
        one.start()
        one.ready()
        assert one.workers.rss_bytes(0) > 0  # and its codec is loaded, which nobody might not be able to
        with as_nobody():
            assert one.workers.rss_bytes(0) > 0


def test_a_worker_whose_daemon_has_gone_leaves_before_it_begins() -> None:
    code = "from watcherd.pool.fence import fence; fence.die_with_parent(1); print('still here')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=REPOSITORY, timeout=60)
    assert done.stdout == b""
