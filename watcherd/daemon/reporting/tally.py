"""The tally of a scan: how many sources ended how.

An incomplete source that is rendered later, or judged otherwise, counts by that end alone. Sources that the scanner
found unchanged count by the state they are in.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from watcherd.model import Disturbed, Ignored, Outcome, Rendered, Reused, Source, State, Unchanged, Vanished

KEYS = ("rendered", "reused", "unchanged", "ignored", "incomplete", "rejected", "failed", "quarantined")
TROUBLE = ("incomplete", "rejected", "failed", "quarantined")
_BY_STATE = {
    State.DONE: "unchanged",
    State.IGNORED: "ignored",
    State.INCOMPLETE: "incomplete",
    State.REJECTED: "rejected",
    State.FAILED: "failed",
    State.QUARANTINED: "quarantined",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a tally is about: everything (None), or what lies below some folders, or some files, of some roots."""

    places: tuple[Source, ...] | None = None

    def covers(self, source: Source) -> bool:
        """Whether a source counts."""
        if self.places is None:
            return True
        return any(
            source.root == place.root
            and (not place.path or source.path == place.path or source.path.startswith(place.path + b"/"))
            for place in self.places
        )


class Tally:
    """Counts ends within each open scope; the loop's own tally has the scope of everything."""

    def __init__(self) -> None:
        self._scopes: dict[int, tuple[Scope, Counter[str]]] = {}
        self._incomplete: dict[int, set[Source]] = {}
        self._scans: Counter[int] = Counter()
        self._unreadable: Counter[int] = Counter()

    def open(self, ticket: int, scope: Scope) -> None:
        """Begin to count."""
        self._scopes[ticket] = (scope, Counter())
        self._incomplete[ticket] = set()

    def close(self, ticket: int) -> dict[str, int]:
        """The counts, and no more counting."""
        counts = self.counts(ticket)
        for kept in (self._scopes, self._incomplete, self._scans, self._unreadable):
            kept.pop(ticket, None)
        return counts

    def await_scans(self, ticket: int, number: int) -> None:
        """Expect that many more scans to end before the tally can be complete."""
        self._scans[ticket] += number

    def scanned(self, ticket: int | None, unreadable: int = 0) -> None:
        """A scan has ended. `unreadable`: files and folders that it could not look at."""
        if ticket in self._scopes:
            self._scans[ticket] -= 1
            self._unreadable[ticket] += unreadable

    def unreadable(self, ticket: int) -> int:
        """What the scans could not look at."""
        return self._unreadable[ticket]

    def scanning(self, ticket: int) -> bool:
        """Whether a scan has yet to end."""
        return self._scans[ticket] > 0

    def scope(self, ticket: int) -> Scope:
        """What the tally is about."""
        return self._scopes[ticket][0]

    def counts(self, ticket: int) -> dict[str, int]:
        """The counts so far: `sources`, each of `KEYS`, and `derivatives`."""
        _, counter = self._scopes.get(ticket, (None, Counter[str]()))
        counts = {key: counter[key] for key in KEYS}
        return {"sources": sum(counts.values())} | counts | {"derivatives": counter["derivatives"]}

    def skipped(self, ticket: int | None, by_state: Mapping[State, int]) -> None:
        """A scan passed over sources that need nothing; they count in the tally that asked for it."""
        if ticket in self._scopes:
            counter = self._scopes[ticket][1]
            for state, number in by_state.items():
                if state in _BY_STATE:
                    counter[_BY_STATE[state]] += number

    def ended(self, source: Source, outcome: Outcome, state: State | None, derivatives: int) -> None:
        """An attempt ended. One that will be tried again (its state is pending) does not count yet."""
        key = _key(outcome, state)
        if key is None:
            return
        for ticket, (scope, counter) in self._scopes.items():
            if scope.covers(source):
                waiting = self._incomplete[ticket]
                if source in waiting:
                    waiting.remove(source)
                    counter["incomplete"] -= 1
                if key == "incomplete":
                    waiting.add(source)
                counter[key] += 1
                counter["derivatives"] += derivatives


def _key(outcome: Outcome, state: State | None) -> str | None:
    match outcome:
        case Rendered() | Reused() | Unchanged():
            return type(outcome).__name__.lower()
        case Vanished() | Disturbed() | Ignored(kind="derivative"):
            return None
    return _BY_STATE.get(state) if state is not None else None
