"""What a pass of the loop decides to do outside itself. What relies on the ledger is carried out after its commit."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from watcherd.model import JobClass, Variant
from watcherd.naming import Names
from watcherd.pool.orders import Command
from watcherd.settings import RootSettings
from watcherd.watch.hands.hands import Fetch, Publish, Reply, Request, StatMany
from watcherd.watch.reports import Manner


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRoot:
    """One root as the daemon works with it.

    `path` is absolute and without symbolic links. On a network file system other clients' writes are not seen as
    events, and times are another machine's; where identity is not kept, inode and ctime mean nothing.
    `names` says where the derivatives of its sources lie, and how they are called. `since_s`: when it was met first.
    """

    number: int
    path: bytes
    settings: RootSettings
    variants: tuple[Variant, ...]
    names: Names
    kind: str = ""
    network: bool = False
    keeps_identity: bool = True
    file_system: Hashable = None
    since_s: float = 0.0

    def seen_by(self, in_force: int) -> int:
        """What a rejection of one of its sources holds for: decoders and limits, and whether SVG is allowed here."""
        return in_force ^ self.settings.svg


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The one reading of the clocks in a pass: monotonic seconds for logic, wall seconds for what is kept."""

    now: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskHands:
    """A request to a root's hands."""

    root: int
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AskScanner:
    """Compare a folder (and all below it) with the ledger."""

    root: int
    directory: bytes
    arriving: JobClass = JobClass.BACKLOG
    ticket: int | None = None
    manner: Manner = Manner.NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchAnew:
    """Begin to watch a root that came (back), with a scan as soon as it is watched."""

    root: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A root was recognised: from now on its hands work in this very folder, on this very mount, and no other."""

    root: int
    inode: int | None
    mount: int | None
    keeps_identity: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TellWorker:
    """A message to a worker. The descriptors are closed once it is sent."""

    slot: int
    body: dict[str, object]
    descriptors: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseDescriptors:
    """Let go of memfds that nobody needs any more."""

    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Let go of a reply that came too late, with all that it holds open."""

    message: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell a root's scanner that one of its batches has been taken in, so that it may send another."""

    root: int


Outside = AskHands | AskScanner | WatchAnew | Bind | TellWorker | CloseDescriptors | Acknowledge | Discard
Effect = Outside | Command


def relies_on_ledger(effect: Effect) -> bool:
    """Whether what was recorded must be durable before this: unless it can come to nothing, or be done once more."""
    match effect:
        case TellWorker(descriptors=descriptors):
            return bool(descriptors)  # an attempt begins
        case AskHands(request=StatMany() | Fetch() | Publish()):
            return False
        case CloseDescriptors() | Discard():
            return False
    return True
