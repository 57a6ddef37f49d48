"""Parking: jobs that were answered *Later*. They wait outside the queue, so that others pass them."""

from collections.abc import Callable, Container

from watcherd.model import Source
from watcherd.queue.jobqueue import Job

PASSED_FOR_S = 30.0
"""For so long others may pass a job that waits for memory (chosen: some hundred photos)."""


class Parking:
    """Identified jobs that wait for memory, or for a twin that is in work."""

    def __init__(self) -> None:
        self._jobs: dict[Source, Job] = {}
        self._since: dict[Source, float] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, source: object) -> bool:
        return source in self._jobs

    def sources(self) -> list[Source]:
        """The sources of all that wait here."""
        return list(self._jobs)

    def park(self, job: Job, now: float) -> None:
        """Have a job wait. One that comes back keeps its age."""
        self._jobs[job.source] = job
        self._since.setdefault(job.source, now)

    def forget(self, source: Source) -> None:
        """It has what it waited for, or its attempt has ended."""
        self._since.pop(source, None)

    def overdue(self, now: float, in_work: Container[bytes], is_online: Callable[[int], bool]) -> Source | None:
        """The job that has waited for memory longest, if that is too long, parked or on its way to another try.

        Those that wait for a twin do not count, nor those of roots in which nothing can be done.
        """
        late = [(since, source) for source, since in self._since.items() if now - since >= PASSED_FOR_S]
        for _, source in sorted(late):
            parked = self._jobs.get(source)
            if is_online(source.root) and (parked is None or parked.digest not in in_work):
                return source
        return None

    def leave(self, may_run: Callable[[Job], bool]) -> list[Job]:
        """Take out the jobs that may run now."""
        leaving = [job for job in self._jobs.values() if may_run(job)]
        for job in leaving:
            del self._jobs[job.source]
        return leaving
