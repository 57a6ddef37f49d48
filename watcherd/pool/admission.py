"""Who may use how much memory now. Pure.

Two things cost: sources that the hands have fetched (their bytes lie in memfds), and granted jobs (the estimate from
the header). Both together stay inside the budget, with one exception: when nothing is granted, one job always may
run, however its neighbours' fetched bytes add up, for otherwise nothing would ever end.
"""

from collections.abc import Hashable

from watcherd.model import Answer


class Admission:
    """Keeps the sums. Keys name jobs; a key that is not known costs nothing."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._fetched: dict[Hashable, int] = {}
        self._granted: dict[Hashable, int] = {}
        self._alone: Hashable | None = None

    @property
    def used_bytes(self) -> int:
        """What is fetched and granted now."""
        return sum(self._fetched.values()) + sum(self._granted.values())

    def may_fetch(self, size_bytes: int) -> bool:
        """Whether another source of that size may be fetched. The first one always may."""
        return not self._fetched or self.used_bytes + size_bytes <= self.budget_bytes

    def fetch(self, job: Hashable, size_bytes: int) -> None:
        """Count a source's bytes, from the request to the hands on."""
        self._fetched[job] = size_bytes

    def fits_at_all(self, memory_bytes: int) -> bool:
        """Whether the whole budget would carry it."""
        return memory_bytes <= self.budget_bytes

    def ask(self, job: Hashable, memory_bytes: int, *, whole_budget: bool = False) -> Answer:
        """Grant (and count it), or Later."""
        if self._alone is not None:
            return Answer.LATER
        if self._granted and (whole_budget or self.used_bytes + memory_bytes > self.budget_bytes):
            return Answer.LATER
        self._granted[job] = memory_bytes
        self._alone = job if whole_budget else None
        return Answer.GRANT

    def would_grant(self, memory_bytes: int, *, whole_budget: bool = False) -> bool:
        """Whether `ask` would be answered with Grant now."""
        if self._alone is not None:
            return False
        return not self._granted or (not whole_budget and self.used_bytes + memory_bytes <= self.budget_bytes)

    def release(self, job: Hashable) -> None:
        """The job's bytes and memory are free again."""
        self._fetched.pop(job, None)
        self._granted.pop(job, None)
        if self._alone == job:
            self._alone = None
