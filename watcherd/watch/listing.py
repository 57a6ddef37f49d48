"""One folder as the disk shows it, in little memory.

Responsible for: reading a folder by its descriptor, the digest of what it holds, finding names in it.
Not responsible for: what the ledger knows of it (`compare.py`), which folders are read (`scanner.py`).

A regular file is one `bytes` row: its name, a zero byte (no name holds one), its stamp packed. So a row costs about
110 bytes (a tuple of the same costs 325), rows sort as names do, and the digest is one hash over their concatenation.
A folder of a million files is 110 MB while it is looked at.
"""

import errno
import hashlib
import os
import struct
import sys
from bisect import bisect_left
from collections.abc import Callable
from itertools import islice
from operator import methodcaller

from watcherd.model import Stamp

_STAMP = struct.Struct("<xqqqQI")
_STAMP_BYTES = _STAMP.size
_IDENTITY_BYTES = struct.calcsize("<qQI")
_CHUNK_ROWS = 2_000
_MASK_63 = 2**63 - 1

_encoded = methodcaller("encode", sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


class Stopped(Exception):  # noqa: N818  (no error: somebody asked for it)
    """The reading was given up because somebody asked for it."""


class Listing:
    """What a folder holds: regular files as sorted rows, and the names of its sub-folders.

    `unreadable` names the files that are there but would not be stat-ed, with the error number.
    """

    __slots__ = ("_exact", "folders", "rows", "unreadable")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.folders: list[bytes] = []
        self.unreadable: dict[bytes, int] = {}
        self._exact: dict[bytes, Stamp] = {}

    @classmethod
    def read(cls, descriptor: int, stopped: Callable[[], bool]) -> "Listing":
        """Read a folder. Raises OSError where it cannot be read to its end, Stopped where `stopped` says so."""
        listing = cls()
        with os.scandir(descriptor) as entries:
            while True:
                seen = len(listing.rows) + len(listing.folders)
                chunk = list(islice(entries, _CHUNK_ROWS))
                if not chunk:
                    break
                listing._add(chunk)
                if stopped():
                    raise Stopped(seen)
        listing.rows.sort()
        return listing

    def digest(self, recipe_set: int, *, keeps_identity: bool) -> int:
        """A signed 64-bit hash of all names and stamps, and of the number that stands for what is wanted of them.

        Where the file system does not keep ctime and inode (`keeps_identity` False), these do not count.
        """
        hashed = hashlib.blake2b(f"{recipe_set} {keeps_identity}\0".encode(), digest_size=8)
        rows = self.rows
        for start in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[start : start + _CHUNK_ROWS]
            hashed.update(b"".join(chunk if keeps_identity else [row[:-_IDENTITY_BYTES] for row in chunk]))
        return int.from_bytes(hashed.digest(), "big", signed=True)

    def find(self, name: bytes) -> bytes | None:
        """The row of a regular file of this name."""
        sought = name + b"\0"
        at = bisect_left(self.rows, sought)
        found = self.rows[at : at + 1]
        return found[0] if found and found[0].startswith(sought) else None

    def starting_with(self, prefix: bytes) -> list[bytes]:
        """The names of the regular files that begin so."""
        names = []
        for row in islice(self.rows, bisect_left(self.rows, prefix), None):
            if not row.startswith(prefix):
                break
            names.append(name_of(row))
        return names

    def stamp_of(self, row: bytes) -> Stamp:
        """The stamp in a row, exact also where it did not fit."""
        if self._exact:
            exact = self._exact.get(name_of(row))
            if exact is not None:
                return exact
        return Stamp._make(_STAMP.unpack_from(row, len(row) - _STAMP_BYTES))

    def _add(self, chunk: "list[os.DirEntry[str]]") -> None:
        """Sort some directory entries into files and folders. This loop is what a scan spends its time on."""
        add, pack, encoded = self.rows.append, _STAMP.pack, _encoded
        for entry in chunk:
            try:
                if entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    stamp = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_nlink
                    add(encoded(entry.name) + pack(*stamp))
                elif entry.is_dir(follow_symlinks=False):
                    self.folders.append(encoded(entry.name))
            except OSError as error:
                if error.errno != errno.ENOENT:
                    self.unreadable[encoded(entry.name)] = error.errno or errno.EIO
            except struct.error:
                self._add_odd(encoded(entry.name), Stamp._make(stamp))

    def _add_odd(self, name: bytes, stamp: Stamp) -> None:
        """A file whose times pass 64 bits (a year above 2262) or whose inode does."""
        self._exact[name] = stamp
        folded = (stamp.size_bytes, stamp.mtime_ns & _MASK_63, stamp.ctime_ns & _MASK_63, stamp.inode & _MASK_63)
        self.rows.append(name + _STAMP.pack(*folded, stamp.nlink & 0xFFFF_FFFF))


def name_of(row: bytes) -> bytes:
    """The file name in a row."""
    return row[:-_STAMP_BYTES]
