"""Why the ledger knows nothing of a file, as far as the disk and the names tell.

Responsible for: a sentence for whoever asks.
Not responsible for: what the settings leave out, which only a daemon knows.
"""

import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Source

_LEFT_ALONE: Mapping[str, str] = {
    "hidden": "its name, or that of a folder above it, is a hidden one, and those are left alone",
    "temporary": "its name, or that of a folder above it, is that of an unfinished upload, and those are left alone",
    "backup": "its name is that of an editor's backup, and those are left alone",
    "litter": "its name, or that of a folder above it, is on the list of what systems leave behind",
    "note": "it is a note of watcherd's",
}


def why_unknown(ledger: "Ledger", path: str, source: "Source | None") -> str:
    """Why there is no entry for a path; `source`: where it lies among the roots."""
    if source is None:
        return "it is not below any folder that was watched or scanned"
    of = _derivative_of(ledger, source)
    if of:
        return f"it has the name of a derivative of {of}"
    return _by_file(path) or _by_name(source) or _by_ignore_file(ledger, source) or _NEVER


_NEVER = "it was never seen; the next comparison finds it, unless the settings leave it out (`watcherd scan` looks now)"


def _derivative_of(ledger: "Ledger", source: "Source") -> str:
    from watcherd.model import Source  # noqa: PLC0415 - not for --help

    for variant, extension in ledger.known_variants():
        ending = f".{variant}.{extension}".encode()
        if source.path.endswith(ending) and ledger.entry(Source(source.root, source.path.removesuffix(ending))):
            return os.path.basename(os.fsdecode(source.path.removesuffix(ending)))
    return ""


def _by_file(path: str) -> str:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFDIR: "it is a folder", stat.S_IFLNK: "it is a symbolic link, and those are not followed"}
    return kinds.get(stat.S_IFMT(mode), "it is no regular file")


def _by_name(source: "Source") -> str:
    from watcherd.watch.ignore import why_ignored  # noqa: PLC0415 - not for --help

    why = why_ignored(source.path)
    return _LEFT_ALONE.get(why, "") if why is not None else ""


def _by_ignore_file(ledger: "Ledger", source: "Source") -> str:
    from watcherd.watch import ignorefiles  # noqa: PLC0415 - not for --help

    try:
        root = os.open(ledger.roots()[source.root], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        texts = ignorefiles.read_above(root, source.directory)
    finally:
        os.close(root)
    return "a .watcherdignore leaves it out" if ignorefiles.is_left_alone(source.path, texts) else ""
