"""The nouns of watcherd: what is passed between its rooms. A pure leaf: values only.

Every closed vocabulary is a `StrEnum`; the same word stands in code, ledger, log and documentation. Lengths of time end
in `_s` (seconds), sizes in `_bytes`, instants of the wall clock in `_at_s` (seconds since 1970).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

RECIPE_REVISION = 1
"""Raised by hand when pixels should change: every derivative then becomes due again. It does not follow library
versions: a security update of a decoder must not render a library of photos anew."""


# ------------------------------------------------------------------------------------------------ sources and changes


class Source(NamedTuple):
    """An upload: the ledger's number of its root, and its path below that root as the kernel knows it (bytes)."""

    root: int
    path: bytes

    @property
    def directory(self) -> bytes:
        """The folder's path below the root; empty for the root itself."""
        return self.path.rpartition(b"/")[0]

    @property
    def name(self) -> bytes:
        """The last component of the path."""
        return self.path.rpartition(b"/")[2]


class Stamp(NamedTuple):
    """The cheap identity of a file's content, from one `lstat`."""

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    nlink: int

    @property
    def newest_ns(self) -> int:
        """The later of the two times, in nanoseconds of the wall clock."""
        return max(self.mtime_ns, self.ctime_ns)


class ChangeKind(StrEnum):
    """What a report about a path says. Only a hint: a stat decides."""

    CREATED = "created"
    CLOSED = "closed"
    MOVED = "moved"
    DELETED = "deleted"
    FOUND = "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One report about one path. `stamp` comes with FOUND (the scanner has just seen it), `previous` with MOVED."""

    kind: ChangeKind
    source: Source
    stamp: Stamp | None = None
    previous: bytes | None = None


class JobClass(StrEnum):
    """Why a job is in the queue; the weights that follow from it stand in `queue/jobqueue.py`."""

    MANUAL = "manual"
    RETRY = "retry"
    UPLOAD = "upload"
    EDITED = "edited"
    RECIPE = "recipe"
    BACKLOG = "backlog"


# -------------------------------------------------------------------------------------------- variants and derivatives


class OutputFormat(StrEnum):
    """The container of a derivative. The value is the name in the configuration."""

    JPEG = "jpeg"
    WEBP = "webp"
    AVIF = "avif"
    PNG = "png"
    JXL = "jxl"

    @property
    def extension(self) -> str:
        """The file name's ending, without the dot."""
        return "jpg" if self is OutputFormat.JPEG else self.value


class Fit(StrEnum):
    """How a picture meets its box."""

    INSIDE = "inside"
    COVER = "cover"
    PAD = "pad"
    SMART = "smart"


class Chroma(StrEnum):
    """Resolution of colour against brightness: `auto` halves it below quality 90."""

    AUTO = "auto"
    HALF = "4:2:0"
    FULL = "4:4:4"


class MetadataPolicy(StrEnum):
    """What of the source's metadata a derivative carries besides our mark."""

    NONE = "none"
    COPYRIGHT = "copyright"
    KEEP = "keep"


class ColourPolicy(StrEnum):
    """`srgb` converts embedded profiles; `rgb` too, and grey gets three channels; `keep` carries the profile along."""

    SRGB = "srgb"
    RGB = "rgb"
    KEEP = "keep"


class AnimationPolicy(StrEnum):
    """`first` renders the first frame; `keep` renders all of them where the format can hold them."""

    FIRST = "first"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A configured recipe: one derivative of each source.

    `width`, `height`: the box in pixels, an open side is None. `quality`: 1 to 100. `effort`: the encoder's, 0 to 9 or
    None (our choice). `background`: the sRGB colour under transparency and around `pad`.
    """

    name: str
    width: int | None
    height: int | None
    fit: Fit = Fit.INSIDE
    format: OutputFormat = OutputFormat.JPEG
    quality: int = 80
    progressive: bool = True
    effort: int | None = None
    chroma: Chroma = Chroma.AUTO
    background: tuple[int, int, int] = (255, 255, 255)
    sharpen: bool = False
    normalise: bool = False
    metadata: MetadataPolicy = MetadataPolicy.NONE
    colour: ColourPolicy = ColourPolicy.SRGB
    animation: AnimationPolicy = AnimationPolicy.FIRST
    upscale: bool = False

    @property
    def fingerprint(self) -> int:
        """A signed 64-bit hash of these settings (but the name) and the recipe revision: equal means equal pixels."""
        return _fingerprint(self, RECIPE_REVISION)


@lru_cache(maxsize=256)
def _fingerprint(variant: Variant, revision: int) -> int:
    recipe = {key: value for key, value in asdict(variant).items() if key != "name"}
    text = json.dumps([revision, recipe], sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


THUMBNAIL = Variant(name="thumbnail", width=200, height=200, quality=80)
PREVIEW = Variant(name="preview", width=1200, height=1200, quality=85)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivative:
    """A file made from one source by one variant. `layout`: the ledger's number of where it lies (0: beside it)."""

    variant: str
    fingerprint: int
    size_bytes: int
    mtime_ns: int
    width: int
    height: int
    layout: int = 0


