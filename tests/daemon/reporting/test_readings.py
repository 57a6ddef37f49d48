"""What the core exposes about itself."""

from tests.daemon.outside import START_S
from tests.daemon.world import World, scan_ended
from watcherd.daemon.effects import Moment
from watcherd.daemon.reporting.readings import readings
from watcherd.daemon.reporting.totals import BOUNDS_S, Durations
from watcherd.model import Reason, Rejected, State
from watcherd.telemetry.exposition import exposition
from watcherd.telemetry.metrics import METRICS, Distribution, MetricKind
from watcherd.watch.reports import Doubt, DoubtReason, ScanEnded


def of(world: World) -> dict[tuple[str, ...], float | Distribution]:
    moment = Moment(now=world.now, wall_s=START_S + world.now)
    made = readings(world.core, moment, resident_bytes=12, started_at_s=34.0)
    exposition(made)  # raises where one is not declared
    return {(reading.name, *reading.labels): reading.value for reading in made}


def test_what_was_done_is_counted(world: World) -> None:
    world.plays[b"not good"] = Rejected(reason=Reason.DAMAGED, detail="cut")
    world.put(b"a.jpg", b"picture a")
    world.put(b"b.jpg", b"not good")
    world.run()
    made = of(world)

    assert made["watcherd_attempts_total", "rendered", ""] == 1
    assert made["watcherd_attempts_total", "rejected", "damaged"] == 1
    assert made["watcherd_derivatives_total", "thumbnail"] == 1
    assert made["watcherd_read_bytes_total",] == len(b"picture a") + len(b"not good")
    assert made["watcherd_ledger_sources", "1", "done"] == 1
    assert made["watcherd_root_last_success_timestamp_seconds", "1"] >= START_S
    attempts = made["watcherd_attempt_seconds",]
    assert isinstance(attempts, Distribution)
    assert sum(attempts.counts) == 2


def test_what_has_not_happened_yet_is_zero_so_that_the_first_burst_is_growth(world: World) -> None:
    made = of(world)
    for state in State:
        assert made["watcherd_ledger_sources", "1", state] == 0
    for outcome in ("rendered", "reused", "unchanged", "crashed", "timedout", "rejected", "failed"):
        assert made["watcherd_attempts_total", outcome, ""] == 0
    assert made["watcherd_attempts_total", "rejected", "damaged"] == 0
    assert made["watcherd_attempts_total", "rejected", "not_permitted"] == 0
    assert ("watcherd_attempts_total", "rejected", "truncated") not in made
    assert made["watcherd_doubts_total", "overflow"] == 0
    assert made["watcherd_worker_ends_total", "SIGKILL"] == 0


def test_a_root_that_was_never_scanned_grows_old_from_the_start_on(world: World) -> None:
    for directory, expected in ((None, 34.0), (b"folder", 34.0), (b"", START_S)):
        if directory is not None:
            world.report(ended(directory))
            world.run()
        at_s = of(world)["watcherd_scan_last_timestamp_seconds", "1"]
        assert isinstance(at_s, float)
        assert expected <= at_s < expected + 1e6


def ended(directory: bytes) -> ScanEnded:
    return scan_ended(1, directory=directory, sources=2)


def test_every_declared_metric_has_a_reading_once_something_happened(world: World) -> None:
    world.plays[b"bad"] = "SIGSEGV"
    world.put(b"a.jpg", b"picture a")
    world.put(b"b.jpg", b"bad")
    world.run()
    world.report(Doubt(root=1, directory=b"", why=DoubtReason.OVERFLOW))
    world.report(ended(b""))
    world.run()
    made = of(world)

    assert made["watcherd_worker_ends_total", "SIGSEGV"] >= 1
    assert made["watcherd_doubts_total", "overflow"] == 1
    assert set(METRICS) - {name for name, *_ in made} == set()


def test_a_length_of_time_belongs_to_the_first_class_that_holds_it() -> None:
    durations = Durations()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[1], BOUNDS_S[-1] + 1):
        durations.add(seconds)
    counts = durations.distribution().counts
    assert counts[0] == 2
    assert counts[1] == 1
    assert counts[-1] == 1
    assert sum(counts) == 4


FIGURES = {
    "files by outcome and reason": ("watcherd_attempts_total", "outcome", "reason"),
    "derivatives": ("watcherd_derivatives_total", "variant"),
    "bytes read": ("watcherd_read_bytes_total",),
    "bytes written": ("watcherd_written_bytes_total",),
    "seconds of each stage": ("watcherd_stage_seconds", "stage"),
    "depth of the queue by class": ("watcherd_queue_jobs", "class"),
    "oldest age by class": ("watcherd_queue_oldest_seconds", "class"),
    "workers by state": ("watcherd_workers", "state"),
    "restarts by cause": ("watcherd_worker_ends_total", "cause"),
    "share of the time that workers are busy": ("watcherd_workers_busy_seconds_total",),
    "memory of the workers": ("watcherd_workers_resident_bytes",),
    "events": ("watcherd_events_total", "kind"),
    "overflows": ("watcherd_doubts_total", "reason"),
    "scans": ("watcherd_scans_total", "root"),
    "state of each root": ("watcherd_root_state", "root", "state"),
    "mode of each root": ("watcherd_root_mode", "root", "mode"),
    "rows of the ledger": ("watcherd_ledger_sources", "root", "state"),
    "last success of each root": ("watcherd_root_last_success_timestamp_seconds", "root"),
    "whether the last reload went well": ("watcherd_config_last_reload_successful",),
    "what runs": ("watcherd_build_info", "version", "python", "pillow", "pyvips"),
}
"""What an operator is to find, and under which name and labels."""


def test_what_operators_ask_for_has_a_metric_with_these_labels() -> None:
    assert {what: (METRICS[name].name, *METRICS[name].labels) for what, (name, *_) in FIGURES.items()} == FIGURES
    assert METRICS["watcherd_stage_seconds"].kind is MetricKind.HISTOGRAM


def test_a_stall_is_seen(world: World) -> None:
    def writable(*, is_stalled: bool) -> float | Distribution:
        moment = Moment(now=world.now, wall_s=START_S + world.now)
        made = readings(world.core, moment, resident_bytes=0, started_at_s=1.0, is_stalled=is_stalled)
        return next(reading.value for reading in made if reading.name == "watcherd_ledger_writable")

    assert (writable(is_stalled=False), writable(is_stalled=True)) == (1.0, 0.0)


def test_an_end_for_want_of_memory_or_threads_is_growth_from_the_first_one_on(world: World) -> None:
    made = of(world)
    assert [made["watcherd_worker_ends_total", cause] for cause in ("out of memory", "no thread")] == [0, 0]
