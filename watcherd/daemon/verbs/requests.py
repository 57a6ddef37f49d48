"""What the control socket's verbs do: scan and retry here, others as they are handed in. Runs in the loop's thread.

Not responsible for: the socket (`control.py`), and what the command line makes of the answers (`cli/`).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from watcherd.daemon.control import Connection, Request
from watcherd.daemon.core import Core
from watcherd.daemon.effects import AskScanner, Effect, Moment
from watcherd.daemon.reporting.tally import Scope
from watcherd.daemon.verbs.places import locate
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.daemon.verbs.upkeep import Upkeep
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change, ChangeKind, Entry, JobClass, Source, State
from watcherd.telemetry.log import get_logger

log = get_logger()

_PROGRESS_INTERVAL_S = 0.25
_FIRST_TICKET = 1_000_000


Serve = Callable[[Request, Moment], list[Effect]]
"""Serves one request: it answers on the request's connection, and says what is to be done outside."""


@dataclass(slots=True, kw_only=True)
class _Scan:
    ticket: int
    connection: Connection
    started: float


class Verbs:
    """Serves requests, and follows the scans that were asked for to their end. `others`: who serves which verb."""

    def __init__(self, core: Core, upkeep: Upkeep, others: Mapping[str, Serve] | None = None) -> None:
        self._core = core
        self._upkeep = upkeep
        self._others = dict(others or {})
        self._scans: list[_Scan] = []
        self._tickets = count(_FIRST_TICKET)
        self._next_at = 0.0

    def requested(self, item: object, moment: Moment) -> list[Effect]:
        """Serve one request."""
        if not isinstance(item, Request):
            raise TypeError("only requests are routed here")
        verb = item.body.get("verb")
        log.info("control.request", verb=verb, peer=item.connection.peer, subject=item.body.get("paths"))
        try:
            match verb:
                case "scan":
                    return self._scan(item, moment)
                case "retry":
                    return self._retry(item, moment)
                case "prune":
                    return self._upkeep.prune(item)
                case "discard":
                    return self._discard(item)
                case str() if verb in self._others:
                    return self._others[verb](item, moment)
                case _:
                    return self._unknown(verb)
        except Refusal as refusal:
            log.warning("control.refused", verb=verb, peer=item.connection.peer, reason=str(refusal))
            item.connection.send({"error": str(refusal)}, last=True)
            return []
        except Exception as error:  # noqa: BLE001  whatever a client says, the daemon goes on
            log.warning("control.refused", verb=verb, peer=item.connection.peer, reason=repr(error))
            item.connection.send({"error": f"the request could not be served: {type(error).__name__}"}, last=True)
            return []

    def _unknown(self, verb: object) -> list[Effect]:
        raise Refusal(f"the daemon knows no verb {verb!r}; is it of another version?")

    # ---- scan

    def _scan(self, item: Request, moment: Moment) -> list[Effect]:
        sources = [self._source(path) for path in _paths(item.body)]
        are_files = _are_files(item.body, len(sources))
        ticket = next(self._tickets)
        self._core.tally.open(ticket, Scope(places=tuple(sources)))
        self._scans.append(_Scan(ticket=ticket, connection=item.connection, started=moment.now))
        effects: list[Effect] = []
        for source, is_file in zip(sources, are_files, strict=True):
            if is_file:
                change = Change(kind=ChangeKind.CREATED, source=source)
                effects += self._core.intake.change(change, moment, arriving=JobClass.MANUAL)
            else:
                self._core.tally.await_scans(ticket, 1)
                effects.append(
                    AskScanner(root=source.root, directory=source.path, ticket=ticket, arriving=JobClass.MANUAL)
                )
        return effects

    def due(self, moment: Moment) -> float | None:
        """Report progress to those who wait for a scan, and its end."""
        if not self._scans:
            return None
        if moment.now >= self._next_at:
            self._next_at = moment.now + _PROGRESS_INTERVAL_S
            self._scans = [scan for scan in self._scans if not self._report(scan, moment)]
        return self._next_at if self._scans else None

    def _report(self, scan: _Scan, moment: Moment) -> bool:
        """Whether it is over."""
        tally = self._core.tally
        if scan.connection.closed:
            tally.close(scan.ticket)
            return True
        scope = tally.scope(scan.ticket)
        places = {place.root for place in scope.places or ()}
        away = {root: why for root in sorted(places) if (why := self._core.is_away(root)) is not None}
        if away:
            roots = self._core.ledger.roots()
            reasons = [f"{os.fsdecode(roots.get(root, b'?'))}: {why}" for root, why in away.items()]
            text = f"{'; '.join(reasons)}; the daemon goes on by itself when that is over"
            scan.connection.send({"counts": tally.close(scan.ticket), "unfinished": text}, last=True)
            return True
        hasten(self._core, moment, scope)
        left = self._core.left_in(scope)
        if not left and not tally.scanning(scan.ticket):
            left = self._core.retry_now(moment, scope)
        if left or tally.scanning(scan.ticket):
            scan.connection.send({"counts": tally.counts(scan.ticket), "left": left})
            return False
        seconds = round(moment.now - scan.started, 3)
        unreadable = tally.unreadable(scan.ticket)
        counts = tally.close(scan.ticket)
        scan.connection.send({"counts": counts, "unreadable": unreadable, "seconds": seconds}, last=True)
        return True

    # ---- retry

    def _retry(self, item: Request, moment: Moment) -> list[Effect]:
        core = self._core
        if item.body.get("failed"):
            entries = list(failed(core.ledger))
        else:
            sources = [self._source(path) for path in _paths(item.body)]
            found = [core.ledger.entry(source) for source in sources]
            entries = [entry for entry in found if entry is not None]
            if len(entries) < len(sources):
                unknown = next(source for source, entry in zip(sources, found, strict=True) if entry is None)
                raise Refusal(f"the ledger knows nothing of {os.fsdecode(unknown.path)}: it was never seen")
        effects: list[Effect] = []
        for entry in entries:
            if entry.source.root in core.roots:
                renew(core.ledger, entry)
                change = Change(kind=ChangeKind.CREATED, source=entry.source)
                effects += core.intake.change(change, moment, arriving=JobClass.MANUAL)
        item.connection.send({"retried": len(entries)}, last=True)
        return effects

    # ---- discard

    def _discard(self, item: Request) -> list[Effect]:
        paths, variants = _paths(item.body), item.body.get("variants")
        if not isinstance(variants, list) or len(variants) != len(paths):
            raise Refusal("for each source it must be said which derivatives")
        found = [self._core.ledger.entry(self._source(path)) for path in paths]
        pairs = zip(found, variants, strict=True)
        known = [(entry, tuple(map(str, names))) for entry, names in pairs if entry is not None]
        item.connection.send({"discarded": len(known)}, last=True)
        return self._upkeep.discard(known)

    def _source(self, path: bytes) -> Source:
        source = locate(path, {number: root.path for number, root in self._core.roots.items()})
        if source is None:
            raise Refusal(f"{os.fsdecode(path)} is not below a folder that this daemon watches")
        return source


