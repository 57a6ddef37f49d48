"""Trees of derivatives (mirrors): a folder of their own, on another disk perhaps, which may not be there.

Responsible for: telling a mirror from what its disk leaves behind when it is away, and opening folders in it.
Not responsible for: making folders (`making.py`), what follows from a mirror that is away (`roots.py`).

A mirror is marked by a file, when a root takes it into use. Without the mark nothing is written there: an empty mount
point is not the mirror. A copy of the tree on another disk carries the mark along, and whoever wants to begin anew with
an empty disk makes the file by hand; no identity of a file system would allow for either.
"""

import errno
import os
from contextlib import ExitStack

from watcherd.naming import Names
from watcherd.watch import files

MARKER = b".watcherd-mirror"
"""The file in a mirror without which it counts as not mounted."""

_TEXT = (
    b"watcherd keeps derivatives here. Without this file the folder counts as not mounted: nothing is written to it.\n"
)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def found(tree: bytes) -> None:
    """Mark a folder as a mirror; one that is marked stays as it is. Raises OSError."""
    directory = os.open(tree, _FOLDER)
    try:
        descriptor = os.open(MARKER, _NEW, 0o644, dir_fd=directory)
        try:
            os.write(descriptor, _TEXT)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.fsync(directory)
    except FileExistsError:
        pass
    finally:
        os.close(directory)


def open_tree(tree: bytes) -> int:
    """Open a mirror; the caller closes it. Anything but a marked folder there (an unmounted disk) is ENOMEDIUM."""
    try:
        descriptor = os.open(tree, _FOLDER)
    except OSError as error:
        if error.errno in files.NOT_THERE:
            raise _absent(tree) from error
        raise
    with ExitStack() as unless_marked:
        unless_marked.callback(os.close, descriptor)
        try:
            os.stat(MARKER, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError as error:
            raise _absent(tree) from error
        unless_marked.pop_all()
    return descriptor


def open_folder(path: bytes, names: Names) -> int:
    """Open a folder in one of the trees of a root's derivatives by its absolute path; the caller closes it.

    The tree of now must be there (else ENOMEDIUM); in an earlier one that is away, nothing is there.
    """
    tree = names.tree_of(path)
    try:
        if tree is None:
            raise _absent(path)
        above = open_tree(tree)
    except OSError as error:
        if tree != names.layout.tree and error.errno == errno.ENOMEDIUM:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        raise
    try:
        return files.open_folder(above, path[len(tree or b"") + 1 :])
    finally:
        os.close(above)


def _absent(tree: bytes) -> OSError:
    return OSError(errno.ENOMEDIUM, "the mirror is not mounted, or not marked as one", tree)
