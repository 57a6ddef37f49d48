"""What of a root's mirror only the disk can tell, and how it must lie to everything else.

Responsible for: a mirror that is missing, no folder, or not to be written to; overlaps with roots, with other mirrors
and with the state directory. Not responsible for: a mirror that disappears later (`watch/trees.py`).
"""

import os
import stat
from collections.abc import Container, Iterator, Sequence

from watcherd.settings import LayoutKind, RootSettings


def faults(
    root: RootSettings, roots: Sequence[RootSettings], state_dir: str | None, may_be_missing: Container[str]
) -> Iterator[str]:
    """All that is wrong with a root's mirror, each as the end of a sentence that begins with the root's path.

    All paths are resolved. Mirrors in `may_be_missing` (those that were used before) are waited for.
    """
    if root.layout is not LayoutKind.MIRROR:
        return
    mirror = root.mirror
    fault = _fault(mirror, missing_is_right=mirror in may_be_missing)
    if fault:
        yield f"cannot have its derivatives in the mirror {mirror}: it {fault}"
    for other in roots:
        if _overlap(mirror, other.path):
            yield f"cannot have the mirror {mirror}: that overlaps the root {other.path}"
        if other is not root and other.layout is LayoutKind.MIRROR and _overlap(mirror, other.mirror):
            yield (
                f"cannot have the mirror {mirror}: that overlaps the mirror of {other.path}, where files of one name"
                " would meet; give each root a folder of its own"
            )
    if state_dir is not None and _overlap(mirror, os.path.realpath(state_dir)):
        yield f"cannot have the mirror {mirror}: that overlaps the state directory {os.path.realpath(state_dir)}"


def _fault(path: str, *, missing_is_right: bool) -> str | None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None if missing_is_right else "does not exist; make it, or mount it"
    except OSError as error:
        return None if missing_is_right else f"cannot be looked at: {error.strerror}"
    if not stat.S_ISDIR(mode):
        return "is not a folder"
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK) and not missing_is_right:
        return "may not be written to by this user"
    return None


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_below(one, other) or _is_below(other, one)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")
