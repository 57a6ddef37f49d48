"""Folders for derivatives: made when the first one comes, removed when the last one has gone.

Responsible for: making them like the folder of the sources (mode, group, owner as far as we may), one level after the
other and durably; removing those that are empty. Not responsible for: any file in them (`writing.py`, `tidying.py`),
which folders these are (`naming.py`).

Only folders that a layout has for derivatives alone are ever made or removed here; one that holds anything stays.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from watcherd.derivatives.publish import dress
from watcherd.derivatives.renaming import sync_folder
from watcherd.naming import Names
from watcherd.watch import files
from watcherd.watch.hands.place import Place

_TAKEN_OVER = 0o3777
_NEEDED = 0o700
"""What we need in a folder that is ours, whatever the folder of the sources allows."""


class FolderTakenError(Exception):
    """Something that is no folder has the name of a folder for derivatives, at this path."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path


@contextmanager
def made(place: Place, root: int, folder: bytes) -> Iterator[int]:
    """The descriptor of a folder, which is made where it is one for derivatives. Raises OSError, FolderTakenError."""
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(place.folder(root, folder))
        except FileNotFoundError:
            if not place.names.is_ours(folder):
                raise
            _make(place, root, folder)
            descriptor = stack.enter_context(place.folder(root, folder))
        except OSError as error:
            if place.names.is_ours(folder) and error.errno in files.NOT_THERE:
                raise FolderTakenError(folder) from error
            raise
        yield descriptor


def drop_emptied(place: Place, root: int, folders: Iterable[bytes], *, or_may_be: bool = False) -> None:
    """Remove the folders for derivatives among these that hold nothing any more, and those above them likewise.

    `or_may_be`: derivatives of ours lay there, if only by a layout that was perhaps never used here.
    """
    for folder in folders:
        while _is_droppable(place.names, folder, or_may_be=or_may_be) and _drop(place, root, folder):
            folder, _ = files.split(folder)  # noqa: PLW2901  upwards


def _is_droppable(names: Names, folder: bytes, *, or_may_be: bool) -> bool:
    return names.is_ours(folder, or_may_be=or_may_be) and names.tree_of(folder) != folder


def _drop(place: Place, root: int, folder: bytes) -> bool:
    """Whether the folder is not there any more."""
    above, name = files.split(folder)
    try:
        with place.folder(root, above) as directory:
            place.steps.at("remove_folder")
            os.rmdir(name, dir_fd=directory)
    except OSError as error:
        return error.errno in files.NOT_THERE and not isinstance(error, NotADirectoryError)
    return True


def _make(place: Place, root: int, folder: bytes) -> None:
    above, name = files.split(folder)
    with ExitStack() as stack:
        directory = stack.enter_context(made(place, root, above))
        model = place.names.layout.directory_of(folder)
        like = directory if model is None else stack.enter_context(place.folder(root, model))
        place.steps.at("make_folder")
        with suppress(FileExistsError):  # another of our hands was quicker
            os.mkdir(name, _NEEDED, dir_fd=directory)
            new = stack.enter_context(place.folder(root, folder))
            status = os.fstat(like)
            dress(new, status, stat.S_IMODE(status.st_mode) & _TAKEN_OVER | _NEEDED)
            sync_folder(directory)
