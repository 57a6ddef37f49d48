"""Publishing: a derivative appears whole and durable under its final name, or not at all.

Responsible for: the temporary file, its mode and owner, the order of write, sync and rename, adoption, removal.
Not responsible for: the way to the folders (they come open), pictures, the ledger, deciding what should be made.

The order is what survived power cuts (ext4, measured): write, fsync the file, rename, fsync the folder. Whatever is
less left a visible file of 0 bytes. All derivatives of one source go through each step together. What is not to wait
for the disk leaves out both syncs, and tells the sums of the bytes instead, by which a repeat can tell what was lost.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from watcherd.derivatives.copying import copy
from watcherd.derivatives.memfds import checksum, is_sealed, pour
from watcherd.derivatives.renaming import At, Judgement, bring, judge, sync_folder
from watcherd.derivatives.standing import Standing, look, mark_of
from watcherd.model import Derivative, Disturbed, Outcome
from watcherd.naming import Mark, parse_temporary_name

MAX_DERIVATIVE_BYTES = 256 * 1024 * 1024
"""More than any derivative is: what a worker may hand back at the most."""

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One finished derivative: where it goes (`path`, below the root), its bytes (`fd`), what they say and show.

    `of_twin`: `fd` is no sealed memory but another derivative's open file, which may still change while it is copied.
    """

    variant: str
    path: bytes
    fd: int
    mark: Mark
    width: int
    height: int
    of_twin: bool = False

    @property
    def name(self) -> bytes:
        """The last component of the path."""
        return self.path.rpartition(b"/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a batch is published: named by `temporary`, dressed as `like` (the source), only while `hindrance` is None.

    `durable`: it is on the disk before it has its name, and so has the name been when that is told.
    `step` hears the name of each system call before it is made.
    """

    like: os.stat_result
    temporary: Callable[[], bytes]
    hindrance: Callable[[], Outcome | None]
    step: Callable[[str], object]
    durable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that now stands as it should; which variants of it stood there before; the paths that others hold.

    `checksums`: by variant, of what is perhaps not on the disk yet; none where it is.
    """

    derivatives: tuple[Derivative, ...]
    adopted: tuple[str, ...]
    taken: tuple[bytes, ...]
    checksums: tuple[tuple[str, int], ...] = ()


def defect(item: Item) -> str | None:
    """Why the bytes of an item cannot be published, or None. To be asked before: they come from an untrusted worker.

    A twin's are ours; they are judged once they are copied.
    """
    if item.of_twin:
        return None
    if not is_sealed(item.fd):
        return f"{item.variant}: what the worker handed back is no sealed memory file"
    size_bytes = os.fstat(item.fd).st_size
    if not 0 < size_bytes <= MAX_DERIVATIVE_BYTES:
        return f"{item.variant}: the worker handed back {size_bytes} bytes, allowed are 1 to {MAX_DERIVATIVE_BYTES}"
    try:
        mark = mark_of(item.fd, size_bytes)
    except OSError as error:
        return f"{item.variant}: what the worker handed back cannot be read: {error.strerror}"
    return None if mark == item.mark else f"{item.variant}: the derivative does not carry its mark"


def publish(batch: Sequence[tuple[int, Item]], terms: Terms) -> Result | Outcome:
    """Publish items, each with the open folder that it goes to. An Outcome: the hindrance, and nothing was published.

    Disturbed, too, where a twin's derivative is not any more what it was taken for.

    Raises OSError; what was renamed before it stays (it is whole, and a repeat adopts it), and no temporary file does.
    """
    tally = _Tally()
    drafts: list[_Draft] = []
    try:
        for directory, item in batch:
            terms.step("look")
            standing = look(directory, item.name)
            if not tally.settled(item, standing, judge(standing, item.mark)):
                drafts.append(_Draft(directory, item, terms))
                if not drafts[-1].is_right():
                    return Disturbed()
        for draft in drafts if terms.durable else ():
            draft.finish()
        terms.step("stat")
        hindrance = terms.hindrance()
        if hindrance is not None:
            return hindrance
        for draft in drafts:
            draft.appear(tally)
        settled = [(directory, item) for directory, item in batch if item.variant in tally.derivatives]
        if terms.durable:
            terms.step("fsync_folder")
            for directory in {directory for directory, _ in settled}:
                sync_folder(directory)
    finally:
        for draft in drafts:
            draft.close()
    result = tally.result(item.variant for _, item in batch)
    if terms.durable:
        return result
    return replace(result, checksums=tuple((item.variant, checksum(item.fd)) for _, item in settled))


def remove(at: At, *, size_bytes: int, mtime_ns: int) -> bool:
    """Remove a derivative that is as it was recorded, or carries our mark and has the recorded size.

    False: it stays, because it is not ours, or is another one of ours by now.
    """
    standing = look(at.directory, at.name)
    if standing is None:
        return True
    if standing.size_bytes != size_bytes:
        return False
    if standing.mark is None and not (standing.mtime_ns == mtime_ns and _is_regular(at)):
        return False
    discard(at)
    return True


def remove_temporary(at: At, *, instance: str, run: str) -> bool:
    """Remove a temporary file that an earlier run of this instance left. False: it is not that, and stays."""
    parsed = parse_temporary_name(at.name)
    if parsed is None or parsed[0] != instance or parsed[1] == run:
        return False
    discard(at)
    return True


class _Draft:
    """One derivative on its way: a temporary file that nobody else knows, until it gets its name or is dropped."""

    def __init__(self, directory: int, item: Item, terms: Terms) -> None:
        self._item = item
        self._terms = terms
        self._at = At(directory=directory, name=terms.temporary())
        terms.step("create")
        self._descriptor = os.open(self._at.name, _NEW, _PRIVATE, dir_fd=directory)
        self._visible = False
        with contextlib.ExitStack() as unless_written:
            unless_written.callback(self.close)
            self._write()
            unless_written.pop_all()

    def is_right(self) -> bool:
        """Whether the copy is what it was to be. It is asked of the copy, which nobody else can change."""
        if not self._item.of_twin:
            return True
        size_bytes = os.fstat(self._descriptor).st_size
        return 0 < size_bytes <= MAX_DERIVATIVE_BYTES and mark_of(self._descriptor, size_bytes) == self._item.mark

    def finish(self) -> None:
        """Make the content durable."""
        self._terms.step("fsync")
        os.fsync(self._descriptor)

    def appear(self, tally: "_Tally") -> None:
        """Take the final name, unless somebody else took it meanwhile."""
        written = os.fstat(self._descriptor)
        self._terms.step("rename")
        judgement = bring(self._at, At(directory=self._at.directory, name=self._item.name), self._item.mark)
        if judgement in (Judgement.FREE, Judgement.STALE):
            self._visible = True
            tally.published(self._item, written)
            return
        tally.settled(self._item, look(self._at.directory, self._item.name), judgement)

    def close(self) -> None:
        """Let go of the descriptor, and of the file if it has not got its name; the next sweep takes what we cannot."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        if not self._visible:
            with contextlib.suppress(OSError):
                discard(self._at)

    def _write(self) -> None:
        size_bytes = os.fstat(self._item.fd).st_size
        write = copy if self._item.of_twin else pour
        write(self._item.fd, self._descriptor, size_bytes, step=partial(self._terms.step, "write"))
        self._terms.step("dress")
        dress(self._descriptor, self._terms.like)


class _Tally:
    """What became of each item."""

    def __init__(self) -> None:
        self.derivatives: dict[str, Derivative] = {}
        self._adopted: list[str] = []
        self._taken: list[bytes] = []

    def settled(self, item: Item, standing: Standing | None, judgement: Judgement) -> bool:
        """Note an item for which nothing is to be written; False if it is to be written."""
        if judgement is Judgement.RIGHT and standing is not None:
            self._adopted.append(item.variant)
            self.derivatives[item.variant] = _derivative(item, standing.size_bytes, standing.mtime_ns)
        elif judgement is Judgement.FOREIGN:
            self._taken.append(item.path)
        return judgement in (Judgement.RIGHT, Judgement.FOREIGN)

    def published(self, item: Item, written: os.stat_result) -> None:
        self.derivatives[item.variant] = _derivative(item, written.st_size, written.st_mtime_ns)

    def result(self, order: Iterable[str]) -> Result:
        derivatives = tuple(self.derivatives[variant] for variant in order if variant in self.derivatives)
        return Result(derivatives=derivatives, adopted=tuple(self._adopted), taken=tuple(self._taken))


def _derivative(item: Item, size_bytes: int, mtime_ns: int) -> Derivative:
    return Derivative(
        variant=item.variant,
        fingerprint=item.mark.fingerprint,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        width=item.width,
        height=item.height,
    )


def dress(descriptor: int, like: os.stat_result, mode: int | None = None) -> None:
    """Owner, group and mode of the source, as far as we may, and never readable by more people than the source is.

    `mode`: the bits to set, if not those of the source's without the executable ones.

    Where the group stays ours, it gets no more than everybody; where we stay the owner, we can read it (and so, later,
    see that it is ours). File systems without owners and modes refuse both; that is theirs to say.
    """
    ours = os.fstat(descriptor)
    if (ours.st_uid, ours.st_gid) != (like.st_uid, like.st_gid):
        if not _try(os.fchown, descriptor, like.st_uid, like.st_gid):
            _try(os.fchown, descriptor, -1, like.st_gid)
        ours = os.fstat(descriptor)
    mode = stat.S_IMODE(like.st_mode) & 0o666 if mode is None else mode
    if ours.st_gid != like.st_gid:
        mode &= ~0o070 | (mode & 0o007) << 3
    if ours.st_uid != like.st_uid:
        mode |= stat.S_IRUSR
    _try(os.fchmod, descriptor, mode)


def _try(call: Callable[..., None], *arguments: int) -> bool:
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def _is_regular(at: At) -> bool:
    return stat.S_ISREG(os.stat(at.name, dir_fd=at.directory, follow_symlinks=False).st_mode)


def discard(at: At) -> None:
    """Unlink a file of ours, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(at.name, dir_fd=at.directory)
