"""One folder as the disk shows it, in little memory.

Responsible for: reading a folder by its descriptor, the digest of what it holds, finding names in it.
Not responsible for: what the ledger knows of it (`compare.py`), which folders are read (`walk.py`), folders with more
files than are kept (`pages.py`).

Reading is what a scan spends its time on, and nearly always the digest is all that is wanted. So directory entries are
taken in blocks: the names joined, the numbers of the stamps in one array, both hashed as they come, in the order in
which the file system gives them. That order is the same each time for as long as nothing changes; where it is not, the
rows are compared. Rows are made when they are asked for: one is `bytes`, a name, a zero byte (no name holds one), the
stamp packed. So a row costs about 110 bytes (a tuple of the same costs 325), and rows sort as names do.
"""

import errno
import hashlib
import os
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import NamedTuple

from watcherd.model import Stamp
from watcherd.watch.files import NOT_THERE

MOST_FILES = 200_000
"""So many files of a folder are kept, at 65 bytes each, and 110 more where their rows are wanted."""

OWN_BEGINNING = b".watcherd"
"""How the names begin that mean something to the scanner itself."""

BLOCK_ENTRIES = 500
"""How many directory entries are worked on at once."""
_STAMP = struct.Struct("=5q")
_STAMP_NUMBERS = 5
_TAIL_BYTES = 1 + _STAMP.size
_RAW = struct.Struct(f"{_STAMP.size}s")
_MASK_63 = 2**63 - 1
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class Stopped(Exception):  # noqa: N818  (no error: somebody asked for it)
    """The reading was given up because somebody asked for it."""


class _Block(NamedTuple):
    """Some files of a folder: their names, with a zero byte between, and the numbers of their stamps."""

    names: bytes
    numbers: "array[int]"


