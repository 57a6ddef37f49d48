"""The brakes: where so many sources of a root went at once that their derivatives are kept for now.

Responsible for: one brake for each root (`queue/follow.py` decides), that it outlasts a restart, and the one line in
the log when it engages and when it lets go. Not responsible for: what is done with gone sources
(`sources/departures.py`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from watcherd.daemon.effects import Moment, WatchedRoot
from watcherd.daemon.inforce import InForce
from watcherd.ledger.ledger import Ledger
from watcherd.queue.follow import Brake, BrakePolicy
from watcherd.settings import OnDelete
from watcherd.telemetry.log import get_logger

log = get_logger()


class Brakes:
    """The brakes of all roots."""

    def __init__(self, ledger: Ledger, roots: Mapping[int, WatchedRoot], force: InForce) -> None:
        self._ledger = ledger
        self._roots = roots
        self._force = force
        self._brakes: dict[int, Brake] = {}

    def _brake(self, root: int) -> Brake:
        daemon = self._force.settings.daemon
        policy = BrakePolicy(share=daemon.brake_share, floor=daemon.brake_floor, grace_s=daemon.brake_grace_s)
        if root not in self._brakes:
            self._brakes[root] = Brake(policy, self._ledger.held_since_s(root))
        self._brakes[root].policy = policy
        return self._brakes[root]

    def gone(self, root: int, at_s: float) -> None:
        """A source was found missing."""
        self._brake(root).gone(at_s)

    def back(self, root: int, at_s: float) -> None:
        """One that was found missing then is there again, or elsewhere."""
        brake = self._brake(root)
        brake.back(at_s)
        if brake.held_since_s is not None and brake.eases(self._ledger.count_gone(root), self._sources(root)):
            self._let_go(root, "most are back")

    def holds(self, root: int, moment: Moment) -> bool:
        """Whether the derivatives of gone sources are kept now. Where they are kept anyway, there is no need to."""
        if self._roots[root].settings.on_delete is OnDelete.KEEP:
            return False
        brake = self._brake(root)
        was = brake.held_since_s
        holds = brake.holds(moment.wall_s, self._sources(root))
        if holds and was is None:
            self._ledger.set_held_since(root, brake.held_since_s)
            log.warning(
                "brake.engaged",
                root=self._roots[root].path,
                gone=self._ledger.count_gone(root),
                until_at=_instant(brake.held_until_s),
                hint="their derivatives are kept: `watcherd prune` removes them now, their sources' return keeps them",
            )
        elif was is not None and not holds:
            self._ledger.set_held_since(root, None)
            log.info("brake.released", root=self._roots[root].path, reason="the grace period is over")
        return holds

    def held_until_s(self, root: int) -> float | None:
        """When a root's grace period ends (wall clock); None where its brake does not hold."""
        return self._brake(root).held_until_s

    def confirm(self, root: int) -> None:
        """Somebody says that they are gone for good."""
        self._let_go(root, "it was confirmed")

    def _sources(self, root: int) -> int:
        return sum(self._ledger.counts().get(root, {}).values())

    def _let_go(self, root: int, reason: str) -> None:
        brake = self._brake(root)
        was = brake.held_since_s
        brake.release()
        if was is not None:
            self._ledger.set_held_since(root, None)
            log.info("brake.released", root=self._ledger.roots().get(root, b"?"), reason=reason)


def _instant(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
