"""Pausing: what is held back because somebody said so, or because it is the quiet time of the day.

Responsible for: the pauses that were asked for, of everything or of single roots, kept in a file over restarts; the
quiet hours of the configuration; which lanes of the queue are held for them. Not responsible for: roots that cannot be
worked in (`roots/conditions.py`).

Only the beginning of work is held: what is in hand is finished, events and scans are taken in and recorded, so nothing
is lost. In a pause nothing is begun; in quiet hours what `quiet_hours_allow` names still is.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from watcherd.config.hours import Span, is_quiet, next_look_s, span
from watcherd.daemon.core import Core
from watcherd.daemon.effects import Moment
from watcherd.model import JobClass
from watcherd.settings import QuietWork
from watcherd.telemetry.log import get_logger

log = get_logger()

EVERYTHING = ""
"""Stands for all roots where a pause is asked for, or kept."""
LONGEST_S = 366 * 86_400.0
"""For so long a pause may hold at the most; without an end it holds for longer."""

ALLOWED: Mapping[QuietWork, frozenset[JobClass]] = {
    QuietWork.MANUAL: frozenset({JobClass.MANUAL}),
    QuietWork.UPLOADS: frozenset({JobClass.MANUAL, JobClass.RETRY, JobClass.UPLOAD, JobClass.EDITED}),
}
"""What is begun in quiet hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """The pauses that were asked for: of a root's path (or `EVERYTHING`), until when (wall seconds; None: resumed)."""

    until_s: Mapping[str, float | None] = field(default_factory=dict)

    def at(self, wall_s: float) -> "Pauses":
        """Those that still hold."""
        return Pauses(until_s={path: until for path, until in self.until_s.items() if until is None or until > wall_s})

    def why(self, path: str) -> str | None:
        """Why nothing is begun in a root; None where it is."""
        for name in (EVERYTHING, path):
            if name in self.until_s:
                return f"paused{_until(self.until_s[name])}"
        return None

    def next_end_s(self) -> float | None:
        """When the first of them ends."""
        return min((until for until in self.until_s.values() if until is not None), default=None)


def held_lanes(
    roots: Mapping[int, str], pauses: Pauses, *, quiet: bool, allowed: frozenset[JobClass]
) -> frozenset[tuple[int, JobClass]]:
    """The lanes (root, class) of which nothing is begun."""
    return frozenset(
        (number, job_class)
        for number, path in roots.items()
        for job_class in JobClass
        if pauses.why(path) is not None or (quiet and job_class not in allowed)
    )


def load(path: str) -> Pauses:
    """The pauses that an earlier run left. A file that makes no sense holds none: better work than a riddle."""
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)["until_s"]
        pauses = Pauses(until_s={str(name): None if until is None else float(until) for name, until in kept.items()})
        for until_s in pauses.until_s.values():
            _until(until_s)
    except FileNotFoundError:
        return Pauses()
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        hint = "pause again, if that is still wanted"
        log.warning("pause.unreadable", path=path, cause=str(error), hint=hint)
        return Pauses()
    return pauses


