"""Where a ledger may lie.

Responsible for: telling the kind of file system of a path, and which kinds SQLite's write-ahead log does not work on
(it needs shared memory and honest locks: https://sqlite.org/wal.html, "all processes must be on the same host").
Not responsible for: the watched roots' file systems; those are `watch/mounts.py`'s.
"""

import os
import re

from watcherd.ledger.errors import LedgerUnsafe

_NETWORK = frozenset(
    {b"nfs", b"nfs4", b"cifs", b"smb3", b"smbfs", b"9p", b"ceph", b"glusterfs", b"afs", b"coda", b"lustre", b"ncpfs"}
)
_LOCAL_FUSE = frozenset({b"fuseblk", b"fuse.fuse-overlayfs"})
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def require_local(directory: str) -> None:
    """Raise LedgerUnsafe where the directory lies on a network file system."""
    with open("/proc/self/mountinfo", "rb") as mounts:
        kind = file_system_of(os.fsencode(os.path.realpath(directory)), mounts.read())
    if is_network(kind):
        name = kind.decode("ascii", "replace")
        raise LedgerUnsafe(
            f"cannot keep the ledger in {directory}: it is on a network file system ({name}), where SQLite's log"
            " can be damaged; choose a state directory on a local disk (--state-dir)"
        )


def is_network(kind: bytes) -> bool:
    """Whether a kind of file system is served by another machine, or by a program that may stand for one."""
    return kind in _NETWORK or (kind.startswith(b"fuse") and kind not in _LOCAL_FUSE)


def file_system_of(path: bytes, mountinfo: bytes) -> bytes:
    """The kind of the file system that an absolute path lies on (proc_pid_mountinfo(5)); empty where unknown.

    The longest mount point that holds the path counts; of equal ones the last, which covers the others.
    """
    best, kind = b"", b""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
        holds = path == point or path.startswith(point.rstrip(b"/") + b"/")
        if holds and len(point) >= len(best):
            best, kind = point, after.split(b" ", 1)[0]
    return kind
