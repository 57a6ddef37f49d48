"""When a new worker may be started, and when starting workers is of no use any more. Pure.

Responsible for: counting ends that no source explains, spacing starts out. Not responsible for: which end is which
(`fleet.py` knows).
"""

from collections import deque

MAX_UNEXPLAINED = 10
UNEXPLAINED_WINDOW_S = 60.0
MAX_BOOT_FAILURES = 3
MAX_LATER_BOOT_FAILURES = 10
"""Where a worker was ready once, this installation can start workers: what fails now may pass (chosen: some 20 s)."""
FIRST_RESPAWN_DELAY_S = 0.1
MAX_RESPAWN_DELAY_S = 5.0
MAX_KILLED_DELAY_S = 1.0
"""Whoever kills workers while they start is outlasted, at the price of a start a second and no more."""


class Restarts:
    """The fleet's restart budget. `not_before` is the instant before which no worker is started.

    Until `alone_until` there is to be one worker and no more: several were tried, and did not stay alive. `detail` says
    what went wrong last.
    """

    def __init__(self) -> None:
        self.not_before = 0.0
        self.alone_until = 0.0
        self.detail = ""
        self._delay_s = 0.0
        self._unexplained: deque[float] = deque()
        self._boot_failures = 0
        self._most_failures = MAX_BOOT_FAILURES

    @property
    def cannot_start(self) -> bool:
        """Whether starting workers has failed often in a row."""
        return self._boot_failures >= MAX_BOOT_FAILURES

    def worker_ready(self, now: float) -> None:
        """Starting works: nothing stands in the way of the next."""
        self._boot_failures, self._delay_s, self.not_before = 0, 0.0, now
        self._most_failures = MAX_LATER_BOOT_FAILURES

    def killed_while_starting(self, now: float) -> None:
        """Somebody killed a worker before it was ready: that says nothing of whether workers can start."""
        self._space_out(now, MAX_KILLED_DELAY_S)

    def boot_failed(self, detail: str, now: float) -> str | None:
        """A worker did not get ready by its own doing. Why to give up, or None.

        Workers that fail together (the system had no process left for a moment) have failed once.
        """
        self.detail = detail
        self._boot_failures += now >= self.not_before
        self._space_out(now, MAX_RESPAWN_DELAY_S)
        if self._boot_failures < self._most_failures:
            return None
        return f"{self._boot_failures} workers in a row could not start: {detail}"

    def died_unexplained(self, how: str, now: float, *, of_several: bool) -> str | None:
        """A worker ended that held no job, and nobody killed it. Why to give up, or None.

        Where there may be several, one alone is tried first: if it holds for as long, there may be several again.
        """
        self._space_out(now, MAX_RESPAWN_DELAY_S)
        self._unexplained.append(now)
        while self._unexplained[0] < now - UNEXPLAINED_WINDOW_S:
            self._unexplained.popleft()
        is_alone = now < self.alone_until
        if is_alone:
            self.alone_until = now + UNEXPLAINED_WINDOW_S
        if len(self._unexplained) <= MAX_UNEXPLAINED:
            return None
        self.detail = f"{len(self._unexplained)} idle workers died within {UNEXPLAINED_WINDOW_S:.0f} s ({how})"
        if is_alone or not of_several:
            return self.detail
        self._unexplained.clear()
        self.alone_until = now + UNEXPLAINED_WINDOW_S
        return None

    def _space_out(self, now: float, most_s: float) -> None:
        """Each end in a row without a worker getting ready doubles the pause before the next start."""
        self._delay_s = max(min(self._delay_s * 2 or FIRST_RESPAWN_DELAY_S, most_s), self._delay_s)
        self.not_before = now + self._delay_s
