"""What a service manager hears of a real daemon, over a real datagram socket: sd_notify(3)."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from tests.chaos import faulty_worker as faulty
from tests.chaos.harness import REPOSITORY, eventually
from tests.chaos.pictures import jpeg

pytestmark = pytest.mark.chaos

PATIENCE_S = 60.0
WATCHDOG_S = 1.0


class Manager:
    """The service manager's end: receives what a service says, in order, with the times of arrival."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.heard: list[tuple[float, dict[str, str]]] = []

    def close(self) -> None:
        self._socket.close()

    def all(self, key: str) -> list[tuple[float, str]]:
        """Everything heard so far under one key."""
        return [(at, fields[key]) for at, fields in self.heard if key in fields]

    def wait_for(self, key: str, times: int = 1) -> list[tuple[float, str]]:
        """Listen until that was said so many times."""
        give_up_at = time.monotonic() + PATIENCE_S
        while len(self.all(key)) < times:
            assert self._listen(give_up_at - time.monotonic()), f"no {key} in {PATIENCE_S} s; heard: {self.heard}"
        return self.all(key)

    def take_in(self) -> None:
        """What has arrived and was not waited for."""
        while self._listen(0.001):
            pass

    def _listen(self, seconds: float) -> bool:
        self._socket.settimeout(max(0.001, seconds))
        try:
            datagram = self._socket.recv(65_536)
        except TimeoutError:
            return False
        lines = (line.partition("=") for line in datagram.decode().splitlines())
        self.heard.append((time.monotonic(), {key: value for key, _, value in lines}))
        return True


@pytest.fixture
def manager() -> Iterator[Manager]:
    folder = tempfile.mkdtemp()  # a socket's path may have 107 bytes; pytest's folders can be deeper than that
    one = Manager(f"{folder}/notify")
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(folder)


@contextmanager
def service(
    manager: Manager, tmp_path: Path, *arguments: str, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen]:
    """`watcherd run` as a service manager starts it."""
    address = manager._socket.getsockname()
    known = {key: value for key, value in os.environ.items() if not key.startswith("WATCHDOG_")}
    command = [sys.executable, "-P", "-c", "from watcherd.cli import main; main()", "run", *arguments]
    with open(tmp_path / "log", "wb") as log:
        daemon = subprocess.Popen(
            [*command, "--state-dir", str(tmp_path / "state")],
            env={**known, **environ, "NOTIFY_SOCKET": address},
            stderr=log,
        )
        try:
            yield daemon
        finally:
            daemon.kill()
            daemon.wait()


def watched(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    Image.new("RGB", (640, 480), "teal").save(folder / "a.jpg")
    return folder


def test_a_daemon_says_ready_then_alive_then_stopping_and_ends_with_0(manager: Manager, tmp_path: Path) -> None:
    environ = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    with service(manager, tmp_path, "--watch", str(watched(tmp_path)), environ=environ) as daemon:
        ((ready_at, _),) = manager.wait_for("READY")
        pings = manager.wait_for("WATCHDOG", times=4)
        daemon.send_signal(signal.SIGTERM)
        ((stopping_at, _),) = manager.wait_for("STOPPING")
        assert daemon.wait(PATIENCE_S) == 0
    manager.take_in()

    assert [value for _, value in manager.all("READY")] == ["1"]
    assert {value for _, value in pings} == {"1"}
    assert [value for _, value in manager.all("STOPPING")] == ["1"]
    assert ready_at <= stopping_at
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(pings)]
    assert max(gaps) < WATCHDOG_S, "systemd would have killed it"


def test_status_says_how_the_work_goes(manager: Manager, tmp_path: Path) -> None:
    with service(manager, tmp_path, "--watch", str(watched(tmp_path)), environ={}):
        manager.wait_for("READY")
        ready_with = manager.heard[-1][1].get("STATUS")
        texts = [text for _, text in manager.wait_for("STATUS", times=2)]

    assert ready_with
    assert all("queued" in text and "settling" in text for text in texts)
    assert manager.all("WATCHDOG") == []  # nobody asked for it


