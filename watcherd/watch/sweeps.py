"""When each root is swept: compared with the ledger though nothing asks for it.

Responsible for: the distances of quick and full sweeps, and that no two of one root run at once.
Not responsible for: sweeping (`scanner.py`), the distances themselves (`modes.py`). Pure.

A quick sweep trusts the times of folders; a full one reads them all. Both are counted from the end of the one before,
so that a sweep that takes longer than its distance leaves the disk as much rest as that. A full one is a quick one too.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep that is due."""

    root: int
    is_full: bool


@dataclass(slots=True)
class _Root:
    quick_s: float
    full_s: float
    rested_since: float
    full_since: float
    is_running: bool = False


class Sweeps:
    """The sweeps of all roots. Distances of 0 mean: none of that kind."""

    def __init__(self) -> None:
        self._roots: dict[int, _Root] = {}

    def set(self, root: int, now: float, *, quick_s: float, full_s: float) -> None:
        """Set or change the distances of a root's sweeps; time that has gone by counts."""
        known = self._roots.get(root)
        if known is None:
            self._roots[root] = _Root(quick_s, full_s, now, now)
        else:
            known.quick_s, known.full_s = quick_s, full_s

    def drop(self, root: int) -> None:
        """Sweep a root no more."""
        self._roots.pop(root, None)

    def due(self, now: float) -> list[Sweep]:
        """The sweeps to begin now."""
        begun = []
        for number, root in self._roots.items():
            next_at = _next_at(root)
            if next_at is not None and next_at <= now:
                root.is_running = True
                begun.append(Sweep(root=number, is_full=_is_due(root.full_since, root.full_s, now)))
        return begun

    def scanned(self, root: int, now: float, *, was_full: bool) -> None:
        """A comparison of a whole root has ended, whoever asked for it. One that failed was not full."""
        known = self._roots.get(root)
        if known is None:
            return
        known.is_running = False
        known.rested_since = now
        if was_full:
            known.full_since = now

    def next_deadline(self) -> float | None:
        """When the next sweep is due."""
        times = [at for root in self._roots.values() if (at := _next_at(root)) is not None]
        return min(times, default=None)


def _next_at(root: _Root) -> float | None:
    if root.is_running:
        return None
    times = [root.rested_since + root.quick_s] if root.quick_s else []
    if root.full_s:  # one that failed is tried again at the distance of the quick ones
        rest_s = min(root.quick_s or root.full_s, root.full_s)
        times.append(max(root.full_since + root.full_s, root.rested_since + rest_s))
    return min(times, default=None)


def _is_due(since: float, distance: float, now: float) -> bool:
    return bool(distance) and since + distance <= now
