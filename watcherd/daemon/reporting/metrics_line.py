"""The periodic `pool.metrics` line of the log: what came in the interval, states of the moment.

Not responsible for: what Prometheus reads (`exposure.py`); the same figures are here, as `figures.py` puts them.
"""

from collections.abc import Callable

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.reload.reloads import LastReload
from watcherd.daemon.reporting import figures
from watcherd.daemon.reporting.readings import readings
from watcherd.daemon.timer import Every
from watcherd.model import JobClass
from watcherd.pool.processes import Workers
from watcherd.telemetry.log import get_logger

log = get_logger()


class MetricsLine:
    """The periodic `pool.metrics` line of the log. `last_read`: how the last reload ended."""

    def __init__(self, core: Core, workers: Workers, last_read: Callable[[], LastReload | None] = lambda: None) -> None:
        self._core = core
        self._workers = workers
        self._last_read = last_read
        self._timer = Every(core.settings.daemon.metrics_interval_s)
        self._before = core.totals.sums()
        self._counted: figures.Counted = {}
        self._busy_before_s = 0.0
        self._since: Moment | None = None
        self._started_at_s = 0.0

    def due(self, moment: Moment) -> float | None:
        """Write the line when it is time."""
        if self._since is None:
            self._since, self._started_at_s = moment, moment.wall_s
        self._timer.change(self._core.settings.daemon.metrics_interval_s, moment.now)
        if self._timer.is_due(moment.now):
            self._write(moment, moment.now - self._since.now)
            self._since = moment
        return self._timer.deadline()

    def _write(self, moment: Moment, interval_s: float) -> None:
        """Sums of the interval, states of the moment."""
        core, before = self._core, self._before
        sums = self._before = core.totals.sums()
        fleet = core.fleet
        busy_s = fleet.busy_seconds(moment.now)
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
            interval_s=round(interval_s, 3),
            figures=self._figures(moment),
        )
        self._busy_before_s = busy_s

    def _figures(self, moment: Moment) -> dict[str, object]:
        resident = resident_bytes(self._workers)
        started_at_s, last = self._started_at_s, self._last_read()
        now = readings(self._core, moment, resident_bytes=resident, started_at_s=started_at_s, last_read=last)
        before, self._counted = self._counted, figures.counted(now)
        return {**figures.figures(now, before)}


def resident_bytes(workers: Workers) -> int:
    """The memory that all workers have resident."""
    return sum(workers.rss_bytes(worker.slot) for worker in workers)
