import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.places import RIGHT, content, item, kind_of, no_leak, our_threads, picture, place_at, write
from watcherd.watch.hands.hands import (
    Broken,
    Collect,
    Collected,
    Fetch,
    Fetched,
    Hands,
    Probe,
    Probed,
    Publish,
    Published,
    Remove,
    Removed,
    Reply,
    Salvage,
    Salvaged,
    StatMany,
    Stats,
    Sync,
    Synced,
    discard,
)

PATIENCE_S = 20
Start = Callable[..., tuple[Hands, "SimpleQueue[Reply]"]]


class Gate:
    """A `kind_of` that lets nobody through until it is opened: a server that does not answer."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, head: bytes) -> str | None:
        self.arrived.release()
        assert self.opened.wait(PATIENCE_S)
        return kind_of(head)

    def await_somebody(self) -> None:
        assert self.arrived.acquire(timeout=PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Hands for the test's folder, with the queue that their replies arrive in; all threads are gone at the end."""
    started: list[Hands] = []

    def start(**changes: object) -> tuple[Hands, "SimpleQueue[Reply]"]:
        inbox: SimpleQueue[Reply] = SimpleQueue()
        own = {name: changes.pop(name) for name in ("post", "threads", "clock") if name in changes}
        hands = Hands(place_at(tmp_path, **changes), **{"post": inbox.put, **own})  # type: ignore[arg-type]
        started.append(hands)
        return hands, inbox

    before = our_threads()
    with no_leak():
        yield start
        for hands in started:
            hands.close()
        for thread in our_threads() - before:
            thread.join(PATIENCE_S)
        assert our_threads() == before


def fetch(ticket: int, path: bytes = b"a.jpg") -> Fetch:
    return Fetch(ticket=ticket, path=path, stamp=None, max_bytes=10_000_000)


def test_each_request_has_its_reply(start: Start, tmp_path: Path) -> None:
    hands, inbox = start()
    stamp = write(tmp_path, b"a.jpg", picture())
    write(tmp_path, b"x", picture(RIGHT))
    requests = [
        (StatMany(ticket=1, paths=(b"a.jpg",)), Stats),
        (fetch(2), Fetched),
        (Collect(ticket=3, items=((b"x", RIGHT, 1_000),)), Collected),
        (Publish(ticket=4, path=b"a.jpg", stamp=stamp, items=(item(b"t.jpg"),)), Published),
        (Sync(ticket=5, folders=(b"",)), Synced),
        (Salvage(ticket=6, suspects=()), Salvaged),
        (Remove(ticket=7, items=((b"u.jpg", 1, 1),)), Removed),
        (Probe(ticket=8), Probed),
    ]
    for ticket, (request, kind) in enumerate(requests, start=1):
        hands.submit(request)
        reply = inbox.get(timeout=PATIENCE_S)
        assert (type(reply), reply.root, reply.ticket) == (kind, 3, ticket)
        discard(reply)


def test_the_descriptors_of_a_request_are_closed_when_it_is_answered(start: Start, tmp_path: Path) -> None:
    hands, inbox = start()
    stamp = write(tmp_path, b"a.jpg", picture())
    one = item(b"t.jpg")
    hands.submit(Publish(ticket=1, path=b"gone.jpg", stamp=stamp, items=(one,)))
    inbox.get(timeout=PATIENCE_S)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(one.fd)


def test_an_error_of_our_own_is_a_reply_that_names_the_step_and_the_thread_lives_on(
    start: Start, tmp_path: Path
) -> None:
    def broken(_: bytes) -> str | None:
        raise ZeroDivisionError(os.fsdecode(b"caf\xe9"))

    hands, inbox = start(kind_of=broken, threads=1)
    write(tmp_path, b"a.jpg", picture())
    for ticket in (1, 2):
        hands.submit(fetch(ticket))
        reply = inbox.get(timeout=PATIENCE_S)
        assert isinstance(reply, Broken)
        assert (reply.root, reply.ticket, reply.operation) == (3, ticket, "Fetch.read")
        assert "ZeroDivisionError: caf\\udce9" in reply.text


def test_a_failing_inbox_does_not_end_the_thread(start: Start, tmp_path: Path) -> None:
    taken: SimpleQueue[Reply] = SimpleQueue()

    def post(reply: Reply) -> None:
        if reply.ticket == 1 and not isinstance(reply, Broken):
            raise BlockingIOError
        taken.put(reply)

    hands, _ = start(post=post, threads=1)
    stamp = write(tmp_path, b"a.jpg", picture())
    hands.submit(StatMany(ticket=1, paths=(b"a.jpg",)))
    hands.submit(StatMany(ticket=2, paths=(b"a.jpg",)))
    first, second = (taken.get(timeout=PATIENCE_S) for _ in range(2))
    assert isinstance(first, Broken)
    assert (first.ticket, first.operation) == (1, "StatMany.post")
    assert second == Stats(root=3, ticket=2, results=((b"a.jpg", stamp),))


def test_a_call_that_hangs_is_seen_and_holds_up_nobody_else(start: Start, tmp_path: Path) -> None:
    gate = Gate()
    hands, inbox = start(kind_of=gate, threads=2, clock=lambda: 100.0)
    write(tmp_path, b"a.jpg", picture())
    idle = hands.oldest_pending(130.0)
    hands.submit(fetch(1))
    gate.await_somebody()
    pending = hands.oldest_pending(130.0)
    hands.submit(Probe(ticket=2))
    other = inbox.get(timeout=PATIENCE_S)
    gate.opened.set()
    first = inbox.get(timeout=PATIENCE_S)
    discard(first)
    assert (idle, pending, other.ticket, first.ticket) == (None, 30.0, 2, 1)


def test_close_waits_for_nothing_and_drops_what_waits_or_comes_late(start: Start, tmp_path: Path) -> None:
    gate = Gate()
    hands, inbox = start(kind_of=gate, threads=1)
    stamp = write(tmp_path, b"a.jpg", picture())
    hands.submit(fetch(1))
    gate.await_somebody()
    hands.submit(Publish(ticket=2, path=b"a.jpg", stamp=stamp, items=(item(b"t.jpg"),)))
    hands.close()
    hands.submit(Publish(ticket=3, path=b"a.jpg", stamp=stamp, items=(item(b"t.jpg"),)))
    hands.close()
    gate.opened.set()
    for thread in threading.enumerate():
        if thread.name.startswith("hands-"):
            thread.join(PATIENCE_S)
    assert (inbox.empty(), os.listdir(tmp_path)) == (True, ["a.jpg"])


def test_a_hung_thread_does_not_keep_the_program_alive(start: Start) -> None:
    start()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("hands-"))


def test_a_new_place_counts_from_the_next_request_on(start: Start, tmp_path: Path) -> None:
    hands, inbox = start()
    (tmp_path / "other").mkdir()
    write(tmp_path, b"other/a.jpg", picture(size=500))
    hands.place = place_at(tmp_path / "other")
    hands.submit(fetch(1))
    reply = inbox.get(timeout=PATIENCE_S)
    assert isinstance(reply, Fetched)
    data = content(reply.fd)
    discard(reply)
    assert data == picture(size=500)
