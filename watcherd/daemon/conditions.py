"""Conditions: which roots can be worked in, as the daemon handles it.

Responsible for: turning faults, probes and scans' ends into events of the roots' state machine (`watch/roots.py`), and
its commands into effects: probing, scanning, holding a root's jobs back. Not responsible for: the states themselves.
"""

import errno
from collections.abc import Iterable, Iterator, Mapping

from watcherd.daemon.effects import AskHands, AskScanner, Effect, Moment, WatchedRoot
from watcherd.model import JobClass, Source
from watcherd.queue.jobqueue import JobQueue
from watcherd.telemetry.log import get_logger
from watcherd.watch import roots as root_states
from watcherd.watch.hands import Fault, Fetched, Probe, Probed, Published, Refused, StatMany
from watcherd.watch.roots import Roots, RootState

log = get_logger()

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Conditions:
    """The condition of all roots."""

    def __init__(self, *, roots: Mapping[int, WatchedRoot], queue: JobQueue, tickets: Iterator[int]) -> None:
        self._roots = roots
        self._queue = queue
        self._tickets = tickets
        self._states = Roots()
        self.troubled: dict[int, str] = {}
        """Roots that were not online at some time since the start, with the reason."""
        for root in roots.values():
            self.add(root)

    def add(self, root: WatchedRoot) -> None:
        """Take a root on. It counts as online until something says otherwise."""
        self._states.add(root.number, file_system=root.file_system)

    def remove(self, root: int) -> None:
        """Drop a root that is not watched any more."""
        self._states.remove(root)
        self._queue.unblock(root)
        self.troubled.pop(root, None)

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

    def next_deadline(self) -> float | None:
        """When the next probe is due."""
        return self._states.next_deadline()

    def due(self, moment: Moment) -> list[Effect]:
        """The probes that are due."""
        return self._commands(self._states.due(moment.now))

    # ---- what happens

    def fault(self, fault: Fault, moment: Moment) -> list[Effect]:
        """The environment's doing, met by a root's hands."""
        return self._fault(fault.root, fault.errno, fault.path, moment, of_root=True)

    def stat_fault(self, fault: Fault, moment: Moment) -> list[Effect]:
        """One file could not be looked at. Only errors that are never a file's pause its root."""
        return self._fault(fault.root, fault.errno, fault.path, moment)

    def refused(self, refused: Refused, path: bytes, moment: Moment) -> list[Effect]:
        """A file's error; several of the disk's in a row are the disk's."""
        return self._fault(refused.root, refused.errno, path, moment) if refused.errno == errno.EIO else []

    def worked(self, reply: Fetched | Published, moment: Moment) -> list[Effect]:
        """A file was read or written well."""
        return self._event(root_states.Worked(root=reply.root), moment)

    def probed(self, item: Probed, moment: Moment) -> list[Effect]:
        """A probe came back."""
        if item.errno in _ABSENT:
            return self._event(root_states.Identity(root=item.root, present=False), moment)
        if item.ok:
            return self._event(root_states.ProbeSucceeded(root=item.root), moment)
        return self._event(root_states.ProbeFailed(root=item.root, errno=item.errno), moment)

    def present(self, root: int, moment: Moment) -> list[Effect]:
        """A scan saw all of it."""
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

    def look_for_absent(self) -> list[Effect]:
        """Look at the roots that are not there. A scan tells an empty mount point from a root; a probe does not."""
        absent = [number for number in self._roots if self.state(number) is RootState.OFFLINE]
        return [AskScanner(root=number, directory=b"") for number in absent]

    def look_at_present(self) -> list[Effect]:
        """Have the hands open each root and nothing more: one that was renamed or removed gives no event."""
        present = [number for number in self._roots if self.runnable(number)]
        return [AskHands(root=number, request=StatMany(ticket=next(self._tickets), paths=())) for number in present]

    # ---- the machine

    def _fault(self, root: int, number: int, path: bytes, moment: Moment, *, of_root: bool = False) -> list[Effect]:
        if number in _ABSENT:
            return self._event(root_states.Identity(root=root, present=False), moment)
        fault = root_states.Fault(root=root, errno=number, source=Source(root, path), of_root=of_root)
        return self._event(fault, moment)

    def _event(self, event: root_states.Event, moment: Moment) -> list[Effect]:
        return self._commands(self._states.handle(event, moment.now))

    def _commands(self, commands: Iterable[root_states.Command]) -> list[Effect]:
        effects: list[Effect] = []
        for command in commands:
            match command:
                case root_states.Probe(root=root):
                    effects.append(AskHands(root=root, request=Probe(ticket=next(self._tickets))))
                case root_states.Scan(root=root):
                    effects.append(AskScanner(root=root, directory=b""))
                case root_states.Announce(root=root, state=state, reason=reason):
                    self._announce(root, state, reason)
        return effects

    def _announce(self, root: int, state: RootState, reason: str) -> None:
        path = self._roots[root].path
        if state is RootState.ONLINE:
            log.info("root.state_changed", root=path, state=state)
            self._queue.unblock(root)
            for job_class in JobClass:  # whatever lost its way meanwhile is pending in the ledger still
                self._queue.mark_spilled(root, job_class)
        else:
            log.warning("root.away", root=path, state=state, reason=reason)
            self._queue.block(root)
            self.troubled[root] = reason
