"""A one-shot scan: the daemon's own pipeline, once over some folders or files, without watching."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from watcherd.daemon.composition import Composition
from watcherd.daemon.effects import AskScanner, Effect, Moment
from watcherd.daemon.reporting.metrics_line import MetricsLine
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.roots.health import overdue_calls
from watcherd.daemon.signals import Signalled, listen, moment_now
from watcherd.daemon.sources.safety import Safety
from watcherd.daemon.statedir import StateDirectory
from watcherd.model import Change, ChangeKind, JobClass, Source
from watcherd.settings import RootSettings, Settings
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Salvaged, Synced

log = get_logger()

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlace:
    """What a scan was asked for: a folder or a file, below a root."""

    root: RootSettings
    path: bytes
    is_file: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """How a scan ended. `exit_code` is 0 where it was finished, and `unfinished` says why it was not."""

    counts: dict[str, int]
    exit_code: int = EXIT_OK
    unfinished: str = ""
    unreadable: int = 0


SCAN_TICKET = 1


def scan(
    settings: Settings,
    state: StateDirectory,
    places: tuple[ScanPlace, ...],
    *,
    progress: Callable[[dict[str, int], int], None],
) -> ScanReport:
    """Do everything below some places once. The caller holds the lock.

    `progress` is called now and then with the counts so far and the number of sources still to do.
    """
    roots = {place.root.path: place.root for place in places}
    with Composition(settings, state, roots.values(), patient=False) as parts:
        core, loop = parts.core, parts.loop
        numbers = {root.settings.path: number for number, root in parts.roots.items()}
        sources = tuple(Source(numbers[place.root.path], place.path) for place in places)
        scope = Scope(places=sources)
        core.tally.open(SCAN_TICKET, scope)
        course = _ScanCourse(parts, scope, progress)
        parts.duties += [course, MetricsLine(core, parts.workers)]
        loop.handle(Signalled, course.signalled)
        listen(parts.inbox, signal.SIGTERM, signal.SIGINT)
        _look_at_doubtful(parts, course)
        if not course.is_stopped():
            core.recover(moment_now(), scope)
            for place, source in zip(places, sources, strict=True):
                _begin(parts, place, source)
            loop.run(course.is_over)
        progress(core.tally.counts(SCAN_TICKET), 0)
        unreadable = core.tally.unreadable(SCAN_TICKET)
        return ScanReport(
            counts=core.tally.close(SCAN_TICKET),
            unreadable=unreadable,
            exit_code=course.exit_code,
            unfinished=course.unfinished,
        )


def _look_at_doubtful(parts: Composition, course: "_ScanCourse") -> None:
    """What a daemon with `durability = "fast"` has left in doubt comes first, and is on the disk after that."""
    safety = Safety(parts.core, parts.loop.carry_out, relaxes=False)
    parts.loop.handle(Salvaged, safety.salvaged)
    parts.loop.handle(Synced, safety.synced)
    for step in (safety.look, safety.write_out):
        for effect in step():
            parts.loop.carry_out(effect)
        if safety.is_busy:
            parts.loop.run(lambda: not safety.is_busy or course.is_stopped())


def _begin(parts: Composition, place: ScanPlace, source: Source) -> None:
    core = parts.core
    if place.is_file:
        core.intake.change(Change(kind=ChangeKind.CREATED, source=source), moment_now(), arriving=JobClass.MANUAL)
    else:
        core.tally.await_scans(SCAN_TICKET, 1)
        parts.loop.carry_out(AskScanner(root=source.root, directory=source.path, ticket=SCAN_TICKET))


class _ScanCourse:
    """Leads a one-shot scan to its end: retries at once when nothing else is left, then it is over."""

    INTERVAL_S = 0.2

    def __init__(self, parts: Composition, scope: Scope, progress: Callable[[dict[str, int], int], None]) -> None:
        self._core = parts.core
        self._parts = parts
        self._scope = scope
        self._progress = progress
        self._next_at = 0.0
        self._stopped = False
        self._halted = False
        self.exit_code = EXIT_OK
        self.unfinished = ""

    def due(self, moment: Moment) -> float | None:
        """Report progress."""
        if moment.now >= self._next_at:
            self._next_at = moment.now + self.INTERVAL_S
            for effect in overdue_calls(self._core, self._parts.rooms, moment):
                self._parts.loop.carry_out(effect)
            self._progress(self._core.tally.counts(SCAN_TICKET), self._core.left())
        return self._next_at

    def signalled(self, item: object, moment: Moment) -> list[Effect]:  # noqa: ARG002  any signal ends it
        """Interrupted: what is in hand is finished, then it ends."""
        self.exit_code, self.unfinished = EXIT_INTERRUPTED, "interrupted"
        if self._stopped:
            self._halted = True
            return [*self._core.fleet.halt(moment.now)]
        self._stopped = True
        return [*self._core.fleet.drain(moment.now)]

    def is_stopped(self) -> bool:
        """Whether it has ended before all is done."""
        core = self._core
        if core.failure is not None:
            return self._give_up(core.failure)
        if self._stopped:
            return core.fleet.halted and (self._halted or not core.attempts.finishing())
        if core.conditions.troubled:
            away = "; ".join(
                f"{os.fsdecode(core.roots[root].path)}: {reason}" for root, reason in core.conditions.troubled.items()
            )
            return self._give_up(f"{away}; scan again when that is mended")
        return False

    def is_over(self) -> bool:
        """Whether all is done, or nothing more is."""
        core = self._core
        if self.is_stopped():
            return True
        if self._stopped or core.tally.scanning(SCAN_TICKET) or not core.quiet:
            return False
        if not core.retry_now(moment_now(), self._scope):
            return True
        self._parts.inbox.post(None)  # another pass
        return False

    def _give_up(self, why: str) -> bool:
        self.exit_code, self.unfinished = EXIT_FAILED, why
        return True