# ------------------------------------------------------------------------------------------------ outcomes and reasons


class Reason(StrEnum):
    """Why a source is not done. Closed: a decision never reads message text, it reads these."""

    LAYOUT = "layout"  # Pending: its derivatives lie where an earlier layout had them
    # Rejected: holds until the content, the decoder table or the limits change
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    SIDE_TOO_LONG = "side_too_long"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    DECODER_MISSING = "decoder_missing"
    NAME_TAKEN = "name_taken"
    TOO_MUCH_MEMORY = "too_much_memory"
    NOT_PERMITTED = "not_permitted"
    # Incomplete: the upload has not ended
    TRUNCATED = "truncated"
    HOLES = "holes"
    ZERO_TAIL = "zero_tail"
    GROWING = "growing"
    # Failed: worth another attempt
    DECODER_ERROR = "decoder_error"
    OUT_OF_MEMORY = "out_of_memory"
    READ_ERROR = "read_error"
    WRITE_ERROR = "write_error"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """All derivatives that were asked for are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """The derivatives were copied from a twin's or found in place; nothing was decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The content is what the ledger says, and its derivatives are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbed:
    """The source changed while it was read: back to settling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """The source is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Not a picture for us. `kind` says what it seems to be ("text", "video", "derivative", "link", ...)."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """The upload seems not to have ended; wait for more of it."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Cannot be done: holds for this content, this decoder table and these limits, and ends when one changes."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Went wrong in a way that another attempt may cure."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The worker was ended at the attempt's deadline."""

    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The worker ended while it held this source. `how`: signal or exit code. `outside`: not this source's doing."""

    how: str
    outside: bool


Outcome = (
    Rendered | Reused | Unchanged | Disturbed | Vanished | Ignored | Incomplete | Rejected | Failed | TimedOut | Crashed
)


class StopReason(StrEnum):
    """Why we end a worker."""

    WORN = "worn"
    BLOATED = "bloated"
    OUTDATED = "outdated"
    HUNG = "hung"
    SURPLUS = "surplus"
    SHUTDOWN = "shutdown"
    BOOT_FAILED = "boot_failed"
    LOST = "lost"


class Answer(StrEnum):
    """What the daemon says to `Identified`."""

    GRANT = "grant"
    REUSE = "reuse"
    SKIP = "skip"
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first look told: kind by magic bytes, geometry before turning, and the peak of memory to render it."""

    kind: str
    width: int
    height: int
    frames: int
    memory_bytes: int

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.width * self.height


# -------------------------------------------------------------------------------------------------------------- ledger


class State(StrEnum):
    """What is known of a source. A source that is gone keeps its state until it is forgotten."""

    PENDING = "pending"
    DONE = "done"
    IGNORED = "ignored"
    INCOMPLETE = "incomplete"
    REJECTED = "rejected"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is remembered of one source. Defaults say "nothing known yet".

    `sequence` orders pending entries within their class. `in_hand`: an attempt began and its end is not recorded; so at
    start-up, the daemon ended with this source in a worker. `first_seen_at_s`: when this very stamp was first seen;
    `not_before_at_s`: when the next attempt is due. `seen_by`: the decoder table and limits that a rejection holds for.
    `phash`, `dhash`: unsigned 64-bit, None where not known. `captured`: local time as "2008-05-30T15:56:01", or "".
    """

    source: Source
    state: State
    stamp: Stamp | None = None
    digest: bytes | None = None
    job_class: JobClass | None = None
    sequence: int = 0
    faults: int = 0
    interruptions: int = 0
    in_hand: bool = False
    reason: Reason | None = None
    detail: str = ""
    first_seen_at_s: float = 0.0
    not_before_at_s: float | None = None
    gone_at_s: float | None = None
    seen_by: int = 0
    width: int = 0
    height: int = 0
    phash: int | None = None
    dhash: int | None = None
    captured: str = ""
    derivatives: tuple[Derivative, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is known of a content that cannot be done, whatever path it is found at."""

    digest: bytes
    seen_by: int
    quarantined: bool
    reason: Reason
    detail: str
