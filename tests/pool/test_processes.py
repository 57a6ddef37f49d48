"""Worker processes, real ones: what they do wrong is told, how they end is told, and nothing of them is left."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.places import descriptors, errno_of, no_leak
from tests.pool.workshop import REPOSITORY, WITHIN_S, bench, misbehaving, readable, sealed
from watcherd.derivatives.memfds import is_sealed
from watcherd.model import StopReason
from watcherd.pool.frames import FrameError, Ready, parse_from_worker, release
from watcherd.pool.orders import UNSEEN
from watcherd.pool.processes import Workers
from watcherd.settings import Sandbox


def children() -> set[int]:
    """Processes that are ours to wait for, zombies among them."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before, there = descriptors(), children()
    yield
    assert descriptors() == before
    assert children() == there


# -------------------------------------------------------------------------------------------------- a life as it should


def test_a_worker_says_that_it_is_ready_and_leaves_when_it_is_dismissed() -> None:
    with bench() as one:
        worker = one.start()
        assert isinstance(one.message(), Ready)
        one.workers.dismiss(0, StopReason.SURPLUS)
        ending = one.ending()
        assert (ending.pid, ending.how, ending.stop_reason) == (worker.pid, "exit 0", StopReason.SURPLUS)
        assert ending.stderr == ""
        assert 0 not in one.workers


def test_workers_run_in_the_root_folder_without_what_is_the_daemons_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "CREDENTIALS_DIRECTORY", "VIPS_MAX_COORD"):
        monkeypatch.setenv(name, "/somewhere")
    with bench(**misbehaving("ignores_everything")) as one:
        worker = one.start()
        one.ready()
        with open(f"/proc/{worker.pid}/environ", "rb") as file:
            names = {line.partition(b"=")[0] for line in file.read().split(b"\0")}
        assert os.readlink(f"/proc/{worker.pid}/cwd") == "/"
        assert os.getpgid(worker.pid) == worker.pid  # Ctrl-C on the daemon's terminal is the daemon's
        assert names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"LISTEN_FDS", b"CREDENTIALS_DIRECTORY"} == set()
        assert b"VIPS_MAX_COORD" not in names
        assert b"VIPS_CONCURRENCY" in names


def test_a_worker_has_its_socket_and_standard_streams_and_nothing_else_of_ours() -> None:
    own = os.memfd_create("the daemon's", 0)
    try:
        with bench(**misbehaving("ignores_everything")) as one:
            worker = one.start()
            one.ready()
            names = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
            assert [name for name in names if "the daemon's" in name] == []
            assert sum(name.startswith("socket:") for name in names) == 1
    finally:
        os.close(own)


def test_the_size_of_a_worker_can_be_seen_while_it_lives() -> None:
    with bench() as one:
        one.start()
        one.ready()
        assert 10 << 20 < one.workers.rss_bytes(0) < 200 << 20
        rss_bytes, cpu_s = one.workers.use(0)
        assert 10 << 20 < rss_bytes < 200 << 20
        assert 0 < cpu_s < WITHIN_S
        one.workers.kill(0, StopReason.HUNG)
        one.ending()
        assert one.workers.rss_bytes(0) == 0
        assert one.workers.use(0) == (0, 0.0)


def test_several_workers_live_side_by_side() -> None:
    with bench() as one:
        pids = [one.start(slot).pid for slot in range(3)]
        for slot in range(3):
            one.ready(slot)
        assert [worker.pid for worker in one.workers] == pids
        one.workers.kill(1, StopReason.HUNG)
        assert one.ending(1).pid == pids[1]
        assert [worker.slot for worker in one.workers] == [0, 2]


# ------------------------------------------------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGTERM, "SIGTERM"), (signal.SIGRTMIN + 2, "signal 36")]
)
def test_a_signal_is_named(number: int, how: str) -> None:
    with bench(**misbehaving("says_nothing")) as one:
        worker = one.start()
        os.kill(worker.pid, number)
        ending = one.ending()
        assert (ending.how, ending.stop_reason) == (how, None)


