"""The periodic `pool.metrics` line of the log: sums of the interval, states of the moment.

Not responsible for: what Prometheus reads (`exposure.py`).
"""

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.timer import Every
from watcherd.model import JobClass
from watcherd.pool.processes import Workers
from watcherd.telemetry.log import get_logger

log = get_logger()


class MetricsLine:
    """The periodic `pool.metrics` line of the log."""

    def __init__(self, core: Core, workers: Workers) -> None:
        self._core = core
        self._workers = workers
        self._timer = Every(core.settings.daemon.metrics_interval_s)
        self._before = core.totals.sums()
        self._busy_before_s = 0.0

    def due(self, moment: Moment) -> float | None:
        """Write the line when it is time."""
        self._timer.change(self._core.settings.daemon.metrics_interval_s, moment.now)
        if self._timer.is_due(moment.now):
            self.write(moment)
        return self._timer.deadline()

    def write(self, moment: Moment) -> None:
        """Write the line now: sums of the interval, states of the moment."""
        core, before = self._core, self._before
        sums = self._before = core.totals.sums()
        fleet = core.fleet
        busy_s = fleet.busy_seconds(moment.now)
        interval_s = self._timer.interval_s
        waiting_since = [at for at in map(core.queue.oldest, JobClass) if at is not None]
        log.info(
            "pool.metrics",
            workers=len(fleet.slots),
            busy=fleet.busy(),
            idle=len(fleet.idle()),
            queued=len(core.queue),
            settling=len(core.settle),
            waiting=core.outcomes.waiting + core.attempts.parked,
            oldest_s=round(max((moment.now - at for at in waiting_since), default=0.0), 3),
            ended=dict(sums.ended - before.ended),
            attempts_per_s=round((sums.ended.total() - before.ended.total()) / interval_s, 3),
            rss_bytes=resident_bytes(self._workers),
            utilisation=round((busy_s - self._busy_before_s) / interval_s / max(1, core.most_workers), 3),
            memory_bytes=core.admission.used_bytes,
            budget_bytes=core.admission.budget_bytes,
            restarts=sums.restarts - before.restarts,
            bytes_in=sums.bytes_in - before.bytes_in,
            bytes_out=sums.bytes_out - before.bytes_out,
            interval_s=interval_s,
        )
        self._busy_before_s = busy_s


def resident_bytes(workers: Workers) -> int:
    """The memory that all workers have resident."""
    return sum(workers.rss_bytes(worker.slot) for worker in workers)
