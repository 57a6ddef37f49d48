"""Every metric that watcherd exposes: its name, its kind, its labels, and what it means.

Pure. To add one is one line here: `exposition.py` refuses a reading that is not declared,
and tests hold the dashboard, the alert rules and the README against this table. Names and labels follow the
conventions of Prometheus (base units, `_total` for counters). A label's values come from closed lists and from the
configuration, never from a file's name: `root` is the root's number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from watcherd.telemetry.declared import by_name


class MetricKind(StrEnum):
    """What Prometheus makes of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. A counter's `name` ends in `_total`, an info's in `_info`."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A histogram at one moment: `counts` has one number for each of `bounds` (seconds) and one for what is above."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of one metric. `labels` in the order of the declaration; an info's labels are its value."""

    name: str
    labels: tuple[str, ...] = ()
    value: float | Distribution = 1.0


def _table(*rows: tuple[MetricKind, str, str, str]) -> Mapping[str, Metric]:
    return by_name(
        Metric(name=name, kind=kind, labels=tuple(labels.split()), meaning=meaning)
        for kind, name, labels, meaning in rows
    )


_C, _G, _H, _N = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM, MetricKind.INFO

METRICS: Mapping[str, Metric] = _table(
    # ------------------------------------------------------------------------------------------------------- the work
    (_C, "watcherd_attempts_total", "outcome reason", "Attempts that have ended, by outcome and reason."),
    (_C, "watcherd_derivatives_total", "variant", "Derivatives that were published."),
    (_C, "watcherd_read_bytes_total", "", "Bytes of sources that were read."),
    (_C, "watcherd_written_bytes_total", "", "Bytes of derivatives that were written."),
    (_H, "watcherd_stage_seconds", "stage", "How long a stage of an attempt took: queue, decode, encode, publish."),
    (_H, "watcherd_attempt_seconds", "", "How long an attempt took from its fetch to its record."),
    (_G, "watcherd_queue_jobs", "class", "Jobs in the queue (the rest of a large backlog is in the ledger)."),
    (_G, "watcherd_queue_oldest_seconds", "class", "For how long the oldest job of a class has waited."),
    (_G, "watcherd_settling_sources", "", "Uploads that are waited for until they rest."),
    (_G, "watcherd_waiting_jobs", "", "Jobs that wait for their next attempt, or for memory."),
    # ---------------------------------------------------------------------------------------------------- the workers
    (_G, "watcherd_workers", "state", "Worker processes by state."),
    (_G, "watcherd_workers_limit", "", "As many workers as there may be."),
    (_G, "watcherd_workers_degraded", "", "1 while only one worker can be kept alive, else 0."),
    (
        _C,
        "watcherd_worker_ends_total",
        "cause",
        "Workers that have ended: by our own reason, or by signal or exit code.",
    ),
    (_C, "watcherd_workers_busy_seconds_total", "", "Seconds that workers spent on jobs, summed over all of them."),
    (_G, "watcherd_workers_resident_bytes", "", "Resident memory of all workers."),
    (_G, "watcherd_memory_used_bytes", "", "Memory that is granted to jobs and fetched sources."),
    (_G, "watcherd_memory_budget_bytes", "", "Memory that may be granted at once."),
    # ------------------------------------------------------------------------------------------------------- watching
    (_C, "watcherd_events_total", "kind", "Reports about paths, from events, scans and people."),
    (_C, "watcherd_doubts_total", "reason", "Times that events alone could not be trusted, an overflow for one."),
    (_C, "watcherd_scans_total", "root", "Scans that were completed."),
    (_G, "watcherd_scan_last_timestamp_seconds", "root", "When a scan of a root last ended; at first, the start."),
    (_G, "watcherd_root_state", "root state", "1 for the state that a root is in, 0 for the others."),
    (_G, "watcherd_root_mode", "root mode", "1 for the mode in which a root is watched, 0 for the others."),
    (_G, "watcherd_root_paused", "root", "1 while a root rests, because somebody asked for it or it is a quiet hour."),
    (_G, "watcherd_root_last_success_timestamp_seconds", "root", "When a source of a root was last done."),
    # --------------------------------------------------------------------------------------------- the ledger, itself
    (_G, "watcherd_ledger_sources", "root state", "Sources that the ledger knows, by state."),
    (_G, "watcherd_ledger_size_bytes", "", "Size of the ledger's file."),
    (_G, "watcherd_ledger_writable", "", "1; 0 while nothing is done because the ledger's disk is full."),
    (_G, "watcherd_config_last_reload_successful", "", "1 while what was read last is in force, 0 after a bad reload."),
    (_G, "watcherd_config_last_reload_timestamp_seconds", "", "When the configuration was read last."),
    (_N, "watcherd_build_info", "version python pillow pyvips", "What runs here."),
    (_G, "watcherd_start_time_seconds", "", "When the daemon started."),
)
"""Of each metric by its name. Beside these come the usual `process_…` ones of the daemon's own process."""