@pytest.mark.parametrize(("how", "expected"), [("says_nothing", UNSEEN), ("exits_at_start", "failed")])
def test_an_exit_that_somebody_else_has_waited_for_is_no_exit_0(how: str, expected: str) -> None:
    """As in a program that waits for any child; one that ignores SIGCHLD looks the same."""
    with bench(**misbehaving(how)) as one:
        worker = one.start()
        if how == "says_nothing":
            os.kill(worker.pid, signal.SIGKILL)
        os.waitpid(worker.pid, 0)
        assert one.ending().how == expected


def test_the_tail_of_what_a_worker_complained_is_kept() -> None:
    with bench(**misbehaving("exits_at_start")) as one:
        one.start()
        ending = one.ending()
        assert ending.how == "exit 1"
        assert ending.stderr == "no luck today\n"
        assert ending.last_words == "no luck today"


def test_a_crash_within_the_fence_leaves_its_last_words() -> None:
    with bench(**misbehaving("noisy_crash")) as one:
        one.start()
        ending = one.ending()
        assert ending.how == "SIGABRT"
        assert ending.last_words == "the last words"
        assert len(ending.stderr) == 2_000


def test_a_worker_that_does_not_leave_dies_of_sigkill() -> None:
    with bench(**misbehaving("ignores_everything")) as one:
        one.start()
        one.ready()
        one.workers.dismiss(0, StopReason.WORN)
        one.workers.kill(0, StopReason.WORN, signal.SIGTERM)
        assert one.workers.reap(0) is None
        one.workers.kill(0, StopReason.WORN)
        assert one.ending().how == "SIGKILL"


def test_telling_a_worker_that_has_gone_is_no_error() -> None:
    with bench(**misbehaving("exits_at_start")) as one:
        worker = one.start()
        worker.process.wait()
        one.workers.dismiss(0, StopReason.SHUTDOWN)
        one.workers.kill(0, StopReason.SHUTDOWN)
        assert one.ending().stop_reason is StopReason.SHUTDOWN
        one.workers.dismiss(0, StopReason.SHUTDOWN)
        one.workers.kill(0, StopReason.SHUTDOWN)


def test_a_worker_that_is_given_up_is_let_go_and_reaped_when_it_dies() -> None:
    with bench(**misbehaving("ignores_everything")) as one:
        worker = one.start()
        one.ready()
        one.workers.abandon(0)
        assert 0 not in one.workers
        worker.process.kill()
        worker.process.wait()
        one.start()
        one.workers.abandon(0)
        assert worker not in one.workers._lost
        for lost in one.workers._lost:
            lost.process.kill()
            lost.process.wait()


def test_closing_ends_all_of_them_and_leaves_nothing() -> None:
    workers = Workers(**misbehaving("ignores_everything"))
    pids = [workers.spawn(slot).pid for slot in range(3)]
    workers.close()
    assert list(workers) == []
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


def test_workers_die_with_the_process_that_started_them() -> None:
    starter = (
        "import sys, time\n"
        "from tests.pool.workshop import bench, misbehaving\n"
        "with bench(**misbehaving('ignores_everything')) as one:\n"
        "    worker = one.start(); one.ready()\n"
        "    print(worker.pid, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", starter]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}
    ) as parent:
        assert parent.stdout is not None
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert readable(pidfd)
    finally:
        os.close(pidfd)


# ------------------------------------------------------------------------------------------------ those that misbehave


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("garbage", "a frame announces"),
        ("too_many_descriptors", "210 descriptors at once"),
        ("far_too_many_descriptors", "descriptors at once"),
        ("descriptors_bit_by_bit", "descriptors at once"),
    ],
)
def test_a_breach_of_the_protocol_is_told_and_stays_told(how: str, words: str) -> None:
    with bench(**misbehaving(how)) as one:
        one.start()
        assert words in one.complaint()
        one.workers.kill(0, StopReason.HUNG)
        assert one.ending().how == "SIGKILL"


def test_half_a_frame_holds_nobody_up() -> None:
    with bench(**misbehaving("half_a_frame")) as one:
        one.start()
        one.ready()
        while not one.workers[0].decoder._bytes:
            one.read(0)
        assert (one.frames[0], one.wrong) == ([], {})
        assert one.workers.receive(0) == ([], None)


