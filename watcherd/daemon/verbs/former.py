"""Former roots: folders that the ledger knows and that are not watched any more, worked in once again for a pruning.

Responsible for: hands of their own for them, which lie outside of the daemon's rooms, and forgetting such a root.
Not responsible for: what is done there (`pruning.py`). Raises Refusal where a folder is no former root of ours.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from watcherd.daemon.composition import Composition
from watcherd.daemon.effects import AskHands, Effect, WatchedRoot
from watcherd.daemon.roots.rooms import RootRooms
from watcherd.daemon.statedir import Busy
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.settings import RootSettings


@dataclass(slots=True)
class Former:
    """Some former roots, opened for one pruning; `close` gives them back."""

    parts: Composition
    rooms: dict[int, RootRooms] = field(default_factory=dict)

    @property
    def roots(self) -> dict[int, WatchedRoot]:
        """By number."""
        return {number: one.root for number, one in self.rooms.items()}

    def open(self, paths: Sequence[bytes]) -> None:
        """Make hands for each of these folders (absolute paths, as the ledger has them). Raises Refusal, with none."""
        try:
            for path in dict.fromkeys(paths):
                self._open(path)
        except (Refusal, Busy) as error:
            self.close()
            raise Refusal(str(error)) from error

    def _open(self, path: bytes) -> None:
        parts, shown = self.parts, os.fsdecode(path)
        number = next((number for number, known in parts.ledger.roots().items() if known == path), None)
        if number is None:
            raise Refusal(f"{shown} was never watched by this daemon")
        if number in parts.core.roots:
            raise Refusal(f"{shown} is watched: take it out of the configuration and reload, then prune it")
        if number in parts.rooms:
            raise Refusal(f"{shown} was taken out just now, and work in it is not finished: try again in a while")
        settings = parts.core.settings
        (root,) = parts.survey(settings, (RootSettings(path=shown),))
        holds_ours = any(one.path.startswith(path.rstrip(b"/") + b"/") for one in parts.core.roots.values())
        seen_by = parts.core.force.seen_by
        self.rooms[number] = RootRooms(root, parts.house, seen_by=seen_by, is_claimed=holds_ours)

    def carry_out(self, effect: Effect) -> None:
        """Have our hands do it, or whoever else it is for."""
        if isinstance(effect, AskHands) and effect.root in self.rooms:
            self.rooms[effect.root].hands.submit(effect.request)
        else:
            self.parts.loop.carry_out(effect)

    def forget(self) -> None:
        """All that is known of them."""
        for number in self.rooms:
            self.parts.ledger.drop_root(number)

    def close(self) -> None:
        """Take down what was made for them. Does not wait for a hand that hangs."""
        for one in self.rooms.values():
            one.close()
        self.rooms.clear()