class Listing:
    """What a folder holds: `files`, how many regular files there are, and the names of its sub-folders.

    Where links are followed, those to files count as files (`linked` has their names), `links` names those to folders,
    `dangling` those that lead nowhere now, and it `has_links` if there are any. `unreadable` names the files that are
    there but would not be stat-ed, with the error number; `own` the regular files whose names begin with
    `OWN_BEGINNING`. Not `is_whole`: there are more files than are kept, and nothing is known of them but the digest.
    """

    __slots__ = (
        *("_blocks", "_exact", "_follows", "_hashed", "_rows"),
        *("dangling", "files", "folders", "has_links", "is_whole", "linked", "links", "own", "unreadable"),
    )

    def __init__(self, *, follows: bool = False) -> None:
        self._follows = follows
        self.files = 0
        self.folders: list[bytes] = []
        self.unreadable: dict[bytes, int] = {}
        self.own: list[bytes] = []
        self.linked: set[bytes] = set()
        self.links: list[bytes] = []
        self.dangling: set[bytes] = set()
        self.has_links = False
        self.is_whole = True
        self._hashed = b""
        self._blocks: list[_Block] = []
        self._rows: list[bytes] | None = None
        self._exact: dict[bytes, Stamp] = {}

    @classmethod
    def read(
        cls,
        descriptor: int,
        stopped: Callable[[], bool],
        *,
        keeps_identity: bool = True,
        most: int = MOST_FILES,
        follows: bool = False,
    ) -> "Listing":
        """Read a folder. Raises OSError where it cannot be read to its end, Stopped where `stopped` says so.

        Where the file system does not keep ctime and inode (`keeps_identity` False), these do not count in the digest.
        """
        listing = cls(follows=follows)
        names, stamps = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
        has_dangling = False
        for entries in blocks_of(descriptor, stopped):
            blocks = [listing._take(entries)]
            if follows:
                linked, dangling = listing._take_links(entries)
                blocks.append(linked)
                has_dangling = has_dangling or bool(dangling)
                names.update(b"".join(b"\0" + name for name in dangling))  # one that goes is a source that goes
            for block in blocks:
                if block.numbers:
                    names.update(block.names + b"\0")
                    stamps.update(block.numbers if keeps_identity else _without_identity(block.numbers))
                    listing._keep(block, most)
        if listing.files or has_dangling:
            listing._hashed = b"%d" % keeps_identity + names.digest() + stamps.digest()
        return listing

    def digest(self, recipe_set: int) -> int:
        """A signed 64-bit hash of all names and stamps, and of the number that stands for what is wanted of them."""
        hashed = hashlib.blake2b(b"%d\0%b" % (recipe_set, self._hashed), digest_size=8)
        return int.from_bytes(hashed.digest(), "big", signed=True)

    @property
    def rows(self) -> list[bytes]:
        """The regular files, sorted by name. Of a listing that is whole."""
        if self._rows is None:
            self._rows = sorted(_rows_of(self._blocks))
            self._blocks = []
        return self._rows

    def find(self, name: bytes) -> Stamp | None:
        """The stamp of the regular file of this name. Of a listing that is whole."""
        rows, sought = self.rows, name + b"\0"
        at = bisect_left(rows, sought)
        return self.stamp_of(rows[at]) if at < len(rows) and rows[at].startswith(sought) else None

    def stamp_of(self, row: bytes) -> Stamp:
        """The stamp in a row, exact also where it did not fit."""
        if self._exact:
            exact = self._exact.get(name_of(row))
            if exact is not None:
                return exact
        return Stamp._make(_STAMP.unpack_from(row, len(row) - _STAMP.size))

    def add(self, descriptor: int, names: Sequence[bytes]) -> None:
        """Add files of an open folder by name, those of them that are there."""
        block = self._block_of((name, partial(os.stat, name, dir_fd=descriptor)) for name in names)
        if block.numbers:
            self._keep(block, sys.maxsize)

    # -- reading

    def _take(self, entries: "Sequence[os.DirEntry[str]]") -> _Block:
        """Sort some directory entries into files and folders. This is what a scan spends its time on."""
        numbers: list[int] = []
        add = numbers.extend
        try:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            for entry in files:
                found = entry.stat(follow_symlinks=False)
                add((found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_nlink))
            block = _Block("\0".join([entry.name for entry in files]).encode(_ENCODING, _ERRORS), array("q", numbers))
        except (OSError, OverflowError):
            block = self._block_of((encoded(entry.name), entry.stat) for entry in self._files_of(entries))
        if len(block.numbers) < len(entries) * _STAMP_NUMBERS:
            self.folders += [encoded(entry.name) for entry in entries if _is_folder(entry)]
        return block

    def _take_links(self, entries: "Sequence[os.DirEntry[str]]") -> tuple[_Block, list[bytes]]:
        """Sort some directory entries that are links by what they lead to. Gives those to files, and to nowhere."""
        files: list[tuple[bytes, Callable[..., os.stat_result]]] = []
        dangling: list[bytes] = []
        for entry in entries:
            name = encoded(entry.name)
            if not entry.is_symlink() or name.startswith(OWN_BEGINNING):
                continue
            self.has_links = True
            try:
                mode = entry.stat().st_mode
            except OSError as error:
                if error.errno in NOT_THERE:
                    dangling.append(name)
                else:
                    self.unreadable[name] = error.errno or errno.EIO
                continue
            if S_ISDIR(mode):
                self.links.append(name)
            elif S_ISREG(mode):
                files.append((name, entry.stat))
        if self.is_whole:
            self.dangling.update(dangling)
        return self._block_of(files), dangling

    def _files_of(self, entries: "Iterable[os.DirEntry[str]]") -> "Iterator[os.DirEntry[str]]":
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    yield entry
            except OSError as error:
                self.unreadable[encoded(entry.name)] = error.errno or errno.EIO

    def _block_of(self, files: Iterable[tuple[bytes, Callable[..., os.stat_result]]]) -> _Block:
        """A block, file by file: one may have vanished, be unreadable, or have numbers that pass 64 bits."""
        names: list[bytes] = []
        numbers = array("q")
        for name, look in files:
            try:
                found = look(follow_symlinks=False)
                if self._follows and S_ISLNK(found.st_mode):
                    found = look(follow_symlinks=True)
                    self.linked.add(name)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    self.unreadable[name] = error.errno or errno.EIO
                continue
            if not S_ISREG(found.st_mode):
                continue
            stamp = Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_nlink)
            try:
                numbers.extend(array("q", stamp))
            except OverflowError:  # a year above 2262, or a hashed inode
                self._exact[name] = stamp
                numbers.extend(number & _MASK_63 for number in stamp)
            names.append(name)
        return _Block(b"\0".join(names), numbers)

    def _keep(self, block: _Block, most: int) -> None:
        self.files += len(block.numbers) // _STAMP_NUMBERS
        if block.names.startswith(OWN_BEGINNING) or b"\0" + OWN_BEGINNING in block.names:
            self.own += [name for name in block.names.split(b"\0") if name.startswith(OWN_BEGINNING)]
        if self.files > most:
            self.is_whole = False
            self._blocks = []
            self.linked.clear()
            self.dangling.clear()
        elif self.is_whole:
            self._blocks.append(block)


def blocks_of(descriptor: int, stopped: Callable[[], bool]) -> "Iterator[list[os.DirEntry[str]]]":
    """The entries of a folder, some at a time. Raises OSError, and Stopped where `stopped` says so."""
    with os.scandir(descriptor) as entries:
        while block := list(islice(entries, BLOCK_ENTRIES)):
            yield block
            if stopped():
                raise Stopped


def encoded(name: str) -> bytes:
    """A name as the kernel has it."""
    return name.encode(_ENCODING, _ERRORS)


def name_of(row: bytes) -> bytes:
    """The file name in a row."""
    return row[:-_TAIL_BYTES]


def _rows_of(blocks: Iterable[_Block]) -> Iterator[bytes]:
    for names, numbers in blocks:
        stamps = _RAW.iter_unpack(numbers.tobytes())
        for name, (stamp,) in zip(names.split(b"\0"), stamps, strict=True):
            yield b"%b\0%b" % (name, stamp)


def _without_identity(numbers: "array[int]") -> "array[int]":
    """Size and modification time of each stamp."""
    kept = array("q", bytes(len(numbers) // _STAMP_NUMBERS * 2 * numbers.itemsize))
    kept[0::2], kept[1::2] = numbers[0::_STAMP_NUMBERS], numbers[1::_STAMP_NUMBERS]
    return kept


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # noted already as a file that would not be looked at
