"""The verbs `pause` and `resume` of the control socket. Not responsible for: what a pause is (`pausing.py`)."""

import os
from collections.abc import Mapping

from watcherd.daemon.control import Request
from watcherd.daemon.core import Core
from watcherd.daemon.effects import Effect, Moment
from watcherd.daemon.verbs.pausing import EVERYTHING, LONGEST_S, Pausing
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.daemon.verbs.requests import Serve


def pause_verbs(core: Core, pausing: Pausing) -> Mapping[str, Serve]:
    """Who serves them."""

    def pause(item: Request, moment: Moment) -> list[Effect]:
        names, for_s = _names(core, item), item.body.get("for_s")
        if for_s is not None and (not isinstance(for_s, int | float) or not 0 < for_s <= LONGEST_S):
            raise Refusal("a pause lasts for more than 0 seconds and at most a year, or until somebody resumes it")
        until_s = None if for_s is None else moment.wall_s + for_s
        with _kept():
            pausing.pause(names, until_s, moment)
        item.connection.send({"paused": list(names), "until_s": until_s, "in_hand": len(core.attempts)}, last=True)
        return []

    def resume(item: Request, moment: Moment) -> list[Effect]:
        names = _names(core, item)
        if EVERYTHING not in names and pausing.everything:
            raise Refusal("everything is paused: resume without naming a folder")
        with _kept():
            ended = pausing.resume(names, moment)
        item.connection.send({"resumed": ended, "quiet": pausing.told()["quiet"]}, last=True)
        return []

    return {"pause": pause, "resume": resume}


class _kept:  # noqa: N801  reads as a condition at its use
    """What cannot be written down would not hold over a restart: refused, with the reason."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise Refusal(f"it cannot be written down in the state directory: {error.strerror}") from error


def _names(core: Core, item: Request) -> tuple[str, ...]:
    """The roots that are meant, all of which are watched; none named: everything."""
    named = item.body.get("roots", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise Refusal("the folders must be a list of paths")
    watched = {os.fsdecode(root.path) for root in core.roots.values()}
    strange = [name for name in named if name not in watched]
    if strange:
        raise Refusal(f"{strange[0]} is no root of this daemon; its roots: {', '.join(sorted(watched))}")
    return tuple(named) or (EVERYTHING,)