def test_half_a_frame_at_an_exit_is_left_to_the_exit() -> None:
    with bench(**misbehaving("half_a_frame_and_exit")) as one:
        one.start()
        one.ready()
        assert one.ending().how == "exit 0"
        assert one.wrong == {}


def test_descriptors_that_nobody_asked_for_are_refused_and_can_be_closed() -> None:
    with bench(**misbehaving("descriptors_beside_ready")) as one:
        one.start()
        frame = one.frame()
        with pytest.raises(FrameError):
            parse_from_worker(frame)
        for descriptor in frame.descriptors:
            os.close(descriptor)
        assert len(frame.descriptors) == 3


def test_a_picture_that_could_still_change_is_told_from_a_sealed_one() -> None:
    with bench(**misbehaving("unsealed_picture")) as one:
        one.start()
        one.ready()
        (descriptor,) = one.frame().descriptors
        assert not is_sealed(descriptor)
        os.close(descriptor)


def test_what_was_received_and_not_taken_is_closed_with_its_worker() -> None:
    with bench(**misbehaving("descriptors_bit_by_bit")) as one:
        one.start()
        one.complaint()
        before = descriptors()
        one.workers.kill(0, StopReason.HUNG)
        one.ending()
        assert before - descriptors() >= 32


# ------------------------------------------------------------------------------------------------------------- sending


def test_a_worker_that_does_not_read_does_not_hold_us_up() -> None:
    with bench(**misbehaving("ignores_everything")) as one:
        one.start()
        one.ready()
        taken = [one.workers.send(0, {"type": "noise", "text": "x" * 200_000}) for _ in range(20)]
        assert taken[-1] is False
        assert taken == sorted(taken, reverse=True)


def test_the_descriptors_stay_the_senders() -> None:
    with bench(**misbehaving("ignores_everything")) as one:
        one.start()
        one.ready()
        descriptor = sealed(b"content")
        assert one.workers.send(0, {"type": "work"}, [descriptor])
        assert os.fstat(descriptor).st_size == 7
        os.close(descriptor)


def test_a_worker_killed_from_outside_with_a_job_unread_broke_no_protocol() -> None:
    """The kernel says ECONNRESET then, and EPIPE to whoever still sends: neither may hide how it really ended."""
    with bench(**misbehaving("ignores_everything")) as one:
        worker = one.start()
        one.ready()
        assert one.workers.send(0, release(1))
        worker.process.kill()
        assert readable(worker.pidfd)
        assert one.workers.send(0, release(2))
        assert one.workers.receive(0) == ([], None)
        assert worker.at_end
        ending = one.ending()
        assert (ending.how, ending.stop_reason) == ("SIGKILL", None)


def test_a_worker_that_closes_its_socket_is_at_its_end_for_us() -> None:
    with bench(**misbehaving("closes_its_socket")) as one:
        worker = one.start()
        one.ready()
        while not worker.at_end:
            one.read(0)
        assert one.wrong == {}
        assert one.workers.send(0, release(1))
        assert one.workers.reap(0) is None


# ----------------------------------------------------------------------------------------------- what cannot be started


@contextmanager
def few_descriptors(more: int) -> Iterator[None]:
    """So many more than are open now, and not one beyond."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.memfd_create("the next free number")
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("more", range(9))
def test_a_worker_that_cannot_be_started_for_want_of_descriptors_leaves_nothing(more: int) -> None:
    workers = Workers(**misbehaving("ignores_everything"))
    with no_leak(), few_descriptors(more):
        number = errno_of(workers.spawn, 0)
        workers.close()
    assert number in {0, errno.EMFILE}
    assert number or more >= 4


def test_workers_that_need_a_sandbox_they_cannot_have_say_so_and_leave() -> None:
    """Under a filter that denies Landlock and seccomp, as in an old container."""
    environment = {"PYTHONPATH": str(REPOSITORY)}
    with bench(sandbox=Sandbox.REQUIRE, module="tests.pool.unfenced", environment=environment) as one:
        one.start()
        ending = one.ending()
        assert ending.how == "exit 1"
        assert "sandbox is required, but landlock, seccomp cannot be had here" in ending.last_words
