"""Readings as text that Prometheus reads.

Responsible for: holding readings against the table of `metrics.py`, and the text, by prometheus-client. Not responsible
for: what the readings are (`daemon/reporting/readings.py`), nor for handing the text out (`endpoint.py`).

prometheus-client is imported at the first scrape: nobody else has to wait for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from watcherd.telemetry.metrics import METRICS, Distribution, Metric, MetricKind, Reading

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family


def exposition(readings: Iterable[Reading], *, accept: str = "") -> tuple[bytes, str]:
    """The text and its content type: OpenMetrics where `accept` (a request's header) asks for it.

    The metrics of the calling process (CPU, memory, descriptors) are added. Raises ValueError for a reading that is
    not declared, or whose labels are not.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415  see above
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(readings)))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected:
    """What the registry asks for its metrics."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._families = {name: _family(metric) for name, metric in METRICS.items()}
        for reading in readings:
            self._add(reading)

    def collect(self) -> "Iterator[Family]":
        yield from self._families.values()

    def _add(self, reading: Reading) -> None:
        metric = METRICS.get(reading.name)
        if metric is None or len(metric.labels) != len(reading.labels):
            raise ValueError(f"{reading.name} with {len(reading.labels)} labels is not declared in METRICS")
        family = self._families[reading.name]
        labels = dict(zip(metric.labels, reading.labels, strict=True))
        name = metric.name
        if isinstance(reading.value, Distribution):
            _add_distribution(family, name, labels, reading.value)
        else:
            family.add_sample(name, labels, reading.value)


def _add_distribution(family: "Family", name: str, labels: dict[str, str], value: Distribution) -> None:
    below = 0
    for bound, count in zip((*map(_shown, value.bounds), "+Inf"), value.counts, strict=True):
        below += count
        family.add_sample(f"{name}_bucket", {**labels, "le": bound}, below)
    family.add_sample(f"{name}_count", labels, below)
    family.add_sample(f"{name}_sum", labels, value.sum_s)


def _shown(bound: float) -> str:
    return repr(float(bound))


def _family(metric: Metric) -> "Family":
    from prometheus_client.core import Metric as Family  # noqa: PLC0415  see above

    name = metric.name.removesuffix("_total").removesuffix("_info")
    kind = "info" if metric.kind is MetricKind.INFO else str(metric.kind)
    return Family(name, metric.meaning, kind)
