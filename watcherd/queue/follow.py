"""Whether an arrival is a source that was moved, and whether so many may be gone at once.

Responsible for: matching an arrival with what the ledger knows of its file (moved), and the brake on mass deletions
(gone, back, held). Not responsible for: looking whether the old path is empty (`watch/hands/following.py`), the match
by digest (`daemon/sources/attempt.py`: such an arrival finds its derivatives as a twin's), when a gone source is
forgotten (`daemon/sources/departures.py`). Pure.

A file keeps its inode, size and mtime when it is renamed; its ctime changes, unless only a folder above it was renamed.
Inodes are given away again at once, and two pictures of one size may have come out of one archive in the same second,
so without the ctime a file is known again only by an mtime with a fraction of a second, which no archive keeps and two
files do not share.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from watcherd.model import Entry, Reason, Stamp, State
from watcherd.queue.plan import NO_PICTURES

_SECOND_NS = 1_000_000_000
_BUCKET_S = 60.0


def is_same_file(known: Stamp, seen: Stamp) -> bool:
    """Whether a file is the one that was recorded with another stamp, so certainly that it need not be read."""
    if (known.inode, known.size_bytes, known.mtime_ns) != (seen.inode, seen.size_bytes, seen.mtime_ns):
        return False
    return known.ctime_ns == seen.ctime_ns or seen.mtime_ns % _SECOND_NS != 0


def origin(seen: Stamp, candidates: Iterable[Entry]) -> Entry | None:
    """The finished source that an arrival may have been: one that is known to be gone first, then the first one."""
    fitting = [
        entry
        for entry in candidates
        if entry.state is State.DONE and entry.digest and entry.stamp and is_same_file(entry.stamp, seen)
    ]
    return min(fitting, key=lambda entry: entry.gone_at_s is None, default=None)


def is_outdated(before: Entry, now: Entry) -> bool:
    """Whether the derivatives of a source show what it is not any more, and nothing will be made in their place.

    `before`: as it was pending; a content that was not read yet, but has another size than the one that was done, has
    no digest there. `now`: as its attempt ended.
    """
    is_other = before.digest is None or now.digest not in {None, before.digest}
    match now.state:
        case State.REJECTED | State.QUARANTINED:
            outdated = is_other and now.reason is not Reason.NAME_TAKEN
        case State.IGNORED:  # no picture any more; unless the decoder that it had is not installed any more
            outdated = now.detail != "derivative" and (is_other or now.detail not in NO_PICTURES)
        case _:
            outdated = False
    return outdated and bool(before.derivatives)


# ------------------------------------------------------------------------------------------------------------ the brake


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakePolicy:
    """It engages when more sources of a root went within `window_s` than `floor`, and than `share` of them (0 to 1).

    It then holds until it is confirmed, until most are back, or for `grace_s`. A share of 1 never engages it.
    """

    share: float
    grace_s: float
    floor: int = 100
    window_s: float = 3600.0


class Brake:
    """One root's brake; `policy` may be exchanged. All times are of the wall clock: it outlasts a restart."""

    def __init__(self, policy: BrakePolicy, held_since_s: float | None = None) -> None:
        self.policy = policy
        self.held_since_s = held_since_s
        self._gone: Counter[int] = Counter()

    @property
    def held_until_s(self) -> float | None:
        """When the grace period ends; None where nothing is held."""
        return None if self.held_since_s is None else self.held_since_s + self.policy.grace_s

    def gone(self, at_s: float) -> None:
        """A source was found missing."""
        self._gone[_bucket(at_s)] += 1

    def back(self, at_s: float) -> None:
        """One that was found missing then is there again, or was moved: it does not count."""
        if self._gone[_bucket(at_s)] > 0:
            self._gone[_bucket(at_s)] -= 1

    def recently(self, now_s: float) -> int:
        """How many went within the window, to the minute."""
        oldest = _bucket(now_s - self.policy.window_s)
        for bucket in [bucket for bucket in self._gone if bucket < oldest]:
            del self._gone[bucket]
        return self._gone.total()

    def holds(self, now_s: float, sources: int) -> bool:
        """Whether derivatives of gone sources are kept now, in a root of so many sources (the gone ones among them)."""
        until_s = self.held_until_s
        if until_s is not None and now_s >= until_s:
            self.release()
        elif until_s is None and self._is_too_much(self.recently(now_s), sources):
            self.held_since_s = now_s
        return self.held_since_s is not None

    def eases(self, still_gone: int, sources: int) -> bool:
        """Whether so many are back that twice what is still gone would not engage it: a folder was renamed, no more."""
        return self.held_since_s is not None and not self._is_too_much(2 * still_gone, sources)

    def release(self) -> None:
        """It was confirmed, the grace period is over, or most are back: what went until now counts no more."""
        self.held_since_s = None
        self._gone.clear()

    def _is_too_much(self, gone: int, sources: int) -> bool:
        return self.policy.share < 1 and gone > max(self.policy.floor, self.policy.share * sources)


def _bucket(at_s: float) -> int:
    return int(at_s // _BUCKET_S)
