"""What is in hand: the attempts under way, and the jobs that wait for memory or for a twin.

Responsible for: the questions that others ask about them. Not responsible for: moving them on (`attempts.py`).
"""

from watcherd.daemon.sources.attempt import AFTER_WORKER, AHEAD, Attempt, Phase
from watcherd.daemon.sources.parking import Parking
from watcherd.model import Source


class InHand:
    """All attempts under way, and what is parked."""

    def __init__(self) -> None:
        self._by_ticket: dict[int, Attempt] = {}
        self._by_source: dict[Source, Attempt] = {}
        self._parking = Parking()

    def __len__(self) -> int:
        return len(self._by_ticket)

    def __contains__(self, source: object) -> bool:
        return source in self._by_source or source in self._parking

    @property
    def parked(self) -> int:
        """Jobs that wait for memory or for a twin."""
        return len(self._parking)

    def under_way(self) -> list[Attempt]:
        """What is in hand now, for the status."""
        return list(self._by_ticket.values())

    def sources(self) -> list[Source]:
        """All sources in hand or parked."""
        return [*self._by_source, *self._parking.sources()]

    def in_root(self, root: int) -> int:
        """How many attempts a root has under way."""
        return sum(attempt.root.number == root for attempt in self._by_ticket.values())

    def drop_parked(self, root: int) -> None:
        """Drop what is parked of a root that is not watched any more; its rows stay pending."""
        self._parking.leave(lambda job: job.source.root == root)

    def finishing(self) -> int:
        """Attempts that the hands have, after a worker had them: a drain waits for these as well."""
        return sum(attempt.phase in AFTER_WORKER for attempt in self._by_ticket.values())

    def source_in(self, slot: int) -> bytes | None:
        """The path of the source that a worker is at, for the log."""
        held = self.held_in(slot)
        return held.root.path + b"/" + held.job.source.path if held else None

    def held_in(self, slot: int) -> Attempt | None:
        """The attempt that a worker is at."""
        held = (attempt for attempt in self._by_ticket.values() if attempt.slot == slot)
        return next((attempt for attempt in held if attempt.phase is not Phase.NEXT), None)

    def waiting_for_worker(self) -> int:
        """Fetched sources without a worker."""
        return sum(attempt.phase in AHEAD for attempt in self._by_ticket.values())

    def path_of(self, ticket: int) -> bytes:
        """The path of the source that an attempt is about; empty where there is none such."""
        attempt = self._by_ticket.get(ticket)
        return attempt.job.source.path if attempt else b""

    def replaced(self, source: Source) -> None:
        """Another job has taken the place of a source's: its age is forgotten."""
        self._parking.forget(source)
