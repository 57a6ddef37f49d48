"""Error notes on the disk: small text files beside uploads that cannot be done.

Responsible for: writing one whole or not at all, removing it, and touching none that is not ours: ours ends with our
line. Not responsible for: what stands in one (`daemon/sources/notes.py`), when there is one.
"""

import contextlib
import os
import stat
from collections.abc import Callable

from watcherd.derivatives.publish import discard, dress
from watcherd.derivatives.renaming import At, rename_to_free, sync_folder
from watcherd.naming import NOTE_MARK

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_BYTES = 16 * 1024
FOREIGN = b""
"""Stands for what is not ours."""


def standing(at: At) -> bytes | None:
    """The note that stands at a name, FOREIGN for anything else, None where nothing does."""
    try:
        descriptor = os.open(at.name, _READ, dir_fd=at.directory)
    except FileNotFoundError:
        return None
    except OSError:  # a link, a device, or a file that we may not read: not ours
        return FOREIGN
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return FOREIGN
        content = os.read(descriptor, _LONGEST_BYTES)
    finally:
        os.close(descriptor)
    return content if content.endswith(NOTE_MARK + b"\n") else FOREIGN


def write(at: At, content: bytes, *, like: os.stat_result, temporary: Callable[[], bytes]) -> bool:
    """Have this note stand at a name, readable by whom the source is. False: what is not ours has the name."""
    before = standing(at)
    if before in {content, FOREIGN}:
        return before == content
    draft = At(directory=at.directory, name=temporary())
    try:
        descriptor = os.open(draft.name, _WRITE, 0o600, dir_fd=at.directory)
        try:
            os.write(descriptor, content)
            dress(descriptor, like)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if before is None:
            return rename_to_free(draft, at)
        os.rename(draft.name, at.name, src_dir_fd=at.directory, dst_dir_fd=at.directory)
        return True
    finally:
        with contextlib.suppress(OSError):
            discard(draft)  # it has its name by now, or never will
        sync_folder(at.directory)


def remove(at: At) -> bool:
    """Remove the note at a name, if it is ours. False: it is not, and stays."""
    before = standing(at)
    if before == FOREIGN:
        return False
    if before is not None:
        discard(at)
    return True
