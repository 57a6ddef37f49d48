"""Conditions: which roots can be worked in, as the daemon handles it.

Responsible for: turning faults, probes, looks and mounts into events of the roots' state machine (`watch/roots.py`),
and its commands into effects: probing, looking, scanning, holding a root's jobs back; what is known of a root's file
system. Not responsible for: the states themselves, and what makes a root the same (`watch/recognition.py`).

A root is looked at before anything is done in it, and again whenever another folder may stand in its place: the mount
table says so at once, without a touch; the hands do when they open it.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from watcherd.daemon.effects import AskHands, AskScanner, Bind, Effect, Moment, WatchAnew, WatchedRoot
from watcherd.daemon.roots.mountpoints import MountPoints
from watcherd.ledger.ledger import Ledger
from watcherd.model import JobClass, Source
from watcherd.queue.jobqueue import JobQueue
from watcherd.telemetry.log import get_logger
from watcherd.watch import mounts, sighting
from watcherd.watch import roots as root_states
from watcherd.watch.hands.hands import Fault, Fetched, Probe, Probed, Published, Recognise, Refused, Relocated, StatMany
from watcherd.watch.mountpoints import LinkLeft, PointSeen
from watcherd.watch.recognition import REASONS, Verdict
from watcherd.watch.reports import Manner
from watcherd.watch.roots import PAUSING, UNSEEN, Roots, RootState

log = get_logger()

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_OF_MIRROR = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Where a root's derivatives have a tree of their own, these are that tree's: nothing is written to the root."""


