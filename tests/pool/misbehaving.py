"""Workers that do not keep to the rules, each in its own way: `MISBEHAVIOUR` names it. Started as the real one is."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from tests.pool.workshop import sealed
from watcherd.model import Rendered
from watcherd.pool import worker
from watcherd.pool.fence import fence
from watcherd.pool.frames import Ended, Made, encode, ready

PICTURE = b"no picture at all"


def say(connection: socket.socket, body: dict[str, object], descriptors: list[int] | None = None) -> None:
    socket.send_fds(connection, [encode(body, len(descriptors or []))], descriptors or [])


def rest() -> None:
    """For ever, whatever is sent; only a signal that kills ends it."""
    while True:
        signal.pause()


def exits_at_start(_: socket.socket) -> None:
    sys.exit("no luck today")


def says_nothing(_: socket.socket) -> None:
    rest()


def garbage(connection: socket.socket) -> None:
    say(connection, ready(()))
    connection.sendall(b"\xff" * 100)
    rest()


def half_a_frame(connection: socket.socket) -> None:
    say(connection, ready(()))
    connection.sendall(encode({"type": "ended"})[:-3])
    rest()


def half_a_frame_and_exit(connection: socket.socket) -> None:
    say(connection, ready(()))
    connection.sendall(encode({"type": "ended"})[:-3])


def too_many_descriptors(connection: socket.socket) -> None:
    say(connection, ready(()))
    socket.send_fds(connection, [b"\0"], [sealed(PICTURE)] * 210)
    rest()


def far_too_many_descriptors(connection: socket.socket) -> None:
    say(connection, ready(()))
    socket.send_fds(connection, [b"\0"], [sealed(PICTURE)] * 250)
    rest()


def descriptors_bit_by_bit(connection: socket.socket) -> None:
    say(connection, ready(()))
    for byte in b"\0\0\0\xff\0{" + b" " * 200:
        with contextlib.suppress(BrokenPipeError):
            socket.send_fds(connection, [bytes([byte])], [sealed(PICTURE)] * 2)
    rest()


def descriptors_beside_ready(connection: socket.socket) -> None:
    say(connection, ready(()), [sealed(PICTURE)] * 3)
    rest()


def ignores_everything(connection: socket.socket) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(connection, ready(()))
    rest()


def closes_its_socket(connection: socket.socket) -> None:
    say(connection, ready(()))
    connection.close()
    rest()


def unsealed_picture(connection: socket.socket) -> None:
    say(connection, ready(()))
    loose = os.memfd_create("loose")
    os.write(loose, PICTURE)
    made = (Made(variant="thumbnail", width=1, height=1),)
    say(connection, Ended(job=1, outcome=Rendered(), digest=bytes(32), made=made).body(), [loose])
    rest()


def noisy_crash(connection: socket.socket) -> None:
    """Within the full fence."""
    say(connection, ready(fence.close_fence(0)))
    os.write(2, b"x" * 100_000 + b"\nthe last words\n")
    os.abort()


def tells_late_imports(_: socket.socket) -> None:
    """The real worker, that says at its end what it had to import after its fence was closed."""
    attend = worker.attend

    def watched(channel: worker.Channel) -> None:
        before = set(sys.modules)
        attend(channel)
        print(sorted(set(sys.modules) - before), file=sys.stderr, flush=True)

    worker.attend = watched
    worker.main(sys.argv[1:])


WAYS: dict[str, Callable[[socket.socket], None]] = {
    one.__name__: one
    for one in (
        exits_at_start,
        says_nothing,
        garbage,
        half_a_frame,
        half_a_frame_and_exit,
        too_many_descriptors,
        far_too_many_descriptors,
        descriptors_bit_by_bit,
        descriptors_beside_ready,
        ignores_everything,
        closes_its_socket,
        unsealed_picture,
        noisy_crash,
    )
}

if __name__ == "__main__":
    if os.environ["MISBEHAVIOUR"] == "tells_late_imports":
        tells_late_imports(socket.socket())
    else:
        fence.die_with_parent(int(sys.argv[2]))
        WAYS[os.environ["MISBEHAVIOUR"]](socket.socket(fileno=int(sys.argv[1])))
