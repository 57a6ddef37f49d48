"""How far a reload reaches: which settings it applies to the running daemon, and which wait for a restart.

Pure. Every setting is named here, so that a new one has to be thought about (a test holds the table against
`watcherd.settings`). Not responsible for: applying them (`refitting.py`).
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from watcherd.settings import Settings


class Reach(StrEnum):
    """When a changed setting takes effect."""

    LIVE = "live"
    RESTART = "restart"


_LIVE_SECTIONS = {
    "roots": "path variants on_delete ignore error_notes backfill min_free_bytes svg layout subfolder mirror"
    " hidden min_bytes max_bytes max_age_s mode scan_interval_s follow_symlinks",
    "settle": "closed_quiet_s open_quiet_s network_quiet_s max_wait_s incomplete_grace_s",
    "limits": "max_bytes max_pixels max_side max_frames",
    "pool": "workers cpu_limit memory_bytes recycle_after_jobs recycle_above_bytes timeout_s boot_timeout_s",
    "retry": "max_faults max_interruptions first_delay_s max_delay_s",
    "daemon": (
        "rescan_interval_s forget_after_s metrics_interval_s drain_timeout_s quiet_hours quiet_hours_allow"
        " brake_share brake_floor brake_grace_s scan_rate full_scan_interval_s durability"
    ),
    "log": "format level",
}
_RESTART = {
    **dict.fromkeys(("metrics.socket", "metrics.port", "metrics.textfile"), "sockets are opened at the start"),
    "pool.sandbox": "workers that stand already have closed the one they were started with",
}

REACH: Mapping[str, Reach] = MappingProxyType(
    {f"{table}.{key}": Reach.LIVE for table, keys in _LIVE_SECTIONS.items() for key in keys.split()}
    | {"variants": Reach.LIVE}
    | dict.fromkeys(_RESTART, Reach.RESTART)
)
"""Of each setting by `table.key`; `variants` stands for all of `[variants.*]`."""


def reachable(now: Settings, wanted: Settings) -> tuple[Settings, tuple[str, ...]]:
    """What of the wanted settings can be in force at once, and the names of those that have to wait for a restart."""
    waiting = [name for name in _RESTART if _at(now, name) != _at(wanted, name)]
    for name in waiting:
        table, key = name.split(".")
        section = replace(getattr(wanted, table), **{key: _at(now, name)})
        wanted = replace(wanted, **{table: section})
    return wanted, tuple(waiting)


def changed(now: Settings, wanted: Settings) -> tuple[str, ...]:
    """The names of the plain settings (those of `[settle]`, `[pool]` and so on) that differ."""
    tables = [table.name for table in fields(Settings) if table.name not in {"roots", "variants"}]
    names = [f"{table}.{one.name}" for table in tables for one in fields(getattr(now, table))]
    return tuple(name for name in names if _at(now, name) != _at(wanted, name))


def _at(settings: Settings, name: str) -> Any:  # noqa: ANN401  any setting
    table, key = name.split(".")
    return getattr(getattr(settings, table), key)
