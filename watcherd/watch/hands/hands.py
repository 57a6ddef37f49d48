"""A root's hands: the few threads that touch its files, so that nobody else has to wait for them.

Responsible for: the queue of requests, the threads, one reply to each request (whatever happens), and telling how long
a call has not come back. Not responsible for: what the requests do (`reading.py`, `writing.py`, `tidying.py`,
`relocating.py`, `following.py`, `salvaging.py`), what follows from a call that hangs (`roots.py`).

A thread that hangs in the kernel cannot be ended. All are daemon threads and none is ever joined: such a thread costs
its root one pair of hands, and the program can end nevertheless.

A descriptor has one owner at every moment: those of a request are closed here when it is done, and those of a reply
belong to whoever takes it. What nobody can take any more is closed here as well.
"""

import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import assert_never

from watcherd.derivatives.publish import Item
from watcherd.watch import sighting
from watcherd.watch.hands import following, orphans, reading, relocating, salvaging, tidying, writing
from watcherd.watch.hands.following import Follow, Followed
from watcherd.watch.hands.noting import Annotate, Annotated, annotate
from watcherd.watch.hands.orphans import FindOrphans, OrphansFound
from watcherd.watch.hands.place import Fault, Place, Refused, Steps
from watcherd.watch.hands.reading import Collect, Collected, Fetch, Fetched, Found, StatMany, Stats
from watcherd.watch.hands.relocating import Displaced, Relocate, Relocated
from watcherd.watch.hands.salvaging import Salvage, Salvaged, Sync, Synced
from watcherd.watch.hands.tidying import Fate, Remove, Removed
from watcherd.watch.hands.writing import Probe, Probed, Publish, Published, Touch, Touched
from watcherd.watch.sighting import Recognise, Recognised

__all__ = [
    "Annotate",
    "Annotated",
    "Broken",
    "Collect",
    "Collected",
    "Displaced",
    "Fate",
    "Fault",
    "Fetch",
    "Fetched",
    "FindOrphans",
    "Follow",
    "Followed",
    "Found",
    "Hands",
    "Item",
    "OrphansFound",
    "Place",
    "Probe",
    "Probed",
    "Publish",
    "Published",
    "Recognise",
    "Recognised",
    "Refused",
    "Relocate",
    "Relocated",
    "Remove",
    "Removed",
    "Reply",
    "Request",
    "Salvage",
    "Salvaged",
    "StatMany",
    "Stats",
    "Sync",
    "Synced",
    "Touch",
    "Touched",
    "discard",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """An error in our own code while a request was carried out: the request and the step, and the traceback."""

    root: int
    ticket: int
    operation: str
    text: str


Request = (
    StatMany
    | Fetch
    | Collect
    | Publish
    | Remove
    | Relocate
    | Follow
    | FindOrphans
    | Annotate
    | Probe
    | Recognise
    | Touch
    | Sync
    | Salvage
)
Reply = (
    Stats
    | Fetched
    | Collected
    | Published
    | Removed
    | Relocated
    | Followed
    | OrphansFound
    | Probed
    | Recognised
    | Touched
    | Annotated
    | Refused
    | Fault
    | Broken
    | Synced
    | Salvaged
)


class Hands:
    """The threads of one root. `post` takes each reply, in a thread of ours, and must not wait for anything.

    `place` may be set at any time (a reload, a root mounted anew): requests that start afterwards see it.
    """

    def __init__(
        self,
        place: Place,
        *,
        post: Callable[[Reply], object],
        threads: int = 3,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = place
        self._post = post
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._steps = [Steps(clock) for _ in range(threads)]
        self._is_closed = False
        for number, steps in enumerate(self._steps):
            name = f"hands-{place.root}-{number}"
            threading.Thread(target=self._work, args=(steps,), name=name, daemon=True).start()

    def submit(self, request: Request) -> None:
        """Queue a request; first come, first served. Its descriptors are ours from now on."""
        if self._is_closed:
            discard(request)
        else:
            self._queue.put(request)

    def oldest_pending(self, now: float) -> float | None:
        """For how many seconds the slowest system call has been under way; None where no request is.

        A long copy is no long call: it starts anew with each chunk.
        """
        return max((now - since_s for steps in self._steps if (since_s := steps.since_s) is not None), default=None)

    def close(self) -> None:
        """Take no more requests, drop those that wait, post nothing more. Does not wait for anything."""
        self._is_closed = True
        with suppress(Empty):
            while True:
                discard(self._queue.get_nowait())
        for _ in self._steps:
            self._queue.put(None)

    def _work(self, steps: Steps) -> None:
        given = self.place
        place = replace(given, steps=steps)
        while (request := self._queue.get()) is not None:
            if given is not self.place:
                given = self.place
                place = replace(given, steps=steps)
            reply = self._serve(request, place)
            steps.rest()
            self._send(reply, request)

    def _serve(self, request: Request, place: Place) -> Reply:
        try:
            return carry_out(place, request)
        except Exception:  # noqa: BLE001 the thread has to live on, and the loop has to hear of it
            return _broken(place.root, request, place.steps)
        finally:
            discard(request)

    def _send(self, reply: Reply, request: Request) -> None:
        if self._is_closed:
            discard(reply)
            return
        try:
            self._post(reply)
        except Exception:  # noqa: BLE001 as above; whether the reply was taken is not known, so it is left alone
            with suppress(Exception):
                self._post(_broken(self.place.root, request, Steps(operation="post")))


def carry_out(place: Place, request: Request) -> Reply:
    """Carry out one request, in the calling thread."""
    reply: Reply
    match request:
        case StatMany():
            reply = reading.stat_many(place, request)
        case Fetch():
            reply = reading.fetch(place, request)
        case Collect():
            reply = reading.collect(place, request)
        case Publish():
            reply = writing.publish(place, request)
        case Remove():
            reply = tidying.remove(place, request)
        case Relocate():
            reply = relocating.relocate(place, request)
        case Follow():
            reply = following.follow(place, request)
        case FindOrphans():
            reply = orphans.find(place, request)
        case Annotate():
            reply = annotate(place, request)
        case Probe():
            reply = writing.probe(place, request)
        case Recognise():
            reply = sighting.look(place, request)
        case Touch():
            reply = writing.touch(place, request)
        case Sync() | Salvage():
            reply = salvaging.carry_out(place, request)
        case _:
            assert_never(request)
    return reply


def discard(message: Request | Reply | None) -> None:
    """Close the descriptors of a message that nobody takes. To be called once for each at the most."""
    for descriptor in _descriptors(message):
        with suppress(OSError):
            os.close(descriptor)


def _descriptors(message: Request | Reply | None) -> list[int]:
    match message:
        case Fetched():
            return [message.fd]
        case Collected():
            return [descriptor for descriptor in message.fds if descriptor is not None]
        case Publish():
            return [item.fd for item in message.items]
        case _:
            return []


def _broken(root: int, request: Request, steps: Steps) -> Broken:
    """The reply for the exception that is being handled; text that any log and table can hold."""
    text = traceback.format_exc().encode("utf-8", "backslashreplace").decode()
    operation = f"{type(request).__name__}.{steps.operation}"
    return Broken(root=root, ticket=request.ticket, operation=operation, text=text)
