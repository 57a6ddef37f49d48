"""Parking: jobs that were answered *Later*. They wait outside the queue, so that others pass them."""

from collections.abc import Callable

from watcherd.model import Source
from watcherd.queue.jobqueue import Job


class Parking:
    """Identified jobs that wait for memory, or for a twin that is in work."""

    def __init__(self) -> None:
        self._jobs: dict[Source, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, source: object) -> bool:
        return source in self._jobs

    def sources(self) -> list[Source]:
        """The sources of all that wait here."""
        return list(self._jobs)

    def park(self, job: Job) -> None:
        """Have a job wait."""
        self._jobs[job.source] = job

    def leave(self, may_run: Callable[[Job], bool]) -> list[Job]:
        """Take out the jobs that may run now."""
        leaving = [job for job in self._jobs.values() if may_run(job)]
        for job in leaving:
            del self._jobs[job.source]
        return leaving
