"""Answers: what the hands reply goes to the room that has asked.

Not responsible for: what the rooms make of it. `awaited` has those who asked without being a room (a pruning).
"""

from typing import TYPE_CHECKING

from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.roots.conditions import Conditions
from watcherd.daemon.sources.attempts import Attempts
from watcherd.daemon.sources.intake import Intake
from watcherd.watch.hands.hands import (
    Broken,
    Collected,
    Fault,
    Fetched,
    Followed,
    OrphansFound,
    Published,
    Refused,
    Relocated,
    Removed,
    Stats,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Looked = Stats | Removed | Followed | OrphansFound
ForAttempts = Fetched | Refused | Collected | Relocated | Published | Broken | Fault


class Answers:
    """Knows the rooms that ask the hands."""

    def __init__(self, *, intake: Intake, conditions: Conditions, attempts: Attempts) -> None:
        self._intake = intake
        self._moves = intake.moves
        self._departures = intake.moves.departures
        self._conditions = conditions
        self._attempts = attempts
        self.awaited: dict[int, Callable[[object], list[Effect]]] = {}

    def for_others(self, item: object, *, is_late: bool) -> list[Effect] | None:
        """The answer goes to one who is no room; None where it does not, or where the rooms have to hear of it, too.

        `is_late`: no room works any more where it comes from.
        """
        awaited = self.awaited.get(getattr(item, "ticket", None) or 0)
        if awaited is None or (isinstance(item, Fault | Broken) and not is_late):
            return None
        del self.awaited[item.ticket]  # type: ignore[attr-defined]
        return awaited(item)

    def looked(self, item: Looked, moment: Moment) -> list[Effect]:
        """Somebody asked for a look, a removal or a renaming."""
        match item:
            case Removed():
                return self._departures.removed(item, moment)
            case Followed():
                return self._moves.followed(item, moment)
            case Stats():
                return self._stats(item, moment)
        return []

    def _stats(self, item: Stats, moment: Moment) -> list[Effect]:
        asker = self._departures if self._departures.asked(item.ticket) else self._intake
        effects = asker.stats(item, moment)
        for _, found in item.results:
            if isinstance(found, Fault):
                effects += self._conditions.stat_fault(found, moment)
        return effects

    def for_attempts(self, item: ForAttempts, moment: Moment) -> list[Effect]:
        """An attempt's source was read or its derivatives published; or something went wrong, whoever asked for it."""
        effects: list[Effect] = []
        match item:
            case Fault() | Broken():
                awaited = self.awaited.pop(item.ticket, None)
                effects = awaited(item) if awaited is not None else []
                self._intake.failed(item.ticket, moment)
                self._departures.failed(item.ticket, moment)
                self._moves.failed(item.ticket, moment)
                effects += self._conditions.fault(item, moment) if isinstance(item, Fault) else []
            case Refused():
                effects = self._conditions.refused(item, self._attempts.path_of(item.ticket), moment)
            case Fetched() | Relocated() | Published():
                effects = self._conditions.worked(item, moment)
        return [*effects, *self._attempts.from_hands(item, moment)]
