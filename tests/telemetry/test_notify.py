"""What the service manager hears, on a real datagram socket."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from watcherd.telemetry.notify import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, Notifier]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@watcherd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address[0] == "@" else address)
        listener.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        yield listener, notifier
        notifier.close()


@pytest.mark.parametrize(
    ("send", "expected"),
    [
        (lambda n: n.ready("2 roots"), b"READY=1\nSTATUS=2 roots"),
        (lambda n: n.status("a\nREADY=1 b"), b"STATUS=a READY=1 b"),
        (lambda n: n.status("caf\udce9"), b"STATUS=caf?"),
        (lambda n: n.watchdog(), b"WATCHDOG=1"),
        (lambda n: n.stopping(), b"STOPPING=1"),
        (lambda n: n.stopping("draining"), b"STOPPING=1\nSTATUS=draining"),
        (lambda n: n.extend_timeout(2.5), b"EXTEND_TIMEOUT_USEC=2500000"),
    ],
)
def test_a_message_arrives(
    manager: tuple[socket.socket, Notifier], send: Callable[[Notifier], bool], expected: bytes
) -> None:
    listener, notifier = manager
    assert (send(notifier), listener.recv(1000)) == (True, expected)


def test_a_reload_carries_the_time(manager: tuple[socket.socket, Notifier]) -> None:
    listener, notifier = manager
    assert notifier.reloading()
    first, second = listener.recv(1000).split(b"\n")
    assert (first, second.partition(b"=")[0], second.partition(b"=")[2].isdigit()) == (
        b"RELOADING=1",
        b"MONOTONIC_USEC",
        True,
    )


def test_without_a_service_manager_nothing_happens() -> None:
    assert Notifier({}).ready("x") is False


def test_a_service_manager_that_went_away_harms_nobody(tmp_path: Path) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")})
    sent = notifier.watchdog()
    notifier.close()
    assert (sent, notifier.watchdog()) == (False, False)


def test_a_service_manager_that_does_not_read_holds_nobody_up(manager: tuple[socket.socket, Notifier]) -> None:
    _, notifier = manager
    assert False in [notifier.watchdog() for _ in range(10_000)]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_must(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval_s(environ) == expected