def test_a_daemon_that_cannot_start_never_says_ready(manager: Manager, tmp_path: Path) -> None:
    with service(manager, tmp_path, "--watch", str(tmp_path / "absent"), environ={}) as daemon:
        assert daemon.wait(PATIENCE_S) == 78
    manager.take_in()

    assert manager.all("READY") == []


def test_a_stopped_daemon_falls_silent(manager: Manager, tmp_path: Path) -> None:
    environ = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    with service(manager, tmp_path, "--watch", str(watched(tmp_path)), environ=environ) as daemon:
        manager.wait_for("WATCHDOG", times=2)
        daemon.send_signal(signal.SIGSTOP)
        manager.take_in()
        before = len(manager.all("WATCHDOG"))
        time.sleep(2 * WATCHDOG_S)
        manager.take_in()
        silent = len(manager.all("WATCHDOG")) - before
        daemon.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG", times=before + 1)

    assert silent == 0


def configured(tmp_path: Path, more: str = "") -> Path:
    """A configuration file for the watched folder."""
    file = tmp_path / "config.toml"
    root = tmp_path / "uploads"
    if not root.exists():
        watched(tmp_path)
    file.write_text(f'{more}[[roots]]\npath = "{root}"\n')
    return file


@pytest.mark.parametrize(
    ("text", "words"),
    [("[retry]\nmax_faults = 5\n", ""), ("[retry]\nmax_fautls = 5\n", "the last reload failed")],
    ids=["right", "wrong"],
)
def test_a_reload_is_announced_with_its_instant_and_its_end_is_told(
    manager: Manager, tmp_path: Path, text: str, words: str
) -> None:
    """sd_notify(3): MONOTONIC_USEC is when the notification was made; READY=1 follows when the reload is complete."""
    with service(manager, tmp_path, "--config", str(configured(tmp_path)), environ={}) as daemon:
        manager.wait_for("READY")
        configured(tmp_path, text)
        before_us = time.monotonic_ns() // 1000
        daemon.send_signal(signal.SIGHUP)
        ((reloading_at, _),) = manager.wait_for("RELOADING")
        after_us = time.monotonic_ns() // 1000
        (_, (ready_at, _)) = manager.wait_for("READY", times=2)
    (_, told), *_ = [(at, fields) for at, fields in manager.heard if "RELOADING" in fields]
    ((_, status),) = [(at, fields["STATUS"]) for at, fields in manager.heard if at == ready_at]

    assert (told["RELOADING"], set(told)) == ("1", {"RELOADING", "MONOTONIC_USEC"})
    assert before_us <= int(told["MONOTONIC_USEC"]) <= after_us
    assert reloading_at <= ready_at
    assert words in status


def test_a_drain_asks_for_more_time_again_and_again(manager: Manager, tmp_path: Path) -> None:
    """EXTEND_TIMEOUT_USEC counts from when it is sent; the next one comes long before that is over."""
    uploads = watched(tmp_path)
    (uploads / "slow.jpg").write_bytes(jpeg(1, marker=faulty.HANG_ON_RENDER))
    environ = {"WATCHERD_WORKER_MODULE": "tests.chaos.faulty_worker", "PYTHONPATH": str(REPOSITORY)}
    file = configured(tmp_path, "[daemon]\ndrain_timeout_s = 12.0\n[settle]\nopen_quiet_s = 0.5\n")
    with service(manager, tmp_path, "--config", str(file), environ=environ) as daemon:
        manager.wait_for("READY")
        log = tmp_path / "log"
        eventually(lambda: b'"job.done"' in log.read_bytes(), within_s=PATIENCE_S, what="the other one is done")
        before = len(manager.all("EXTEND_TIMEOUT_USEC"))
        daemon.send_signal(signal.SIGTERM)
        ((stopping_at, _),) = manager.wait_for("STOPPING")
        manager.wait_for("EXTEND_TIMEOUT_USEC", times=before + 3)
        assert daemon.wait(PATIENCE_S) == 0
    manager.take_in()
    asked = manager.all("EXTEND_TIMEOUT_USEC")[before:]
    instants = [stopping_at, *(at for at, _ in asked)]

    assert {value for _, value in asked} == {"20000000"}
    assert instants[1] - instants[0] < 1.0
    assert max(later - earlier for earlier, later in pairwise(instants)) < 15.0
