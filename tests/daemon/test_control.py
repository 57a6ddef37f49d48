"""The control socket: real sockets, the selector turned by hand, the client in a thread of its own."""

import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watcherd.daemon.control import Control, Request, Silent, Unreachable, ask
from watcherd.pool.frames import encode


class Server:
    """A control socket and the few lines of a loop around it."""

    def __init__(self, path: str, answer: Callable[[Request], None]) -> None:
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.control = Control(path, self.selector)
        self._answer = answer

    def turn(self, until: Callable[[], bool]) -> None:
        """Pass after pass, until something is so. Each pass waits for the next readable socket."""
        for _ in range(10_000):
            for key, _ in self.selector.select(0.05):
                for item in key.data():
                    self._answer(item)
            self.control.flush()
            if until():
                return
        raise AssertionError("it never came to that")

    def serve(self, request: dict[str, object]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The whole of one conversation."""
        frames: list[dict[str, Any]] = []
        answers: list[dict[str, Any]] = []
        client = threading.Thread(target=lambda: answers.append(ask(self.path, request, frames.append)))
        client.start()
        self.turn(lambda: not client.is_alive())
        client.join()
        return answers[0], frames


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[Request], None]], Server]]:
    servers: list[Server] = []

    def make(answer: Callable[[Request], None]) -> Server:
        servers.append(Server(str(tmp_path / "control.sock"), answer))
        return servers[-1]

    yield make
    for server in servers:
        server.control.close()
        server.selector.close()


Make = Callable[[Callable[[Request], None]], Server]


def test_a_request_is_answered(serve: Make) -> None:
    server = serve(lambda request: request.connection.send({"echo": request.body["verb"]}, last=True))

    answer, frames = server.serve({"verb": "status"})

    assert (answer["echo"], frames) == ("status", [])


def test_an_answer_may_come_in_several_frames(serve: Make) -> None:
    def answer(request: Request) -> None:
        request.connection.send({"left": 2})
        request.connection.send({"left": 1})
        request.connection.send({"done": True}, last=True)

    last, frames = serve(answer).serve({"verb": "scan"})

    assert last["done"] is True
    assert [frame["left"] for frame in frames] == [2, 1]


def test_an_answer_larger_than_the_sockets_buffer_arrives_whole(serve: Make) -> None:
    text = "x" * 200_000

    def answer(request: Request) -> None:
        for _ in range(8):
            request.connection.send({"text": text})
        request.connection.send({}, last=True)

    _, frames = serve(answer).serve({"verb": "status"})

    assert [len(frame["text"]) for frame in frames] == [200_000] * 8


def test_the_peer_is_known(serve: Make) -> None:
    server = serve(lambda request: request.connection.send({"peer": request.connection.peer}, last=True))

    answer, _ = server.serve({"verb": "status"})

    assert answer["peer"] == f"pid {os.getpid()} uid {os.getuid()}"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, encode({"verb": "x"})[:-1] + b"]"])
def test_a_client_that_speaks_otherwise_is_dropped_and_nobody_else(serve: Make, garbage: bytes) -> None:
    server = serve(lambda request: request.connection.send({"ok": True}, last=True))
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(server.path)
        stranger.sendall(garbage)
        server.turn(lambda: not server.control._connections and not server.selector.select(0))
        assert stranger.recv(1) == b""

    assert server.serve({"verb": "status"})[0]["ok"] is True


def test_clients_that_ask_for_nothing_keep_nobody_from_asking(serve: Make) -> None:
    server = serve(lambda request: request.connection.send({"ok": True}, last=True))
    clients = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    for client in clients:
        client.settimeout(5)
        client.connect(server.path)
        server.turn(lambda: not server.selector.select(0))

    assert server.serve({"verb": "status"})[0]["ok"] is True
    assert len(server.control._connections) < 300
    for client in clients:
        client.close()
    server.turn(lambda: not server.control._connections)


def test_where_all_connections_are_in_use_another_is_told_so(serve: Make) -> None:
    server = serve(lambda _: None)  # nobody is answered
    clients = [socket.socket(socket.AF_UNIX) for _ in range(64)]
    for client in clients:
        client.settimeout(5)
        client.connect(server.path)
        client.sendall(encode({"verb": "scan"}))
        server.turn(lambda: not server.selector.select(0))
    answer, _ = server.serve({"verb": "status"})

    assert "busy" in answer["error"]
    for client in clients:
        client.close()
    server.turn(lambda: not server.control._connections)


def test_a_daemon_that_hangs_up_is_told_from_one_that_does_not_run(serve: Make) -> None:
    server = serve(lambda request: server.control._close(request.connection))
    said: list[Exception] = []

    def ask_and_note() -> None:
        try:
            ask(server.path, {"verb": "status"})
        except Unreachable as error:
            said.append(error)

    client = threading.Thread(target=ask_and_note)
    client.start()
    server.turn(lambda: not client.is_alive())

    assert [type(error) for error in said] == [Silent]


def test_only_owner_and_group_may_speak(serve: Make) -> None:
    assert os.stat(serve(lambda _: None).path).st_mode & 0o777 == 0o660


def test_where_nobody_answers_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no daemon answers at"):
        ask(str(tmp_path / "control.sock"), {"verb": "status"})


def test_a_socket_of_an_earlier_run_is_replaced_and_taken_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.touch()
    selector = selectors.DefaultSelector()
    control = Control(str(path), selector)
    assert path.is_socket()

    control.close()
    assert not path.exists()
    selector.close()


def test_the_folder_may_lie_deeper_than_a_sockets_name_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    server = Server(str(folder / "control.sock"), lambda r: r.connection.send({"ok": True}, last=True))

    assert server.serve({"verb": "status"})[0]["ok"] is True
    server.control.close()
    server.selector.close()
