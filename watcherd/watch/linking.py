"""Which symbolic links of a root are followed, and where they were seen to lead.

Responsible for: the decision whether a link to a folder is followed, and the value that says so to everybody who opens
something in a root. Not responsible for: looking at links (`scanning/linkwalk.py`), opening through them (`links.py`).
Pure.

Each folder is to be reached by one way only: two ways would be two sources for one file, and two owners for one
derivative beside it. So what linked folders lead to must lie apart: from the root, from all other roots, mirrors and
the state directory, and from each other. That leaves no room for loops either: a link that leads to a folder on the way
to itself leads into the root, or into what another link leads to.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from types import MappingProxyType

_ESCAPED = b"%abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
_FEATURE = "link="


class Refusal(StrEnum):
    """Why a link to a folder is not followed."""

    INTO_ROOT = "it leads into its own root, or to a folder around it"
    INTO_ANOTHER = (
        "it leads into another root, a mirror, the state directory or what a link of another root leads to, "
        "or to a folder around one"
    )
    NO_FILES = "it leads to where the kernel shows itself (proc, sysfs and the like), which holds no files"
    REACHED = "what it leads to is reached by another link already, in whole or in part"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A folder that a link leads to: its absolute path without links, and where it is as the kernel counts.

    `inode` 0: it was not looked at in this run.
    """

    path: bytes
    device: int = 0
    inode: int = 0

    def is_at(self, device: int, inode: int) -> bool:
        """Whether this is where it was seen."""
        return self.inode != 0 and (self.device, self.inode) == (device, inode)


@dataclass(slots=True, eq=False)
class Links:
    """How the links of a root are treated: whether they are followed, and which of those to folders are.

    `seen`: by a link's path below the root, what it may lead to, or why it is not followed. One that is not in it was
    not looked at yet, or leads nowhere now. Written, and looked through, by the scanner's thread alone; others ask for
    one link at a time. `others` names the folders that no link may lead to, for any thread.
    """

    follows: bool = False
    others: Callable[[], Iterable[bytes]] = lambda: ()
    seen: dict[bytes, "Target | Refusal"] = field(default_factory=dict)

    def target(self, link: bytes) -> "Target | None":
        """What a link may be followed to."""
        found = self.seen.get(link)
        return found if isinstance(found, Target) else None

    def is_refused(self, link: bytes) -> bool:
        """Whether a link is one that is not followed."""
        return isinstance(self.seen.get(link), Refusal)

    def followed(self) -> dict[bytes, bytes]:
        """Of each link that is followed, where to."""
        return {link: found.path for link, found in self.seen.items() if isinstance(found, Target)}

    def set(self, link: bytes, found: "Target | Refusal | None") -> bool:
        """Note what a scan has seen of a link; None: know nothing of it any more. Whether that is news."""
        if self.seen.get(link) == found:
            return False
        if found is None:
            del self.seen[link]
        else:
            self.seen[link] = found
        return True


NOT_FOLLOWED = Links()
"""The rule: a link is never followed."""


class Held:
    """What the links lead to that are followed, by link. It lies apart, so each question takes few steps."""

    def __init__(self, held: Mapping[bytes, Target] = MappingProxyType({})) -> None:
        self._targets: dict[bytes, Target] = {}
        self._links: dict[bytes, bytes] = {}
        self._places: dict[tuple[int, int], bytes] = {}
        self._paths: list[bytes] = []
        for link, target in held.items():
            self.put(link, target)

    def get(self, link: bytes) -> Target | None:
        """What a link leads to."""
        return self._targets.get(link)

    def put(self, link: bytes, target: Target) -> None:
        """Follow a link to there."""
        self.drop(link)
        path = _closed(target.path)
        self._targets[link] = target
        if path not in self._links:
            insort(self._paths, path)
        self._links[path] = link
        if target.inode:
            self._places[target.device, target.inode] = link

    def drop(self, link: bytes) -> None:
        """Do not follow a link any more."""
        target = self._targets.pop(link, None)
        if target is None:
            return
        path, place = _closed(target.path), (target.device, target.inode)
        if self._links.get(path) == link:
            del self._links[path]
            del self._paths[bisect_left(self._paths, path)]
        if self._places.get(place) == link:
            del self._places[place]

    def holders(self, link: bytes, target: Target) -> set[bytes]:
        """The other links by which a folder is reached, or something in it or around it."""
        path = _closed(target.path)
        ends = [at + 1 for at, byte in enumerate(path) if byte == ord("/")]
        found = {self._links[path[:end]] for end in ends if path[:end] in self._links}
        for below in islice(self._paths, bisect_left(self._paths, path), None):
            if not below.startswith(path):
                break
            found.add(self._links[below])
        if target.inode and (target.device, target.inode) in self._places:
            found.add(self._places[target.device, target.inode])
        return found - {link}


def refusal(
    link: bytes,
    target: Target,
    *,
    root: Target,
    others: Iterable[bytes],
    held: Held,
    no_files: Container[int] = (),
) -> Refusal | None:
    """Why a link is not followed to a folder, None where it is.

    `others`: the paths of all other folders that must not be reached; `held`: what the links lead to that are followed;
    `no_files`: the devices of file systems that hold no files of anybody.
    """
    if target.device in no_files:
        return Refusal.NO_FILES
    if _meets(target.path, root.path) or root.is_at(target.device, target.inode):
        return Refusal.INTO_ROOT
    if any(_meets(target.path, other) for other in others):
        return Refusal.INTO_ANOTHER
    return Refusal.REACHED if held.holders(link, target) else None


def _meets(one: bytes, other: bytes) -> bool:
    """Whether two absolute paths are one, or one lies in the other."""
    one, other = _closed(one), _closed(other)
    return one.startswith(other) or other.startswith(one)


def _closed(path: bytes) -> bytes:
    return path.rstrip(b"/") + b"/"


# ------------------------------------------------------------------------------------------------------------- identity


def identity_of(target: bytes, identity: str) -> str:
    """By what a linked folder is known again: where it is, and the identity of what was found there (`identity.py`)."""
    escaped = "".join(chr(byte) if byte in _ESCAPED[1:] else f"%{byte:02x}" for byte in target)
    return f"{_FEATURE}{escaped} {identity}".rstrip()


def target_of(identity: str) -> bytes | None:
    """Where a linked folder was, by its identity; None: this is the identity of a mount."""
    if not identity.startswith(_FEATURE):
        return None
    text = identity[len(_FEATURE) :].partition(" ")[0]
    first, *rest = text.split("%")
    return first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
