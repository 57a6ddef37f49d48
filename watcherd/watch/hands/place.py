"""One root as one of its hands sees it, and the replies that every request can end in.

Responsible for: what a request is carried out with (the root, its names, the step a thread has come to), and turning
an error number into a reply. Not responsible for: any request in particular (`reading.py`, `writing.py`).
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from watcherd.model import Disturbed, Failed, Ignored, Outcome, Reason, Rejected, Vanished
from watcherd.naming import Names, parse_derivative_name, source_beside
from watcherd.watch import files, links, trees
from watcherd.watch.linking import NOT_FOLLOWED, Links
from watcherd.watch.selection import EVERY_FILE, Selection

OPEN_TREE = "open_tree"
"""The step at which a mirror is found to be there, or not."""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
"""While something is written: the source's folder is gone. A name that is too long, or a link, is another matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The environment's doing, no file's: a full or read-only or absent file system. Costs no attempt."""

    root: int
    ticket: int
    path: bytes
    errno: int
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The request ended with an outcome of this source instead of what was asked for.

    `errno` is the error number behind it, 0 where there is none: several files with EIO in a row ask for a probe.
    """

    root: int
    ticket: int
    outcome: Outcome
    errno: int = 0


@dataclass(slots=True)
class Steps:
    """Where a thread is: the system call that it makes, and since when (`since_s`, None: it has nothing to do).

    Written by its thread, read by the loop: two plain attributes, no lock.
    """

    clock: Callable[[], float] = time.monotonic
    operation: str = ""
    since_s: float | None = None

    def at(self, operation: str) -> None:
        """The next call is about to be made: the one before has come back."""
        self.operation = operation
        self.since_s = self.clock()

    def rest(self) -> None:
        """Nothing is under way."""
        self.since_s = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A root and what its hands know. `names` says where derivatives lie.

    `kind_of` tells a picture by the first 64 KiB of it, `refusal_of` why a kind cannot be decoded here, so that it is
    not even read (a folder of videos is no small thing). With `inode` and `mount`, a request ends with ESTALE unless
    the folder at `path` has this inode, and lies on the mount of this number: what a missing disk leaves behind is an
    empty folder, and nothing in it is a deletion.
    While less than `min_free_bytes` is free, nothing is written, as if the file system were full.
    `selection` says which files count by size and age, `keeps_identity` whether inode and ctime count in a stamp
    (`mounts.py` knows). `links` says how symbolic links are treated, and `ledger` is the
    path of a file that no link may lead to (`statefiles.py`). `steps` is the thread's own.
    """

    root: int
    path: bytes
    instance: str
    run: str
    kind_of: Callable[[bytes], str | None]
    names: Names
    refusal_of: Callable[[str], Rejected | Ignored | None] = lambda _: None
    selection: Selection = EVERY_FILE
    inode: int | None = None
    mount: int | None = None
    min_free_bytes: int = 0
    keeps_identity: bool = True
    ledger: bytes = b""
    links: Links = field(default=NOT_FOLLOWED, compare=False)
    steps: Steps = field(default_factory=Steps, compare=False)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The root's descriptor, for the length of one request."""
        self.steps.at("open_root")
        descriptor = files.open_root(self.path, self.inode, self.mount)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def folder(self, root: int, path: bytes) -> Iterator[int]:
        """The descriptor of a folder below the root, or of one in a tree of its derivatives (an absolute path)."""
        if path.startswith(b"/"):
            self.steps.at(OPEN_TREE)
            descriptor = trees.open_folder(path, self.names)
        else:
            self.steps.at("open_folder")
            is_ours = self.links.follows and self.names.is_ours(path)
            with self.across(root, path):
                descriptor = (links.open_beside if is_ours else links.open_folder)(root, path, self.links)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def across(self, root: int, path: bytes, source: int | None = None) -> Iterator[None]:
        """Have what is behind a link be SEVERED where its server or its disk is away: no fault of the root's own.

        `source`: what is open. If that lies on the root's own file system, its fault is the root's.
        """
        try:
            yield
        except OSError as error:
            if not self.links.follows or (source is not None and _share_a_device(source, root)):
                raise
            raise links.cut_off_or(error, root, path, self.links) from error

    def require_room(self, directory: int) -> None:
        """Raise ENOSPC where less is free on the file system of an open folder than shall stay free."""
        if not self.min_free_bytes:
            return
        self.steps.at("statvfs")
        space = os.fstatvfs(directory)
        if space.f_bavail * space.f_frsize < self.min_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fault(self, ticket: int, path: bytes, error: OSError) -> Fault:
        """What went wrong at the step that was reached."""
        number = error.errno or errno.EIO
        return Fault(root=self.root, ticket=ticket, path=path, errno=number, operation=self.steps.operation)

    def failure(self, ticket: int, path: bytes, error: OSError, reason: Reason) -> Fault | Refused:
        """The reply to an error while a source was read or written for (`reason`: READ_ERROR or WRITE_ERROR)."""
        number = error.errno or errno.EIO
        if number in files.ENVIRONMENT or self.steps.operation in {"open_root", OPEN_TREE}:
            return self.fault(ticket, path, error)
        return Refused(root=self.root, ticket=ticket, outcome=self._outcome(number, reason), errno=number)

    def _outcome(self, number: int, reason: Reason) -> Outcome:
        is_gone = number in files.NOT_THERE if reason is Reason.READ_ERROR else number in _GONE
        if is_gone:
            return Vanished()
        if number in {errno.EAGAIN, links.SEVERED}:  # a lease: a file server has it open for one of its clients
            return Disturbed()
        what = f"{self.steps.operation}: {os.strerror(number)}"
        if number in files.NOT_PERMITTED:
            owner = f"user {os.geteuid()}, group {os.getegid()}"
            return Rejected(reason=Reason.NOT_PERMITTED, detail=f"{what} (this process is {owner})")
        return Failed(reason=reason, detail=what)


def _share_a_device(one: int, other: int) -> bool:
    return os.fstat(one).st_dev == os.fstat(other).st_dev


@dataclass(frozen=True, slots=True)
class Beside:
    """The regular files of an open folder, asked one at a time; read as a whole only for names that were cut.

    Where links are followed, a link counts as what it may lead to, also while that is away.
    """

    directory: int
    follows: bool = False

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, bytes):
            return False
        try:
            found = os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except OSError:
            return False
        return files.is_regular(found) or (self.follows and stat.S_ISLNK(found.st_mode))

    def __iter__(self) -> Iterator[bytes]:
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) or (self.follows and entry.is_symlink()):
                    yield os.fsencode(entry.name)


def is_derivative(place: Place, directory: int, name: bytes) -> bool:
    """Whether a name is a derivative's and its source lies beside it: then it is never a source, whatever is in it."""
    if parse_derivative_name(name, place.names.known) is None:
        return False
    return source_beside(name, place.names.known, Beside(directory, place.links.follows)) is not None


IGNORED_DERIVATIVE = Ignored(kind="derivative")
