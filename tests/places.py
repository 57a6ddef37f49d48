"""A root under a test's folder, small pictures with and without marks, and what else the tests of the hands share."""

import fcntl
import gc
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from watcherd.derivatives.memfds import seal
from watcherd.derivatives.publish import Item
from watcherd.model import Stamp
from watcherd.naming import Mark, Names
from watcherd.watch.files import stamp_of
from watcherd.watch.hands.place import Place

KNOWN = (("thumbnail", "jpg"), ("preview", "jpg"))
INSTANCE = "00000001"
RUN = "0000000a"
NOBODY = 65534
STRANGE_NAMES = [b"plain.jpg", b"caf\xe9.jpg", b"new\nline.jpg", b"-rf.jpg", b"x" * 251 + b".jpg", b" ", b"\xff"]
RIGHT = Mark(variant="thumbnail", digest=bytes(range(32)), fingerprint=7)
STALE = Mark(variant="thumbnail", digest=bytes(32), fingerprint=7)


def kind_of(head: bytes) -> str | None:
    return "jpeg" if head.startswith(b"\xff\xd8\xff") else None


def place_at(path: Path, **changes: Any) -> Place:
    settings = {"root": 3, "path": os.fsencode(path), "instance": INSTANCE, "run": RUN, "kind_of": kind_of}
    return Place(**{**settings, "names": Names(known=KNOWN), **changes})


def picture(mark: Mark | None = None, *, size: int = 1_000) -> bytes:
    """Bytes that begin and end as a JPEG does, with the mark as their comment."""
    text = b"holiday" if mark is None else str(mark).encode()
    head = b"\xff\xd8\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + b"\xff\xda"
    return head + b"\x55" * (size - len(head) - 2) + b"\xff\xd9"


def write(root: Path, path: bytes, data: bytes) -> Stamp:
    full = os.path.join(os.fsencode(root), path)
    with open(full, "wb") as file:
        file.write(data)
    return stamp_of(os.lstat(full))


def read(root: Path, path: bytes) -> bytes:
    with open(os.path.join(os.fsencode(root), path), "rb") as file:
        return file.read()


def names(folder: Path) -> set[bytes]:
    return set(os.listdir(os.fsencode(folder)))


def memory(data: bytes, *, sealed: bool = True) -> int:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    if sealed:
        seal(descriptor)
    return descriptor


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def item(path: bytes, *, mark: Mark = RIGHT, data: bytes | None = None) -> Item:
    fd = memory(picture(mark) if data is None else data)
    return Item(variant=mark.variant, path=path, fd=fd, mark=mark, width=200, height=150)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The error number that a call ends with; 0 if it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@contextmanager
def no_leak() -> Iterator[None]:
    gc.collect()  # what earlier tests have left lying about goes before it is counted
    before = descriptors()
    yield
    assert descriptors() == before


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's powers, for the length of a block; anybody but root stays who they are."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that everybody may enter and write to (pytest's own are closed to all others)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """Something mounted for the length of a block; the test is skipped where that is not permitted."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def is_sealed(descriptor: int) -> bool:
    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & wanted == wanted


def our_threads() -> set[threading.Thread]:
    """All threads but those of libraries that called into Python once (libvips): these come and go as they like."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def first_block(path: Path) -> int:
    """Where a file begins on its disk (fiemap(2), one extent), once it is there."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        request = bytearray(32 + 56)
        request[8:16] = ((1 << 64) - 1).to_bytes(8, "little")
        request[24:28] = (1).to_bytes(4, "little")
        fcntl.ioctl(file.fileno(), 0xC020660B, request)
    return int.from_bytes(request[32 + 8 : 32 + 16], "little")
