"""What a root's scanner and observer say to the loop.

Responsible for: the reports' types. Not responsible for: making them (`walk.py`, `scanner.py`, `observer.py`). Pure.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from watcherd.model import Change, JobClass, State

# ---------------------------------------------------------------------------------------------------------- the scanner


class Manner(IntEnum):
    """How a scan goes about it, the most thorough first.

    NOW: as fast as it can. SWEEP: at the pace that was set, letting others pass. QUICK_SWEEP: that, and trusting the
    times of folders.
    """

    NOW = 0
    SWEEP = 1
    QUICK_SWEEP = 2


class ScanResult(StrEnum):
    """How a scan ended."""

    COMPLETE = "complete"
    ROOT_UNREADABLE = "root_unreadable"
    ROOT_EMPTIED = "root_emptied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Sources that need a look (FOUND, with the stamp just seen) or are missing (DELETED). To be acknowledged."""

    root: int
    changes: tuple[Change, ...]
    ticket: int | None
    arriving: JobClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A folder in which all sources rest as done or ignored: what the ledger may remember of it."""

    root: int
    directory: bytes
    digest: int
    done: int
    ignored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """Temporary files that an earlier run of this instance left behind, and folders for derivatives that are empty."""

    root: int
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanEnded:
    """The end of one scan. `by_state` counts the sources that rest, by their state; `unchanged` are the done ones.

    `errors` holds the first hundred (path, errno) of what could not be read; `errno` is the root's own. `identity` is
    by what the root can be known again (`mounts.py`), empty if that could not be told. `is_quick`: folders whose times
    had not changed were not read, and count as directories alone. `behind_links` of the directories were reached over
    links, so that nobody watches them.
    """

    root: int
    directory: bytes
    ticket: int | None
    result: ScanResult
    directories: int
    sources: int
    unchanged: int
    by_state: dict[State, int]
    errors: tuple[tuple[bytes, int], ...]
    errno: int = 0
    identity: str = ""
    is_quick: bool = False
    behind_links: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerFailed:
    """The scanner met what it cannot go on with (its reader of the ledger failed); its thread has ended."""

    root: int
    error: Exception


# --------------------------------------------------------------------------------------------------------- the observer


class DoubtReason(StrEnum):
    """Why events alone do not tell what a folder holds."""

    OVERFLOW = "overflow"
    NEW_DIRECTORY = "new_directory"
    GONE_DIRECTORY = "gone_directory"
    ROOT_DELETED = "root_deleted"
    UNMOUNTED = "unmounted"
    HANDLER_FAILED = "handler_failed"
    WATCHER_ENDED = "watcher_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A folder (and all below it) should be scanned. `detail` is for the log."""

    root: int
    directory: bytes
    why: DoubtReason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """All watches are in place: what happens from now on is reported."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many folders of a root have a watch, and for how many the kernel had none left."""

    root: int
    watches: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLink:
    """What the observer of a folder says of itself that is a root's over a link."""

    root: int
    link: bytes
    said: "Watching | WatchFailed | Coverage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Felt:
    """The event of a file that was made for a test has arrived."""

    root: int


class WatchTrouble(StrEnum):
    """Why a root cannot be watched."""

    ROOT_IS_LINK = "root_is_link"
    ROOT_MISSING = "root_missing"
    WATCH_LIMIT = "watch_limit"
    INSTANCE_LIMIT = "instance_limit"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFailed:
    """The root is not watched; its observer has ended."""

    root: int
    why: WatchTrouble
    detail: str
