"""How new files of a root are found: by events, by events and scans, or by scans.

Responsible for: the mode of a root, from the settings, its file system, its watches and its self-test; the distance of
its sweeps; the number to set where the kernel's limit of watches is too low.
Not responsible for: finding these out (`observer.py`, `daemon/roots/vigil.py`), sweeping (`sweeps.py`). Pure.

*native*: events tell of everything, and sweeps are for what gets lost. *hybrid*: a part of the folders is not watched;
sweeps come often enough to stand in for their events. *scan*: events cannot be relied on at all (others write to the
same server, or no event arrives in a test); those that come all the same are taken as a bonus.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from watcherd.settings import ModeWanted


class Mode(StrEnum):
    """How new files are found."""

    NATIVE = "native"
    HYBRID = "hybrid"
    SCAN = "scan"


class SelfTest(StrEnum):
    """Whether the event of a file that we made ourselves arrived. UNTRIED: not yet, or nothing may be made there."""

    UNTRIED = "untried"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a root's events.

    `is_watched`: its observer has its watches. `folders` and `watches`: how many there are, 0 where not counted;
    `trouble`: why it cannot be watched; `links`: how many followed links lead to folders that are not watched.
    """

    network: bool = False
    is_watched: bool = False
    folders: int = 0
    watches: int = 0
    self_test: SelfTest = SelfTest.UNTRIED
    trouble: str = ""
    links: int = 0

    @property
    def unwatched(self) -> int:
        """How many folders no event comes from."""
        return max(0, self.folders - self.watches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A mode and why it is that one, as the end of a sentence; no reason for `native`, which is the rule."""

    mode: Mode
    reason: str = ""


POLL_S = 60.0
"""Between two sweeps of a root in mode scan (chosen: one stat a folder; an upload waits for half of it on average)."""
STAND_IN_S = 300.0
"""The same in mode hybrid: a local disk, most of which is watched, may want to sleep."""


def choose(wanted: ModeWanted, evidence: Evidence) -> Choice:
    """The mode of a root. One that was set holds as far as it can be had."""
    if wanted is ModeWanted.SCAN:
        return Choice(mode=Mode.SCAN, reason="set so")
    if not evidence.is_watched:
        return Choice(mode=Mode.SCAN, reason=evidence.trouble or "its watches are not in place yet")
    if wanted is ModeWanted.AUTO and evidence.network:
        return Choice(mode=Mode.SCAN, reason="others may write to this file system unseen")
    if wanted is ModeWanted.AUTO and evidence.self_test is SelfTest.FAILED:
        return Choice(mode=Mode.SCAN, reason="the event of a file made for a test did not arrive")
    if evidence.unwatched:
        told = f"{evidence.unwatched} of {evidence.folders} folders are not watched"
        return Choice(mode=Mode.HYBRID, reason=told)
    if evidence.links:
        return Choice(mode=Mode.HYBRID, reason="what some links lead to is not watched")
    return Choice(mode=Mode.HYBRID, reason="set so") if wanted is ModeWanted.HYBRID else Choice(mode=Mode.NATIVE)


def interval_s(mode: Mode, *, own_s: float, native_s: float) -> float:
    """Seconds between two quick sweeps, 0 for never. `own_s`: the root's own, 0 for none; `native_s`: of all roots."""
    if own_s:
        return own_s
    least_s = {Mode.NATIVE: 0.0, Mode.HYBRID: STAND_IN_S, Mode.SCAN: POLL_S}[mode]
    if not least_s:
        return native_s
    return min(least_s, native_s) if native_s else least_s


def limit_to_set(limit: int, missing: int) -> int:
    """The limit of watches that would do, with a quarter to spare for what comes: a power of two."""
    wanted = (limit + missing) * 5 // 4
    return 1 << max(0, wanted - 1).bit_length()


@dataclass(slots=True)
class Modes:
    """The evidence and the mode of all roots."""

    _wanted: dict[int, ModeWanted] = field(default_factory=dict)
    _evidence: dict[int, Evidence] = field(default_factory=dict)
    _choices: dict[int, Choice] = field(default_factory=dict)

    def add(self, root: int, wanted: ModeWanted) -> None:
        """Take a root on."""
        self._wanted[root] = wanted
        self._evidence[root] = Evidence()
        self._choices[root] = choose(wanted, Evidence())

    def evidence(self, root: int) -> Evidence:
        """What is known of a root's events."""
        return self._evidence.get(root) or Evidence()

    def choice(self, root: int) -> Choice:
        """The mode of a root, and why."""
        return self._choices.get(root) or choose(ModeWanted.AUTO, Evidence())

    def learn(self, root: int, **news: object) -> Choice | None:
        """Note some fields of a root's evidence; its mode, if it is another one now or for another reason."""
        self._evidence[root] = replace(self.evidence(root), **news)  # type: ignore[arg-type]
        choice = choose(self._wanted.get(root, ModeWanted.AUTO), self._evidence[root])
        if choice == self._choices.get(root):
            return None
        self._choices[root] = choice
        return choice
