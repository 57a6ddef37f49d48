"""What the first look at a library finds to do, and how long that will take.

Responsible for: adding up what scans find, and the word about it. Not responsible for: the arithmetic
(`queue/forecast.py`), nor for what is left out (`backfill.py`).
"""

from collections.abc import Iterable, Mapping

from watcherd.daemon.effects import Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.daemon.reporting.totals import Totals
from watcherd.model import Change
from watcherd.pool.fleet import Fleet
from watcherd.queue.forecast import Experience, forecast
from watcherd.telemetry.log import get_logger

log = get_logger()


class Forecasts:
    """One for each root that is met for the first time."""

    def __init__(self, *, roots: Mapping[int, WatchedRoot], fleet: Fleet, force: InForce, totals: Totals) -> None:
        self._roots = roots
        self._fleet = fleet
        self._force = force
        self._totals = totals
        self._found: dict[int, tuple[int, int]] = {}

    def found(self, root: int, changes: Iterable[Change]) -> None:
        """A scan has found something to do."""
        sizes = [change.stamp.size_bytes for change in changes if change.stamp is not None]
        number, size_bytes = self._found.get(root, (0, 0))
        self._found[root] = number + len(sizes), size_bytes + sum(sizes)

    def tell(self, root: int, moment: Moment) -> None:
        """The first look at a root is over: say what it has found."""
        number, size_bytes = self._found.pop(root, (0, 0))
        if not number:
            return
        workers = self._force.most_workers
        told = forecast(number, size_bytes, workers=workers, experience=self._experience(moment))
        log.info(
            "backfill.forecast",
            root=self._roots[root].path,
            sources=number,
            bytes_in=size_bytes,
            bytes_out=told.bytes_out,
            hours=round(told.seconds / 3600, 3),
            workers=workers,
            measured=told.measured,
        )

    def _experience(self, moment: Moment) -> Experience:
        totals = self._totals
        return Experience(
            pictures=totals.ended["rendered"],
            busy_s=self._fleet.busy_seconds(moment.now),
            bytes_in=totals.bytes_in,
            bytes_out=totals.bytes_out,
        )
