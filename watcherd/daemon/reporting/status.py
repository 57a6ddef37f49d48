"""The status: what a running daemon knows of itself, as one value for `watcherd status`, SIGUSR1 and the log.

Not responsible for: what stands in the ledger (the command line reads that itself), how it is shown (`cli/`).
"""

import os
from collections.abc import Callable
from typing import Any

from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.daemon.reporting.pace import Pace, time_left_s
from watcherd.model import JobClass, State
from watcherd.pool.processes import Workers
from watcherd.queue.jobqueue import WEIGHTS, Job

Told = dict[str, Any]

_UPCOMING = 20
_MOST_LINKS = 20
_MAX_SHOWN = 300
_MAX_IN_HAND = 64
_CLASS_WORDS = {
    JobClass.MANUAL: "somebody asked for it",
    JobClass.RETRY: "its last attempt went wrong",
    JobClass.UPLOAD: "it has just arrived",
    JobClass.EDITED: "its content has changed",
    JobClass.RECIPE: "the settings of its variants have changed",
    JobClass.BACKLOG: "a scan found it",
}


class Status:
    """Puts the status together. `more` are the parts that other rooms tell of themselves, by name."""

    def __init__(
        self,
        core: Core,
        *,
        workers: Workers | None = None,
        pace: Pace | None = None,
        more: Callable[[Moment], Told] = lambda _: {},
    ) -> None:
        self._core = core
        self._workers = workers
        self._pace = pace or Pace(core.totals)
        self._more = more

    def told(self, moment: Moment) -> Told:
        """All of it. Every key is always there."""
        core = self._core
        per_s = self._pace.per_s(moment.now)
        left = self._left()
        return {
            "pid": os.getpid(),
            "summary": core.summary(),
            "queue": {str(job_class): depth for job_class, depth in core.queue.depth().items()},
            "oldest_s": self._oldest(moment),
            "upcoming": [self._job(job, moment) for job in core.queue.upcoming(_UPCOMING)],
            "settling": len(core.settle),
            "growing": len(core.settle.growing()),
            "waiting": core.outcomes.waiting + core.attempts.parked,
            "pace": {"per_s": round(per_s, 3), "left": left, "time_left_s": _rounded(time_left_s(left, per_s))},
            "workers": self._workers_told(moment),
            "memory": {"used_bytes": core.admission.used_bytes, "budget_bytes": core.admission.budget_bytes},
            "roots": {os.fsdecode(root.path): self._root(number) for number, root in core.roots.items()},
            "in_hand": self._in_hand(moment),
            **self._more(moment),
        }

    def _left(self) -> int:
        """Sources that are to do, in memory or in the ledger alone."""
        counts = self._core.ledger.counts()
        pending = sum(counts.get(root, {}).get(State.PENDING, 0) for root in self._core.roots)
        return max(pending, len(self._core.queue))

    def _oldest(self, moment: Moment) -> Told:
        oldest = {job_class: self._core.queue.oldest(job_class) for job_class in JobClass}
        return {str(job_class): round(moment.now - at, 3) for job_class, at in oldest.items() if at is not None}

    def _job(self, job: Job, moment: Moment) -> Told:
        return {
            "source": _shown(self._core.roots[job.source.root].path + b"/" + job.source.path),
            "class": str(job.job_class),
            "waiting_s": round(moment.now - job.queued_at, 3),
            "why": _why_here(job),
        }

    def _root(self, number: int) -> Told:
        core = self._core
        last = core.scans.last.get(number)
        return {
            "number": number,
            "state": str(core.conditions.state(number)),
            "reason": core.conditions.reason(number),
            "disks_away": [_shown(path) for path in core.conditions.points.away(number)],
            "links_left": {_shown(link): why for link, why in core.conditions.points.links_left(number)[:_MOST_LINKS]},
            "mode": str(core.modes.choice(number).mode),
            "mode_reason": core.modes.choice(number).reason,
            "network": core.roots[number].network,
            "variants": [variant.name for variant in core.roots[number].variants],
            "last_scan": last
            and {
                "at_s": round(last[0], 3),
                "result": str(last[1].result),
                "directories": last[1].directories,
                "sources": last[1].sources,
                "unreadable": len(last[1].errors),
            },
        }

    def _workers_told(self, moment: Moment) -> Told:
        core = self._core
        return {
            "most": core.most_workers,
            "running": len(core.fleet.slots),
            "busy": core.fleet.busy(),
            "degraded": core.fleet.degraded,
            "trouble": core.fleet.trouble,
            "missing_layers": list(core.crew.missing_layers),
            "each": [self._worker(slot, state, moment) for slot, state in sorted(core.fleet.slots.items())],
        }

    def _worker(self, slot: int, state: object, moment: Moment) -> Told:
        there = self._workers is not None and slot in self._workers
        held = self._core.attempts.held_in(slot)
        return {
            "slot": slot,
            "pid": self._workers[slot].pid if self._workers is not None and there else 0,
            "state": type(state).__name__.lower(),
            "rss_bytes": self._workers.rss_bytes(slot) if self._workers is not None and there else 0,
            "source": _shown(held.root.path + b"/" + held.job.source.path) if held else "",
            "phase": str(held.phase) if held else "",
            "seconds": round(moment.now - held.started, 3) if held else 0.0,
        }

    def _in_hand(self, moment: Moment) -> list[Told]:
        return [
            {
                "source": _shown(attempt.root.path + b"/" + attempt.job.source.path),
                "phase": str(attempt.phase),
                "seconds": round(moment.now - attempt.started, 3),
            }
            for attempt in self._core.attempts.under_way()[:_MAX_IN_HAND]
        ]


def _why_here(job: Job) -> str:
    """Why a job stands where it stands, for a person."""
    alone = "; it waits for the one before it, which is a suspect too" if job.suspect else ""
    memory = f"; it needs {job.memory_bytes >> 20} MiB" if job.memory_bytes else ""
    return f"{_CLASS_WORDS[job.job_class]}, weight {WEIGHTS[job.job_class]}{alone}{memory}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _shown(path: bytes) -> str:
    """A path as an answer can carry it: a name of 4,000 bytes, each escaped, would not fit with a hundred others."""
    text = os.fsdecode(path)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
