"""What of the settings only the disk can tell: whether the roots and mirrors are there, and are apart.

Responsible for: resolving roots (a watched symbolic link gives no events at all, and no error), overlaps, and the state
directory's place. Not responsible for: a root that disappears later (`watch/roots.py`).
"""

import os
import stat
import threading
import time
from collections.abc import Container
from dataclasses import dataclass, replace

from watcherd.config import mirrors
from watcherd.config.reading import root_path
from watcherd.config.source import ConfigError, Problem, SourceFile, read
from watcherd.settings import Settings

ANSWER_S = 3.0
"""So long a root may take to be looked at (chosen: a sleeping disk that takes longer is waited for by the daemon)."""


def validate(
    settings: Settings,
    state_dir: str | None,
    *,
    file: str | None = None,
    origin: str = "--watch",
    may_be_missing: Container[str] = (),
) -> Settings:
    """The settings with every root and every mirror resolved to its real path.

    `state_dir` None leaves the state directory out. `file` is where the settings were read from: errors then point to
    its lines; other roots came by `origin`. Roots and mirrors in `may_be_missing` (as resolved here: those that were
    seen before) are waited for when they are not there.

    Raises ConfigError where a root is missing, no folder, unreadable, inside another one, or holds `state_dir`;
    and where a mirror is no folder to write to, or overlaps a root, another mirror or `state_dir`.
    """
    places = _Places(file, origin)
    looks = _looks([root.path for root in settings.roots])
    roots = [
        replace(root, path=look.path, mirror=root.mirror and os.path.realpath(root.mirror))
        for root, look in zip(settings.roots, looks, strict=True)
    ]
    problems = []
    for given, root, look in zip(settings.roots, roots, looks, strict=True):
        fault = None if look.path in may_be_missing and look.may_end else look.fault
        causes = [fault, _overlap(look, looks), _state_inside(look.path, state_dir)]
        problems += [places.problem(given.path, "path", cause) for cause in causes if cause]
        wrong = mirrors.faults(root, roots, state_dir, may_be_missing)
        problems += [places.problem(given.path, "mirror", cause) for cause in wrong]
    if problems:
        raise ConfigError(problems)
    return replace(settings, roots=tuple(roots))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A root as the disk shows it. `fault`: what is wrong with it; `may_end`: that may be because it is away.

    `place` is (device, inode), to tell whether two paths lead to one folder; None where that was not told.
    """

    path: str
    fault: str | None
    may_end: bool = False
    place: tuple[int, int] | None = None


def _looks(paths: list[str]) -> list[_Look]:
    """Look at all roots, each in a thread of its own: one whose server does not answer must not hold up the start."""
    found: dict[str, _Look] = {}
    threads = [
        threading.Thread(target=lambda path=path: found.update({path: _look(path)}), daemon=True) for path in paths
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + ANSWER_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    unanswered = f"does not answer within {ANSWER_S:.0f} s"
    return [found.get(path) or _Look(path=os.path.abspath(path), fault=unanswered, may_end=True) for path in paths]


def _note(path: str, found: dict[str, _Look]) -> None:
    found[path] = _look(path)


def _look(path: str) -> _Look:
    try:
        path = os.path.realpath(path)
        status = os.stat(path)
    except FileNotFoundError:
        return _Look(path=path, fault="does not exist", may_end=True)
    except OSError as error:
        return _Look(path=path, fault=f"cannot be looked at: {error.strerror}", may_end=True)
    fault = None
    if not stat.S_ISDIR(status.st_mode):
        fault = "is not a folder"
    elif not os.access(path, os.R_OK | os.X_OK):
        fault = "may not be read by this user"
    return _Look(path=path, fault=fault, place=(status.st_dev, status.st_ino))


def _overlap(root: _Look, roots: list[_Look]) -> str | None:
    """What is wrong with a root beside the others; of two equal ones, the later is at fault."""
    for other in roots:
        if other is root:
            return next((f"lies inside the root {o.path}" for o in roots if _inside(root.path, o.path)), None)
        if root.path == other.path or (root.place is not None and root.place == other.place):
            return f"is the same folder as the root {other.path}"
    return None


def _inside(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _state_inside(path: str, state_dir: str | None) -> str | None:
    if state_dir is None:
        return None
    state = os.path.realpath(state_dir)
    if state == path or _inside(state, path):
        return f"holds the state directory {state}; choose another one with --state-dir"
    return None


class _Places:
    """Where the roots were named; the file is read again only when something is wrong."""

    def __init__(self, file: str | None, origin: str) -> None:
        self._file = file
        self._origin = origin
        self._source: SourceFile | None = None

    def problem(self, path: str, key: str, cause: str) -> Problem:
        line = self._line(path, key)
        name = self._file if self._file and line else self._origin
        return Problem(file=name, line=line, message=f"{path} {cause}")

    def _line(self, path: str, key: str) -> int:
        if self._file is None:
            return 0
        if self._source is None:
            self._source = read(self._file)
        tables = self._source.document.get("roots")
        for number, table in enumerate(tables if isinstance(tables, list) else []):
            if isinstance(table, dict) and root_path(str(table.get("path")), self._file) == path:
                return self._source.line(("roots", number, key))
        return 0
