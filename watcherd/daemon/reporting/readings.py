"""What the daemon exposes about itself at one moment: the core's state as readings of the declared metrics.

Runs in the loop's thread. Not responsible for: the text that becomes of it (`telemetry/exposition.py`), and who asks
(`exposure.py`).
"""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from watcherd import __version__
from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.reload.reloads import LastReload
from watcherd.model import JobClass, Outcome, Reason, State
from watcherd.pool.orders import NO_THREAD, OUT_OF_MEMORY
from watcherd.pool.slots import Busy, Idle, Resting, Starting, Stopping
from watcherd.telemetry.metrics import Reading
from watcherd.watch.modes import Mode
from watcherd.watch.reports import DoubtReason
from watcherd.watch.roots import RootState

_REJECTIONS = (
    Reason.TOO_MANY_BYTES,
    Reason.TOO_MANY_PIXELS,
    Reason.SIDE_TOO_LONG,
    Reason.DAMAGED,
    Reason.UNSUPPORTED,
    Reason.DECODER_MISSING,
    Reason.NAME_TAKEN,
    Reason.TOO_MUCH_MEMORY,
    Reason.NOT_PERMITTED,
)
_UNENDED = {(kind.__name__.lower(), ""): 0 for kind in get_args(Outcome)} | {
    ("rejected", str(reason)): 0 for reason in _REJECTIONS
}
"""Attempts of each kind before the first one. What begins with its first event does not grow by it (`increase`)."""

_DEATHS = ("SIGABRT", "SIGBUS", "SIGKILL", "SIGSEGV", "exit 1", NO_THREAD, OUT_OF_MEMORY)
"""How workers come to harm."""

_WORKER_STATES = (Starting, Idle, Resting, Busy, Stopping)


def readings(
    core: Core,
    moment: Moment,
    *,
    resident_bytes: int,
    started_at_s: float,
    last_read: LastReload | None = None,
    is_stalled: bool = False,
) -> list[Reading]:
    """All readings. `resident_bytes` is the memory of all workers, `started_at_s` the wall clock at the start.

    `last_read`: how the last reload ended; None: the configuration was read at the start. `is_stalled`: whether the
    ledger cannot be written.
    """
    last = last_read or LastReload(at_s=started_at_s)
    return [
        *_work(core),
        *_queue(core, moment),
        *_workers(core, moment),
        Reading(name="watcherd_workers_resident_bytes", value=resident_bytes),
        *_watching(core, started_at_s),
        *_ledger(core),
        Reading(name="watcherd_ledger_writable", value=float(not is_stalled)),
        Reading(name="watcherd_config_last_reload_successful", value=float(not last.errors)),
        Reading(name="watcherd_config_last_reload_timestamp_seconds", value=last.at_s),
        Reading(name="watcherd_build_info", labels=_build()),
        Reading(name="watcherd_start_time_seconds", value=started_at_s),
    ]


def _work(core: Core) -> Iterator[Reading]:
    totals = core.totals
    for labels, count in (_UNENDED | totals.ended_why).items():
        yield Reading(name="watcherd_attempts_total", labels=labels, value=count)
    for variant in core.settings.variants:
        count = totals.derivatives[variant.name]
        yield Reading(name="watcherd_derivatives_total", labels=(variant.name,), value=count)
    yield Reading(name="watcherd_read_bytes_total", value=totals.bytes_in)
    yield Reading(name="watcherd_written_bytes_total", value=totals.bytes_out)
    for stage, durations in totals.stages.items():
        yield Reading(name="watcherd_stage_seconds", labels=(stage,), value=durations.distribution())
    yield Reading(name="watcherd_attempt_seconds", value=totals.attempts.distribution())


def _queue(core: Core, moment: Moment) -> Iterator[Reading]:
    for job_class, depth in core.queue.depth().items():
        yield Reading(name="watcherd_queue_jobs", labels=(job_class,), value=depth)
    for job_class in JobClass:
        since = core.queue.oldest(job_class)
        waited_s = 0.0 if since is None else moment.now - since
        yield Reading(name="watcherd_queue_oldest_seconds", labels=(job_class,), value=waited_s)
    yield Reading(name="watcherd_settling_sources", value=len(core.settle))
    yield Reading(name="watcherd_waiting_jobs", value=core.outcomes.waiting + core.attempts.parked)


def _workers(core: Core, moment: Moment) -> Iterator[Reading]:
    fleet = core.fleet
    states = Counter(type(state) for state in fleet.slots.values())
    for state in _WORKER_STATES:
        yield Reading(name="watcherd_workers", labels=(state.__name__.lower(),), value=states[state])
    yield Reading(name="watcherd_workers_limit", value=core.most_workers)
    yield Reading(name="watcherd_workers_degraded", value=float(fleet.degraded))
    for cause, count in (dict.fromkeys(_DEATHS, 0) | core.totals.worker_ends).items():
        yield Reading(name="watcherd_worker_ends_total", labels=(cause,), value=count)
    yield Reading(name="watcherd_workers_busy_seconds_total", value=fleet.busy_seconds(moment.now))
    yield Reading(name="watcherd_memory_used_bytes", value=core.admission.used_bytes)
    yield Reading(name="watcherd_memory_budget_bytes", value=core.admission.budget_bytes)


def _watching(core: Core, started_at_s: float) -> Iterator[Reading]:
    totals = core.totals
    for kind, count in totals.events.items():
        yield Reading(name="watcherd_events_total", labels=(kind,), value=count)
    for reason, count in ({str(reason): 0 for reason in DoubtReason} | totals.doubts).items():
        yield Reading(name="watcherd_doubts_total", labels=(reason,), value=count)
    for number in core.roots:
        root = (str(number),)
        yield Reading(name="watcherd_scans_total", labels=root, value=totals.scans[number])
        at_s = totals.scanned_at_s.get(number, started_at_s)  # so that one that is never scanned grows old as well
        yield Reading(name="watcherd_scan_last_timestamp_seconds", labels=root, value=at_s)
        if number in totals.succeeded_at_s:
            at_s = totals.succeeded_at_s[number]
            yield Reading(name="watcherd_root_last_success_timestamp_seconds", labels=root, value=at_s)
        yield Reading(name="watcherd_root_paused", labels=root, value=float(core.paused(number) is not None))
        mode = core.modes.choice(number).mode
        for one in Mode:
            yield Reading(name="watcherd_root_mode", labels=(*root, one), value=float(one is mode))
        is_now = core.conditions.state(number)
        for state in RootState:
            yield Reading(name="watcherd_root_state", labels=(*root, state), value=float(state is is_now))


def _ledger(core: Core) -> Iterator[Reading]:
    known = core.ledger.counts()
    for number in {**known, **core.roots}:
        counts = known.get(number, {})
        for state in State:
            yield Reading(name="watcherd_ledger_sources", labels=(str(number), state), value=counts.get(state, 0))
    with suppress(OSError):  # taken away under us: that is told elsewhere
        yield Reading(name="watcherd_ledger_size_bytes", value=os.path.getsize(core.ledger.path))


@cache
def _build() -> tuple[str, ...]:
    return (__version__, platform.python_version(), *map(_version, ("pillow", "pyvips")))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
