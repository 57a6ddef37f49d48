"""Bytes in memory descriptors: how a file's content travels between the daemon and its workers.

Responsible for: copying descriptors without trusting a single call to be whole, sealing, and proving a seal.
Not responsible for: opening files, and sending descriptors anywhere.

A memfd that comes back from a worker is untrusted. Unless it is sealed against shrinking, growing and writing, its
content could still change (or end) between our look at it and the copy; see memfd_create(2) and fcntl(2).
"""

import errno
import fcntl
import os
import zlib
from collections.abc import Callable
from contextlib import ExitStack

CHUNK_BYTES = 1024 * 1024
"""One call's worth: small enough that a slow network share shows progress between two calls."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MFD_NOEXEC_SEAL = 0x8  # Linux 6.3; without it the kernel remarks on every program that does not say
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def pour(source: int, target: int, size_bytes: int, *, step: Callable[[], object], start: int = 0) -> int:
    """Copy the first `size_bytes` of `source`, from `start` on, to the position of `target`; how many there were.

    `step` is called before each chunk. Raises OSError as the system does.
    """
    at = start
    while at < size_bytes:
        step()
        count = _chunk(source, target, at, min(CHUNK_BYTES, size_bytes - at))
        if count == 0:
            break
        at += count
    return at - start


def sealed_copy(source: int, size_bytes: int, *, step: Callable[[], object]) -> int:
    """A new memfd with the first `size_bytes` of `source` (or as many as there are), sealed; the caller closes it."""
    with ExitStack() as unless_done:
        memory = _create()
        unless_done.callback(os.close, memory)
        pour(source, memory, size_bytes, step=step)
        seal(memory)
        unless_done.pop_all()
    return memory


def checksum(descriptor: int, *, step: Callable[[], object] = lambda: None) -> int:
    """The CRC-32 of all that is in a file. `step` is called before each chunk. Raises OSError as the system does."""
    done = total = 0
    while True:
        step()
        data = os.pread(descriptor, CHUNK_BYTES, done)
        if not data:
            return total
        total = zlib.crc32(data, total)
        done += len(data)


def seal(memory: int) -> None:
    """Make a memfd's content and size final, and this final as well."""
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)


def is_sealed(descriptor: int) -> bool:
    """Whether this is a memfd whose content can never change. False for whatever else a descriptor may be."""
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        return False
    return seals & _SEALS == _SEALS


def _create() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("watcherd", flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.memfd_create("watcherd", flags)


def _chunk(source: int, target: int, offset: int, count: int) -> int:
    """Some bytes further; 0 at the end. Some FUSE file systems have no sendfile."""
    try:
        return os.sendfile(target, source, offset, count)
    except OSError as error:
        if error.errno not in _NO_SENDFILE:
            raise
    data = os.pread(source, count, offset)
    return os.write(target, data) if data else 0
