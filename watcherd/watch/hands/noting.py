"""What a root's hands do with error notes: write one beside a source, or remove it.

Not responsible for: the file itself (`derivatives/notes.py`), what stands in it and when (`daemon/sources/notes.py`).
"""

import errno
import secrets
from dataclasses import dataclass

from watcherd.derivatives import notes
from watcherd.derivatives.renaming import At
from watcherd.naming import note_path, temporary_name
from watcherd.watch import files, links
from watcherd.watch.hands.place import Fault, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate:
    """Have this text stand beside the source at `path`; None: have no note there."""

    ticket: int
    path: bytes
    text: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotated:
    """It is so; or not (`errno` where a call failed), because the source is gone or the name is another's."""

    root: int
    ticket: int
    done: bool
    errno: int = 0


def annotate(place: Place, request: Annotate) -> Annotated | Fault:
    """Write or remove the note of a source."""
    folder, name = files.split(note_path(request.path))
    try:
        with place.opened() as root, place.folder(root, folder) as directory:
            done = _annotate(place, At(directory=directory, name=name), request)
    except OSError as error:
        # A root may well be read-only where derivatives lie in a tree of their own: then there are no notes.
        if (error.errno in files.ENVIRONMENT and error.errno != errno.EROFS) or place.steps.operation == "open_root":
            return place.fault(request.ticket, request.path, error)
        return Annotated(root=place.root, ticket=request.ticket, done=False, errno=error.errno or 0)
    return Annotated(root=place.root, ticket=request.ticket, done=done)


def _annotate(place: Place, at: At, request: Annotate) -> bool:
    place.steps.at("note")
    if request.text is None:
        return notes.remove(at)
    like = links.look_at(at.directory, files.split(request.path)[1], place.links)
    temporary = temporary_name(place.instance, place.run, secrets.token_hex(6))
    return notes.write(at, request.text, like=like, temporary=lambda: temporary)