def keep(path: str, pauses: Pauses) -> None:
    """Write the pauses down, whole or not at all. Raises OSError."""
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump({"v": 1, "until_s": dict(pauses.until_s)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


class Pausing:
    """The pauses of a run; a duty. `local` gives the local time of a wall clock's second."""

    def __init__(self, core: Core, path: str, *, local: Callable[[float], time.struct_time] = time.localtime) -> None:
        self._core = core
        self._path = path
        self._local = local
        self._pauses = load(path)
        self._is_quiet = False
        self._next_look_s = 0.0
        self._held: frozenset[tuple[int, JobClass]] = frozenset()
        self._held_for: object = None

    def pause(self, names: tuple[str, ...], until_s: float | None, moment: Moment) -> None:
        """Begin nothing more in these roots (or `EVERYTHING`). Raises OSError where that cannot be kept."""
        self._change({**self._pauses.at(moment.wall_s).until_s, **dict.fromkeys(names, until_s)}, moment)
        log.info("pause.began", roots=[name or "*" for name in names], until_at_s=until_s)

    def resume(self, names: tuple[str, ...], moment: Moment) -> int:
        """End pauses, with `EVERYTHING` all of them; how many there were. Raises OSError."""
        before = self._pauses.at(moment.wall_s).until_s
        after = {} if EVERYTHING in names else {name: until for name, until in before.items() if name not in names}
        self._change(after, moment)
        if len(after) < len(before):
            log.info("pause.ended", roots=[name or "*" for name in before if name not in after])
        return len(before) - len(after)

    def why(self, root: int) -> str | None:
        """Why nothing (or not all) is begun in a root; None where it is."""
        reason = self._pauses.why(os.fsdecode(self._core.roots[root].path))
        return reason or ("quiet hours" if self._is_quiet else None)

    def rests(self, root: int) -> bool:
        """Whether a root is to be left in peace: no periodic comparison, no derivatives removed."""
        return (root, JobClass.BACKLOG) in self._held

    def is_paused(self, root: int) -> bool:
        """Whether nothing at all is begun in a root, not even what a person asks for."""
        return (root, JobClass.MANUAL) in self._held

    @property
    def everything(self) -> bool:
        """Whether all roots are paused at once."""
        return EVERYTHING in self._pauses.until_s

    def told(self) -> dict[str, object]:
        """For the status."""
        until = {name or "*": until for name, until in self._pauses.until_s.items()}
        return {"paused_until_s": until, "quiet": self._is_quiet}

    def summary(self) -> str:
        """A few words for people; empty where nothing is held."""
        if EVERYTHING in self._pauses.until_s:
            return f"PAUSED{_until(self._pauses.until_s[EVERYTHING])}"
        words = [f"{len(self._pauses.until_s)} roots paused"] if self._pauses.until_s else []
        return "; ".join([*words, *(["quiet hours"] if self._is_quiet else [])])

    def due(self, moment: Moment) -> float | None:
        """See what is over, and what begins."""
        before, self._pauses = self._pauses, self._pauses.at(moment.wall_s)
        ended = [name for name in before.until_s if name not in self._pauses.until_s]
        if ended:
            log.info("pause.ended", roots=[name or "*" for name in ended])
        spans = tuple(span(text) for text in self._core.settings.daemon.quiet_hours)
        self._look_at_the_clock(spans, moment)
        if self._hold():
            return moment.now  # another pass: there may be work to begin
        ends = [self._pauses.next_end_s(), self._next_look_s if spans else None]
        first = min((at_s for at_s in ends if at_s is not None), default=None)
        return None if first is None else moment.now + max(0.0, first - moment.wall_s)

    def _change(self, until_s: Mapping[str, float | None], moment: Moment) -> None:
        pauses = Pauses(until_s=until_s)
        keep(self._path, pauses)
        self._pauses = pauses
        self.due(moment)

    def _look_at_the_clock(self, spans: tuple[Span, ...], moment: Moment) -> None:
        local = self._local(moment.wall_s)
        minute = local.tm_hour * 60 + local.tm_min
        quiet = is_quiet(spans, minute)
        if quiet is not self._is_quiet:
            self._is_quiet = quiet
            if quiet:
                log.info("quiet.began", allow=self._core.settings.daemon.quiet_hours_allow)
            else:
                log.info("quiet.ended", allow=self._core.settings.daemon.quiet_hours_allow)
        self._next_look_s = next_look_s(spans, moment.wall_s, minute, local.tm_sec + moment.wall_s % 1)

    def _hold(self) -> bool:
        """Whether other lanes are held now."""
        core = self._core
        held_for = (self._pauses, self._is_quiet, core.settings.daemon.quiet_hours_allow, tuple(core.roots))
        if held_for == self._held_for:
            return False
        self._held_for = held_for
        paths = {number: os.fsdecode(root.path) for number, root in core.roots.items()}
        allowed = ALLOWED[core.settings.daemon.quiet_hours_allow]
        held = held_lanes(paths, self._pauses, quiet=self._is_quiet, allowed=allowed)
        if held == self._held:
            return False
        self._held = held
        core.queue.hold(held)
        return True


def _until(until_s: float | None) -> str:
    if until_s is None:
        return " until somebody resumes it"
    return time.strftime(" until %Y-%m-%d %H:%M:%S", time.localtime(until_s))
