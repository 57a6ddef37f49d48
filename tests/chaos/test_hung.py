"""A file system whose server does not answer any more stalls its root, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import fuse
from tests.chaos.audit import audit
from tests.chaos.harness import QUICK_SETTLE, Daemon, eventually
from tests.chaos.pictures import jpeg, put

CONFIG = QUICK_SETTLE + "network_quiet_s = 0.5\n"
HUNG_WITHIN_S = 60


class Server:
    """A file system of ours, served from a folder that stays readable whatever becomes of the server."""

    def __init__(self, place: Path) -> None:
        self.backing, self.point = place / "backing", place / "served"
        self.backing.mkdir()
        self.point.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, fuse.__file__, str(self.backing), str(self.point)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "mounted\n":
            _, error = self._process.communicate(timeout=10)
            pytest.skip(f"FUSE cannot be had here: {error.strip().splitlines()[-1:]}")

    def freeze(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        self.thaw()
        subprocess.run(["umount", "--lazy", self.point], check=False)
        self._process.kill()
        self._process.communicate(timeout=10)


@pytest.fixture
def server(place: Path) -> Iterator[Server]:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or os.geteuid() != 0:
        pytest.skip("FUSE without a helper program needs root and /dev/fuse")
    server = Server(place)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def daemon(watched: Path, server: Server, daemon_at: Callable[..., Daemon]) -> Daemon:
    """A daemon on the server's folder and on another one, which has done a first picture."""
    put(server.backing / "first.jpg", jpeg(1))
    daemon = daemon_at(server.point, watched, config=CONFIG).start()
    daemon.rested(sources=1)
    return daemon


def root_of(daemon: Daemon, path: Path) -> dict[str, str]:
    return dict((daemon.status().get("daemon") or {"roots": {}})["roots"].get(str(path), {}))


@pytest.mark.timeout(240)
def test_a_stopped_server_stalls_its_root_alone_and_its_work_is_done_when_it_goes_on(
    watched: Path, server: Server, daemon: Daemon
) -> None:
    assert sorted(os.listdir(server.backing)) == ["first.jpg", "first.jpg.preview.jpg", "first.jpg.thumbnail.jpg"]
    told = root_of(daemon, server.point)
    assert (told["state"], told["mode"]) == ("online", "scan")

    put(server.point / "second.jpg", jpeg(2))
    server.freeze()
    for number in range(10, 16):
        put(watched / f"{number}.jpg", jpeg(number))
    done = [watched / f"{number}.jpg.preview.jpg" for number in range(10, 16)]
    eventually(lambda: all(path.exists() for path in done), within_s=20, what="the other root goes on")
    assert daemon.status()["daemon"], "it answers"
    line = daemon.wait_for("root.away", within_s=HUNG_WITHIN_S)
    assert (line["root"], line["state"]) == (str(server.point), "hung")
    put(watched / "late.jpg", jpeg(20))
    eventually((watched / "late.jpg.preview.jpg").exists, within_s=20, what="and on")

    server.thaw()
    counts = daemon.rested(sources=9, within_s=90)
    assert (counts["done"], counts["failed"], counts["quarantined"]) == (9, 0, 0)
    assert root_of(daemon, server.point)["state"] == "online"
    for root in (server.point, watched):
        assert audit(root, daemon.state).problems == []
    assert daemon.stop() == 0


@pytest.mark.timeout(120)
def test_a_daemon_ends_in_time_though_a_server_does_not_answer(watched: Path, server: Server, daemon: Daemon) -> None:
    server.freeze()
    put(watched / "other.jpg", jpeg(2))
    eventually((watched / "other.jpg.preview.jpg").exists, within_s=20, what="the other root goes on")
    assert daemon.stop(within_s=20) == 0


@pytest.mark.timeout(180)
def test_a_daemon_is_ready_though_a_root_s_server_does_not_answer(
    watched: Path, server: Server, daemon: Daemon
) -> None:
    assert daemon.stop() == 0
    server.freeze()
    daemon.start()
    assert root_of(daemon, server.point)["state"] == "offline", "nobody knows it yet"
    put(watched / "other.jpg", jpeg(2))
    eventually((watched / "other.jpg.preview.jpg").exists, within_s=20, what="the other root goes on")
    daemon.wait_for("root.away", within_s=HUNG_WITHIN_S, where=lambda line: line["state"] == "hung")
    server.thaw()
    put(server.backing / "second.jpg", jpeg(3))
    counts = daemon.rested(sources=3, within_s=90)
    assert counts["done"] == 3
    assert audit(server.point, daemon.state).problems == []
