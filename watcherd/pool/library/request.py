"""One request to the library's pool, and the words around it: what its keeper is told, what it decides to have done.

Not responsible for: moving requests on (`requests.py`).
"""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from watcherd.model import Header, Reason
from watcherd.pool.crew import FromCrew
from watcherd.pool.frames import Ended
from watcherd.pool.orders import Command


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One image, and who waits for it. Owned by the supervisor's thread once submitted."""

    ticket: int
    image: bytes
    future: Future[Any]
    slot: int | None = None
    given_at: float = 0.0
    header: Header | None = None
    memory_bytes: int = 0
    faults: int = 0
    interruptions: int = 0
    not_before: float = 0.0
    aside_since: float = 0.0
    suspect: bool = False
    whole_budget: bool = False
    other_decoder: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """The caller does not want it any more."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Close:
    """Take nothing more; end when all is done, or at once."""

    at_once: bool


@dataclass(frozen=True, slots=True)
class NotGiven:
    """There was no descriptor or memory to hand an image to a worker."""

    ticket: int
    detail: str


Input = Request | Cancel | Close | NotGiven | FromCrew


@dataclass(frozen=True, slots=True)
class Give:
    """Hand the image to the worker in this slot."""

    slot: int
    request: Request
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to a worker."""

    slot: int
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class CloseDescriptors:
    """Let go of memfds that nobody needs."""

    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """It is done: the picture is in the descriptor."""

    request: Request
    ended: Ended
    descriptor: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """There will be no picture, because of the image."""

    request: Request
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class LetDown:
    """There will be no picture, because of the pool, or because the caller does not want it."""

    request: Request


Effect = Give | Tell | CloseDescriptors | Deliver | Refuse | LetDown | Command
