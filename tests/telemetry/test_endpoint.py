"""The metrics endpoint and the text file, over real sockets and files."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Event

import pytest

from watcherd.telemetry.endpoint import Endpoint, TextFile, Unanswered
from watcherd.telemetry.metrics import Reading

QUEUED = Reading(name="watcherd_settling_sources", value=7)


class OverUnix(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def get(path: Path, what: str = "/metrics") -> tuple[HTTPResponse, bytes]:
    with closing(OverUnix(path)) as connection:
        connection.request("GET", what)
        response = connection.getresponse()
        return response, response.read()


@pytest.fixture
def answers() -> list[Reading | Exception]:
    return [QUEUED]


@pytest.fixture
def endpoint(tmp_path: Path, answers: list[Reading | Exception]) -> Iterator[Path]:
    def ask() -> list[Reading]:
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in answers if isinstance(answer, Reading)]

    path = tmp_path / "metrics.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(4)
    served = Endpoint(listener, ask)
    yield path
    served.close()
    served.thread.join(10)
    assert not served.thread.is_alive()


def test_the_metrics_are_there(endpoint: Path) -> None:
    response, body = get(endpoint)
    assert response.status == 200
    assert (response.getheader("Content-Type") or "").startswith("text/plain; version=")
    assert b"\nwatcherd_settling_sources 7.0\n" in body


def test_other_pages_are_not(endpoint: Path) -> None:
    response, body = get(endpoint, "/etc/passwd")
    assert (response.status, body) == (404, b"the metrics are at /metrics\n")


def test_a_loop_that_does_not_answer_is_told(endpoint: Path, answers: list[Reading | Exception]) -> None:
    answers[:] = [Unanswered("the loop hangs")]
    response, body = get(endpoint)
    assert (response.status, body) == (503, b"the loop hangs\n")


def test_who_leaves_in_the_middle_or_talks_nonsense_keeps_nobody_waiting(endpoint: Path) -> None:
    for sent in (b"", b"GET /met", b"\x00\xff\n\n", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with closing(socket.socket(socket.AF_UNIX)) as rude:
            rude.connect(str(endpoint))
            rude.sendall(sent)
    response, _ = get(endpoint)
    assert response.status == 200


def test_who_asks_slowly_does_not_keep_others_waiting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Endpoint(listener, lambda: [QUEUED], within_s=0.2)
        with socket.create_connection(listener.getsockname(), timeout=4) as slow:
            slow.sendall(b"GET /metrics HT")
            assert slow.recv(100) == b""
        served.close()
        served.thread.join(10)
        assert not served.thread.is_alive()


class Told(list[Reading]):
    """Readings that say when the file's thread begins with them, and keep it until it may go on."""

    def __init__(self, *readings: Reading) -> None:
        super().__init__(readings)
        self.begun, self.may_go_on = Event(), Event()

    def __iter__(self) -> Iterator[Reading]:
        self.begun.set()
        assert self.may_go_on.wait(10)
        return super().__iter__()


@contextmanager
def after(path: Path, *readings: Reading) -> Iterator[TextFile]:
    """The text file as it is after these; the thread has begun with the next ones."""
    file, first, second = TextFile(str(path)), Told(*readings), Told()
    first.may_go_on.set()
    file.write(first)
    assert first.begun.wait(10)
    file.write(second)
    assert second.begun.wait(10)
    yield file
    file.write(list(readings))  # pending when it is closed
    second.may_go_on.set()
    file.close()
    file.thread.join(10)
    assert not file.thread.is_alive()


def test_the_text_file_is_whole_and_readable_for_others_and_goes_with_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "watcherd.prom"
    path.write_text("of yesterday")
    with after(path, QUEUED) as file:
        assert "\nwatcherd_settling_sources 7.0\n" in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(tmp_path) == ["watcherd.prom"]
        assert file.trouble is None
    assert os.listdir(tmp_path) == []


def test_a_text_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with after(tmp_path / "no folder" / "watcherd.prom", QUEUED) as file:
        assert isinstance(file.trouble, FileNotFoundError)
    (tmp_path / "watcherd.prom").mkdir()
    with after(tmp_path / "watcherd.prom", QUEUED) as file:
        assert isinstance(file.trouble, IsADirectoryError)
        assert os.listdir(tmp_path) == ["watcherd.prom"]


def test_readings_that_nobody_has_declared_are_told_and_the_next_ones_are_written(tmp_path: Path) -> None:
    path = tmp_path / "watcherd.prom"
    with after(path, Reading(name="watcherd_unheard_of", value=1)) as file:
        assert "watcherd_unheard_of" in str(file.trouble)
    with after(path, QUEUED) as file:
        assert file.trouble is None
