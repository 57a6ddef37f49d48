"""A worker: a program of its own that looks at one content at a time and renders it.

Started by `processes.py` as `python -P -m watcherd.pool.worker SOCKET PARENT MEMORY SANDBOX` with a socket to the
daemon and nothing else: contents come as sealed memfds beside the messages, and pictures go back in the same way, so
that a worker never needs a file system. It leaves when its socket ends.

Not responsible for: deciding anything. Whether a content is rendered is the daemon's answer to `Identified`.
"""

import array
import contextlib
import errno
import faulthandler
import fcntl
import gc
import hashlib
import mmap
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from watcherd.model import Failed, Header, Ignored, Incomplete, Reason, Rejected, Rendered
from watcherd.pool.fence import fence
from watcherd.pool.frames import (
    MAX_TEXT,
    Decoder,
    Ended,
    Frame,
    Identified,
    Made,
    Work,
    encode,
    identified,
    ready,
)
from watcherd.pool.orders import EXIT_NO_THREAD
from watcherd.settings import Sandbox

Content = bytes | mmap.mmap

_READ_BYTES = 64 * 1024
_NO_THREAD_HINT = "a limit on processes is reached (ulimit -u, TasksMax=, --pids-limit)"
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an attempt came to, with the bytes of the pictures in the order of `message.made`."""

    message: Ended
    pictures: tuple[bytes, ...] = ()


class Channel:
    """The worker's end of the socket: blocking, because a worker has nothing else to do."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = Decoder()

    def frames(self) -> Iterator[Frame]:
        """Each message of the daemon, until it closes."""
        while True:
            yield from self._decoder.frames()
            room = socket.CMSG_SPACE(8 * array.array("i").itemsize)
            data, ancillary, _, _ = self._connection.recvmsg(_READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            self._decoder.feed(data, descriptors_of(ancillary))

    def send(self, body: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay ours to close."""
        data = memoryview(encode(body, len(descriptors)))
        sent = socket.send_fds(self._connection, [data], list(descriptors)) if descriptors else 0
        self._connection.sendall(data[sent:])


def descriptors_of(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in a message's ancillary data."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def sealed_memfd(content: bytes) -> int:
    """A descriptor that holds these bytes and can never hold others. Raises OSError, and then none is left."""
    descriptor = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def attend(channel: Channel) -> None:
    """Take jobs until the daemon closes the socket."""
    frames = channel.frames()
    for frame in frames:
        work = Work.parse(frame.body)
        (descriptor,) = frame.descriptors
        fence.limit_cpu_time()
        said = _attempt(work, descriptor, channel, frames)
        if said is not None:
            message, pictures = said
            channel.send(message.body(), pictures)
            for picture in pictures:
                os.close(picture)


def _attempt(
    work: Work, descriptor: int, channel: Channel, frames: Iterator[Frame]
) -> tuple[Ended, Sequence[int]] | None:
    """One attempt: what it came to, and a descriptor for each picture; None where the daemon let go of it.

    Nothing that a decoder raises gets past this. Raises NoThreadError where nothing can be told of any picture.
    """
    from watcherd.imaging.vips import NoThreadError  # noqa: PLC0415  heavy, and the caller has imported it by now

    try:
        with _mapped(descriptor) as content:
            done = _identify_and_render(work, content, channel, frames)
        if done is not None and isinstance(done.message.outcome, Incomplete | Rejected | Failed):
            _ask_for_a_thread()
        return None if done is None else (done.message, _sealed(done.pictures))
    except (ConnectionError, NoThreadError):
        raise
    except MemoryError:
        outcome = Failed(reason=Reason.OUT_OF_MEMORY, detail="not enough memory to decode it")
    except Exception as error:  # noqa: BLE001  the one place where any decoder's error becomes an outcome
        lacked = isinstance(error, OSError) and error.errno == errno.ENOMEM
        reason = Reason.OUT_OF_MEMORY if lacked else Reason.DECODER_ERROR
        outcome = Failed(reason=reason, detail=_describe(error))
    return Ended(job=work.job, outcome=outcome), ()


def _ask_for_a_thread() -> None:
    """Some decoders start threads of their own, and say anything where they get none. Raises NoThreadError."""
    from watcherd.imaging.vips import NoThreadError  # noqa: PLC0415  likewise

    thread = threading.Thread(target=int)
    try:
        thread.start()
    except RuntimeError as error:
        raise NoThreadError(str(error)) from error
    thread.join()


def _sealed(pictures: Sequence[bytes]) -> list[int]:
    """A sealed descriptor for each; none at all where one cannot be had, which raises OSError."""
    with contextlib.ExitStack() as unless_done:
        descriptors = []
        for picture in pictures:
            descriptors.append(sealed_memfd(picture))
            unless_done.callback(os.close, descriptors[-1])
        unless_done.pop_all()
    return descriptors


@contextlib.contextmanager
def _mapped(descriptor: int) -> Iterator[Content]:
    """The bytes behind a descriptor, which is closed. Gone afterwards, as soon as no picture looks at them any more."""
    try:
        size = os.fstat(descriptor).st_size
        if size == 0:  # no mapping is that small
            yield b""
            return
        # private, because kernels before 6.7 refuse a shared mapping of a sealed memfd
        content = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    finally:
        os.close(descriptor)
    try:
        yield content
    finally:
        try:
            content.close()
        except BufferError:  # an error's traceback keeps a picture, in a circle
            gc.collect()
            with contextlib.suppress(BufferError):
                content.close()


def _identify_and_render(work: Work, content: Content, channel: Channel, frames: Iterator[Frame]) -> Done | None:
    from watcherd.imaging import decode  # noqa: PLC0415  heavy, and the caller has imported it by now

    seen = decode.identify(
        content,
        variants=work.variants,
        limits=work.limits,
        has_holes=work.has_holes,
        tolerant=work.tolerant,
        other_decoder=work.other_decoder,
        svg=work.svg,
    )
    if isinstance(seen, Ignored | Incomplete):
        return Done(message=Ended(job=work.job, outcome=seen))
    digest = hashlib.sha256(content).digest()
    if isinstance(seen, Rejected):
        return Done(message=Ended(job=work.job, outcome=seen, digest=digest))
    wanted = _ask(work.job, digest, seen, channel, frames)
    if wanted is None:
        return None
    return _rendered(work, content, seen, digest, wanted)


def _rendered(work: Work, content: Content, seen: Header, digest: bytes, wanted: Sequence[str]) -> Done:
    from watcherd.imaging import render  # noqa: PLC0415  likewise

    variants = [variant for variant in work.variants if variant.name in wanted]
    made = render.render(
        content,
        seen,
        variants=variants,
        digest=digest,
        limits=work.limits,
        tolerant=work.tolerant,
        other_decoder=work.other_decoder,
    )
    if not isinstance(made, render.Rendering):
        return Done(message=Ended(job=work.job, outcome=made, digest=digest))
    message = Ended(
        job=work.job,
        outcome=Rendered(),
        digest=digest,
        made=tuple(Made(variant=p.variant, width=p.width, height=p.height) for p in made.pictures),
        decode_s=made.decode_s,
        encode_s=made.encode_s,
        phash=made.phash,
        dhash=made.dhash,
        captured=made.captured,
        notes=made.notes,
    )
    return Done(message=message, pictures=tuple(picture.data for picture in made.pictures))


def _ask(job: int, digest: bytes, header: Header, channel: Channel, frames: Iterator[Frame]) -> list[str] | None:
    """Say what it is and wait for the answer: the variants to make, or None to let go."""
    channel.send(identified(Identified(job=job, digest=digest, header=header)))
    answer: dict[str, Any] = next(frames, Frame({"type": "release"})).body
    return answer["variants"] if answer["type"] == "grant" else None


def _describe(error: Exception) -> str:
    """The error and where it came from, for a person who looks after the program, not after the picture."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"[:MAX_TEXT]


def main(arguments: Sequence[str]) -> None:
    """The program: SOCKET (descriptor), PARENT (process id), MEMORY (bytes of address space, 0: no bound), SANDBOX.

    Raises SystemExit with a sentence where the sandbox is required and cannot be had.
    """
    descriptor, parent, memory_bytes = (int(argument) for argument in arguments[:3])
    sandbox = Sandbox(arguments[3])
    fence.die_with_parent(parent)
    fence.go_first()
    fence.give_way()
    faulthandler.enable()  # a crash leaves its place in the tail of standard error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on a terminal reaches the whole group; the daemon decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a parent that ignores or blocks it has that inherited
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    channel = Channel(socket.socket(fileno=descriptor))
    _warm_up()
    missing = fence.close_fence(memory_bytes, sandbox)
    _work(channel, missing)


def _warm_up() -> None:
    """Import the decoders while nobody waits; what they open, they open before the fence closes."""
    from watcherd.imaging import warm  # noqa: PLC0415  heavy

    warm.warm_up()


def _work(channel: Channel, missing: tuple[str, ...]) -> None:
    """Say that it is ready, and take jobs. Raises SystemExit where the system has no thread for it (any more)."""
    from watcherd.imaging import vips  # noqa: PLC0415  heavy, and imported by now

    try:
        vips.needs_a_thread()
    except vips.NoThreadError as error:
        raise SystemExit(f"{error}; {_NO_THREAD_HINT}") from error
    channel.send(ready(missing))
    try:
        attend(channel)
    except (BrokenPipeError, ConnectionError):
        return
    except vips.NoThreadError as error:
        sys.stderr.write(f"{error}; {_NO_THREAD_HINT}\n")
        raise SystemExit(EXIT_NO_THREAD) from error


if __name__ == "__main__":
    main(sys.argv[1:])
