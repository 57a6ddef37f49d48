"""Every event that watcherd logs: its name, its level, its fields, and what it means.

A pure leaf. An event is called noun.verb; to add one is one line here. Tests hold every `log.<level>("name", ...)` in
the package against this table, and `telemetry/log.py` does so at run time when it is told to be strict.

Fields: lengths of time end in `_s`, sizes in `_bytes` (or are `bytes_in`, `bytes_out`), instants in `_at`; `source` and
`root` are paths; `outcome`, `reason`, `state` and the like are the words of `watcherd.model`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from watcherd.settings import LogLevel
from watcherd.telemetry.declared import by_name

ALWAYS = frozenset({"exc_info", "repeated"})
"""Fields that any event may have besides its own: a traceback; how many lines like it were left out before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of log line. All fields are optional in a line; no others may be in it."""

    name: str
    level: LogLevel
    fields: frozenset[str]
    meaning: str


def _table(*rows: tuple[LogLevel, str, str, str]) -> Mapping[str, Event]:
    return by_name(
        Event(name=name, level=level, fields=frozenset(fields.split()), meaning=meaning)
        for level, name, fields, meaning in rows
    )


_D, _I, _W, _E = LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR

EVENTS: Mapping[str, Event] = _table(
    # ------------------------------------------------------------------------------------------------------- daemon
    (_I, "daemon.starting", "version pid state_dir config", "The daemon has its lock and begins."),
    (_I, "daemon.ready", "roots variants workers elapsed_s", "Every root is watched or known to be away."),
    (_I, "daemon.draining", "signal running queued", "No new work is started; what runs is finished."),
    (_W, "daemon.halting", "signal running", "What runs is given up: told twice to end, or the drain took too long."),
    (_I, "daemon.stopped", "exit_code uptime_s done", "The last line of a run."),
    (_E, "daemon.failed", "operation cause hint", "The daemon cannot go on, and ends."),
    (_I, "daemon.recovered", "in_hand pending", "The last run ended uncleanly; the work it left is taken up."),
    # ------------------------------------------------------------------------------------------------ configuration
    (_I, "config.loaded", "file roots variants", "A configuration is in force."),
    (
        _I,
        "config.reloaded",
        "file roots variants added removed rescanned changed restart elapsed_s",
        "Other settings are in force; those in `restart` wait for one.",
    ),
    (_E, "config.refused", "file line cause hint", "A reload found something wrong, and changed nothing."),
    (_I, "daemon.status", "status", "The status, as `watcherd status --json` has it; asked for by SIGUSR1."),
    (_I, "pause.began", "roots until_at_s", "As was asked for, nothing more is begun in these roots (*: all)."),
    (_I, "pause.ended", "roots", "These pauses were ended, or are over."),
    (_W, "pause.unreadable", "path cause hint", "The pauses of an earlier run cannot be read; none holds."),
    (_I, "quiet.began", "allow", "The quiet hours begin; only what they allow is begun."),
    (_I, "quiet.ended", "allow", "The quiet hours are over."),
    (_I, "control.request", "verb peer subject", "Somebody asked for something over the control socket."),
    (_W, "control.refused", "verb peer reason", "A request over the control socket was not served."),
    # -------------------------------------------------------------------------------------------------------- roots
    (_I, "root.watching", "root filesystem network watches elapsed_s", "Events of this root arrive from now on."),
    (_I, "root.mode", "root mode reason filesystem watches", "How new files of this root are found from now on."),
    (
        _W,
        "root.watch_limit",
        "root folders unwatched limit hint",
        "The kernel has no watches left for some folders; scans stand in for their events.",
    ),
    (_W, "root.unwatchable", "root reason hint", "Events cannot be had here; only scans find what is new."),
    (_I, "root.state_changed", "root state", "A root is online again; a scan follows."),
    (_W, "root.away", "root state reason", "A root is offline, hung or paused; its work waits, other roots go on."),
    (_W, "mount.away", "root directory", "A disk below a root, or behind a link, is away; what lies there is kept."),
    (_I, "mount.back", "root directory", "What was away below a root is there again; a scan follows."),
    (_W, "link.left", "root link reason", "A link to a folder is not followed, though the root follows links."),
    (_W, "root.contested", "root pid uid hint", "Another user's process has a name that is to keep daemons apart."),
    (
        _I,
        "root.salvaged",
        "root derivatives lost",
        "Derivatives that were perhaps not on the disk at the last end were looked at; those lost are made again.",
    ),
    (_W, "root.emptied", "root", "Nothing is where the ledger knows of something: it counts as not mounted."),
    (_I, "root.doubt", "root directory reason", "Events may have been lost; a scan follows."),
    (
        _I,
        "scan.ended",
        "root directory directories sources found unchanged ignored errors quick elapsed_s",
        "The comparison is complete.",
    ),
    (
        _I,
        "backfill.forecast",
        "root sources bytes_in bytes_out hours workers measured",
        "A root was met for the first time: so much is to do in it, and so long it will take.",
    ),
    (_W, "scan.unreadable", "root directory errno cause", "A folder cannot be read; what lies in it is left alone."),
    # --------------------------------------------------------------------------------------------------------- jobs
    (
        _I,
        "job.done",
        ("source root kind variants outcome reason detail notes job_class attempt worker queue_s "
         "decode_s encode_s publish_s total_s bytes_in bytes_out width height"),
        "One attempt has ended, one way or another.",
    ),
    (
        _I,
        "job.retry",
        "source root outcome reason detail attempt faults interruptions delay_s",
        "An attempt went wrong; there will be another.",
    ),
    (
        _W,
        "job.quarantined",
        "source root outcome reason detail faults digest",
        "The attempts are used up; this content is left alone until somebody releases it.",
    ),
    (
        _E,
        "job.failed",
        "source root outcome reason detail faults interruptions",
        "The attempts are used up, though not by the content's doing.",
    ),
    (_W, "source.growing", "source root waited_s size_bytes", "An upload does not come to rest."),
    (_I, "source.incomplete", "source root reason detail grace_s", "More of an upload is waited for."),
    (_I, "source.gone", "source root derivatives", "A source was deleted; its derivatives were removed."),
    (_I, "source.moved", "source previous root derivatives", "A source is elsewhere; its derivatives went along."),
    (_W, "brake.engaged", "root gone until_at hint", "So many sources went at once that their derivatives are kept."),
    (_I, "brake.released", "root reason", "The derivatives of gone sources are removed again, as ever."),
    (_I, "temporary.swept", "root count", "Unfinished files of an earlier run were removed."),
    # ------------------------------------------------------------------------------------------------------ workers
    (_D, "worker.started", "slot pid", "A worker program was started."),
    (_D, "worker.ready", "slot pid boot_s fence", "A worker has its libraries and waits for work."),
    (_I, "worker.stopping", "slot pid stop_reason source", "A worker was told to end."),
    (_W, "worker.exited", "slot pid how stop_reason source jobs", "A worker ended without having been told to."),
    (_D, "worker.ended", "slot pid how stop_reason source jobs", "A worker ended as it was told."),
    (_E, "worker.lost", "slot pid source", "A killed worker does not go; its place is given to another."),
    (_W, "pool.degraded", "workers reason", "Fewer workers run than are wanted, as no more start or stay alive."),
    (_I, "pool.restored", "workers", "There are as many workers as are wanted again."),
    (_W, "worker.output", "slot pid text", "A worker, or a library in it, wrote to its standard error."),
    (
        _I,
        "pool.metrics",
        ("interval_s workers busy idle utilisation queued oldest_s settling waiting ended attempts_per_s "
         "bytes_in bytes_out memory_bytes budget_bytes rss_bytes restarts figures"),
        "How the work goes, at even intervals; `figures` has every metric, of what is counted the growth.",
    ),
    (_W, "metrics.unserved", "subject cause hint", "The metrics cannot be had at this address."),
    (_W, "metrics.unwritten", "path cause hint", "The metrics' text file cannot be written."),
    # ------------------------------------------------------------------------------------------------- ledger, others
    (_I, "ledger.opened", "path sources size_bytes schema migrated", "The ledger is open."),
    (_E, "ledger.problem", "path operation cause hint", "The ledger cannot be read or written as it should."),
    (_I, "ledger.writable", "path waited_s", "There is room again: what has waited is written, and the work goes on."),
    (_W, "log.lost", "lines", "Lines could not be written, because the log's stream refused them, or nobody read it."),
    (_W, "library.warned", "library text", "A library wrote to Python's own logging."),
)  # fmt: skip
"""Of each event by its name."""
