"""The metrics as a log line has them: the growth of what is counted, the state of all else.

Pure. Not responsible for: the readings (`readings.py`), when the line is written (`metrics_line.py`).
"""

from collections.abc import Iterable, Mapping

from watcherd.telemetry.metrics import METRICS, Distribution, MetricKind, Reading

_PREFIX = "watcherd_"
Key = tuple[str, ...]
Counted = Mapping[Key, float | Distribution]
Figure = float | dict[str, float]


def counted(readings: Iterable[Reading]) -> Counted:
    """What of the readings only grows, by name and labels: to be handed to `figures` next time."""
    grows = (MetricKind.COUNTER, MetricKind.HISTOGRAM)
    return {(one.name, *one.labels): one.value for one in readings if METRICS[one.name].kind in grows}


def figures(readings: Iterable[Reading], before: Counted) -> dict[str, Figure | dict[str, Figure]]:
    """Each metric by its name without the prefix: its value, or its values by their labels, joined by a slash.

    Of counters and histograms, what has come since `before`; a histogram as number and sum of seconds. What is zero is
    left out, and so is a metric of which nothing is left.
    """
    plain: dict[str, Figure] = {}
    by_labels: dict[str, dict[str, Figure]] = {}
    for one in readings:
        value = _value(one, before.get((one.name, *one.labels)))
        name = one.name.removeprefix(_PREFIX)
        if value and one.labels:
            by_labels.setdefault(name, {})["/".join(label for label in one.labels if label)] = value
        elif value:
            plain[name] = value
    return {**plain, **by_labels}


def _value(one: Reading, before: float | Distribution | None) -> Figure:
    """The value or its growth; of nothing, 0."""
    if isinstance(one.value, Distribution):
        was = before if isinstance(before, Distribution) else None
        number = sum(one.value.counts) - (sum(was.counts) if was else 0)
        seconds = one.value.sum_s - (was.sum_s if was else 0.0)
        return {"number": number, "sum_s": round(seconds, 3)} if number else 0.0
    return round(one.value - before, 3) if isinstance(before, int | float) else one.value
