"""The outlook of a scan: what it would do, and how long that would take, without doing it.

Responsible for: having the scanners compare, and a few of the pictures tried in a worker, their derivatives thrown
away. Not responsible for: the arithmetic (`queue/forecast.py`). Nothing is written but the roots' names in the ledger.
"""

import os
import select
import time
from dataclasses import dataclass, field

from watcherd.daemon.composition import Composition
from watcherd.daemon.oneshot import SCAN_TICKET, ScanPlace
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.trial import Trial, TrialError
from watcherd.model import Variant
from watcherd.queue.forecast import Experience, Forecast, forecast
from watcherd.settings import Settings
from watcherd.watch.reports import Found, ScanEnded, ScannerFailed

_TRIED = 16
"""So many pictures, spread over all that there are, take a second or two."""


@dataclass(slots=True)
class Outlook:
    """`sources` of `size_bytes` would be done, `resting` need nothing. `sample`: some of them, and what is wanted."""

    sources: int = 0
    size_bytes: int = 0
    resting: int = 0
    unreadable: int = 0
    forecast: Forecast = field(default_factory=lambda: Forecast(seconds=0.0, bytes_out=0, measured=False))
    sample: list[tuple[bytes, tuple[Variant, ...]]] = field(default_factory=list)


def look(settings: Settings, state: StateDirectory, places: tuple[ScanPlace, ...]) -> Outlook:
    """What a scan of some places would do. The caller holds the lock."""
    outlook = Outlook()
    roots = {place.root.path: place.root for place in places}
    with Composition(settings, state, roots.values(), patient=False) as parts:
        numbers = {root.settings.path: number for number, root in parts.roots.items()}
        for place in places:
            number = numbers[place.root.path]
            if place.is_file:
                full = os.path.join(parts.roots[number].path, place.path)
                follows = place.root.follow_symlinks and os.path.exists(full)
                _add(outlook, parts, number, place.path, os.stat(full, follow_symlinks=follows).st_size)
            else:
                parts.rooms[number].scanner.request(place.path, ticket=SCAN_TICKET)
                _follow(outlook, parts, number)
        outlook.forecast = forecast(
            outlook.sources,
            outlook.size_bytes,
            workers=parts.core.most_workers,
            experience=_tried(outlook.sample, settings.limits.max_bytes),
        )
    return outlook


def _follow(outlook: Outlook, parts: Composition, root: int) -> None:
    """Take in what one scan reports, to its end. Raises what the scanner failed with."""
    while True:
        select.select([parts.inbox.descriptor], [], [])
        for item in parts.inbox.take():
            match item:
                case Found(changes=changes):
                    parts.rooms[root].scanner.acknowledge()
                    for change in changes:
                        if change.stamp is not None:
                            _add(outlook, parts, root, change.source.path, change.stamp.size_bytes)
                case ScanEnded():
                    outlook.resting += sum(item.by_state.values())
                    outlook.unreadable += len(item.errors) + bool(item.errno)
                    return
                case ScannerFailed(error=error):
                    raise error


def _add(outlook: Outlook, parts: Composition, root: int, path: bytes, size_bytes: int) -> None:
    """Count one. The sample keeps every n-th of them, and n doubles whenever there are enough."""
    step = 1 << max(0, (outlook.sources // _TRIED).bit_length())
    if outlook.sources % step == 0:
        outlook.sample.append((parts.roots[root].path + b"/" + path, parts.roots[root].variants))
        if len(outlook.sample) > 2 * _TRIED:
            del outlook.sample[1::2]
    outlook.sources += 1
    outlook.size_bytes += size_bytes


def _tried(sample: list[tuple[bytes, tuple[Variant, ...]]], max_bytes: int) -> Experience:
    """Do some of them for nothing."""
    pictures, busy_s, bytes_in, bytes_out = 0, 0.0, 0, 0
    with Trial() as trial:
        trial.start()
        for path, variants in sample[:: max(1, len(sample) // _TRIED)]:
            try:
                content = _read(path, max_bytes)
                started = time.monotonic()
                trial.attempt(content, variants)
            except (OSError, TrialError):
                continue  # the scan itself will say what is the matter with it
            pictures += 1
            busy_s += time.monotonic() - started
            bytes_in += len(content)
        bytes_out = trial.bytes_out
    return Experience(pictures=pictures, busy_s=busy_s, bytes_in=bytes_in, bytes_out=bytes_out)


def _read(path: bytes, max_bytes: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return file.read(max_bytes)
