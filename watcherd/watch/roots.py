"""Which roots can be worked in.

Responsible for: the state of each root, what a fault says about it, and when to probe and to scan it again.
Not responsible for: faults of single files (those are outcomes), probing (the hands do), and telling which file system
is mounted (`watch/mounts.py`). Pure.

A fault of the environment is nobody's attempt: a full or read-only disk, a used-up quota and a lost server pause
every root on that file system, and each resumes by its own probe, with a scan. A root whose calls do not return is
*hung*; one whose identity is gone is *offline*, and so is one that nobody has looked at yet. The worse state hides the
better: offline, hung, paused, online. From offline and hung a root comes back by its identity alone.
"""

import errno
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from watcherd.model import Source

FIRST_PROBE_S = 5.0
LONGEST_PROBE_S = 60.0
"""Probes come 5 s after the fault, then at twice the distance each, up to 60 s (chosen, not measured). A fault within
60 s of a return goes on where the last one ended: a probe of a few bytes fits on a disk that is full for a picture."""
_EIO_FILES = 3

PAUSING = {
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space is left on the file system (or less than min_free_bytes)",
    errno.EDQUOT: "the disk quota is used up",
    errno.ESTALE: "the server does not know this folder any more",
    errno.ENOTCONN: "the file system's server is not connected",
    errno.EHOSTDOWN: "the file system's server is down",
    errno.ENODEV: "the device is gone",
    errno.ENXIO: "the device is gone",
    errno.ENOMEDIUM: "its mirror is not mounted, or not there, or not marked as one",
    errno.EIO: "the device cannot be read or written",
    **dict.fromkeys(
        (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ESHUTDOWN),
        "the file system's server cannot be reached",
    ),
    **dict.fromkeys(
        (errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET), "the file system's server ended the connection"
    ),
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "the system has too many files open",
    errno.ENOMEM: "the kernel has no memory left",
}
_PAUSING_AT_ONCE = PAUSING.keys() - {errno.EIO}
HUNG = "its file system does not answer"
OFFLINE = "it is not mounted, or not there"
UNSEEN = "it has not answered yet"


