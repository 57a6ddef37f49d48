"""Scans: what the scanners and the observers report, as the daemon takes it in.

Responsible for: findings and deletions on their way to the intake, clean folders, our own litter, and the scan that
each doubt asks for. Not responsible for: comparing (`watch/scanning/`), watching (`watch/observing/`).
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping

from watcherd.daemon.effects import Acknowledge, AskHands, AskScanner, Effect, Moment, WatchedRoot
from watcherd.daemon.reporting.tally import Tally
from watcherd.daemon.reporting.totals import Totals
from watcherd.daemon.roots.conditions import Conditions
from watcherd.daemon.roots.first_contact import taken
from watcherd.daemon.roots.forecasts import Forecasts
from watcherd.daemon.sources.departures import Departures
from watcherd.daemon.sources.intake import Intake
from watcherd.daemon.sources.moves import Moves
from watcherd.ledger.ledger import Ledger
from watcherd.model import JobClass
from watcherd.telemetry.log import get_logger
from watcherd.watch.hands.hands import Remove
from watcherd.watch.reports import (
    Doubt,
    DoubtReason,
    Found,
    Listed,
    Manner,
    ScanEnded,
    ScanResult,
    Stray,
    WatchFailed,
    Watching,
    WatchTrouble,
)

log = get_logger()

_ERRORS_LOGGED = 20
_SPARE_INSTANCES = 1024
"""Of inotify, for all other programs of the user."""


class Scans:
    """Findings of all roots."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        roots: Mapping[int, WatchedRoot],
        intake: Intake,
        conditions: Conditions,
        departures: Departures,
        moves: Moves,
        tally: Tally,
        totals: Totals,
        forecasts: Forecasts,
        tickets: Iterator[int],
    ) -> None:
        self._ledger = ledger
        self._roots = roots
        self._intake = intake
        self._conditions = conditions
        self._departures = departures
        self._moves = moves
        self._owed: list[int] = []
        self._tally = tally
        self._totals = totals
        self._forecasts = forecasts
        self._tickets = tickets
        self.noted: Callable[[int], list[Effect]] = lambda _: []
        """What a comparison of a root brings about for its notes."""
        self.begun: set[int] = set()
        """Roots whose first scan is queued."""
        self.last: dict[int, tuple[float, ScanEnded]] = {}
        """Of each root the last scan of the whole of it, and when it ended (wall seconds)."""

    def forget_root(self, root: int) -> None:
        """A root is not watched any more."""
        self.begun.discard(root)
        self.last.pop(root, None)

    on_ended: Callable[[ScanEnded, Moment], None] | None = None
    """Whoever else wants to hear of each scan's end."""

    def reported(self, item: Found | Listed | Stray | ScanEnded, moment: Moment) -> list[Effect]:
        """Take a scanner's report in."""
        match item:
            case Found(root=root, arriving=arriving):
                changes = taken(item, self._roots[root], self._ledger, moment) if root in self._roots else ()
                self._totals.events.update(change.kind for change in changes)
                self._forecasts.found(root, changes)
                effects = [effect for change in changes for effect in self._intake.found(change, arriving, moment)]
                self._owed.append(root)
                return effects
            case Listed():
                self._ledger.set_listing(item.root, item.directory, item.digest, item.done, item.ignored)
            case Stray(root=root, paths=paths):
                log.info("temporary.swept", root=self._roots[root].path, count=len(paths))
                items = tuple((path, None, None) for path in paths)
                return [AskHands(root=root, request=Remove(ticket=next(self._tickets), items=items))]
            case ScanEnded():
                self._tally.skipped(item.ticket, item.by_state)
                self._tally.scanned(item.ticket, len(item.errors))
                if self.on_ended is not None:
                    self.on_ended(item, moment)
                if not item.directory:
                    self.last[item.root] = moment.wall_s, item
                if item.result is ScanResult.COMPLETE:
                    self._totals.scans[item.root] += 1
                    if not item.directory:  # that of a folder says nothing of the others
                        self._totals.scanned_at_s[item.root] = moment.wall_s
                    self._log_scan(item)
                return self._after_scan(item, moment)
        return []

    def due(self) -> list[Effect]:
        """Have the scanners go on, unless so many of their findings are being looked at that more would only wait."""
        if self._moves.is_full:
            return []
        owed, self._owed = self._owed, []
        return [Acknowledge(root=root) for root in owed if root in self._roots]

    def _after_scan(self, item: ScanEnded, moment: Moment) -> list[Effect]:
        match item.result:
            case ScanResult.COMPLETE:
                known = self._ledger.identity(item.root)
                if not known and item.ticket is None:
                    self._forecasts.tell(item.root, moment)
                if item.identity and item.identity != known:
                    self._ledger.set_identity(item.root, item.identity)
                if not item.directory:
                    self._departures.seen_whole(item.root)
                return self.noted(item.root)
            case ScanResult.ROOT_EMPTIED:
                if self._conditions.runnable(item.root):  # else it was said before
                    log.warning("root.emptied", root=self._roots[item.root].path)
                return self._conditions.emptied(item.root, moment)
        return self._conditions.unreadable(item.root, item.errno or errno.ENOENT, moment)

    def _log_scan(self, item: ScanEnded) -> None:
        log.info(
            "scan.ended",
            root=self._roots[item.root].path,
            directory=item.directory,
            directories=item.directories,
            sources=item.sources,
            unchanged=item.unchanged,
            quick=item.is_quick,
            errors=len(item.errors),
        )
        for path, number in item.errors[:_ERRORS_LOGGED]:
            log.warning(
                "scan.unreadable",
                root=self._roots[item.root].path,
                directory=path,
                errno=number,
                cause=os.strerror(number),
            )

    def _hint(self, failed: WatchFailed) -> str:
        if failed.why is not WatchTrouble.INSTANCE_LIMIT:
            return failed.detail
        return f"each root takes one: sysctl fs.inotify.max_user_instances={_SPARE_INSTANCES + len(self._roots)}"

    def observed(self, item: Doubt | Watching | WatchFailed, moment: Moment) -> list[Effect]:
        """Take in what an observer says of itself."""
        path = self._roots[item.root].path
        if not isinstance(item, Doubt):
            self.begun.add(item.root)
        match item:
            case Watching():
                log.info("root.watching", root=path)
                return [AskScanner(root=item.root, directory=b"", manner=Manner.SWEEP)]
            case WatchFailed():
                log.warning("root.unwatchable", root=path, reason=item.why, hint=self._hint(item))
                return [AskScanner(root=item.root, directory=b"", manner=Manner.SWEEP)]
            case Doubt(directory=directory):
                self._totals.doubts[item.why] += 1
                if item.why is not DoubtReason.NEW_DIRECTORY:
                    log.info("root.doubt", root=path, directory=directory, reason=item.why)
                if item.why in {DoubtReason.ROOT_DELETED, DoubtReason.UNMOUNTED}:
                    return self._conditions.doubt(item.root, moment)
                return [AskScanner(root=item.root, directory=directory, arriving=JobClass.UPLOAD)]
