"""What of the settings only the disk can tell: whether the roots and mirrors are there, and are apart.

Responsible for: resolving roots (a watched symbolic link gives no events at all, and no error), overlaps, and the state
directory's place. Not responsible for: a root that disappears later (`watch/roots.py`).
"""

import os
import stat
from collections.abc import Container
from dataclasses import replace

from watcherd.config import mirrors
from watcherd.config.reading import root_path
from watcherd.config.source import ConfigError, Problem, SourceFile, read
from watcherd.settings import RootSettings, Settings


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
    roots = [
        replace(root, path=os.path.realpath(root.path), mirror=root.mirror and os.path.realpath(root.mirror))
        for root in settings.roots
    ]
    problems = []
    for given, root in zip(settings.roots, roots, strict=True):
        causes = [_fault(root.path, may_be_missing), _overlap(root, roots), _state_inside(root.path, state_dir)]
        problems += [places.problem(given.path, "path", cause) for cause in causes if cause]
        wrong = mirrors.faults(root, roots, state_dir, may_be_missing)
        problems += [places.problem(given.path, "mirror", cause) for cause in wrong]
    if problems:
        raise ConfigError(problems)
    return replace(settings, roots=tuple(roots))


def _fault(path: str, may_be_missing: Container[str]) -> str | None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None if path in may_be_missing else "does not exist"
    except OSError as error:
        return None if path in may_be_missing else f"cannot be looked at: {error.strerror}"
    if not stat.S_ISDIR(mode):
        return "is not a folder"
    if not os.access(path, os.R_OK | os.X_OK):
        return "may not be read by this user"
    return None


def _overlap(root: RootSettings, roots: list[RootSettings]) -> str | None:
    """What is wrong with a root beside the others; of two equal ones, the later is at fault."""
    for other in roots:
        if other is root:
            return next((f"lies inside the root {o.path}" for o in roots if _inside(root.path, o.path)), None)
        if _same(root.path, other.path):
            return f"is the same folder as the root {other.path}"
    return None


def _inside(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")


def _same(path: str, other: str) -> bool:
    try:
        return path == other or os.path.samefile(path, other)
    except OSError:
        return False


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