class Conditions:
    """The condition of all roots."""

    def __init__(
        self, *, roots: dict[int, WatchedRoot], ledger: Ledger, queue: JobQueue, tickets: Iterator[int]
    ) -> None:
        self._roots = roots
        self._ledger = ledger
        self._queue = queue
        self._tickets = tickets
        self.points = MountPoints(ledger, roots)
        self._states = Roots()
        self._mounts: dict[int, tuple[mounts.Mount | None, ...]] = {}
        self._looks: dict[int, int] = {}
        self._told_away: set[int] = set()
        self.troubled: dict[int, str] = {}
        """Roots that were not online at some time since the start, with the reason."""
        self.welcome: Callable[[int, Moment], list[Effect]] = self.present
        """What follows when a root was recognised; until it has come to `present`, nothing is done there."""
        self.came_back: Callable[[int, bytes, Moment], list[Effect]] = lambda _root, _directory, _moment: []
        """What follows when the disk is there again that is mounted at a folder of a root."""
        self.farewell: Callable[[int], None] = lambda _: None
        """Hears of a root that is not watched any more."""
        for root in roots.values():
            self.add(root)

    def add(self, root: WatchedRoot) -> None:
        """Take a root on. It counts as online until something says otherwise."""
        self.points.forget(root.number)
        self._states.add(root.number, file_system=root.file_system)

    def remove(self, root: int) -> None:
        """Drop a root that is not watched any more."""
        self._states.remove(root)
        self._queue.unblock(root)
        self.points.forget(root)
        self.farewell(root)
        self.troubled.pop(root, None)
        self._told_away.discard(root)
        self._looks = {ticket: number for ticket, number in self._looks.items() if number != root}

    # ---- what can be seen

    def state(self, root: int) -> RootState:
        """The state of a root; one that is not watched (any more) is offline."""
        return self._states.state(root) if root in self._roots else RootState.OFFLINE

    def reason(self, root: int) -> str:
        """Why it is not online; empty for one that is."""
        return self._states.reason(root) if root in self._roots else "it is not watched any more"

    def runnable(self, root: int) -> bool:
        """Whether work may be done in it. In one that is not watched (any more), none."""
        return root in self._roots and self._states.runnable(root)

    def unseen(self) -> set[int]:
        """The roots that are looked for, and whose look has yet to come back."""
        return set(self._looks.values())

    def next_deadline(self) -> float | None:
        """When the next probe is due."""
        return self._states.next_deadline()

    def due(self, moment: Moment) -> list[Effect]:
        """The probes that are due."""
        return self._commands(self._states.due(moment.now))

    # ---- whether it is the root

    def begin(self, roots: Iterable[int], table: Iterable[mounts.Mount]) -> list[Effect]:
        """Nothing was seen of these roots yet: nothing is done in one before it was looked at."""
        table, effects = tuple(table), list[Effect]()
        for number in roots:
            root = self._roots[number]
            self._mounts[number] = _mounts_of(root, table)
            self.points.told(number, table)
            self._states.add(number, file_system=root.file_system, present=False)
            self._queue.block(number)
            effects += self.look(number)
        return effects

    def mounts_changed(self, table: Iterable[mounts.Mount], moment: Moment) -> list[Effect]:
        """Something was mounted, moved or unmounted: doubt the roots that lie on another mount now, or have one.

        A one-shot run has begun none of its roots, and looks at none anew: it leaves alone what is away.
        """
        table = tuple(table)
        effects: list[Effect] = []
        for number, root in self._roots.items():
            now, before = _mounts_of(root, table), self._mounts.get(number)
            other_below = self.points.told(number, table)
            if before is None:
                continue
            self._mounts[number] = now
            if other_below or len(now) != len(before) or not all(map(mounts.is_same, before, now)):
                effects += self.doubt(number, moment)
        return effects

    def doubt(self, root: int, moment: Moment) -> list[Effect]:
        """Another folder may stand in a root's place: nothing is done in it until that was looked at."""
        reason = self.reason(root) if self.state(root) is RootState.OFFLINE else UNSEEN
        return [*self._event(root_states.Identity(root=root, present=False, reason=reason), moment), *self.look(root)]

    def look_for_absent(self) -> list[Effect]:
        """Look at the roots that are away, unless a look has yet to come back."""
        absent = [number for number in self._roots if self.state(number) is RootState.OFFLINE]
        waiting = set(self._looks.values())
        return [effect for number in absent if number not in waiting for effect in self.look(number)]

    def look_at_present(self) -> list[Effect]:
        """Have the hands open each root and nothing more: one that was renamed or removed gives no event."""
        present = [number for number in self._roots if self.runnable(number)]
        return [AskHands(root=number, request=StatMany(ticket=next(self._tickets), paths=())) for number in present]

    def look(self, root: int) -> list[Effect]:
        """Have the hands tell whether it is the root that stands there (`recognised`)."""
        ticket = next(self._tickets)
        self._looks[ticket] = root
        sample = tuple(sighting.known_files(self._ledger, root))
        request = Recognise(ticket=ticket, known=self._ledger.identity(root), sample=sample)
        return [AskHands(root=root, request=request)]

    def recognised(self, item: sighting.Recognised, moment: Moment) -> list[Effect]:
        """A look came back. Of several, the last one counts: an earlier one may have seen what stood there before."""
        self._looks.pop(item.ticket, None)
        if item.root in self._looks.values():
            return []
        if item.sight.verdict is not Verdict.ROOT:
            reason = REASONS[item.sight.verdict]
            return self._event(root_states.Identity(root=item.root, present=False, reason=reason), moment)
        return [*self._settle_in(item.root, item.sight.file_system), *self.welcome(item.root, moment)]

    def _settle_in(self, number: int, seen: mounts.FileSystem | None) -> list[Effect]:
        if seen is None:
            return []
        self._states.moved(number, file_system=seen.mount)
        self._roots[number] = replace(
            self._roots[number],
            kind=seen.kind,
            network=seen.network,
            keeps_identity=seen.keeps_identity,
            file_system=seen.mount,
        )
        mount = seen.mount or None
        return [Bind(root=number, inode=seen.root_inode, mount=mount, keeps_identity=seen.keeps_identity)]

    # ---- what happens

    def fault(self, fault: Fault, moment: Moment) -> list[Effect]:
        """The environment's doing, met by a root's hands."""
        if fault.ticket in self._looks:
            del self._looks[fault.ticket]
            reason = "" if fault.errno in _ABSENT else PAUSING.get(fault.errno, "")
            return self._event(root_states.Identity(root=fault.root, present=False, reason=reason), moment)
        if fault.errno == errno.ESTALE and fault.operation == "open_root":
            return self.doubt(fault.root, moment)
        return self._fault(fault.root, fault.errno, fault.path, moment, of_root=True)

    def stat_fault(self, fault: Fault, moment: Moment) -> list[Effect]:
        """One file could not be looked at. Only errors that are never a file's pause its root."""
        return self._fault(fault.root, fault.errno, fault.path, moment)

    def refused(self, refused: Refused, path: bytes, moment: Moment) -> list[Effect]:
        """A file's error; several of the disk's in a row are the disk's."""
        return self._fault(refused.root, refused.errno, path, moment) if refused.errno == errno.EIO else []

    def worked(self, reply: Fetched | Relocated | Published, moment: Moment) -> list[Effect]:
        """A file was read or written well."""
        return self._event(root_states.Worked(root=reply.root), moment)

    def probed(self, item: Probed, moment: Moment) -> list[Effect]:
        """A probe came back."""
        if item.errno in _ABSENT:
            return self._event(root_states.Identity(root=item.root, present=False), moment)
        if item.ok:
            return self._event(root_states.ProbeSucceeded(root=item.root), moment)
        return self._event(root_states.ProbeFailed(root=item.root, errno=item.errno), moment)

    def told(
        self, item: Probed | sighting.Recognised | mounts.MountsChanged | PointSeen | LinkLeft, moment: Moment
    ) -> list[Effect]:
        """A probe or a look came back, the mount table has changed, or a scan came by a mount point."""
        match item:
            case PointSeen():
                reserved = self.points.reserved(item.root)
                is_back = self.points.seen(item)
                if is_back:
                    self._spill(item.root)
                others = [] if self.points.reserved(item.root) == reserved else self._links_anew(item.root)
                return [*(self.came_back(item.root, item.directory, moment) if is_back else ()), *others]
            case LinkLeft():
                self.points.left(item)
                return []
            case Probed():
                return self.probed(item, moment)
            case sighting.Recognised():
                return self.recognised(item, moment)
            case mounts.MountsChanged(table=table):
                return self.mounts_changed(table, moment)

    def present(self, root: int, moment: Moment) -> list[Effect]:
        """It was seen."""
        return self._event(root_states.Identity(root=root, present=True), moment)

    def emptied(self, root: int, moment: Moment) -> list[Effect]:
        """Nothing is where the ledger knows of something: not a deletion, but a disk that is not mounted."""
        return self._event(root_states.Identity(root=root, present=False), moment)

    def unreadable(self, root: int, number: int, moment: Moment) -> list[Effect]:
        """A scan could not open the root."""
        return self._fault(root, number, b"", moment, of_root=True)

    def hung(self, root: int, moment: Moment, *, is_hung: bool) -> list[Effect]:
        """A call of a root's hands has not come back for long, or all have."""
        if is_hung:
            return self._event(root_states.CallOverdue(root=root), moment)
        return self._event(root_states.CallReturned(root=root), moment)

    # ---- the machine

    def _fault(self, root: int, number: int, path: bytes, moment: Moment, *, of_root: bool = False) -> list[Effect]:
        if number in _ABSENT or number == errno.ENOMEDIUM:
            reason = PAUSING[number] if number == errno.ENOMEDIUM else ""
            return self._event(root_states.Identity(root=root, present=False, reason=reason), moment)
        has_mirror = root in self._roots and bool(self._roots[root].names.layout.tree)
        alone = has_mirror and number in _OF_MIRROR
        fault = root_states.Fault(root=root, errno=number, source=Source(root, path), of_root=of_root, alone=alone)
        return self._event(fault, moment)

    def _event(self, event: root_states.Event, moment: Moment) -> list[Effect]:
        return self._commands(self._states.handle(event, moment.now))

    def _commands(self, commands: Iterable[root_states.Command]) -> list[Effect]:
        effects: list[Effect] = []
        for command in commands:
            match command:
                case root_states.Probe(root=root):
                    effects.append(AskHands(root=root, request=Probe(ticket=next(self._tickets))))
                case root_states.Look(root=root):
                    effects += [] if root in self._looks.values() else self.look(root)
                case root_states.Scan(root=root, anew=anew):
                    effects.append(WatchAnew(root=root) if anew else AskScanner(root=root, directory=b""))
                case root_states.Announce(root=root, state=state, reason=reason):
                    self._announce(root, state, reason)
        return effects

    def _announce(self, root: int, state: RootState, reason: str) -> None:
        path = self._roots[root].path
        if state is RootState.ONLINE:
            if root in self._told_away:
                log.info("root.state_changed", root=path, state=state)
            self._told_away.discard(root)
            self._queue.unblock(root)
            self._spill(root)
            return
        self._queue.block(root)
        if reason != UNSEEN:  # said when it has been looked at
            log.warning("root.away", root=path, state=state, reason=reason)
            self._told_away.add(root)
            self.troubled[root] = reason

    def _links_anew(self, root: int) -> list[Effect]:
        """What a root's links lead to is another's no more, or may be again: of a root that gives way to it."""
        later = (one for one in self._roots.values() if one.number > root and one.settings.follow_symlinks)
        return [AskScanner(root=one.number, directory=b"", manner=Manner.QUICK_SWEEP) for one in later]

    def _spill(self, root: int) -> None:
        """Whatever lost its way meanwhile is pending in the ledger still."""
        for job_class in JobClass:
            self._queue.mark_spilled(root, job_class)


def _mounts_of(root: WatchedRoot, table: Iterable[mounts.Mount]) -> tuple[mounts.Mount | None, ...]:
    """What the root lies on, and its mirror if it has one."""
    table, tree = tuple(table), root.names.layout.tree
    return tuple(mounts.mount_of(path, table) for path in (root.path, tree) if path)
