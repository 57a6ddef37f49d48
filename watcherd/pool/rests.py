"""How long workers rest between jobs, so that all together use no more than their share of the processors. Pure.

Not responsible for: how large that share is (`sizing.py`), when a worker gets its next job (`fleet.py`).
"""

MAX_REST_S = 10.0
REST_CREDIT_S = 0.25
"""So much of the time that a worker has not used before a job counts for it: waits are not that exact."""


class Rests:
    """A worker rests after a job for `factor` times the CPU time that it used, less what it was idle before."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._paid_until: dict[int, float] = {}

    def after(self, slot: int, *, cpu_s: float, since: float, now: float) -> float:
        """Seconds that the worker in a slot rests now, after a job that it began at `since`."""
        if not self.factor:
            return 0.0
        begun = max(self._paid_until.get(slot, 0.0), since - REST_CREDIT_S)
        paid = begun + cpu_s * (1.0 + self.factor)
        self._paid_until[slot] = min(paid, now + MAX_REST_S)
        return max(0.0, self._paid_until[slot] - now)