def hasten(core: Core, moment: Moment, scope: Scope) -> None:
    """In quiet hours: what waits in a scope is asked for by a person now, and need not wait for their end."""
    for source in core.queue.sources():
        if scope.covers(source) and core.rests(source.root):
            entry = core.ledger.entry(source)
            if entry is not None and entry.stamp is not None and entry.job_class is not JobClass.MANUAL:
                core.intake.enqueue(source, entry.stamp, entry, JobClass.MANUAL, moment)


def failed(ledger: Ledger) -> list[Entry]:
    """All sources that a retry is for: those that failed, and those that are in quarantine."""
    return [entry for entry in ledger.failures(limit=-1) if entry.state in {State.FAILED, State.QUARANTINED}]


def renew(ledger: Ledger, entry: Entry) -> None:
    """Take back what is held against a source: its counters and its content's verdict."""
    if entry.digest is not None:
        ledger.drop_verdict(entry.digest)
    if entry.stamp is not None:
        ledger.record(
            Entry(
                source=entry.source,
                state=State.PENDING,
                stamp=entry.stamp,
                digest=entry.digest,
                job_class=JobClass.MANUAL,
                sequence=ledger.next_sequence(),
                in_hand=entry.in_hand,
                first_seen_at_s=entry.first_seen_at_s,
                width=entry.width,
                height=entry.height,
                derivatives=entry.derivatives,
            )
        )


def _paths(body: dict[str, Any]) -> list[bytes]:
    paths = body.get("paths")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise Refusal("no paths were given")
    if any("\0" in path for path in paths):
        raise Refusal("a path holds a zero byte, which no file's name does")
    try:
        return [os.fsencode(path) for path in paths]
    except UnicodeEncodeError as error:
        raise Refusal("a path holds characters that no file's name can have") from error


def _are_files(body: dict[str, Any], number: int) -> list[bool]:
    files = body.get("files", [False] * number)
    if not isinstance(files, list) or len(files) != number:
        raise Refusal("for each path it must be said whether it is a file")
    return [bool(is_file) for is_file in files]