class RootState(StrEnum):
    """What can be done in a root. Only in an online one is work done."""

    ONLINE = "online"
    OFFLINE = "offline"
    HUNG = "hung"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A call on a source failed with this errno. `of_root`: the root itself could not be worked in.

    `alone`: it is about the tree of derivatives that this root has for itself, and no matter of other roots.
    """

    root: int
    errno: int
    source: Source
    of_root: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A source was read or published: faults before it were single files' faults."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOverdue:
    """A call has not returned in time."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReturned:
    """All overdue calls of a root have returned."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSucceeded:
    """A small file could be written and removed."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed:
    """It could not."""

    root: int
    errno: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whether the root is there, and if not, why (the end of a sentence; empty: the usual reason)."""

    root: int
    present: bool
    reason: str = ""


_OfAPresentRoot = Fault | Worked | CallOverdue | CallReturned | ProbeSucceeded | ProbeFailed
Event = _OfAPresentRoot | Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Write and remove a small file in this root; answer with ProbeSucceeded or ProbeFailed."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Find out whether this root is still what it was; answer with Identity."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Compare this root with the ledger: it was away. `anew`: what watched it may watch another folder by now."""

    root: int
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Say that a root is in another state now, or in the same one for another reason."""

    root: int
    state: RootState
    reason: str


Command = Probe | Look | Scan | Announce


@dataclass(slots=True)
class _Root:
    file_system: Hashable
    state: RootState
    reason: str = ""
    probe_at: float | None = None
    probe_delay_s: float = FIRST_PROBE_S
    returned_at: float | None = None
    eio_sources: set[Source] = field(default_factory=set)


class Roots:
    """The state of all roots."""

    def __init__(self) -> None:
        self._roots: dict[int, _Root] = {}

    def add(self, root: int, *, file_system: Hashable, present: bool = True) -> None:
        """Take a root on. `file_system`: equal for roots that share one. Not `present`: not looked at yet."""
        state = RootState.ONLINE if present else RootState.OFFLINE
        self._roots[root] = _Root(file_system, state, "" if present else UNSEEN)

    def moved(self, root: int, *, file_system: Hashable) -> None:
        """Note what a root lies on now."""
        self._roots[root].file_system = file_system

    def remove(self, root: int) -> None:
        """Drop a root that is not watched any more."""
        self._roots.pop(root, None)

    def state(self, root: int) -> RootState:
        """The state of a root."""
        return self._roots[root].state

    def reason(self, root: int) -> str:
        """Why a root is not online, as the end of a sentence; empty for one that is."""
        return self._roots[root].reason

    def runnable(self, root: int) -> bool:
        """Whether work may be done in a root."""
        return self._roots[root].state is RootState.ONLINE

    def next_deadline(self) -> float | None:
        """When the next probe is due (monotonic), None for never."""
        return min((root.probe_at for root in self._roots.values() if root.probe_at is not None), default=None)

    def due(self, now: float) -> tuple[Command, ...]:
        """The probes that are due. Each is asked for once; the next one follows its answer."""
        ripe = [number for number, root in self._roots.items() if root.probe_at is not None and root.probe_at <= now]
        for number in ripe:
            self._roots[number].probe_at = None
        return tuple(Probe(root=number) for number in ripe)

    def handle(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take note of something, and say what to do about it."""
        root = self._roots.get(event.root)
        if root is None:
            return ()
        if isinstance(event, Identity):
            return self._identity(event, root, now)
        never_answered = isinstance(event, CallOverdue) and root.reason == UNSEEN
        if root.state is RootState.OFFLINE and not never_answered:
            return ()
        return self._handle(event, root, now)

    def _handle(self, event: _OfAPresentRoot, root: _Root, now: float) -> tuple[Command, ...]:
        commands: tuple[Command, ...] = ()
        match event:
            case Fault():
                commands = self._fault(event, root, now)
            case Worked():
                root.eio_sources.clear()
            case CallOverdue():
                commands = self._hang(event.root, root)
            case CallReturned() if root.state is RootState.HUNG:
                commands = (Look(root=event.root),)
            case CallReturned():
                pass
            case ProbeSucceeded():
                root.eio_sources.clear()
                commands = () if root.state is RootState.ONLINE else self._return(event.root, root, now)
            case ProbeFailed():
                commands = self._probe_failed(event, root, now)
            case _:
                assert_never(event)
        return commands

    def _identity(self, event: Identity, root: _Root, now: float) -> tuple[Command, ...]:
        if event.present:
            was_away = root.state in {RootState.OFFLINE, RootState.HUNG}
            return self._return(event.root, root, now) if was_away else ()
        root.probe_at = None
        root.eio_sources.clear()
        return self._change(event.root, root, RootState.OFFLINE, event.reason or OFFLINE)

    def _fault(self, event: Fault, root: _Root, now: float) -> tuple[Command, ...]:
        if root.state is not RootState.ONLINE:
            return ()
        if event.errno in _PAUSING_AT_ONCE and event.alone:
            return self._pause(event.root, root, now, event.errno)
        if event.errno in _PAUSING_AT_ONCE:
            alike = [
                (number, one)
                for number, one in self._roots.items()
                if one.file_system == root.file_system and one.state is RootState.ONLINE
            ]
            return tuple(command for number, one in alike for command in self._pause(number, one, now, event.errno))
        if event.of_root:
            return self._pause(event.root, root, now, event.errno)
        if event.errno != errno.EIO:
            return ()
        root.eio_sources.add(event.source)
        if len(root.eio_sources) < _EIO_FILES:
            return ()
        root.eio_sources.clear()
        return (Probe(root=event.root),)

    def _hang(self, number: int, root: _Root) -> tuple[Command, ...]:
        if root.state is RootState.HUNG:
            return ()
        root.probe_at = None
        return self._change(number, root, RootState.HUNG, HUNG)

    def _probe_failed(self, event: ProbeFailed, root: _Root, now: float) -> tuple[Command, ...]:
        if root.state is not RootState.PAUSED:
            return self._pause(event.root, root, now, event.errno)
        root.probe_delay_s = min(LONGEST_PROBE_S, 2 * root.probe_delay_s)
        root.probe_at = now + root.probe_delay_s
        return self._change(event.root, root, RootState.PAUSED, _reason(event.errno))

    def _pause(self, number: int, root: _Root, now: float, code: int) -> tuple[Command, ...]:
        relapsed = root.returned_at is not None and now - root.returned_at < LONGEST_PROBE_S
        root.probe_delay_s = min(LONGEST_PROBE_S, 2 * root.probe_delay_s) if relapsed else FIRST_PROBE_S
        root.probe_at = now + root.probe_delay_s
        root.eio_sources.clear()
        return self._change(number, root, RootState.PAUSED, _reason(code))

    def _return(self, number: int, root: _Root, now: float) -> tuple[Command, ...]:
        root.probe_at = None
        root.returned_at = now if root.state is RootState.PAUSED else None
        anew = root.state is not RootState.PAUSED
        return (*self._change(number, root, RootState.ONLINE, ""), Scan(root=number, anew=anew))

    def _change(self, number: int, root: _Root, state: RootState, reason: str) -> tuple[Command, ...]:
        if (root.state, root.reason) == (state, reason):
            return ()
        root.state, root.reason = state, reason
        return (Announce(root=number, state=state, reason=reason),)


def _reason(code: int) -> str:
    return PAUSING.get(code, f"it cannot be worked in ({errno.errorcode.get(code, str(code))})")
