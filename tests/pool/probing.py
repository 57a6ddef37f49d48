"""Tries what a worker must not do, behind the layers that are named as arguments; prints a line of JSON about it.

`python -m tests.pool.probing FOLDER PARENT LAYER...`: FOLDER has a file `there`, PARENT is a process to reach for.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial

from watcherd.pool.fence import fence, landlock, seccomp

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> None:
    """A system call by its x86_64 or common number."""
    answered(libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)))


def answered(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), "system call")


def opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def connected(family: int, address: object) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.connect(address)


def bound(family: int, address: object) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.bind(address)


def sent(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"hello", ("127.0.0.1", port))


def forked() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def spawned() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def owned_by(parent: int) -> None:
    one, other = os.pipe()
    try:
        fcntl.fcntl(one, fcntl.F_SETOWN, parent)
    finally:
        os.close(one)
        os.close(other)


def mounted(folder: bytes) -> None:
    answered(libc.mount(b"none", folder, b"tmpfs", 0, None))
    answered(libc.umount2(folder, 2))  # what nothing has denied must not stay


def attempts(folder: str, parent: int) -> dict[str, Callable[[], object]]:
    there, new = f"{folder}/there", f"{folder}/new"
    return {
        "read a file": lambda: opened(there, os.O_RDONLY),
        "read a program's file": lambda: opened(__file__, os.O_RDONLY),
        "list a folder": lambda: os.listdir(folder),
        "write a file": lambda: opened(there, os.O_WRONLY),
        "change the mode": lambda: os.chmod(there, 0o640),
        "change the owner": lambda: os.chown(there, os.getuid(), os.getgid()),
        "change times": lambda: os.utime(there, (1, 1)),
        "change an attribute": lambda: os.setxattr(there, "user.a", b"b"),
        "make a file": lambda: opened(new, os.O_WRONLY | os.O_CREAT),
        "make a nameless file": lambda: opened(folder, os.O_RDWR | os.O_TMPFILE),
        "truncate": lambda: os.truncate(there, 0),
        "rename": lambda: os.rename(there, new),
        "remove": lambda: os.unlink(new if os.path.exists(new) else there),
        "link": lambda: os.link(there, new),
        "make a link": lambda: os.symlink(there, new),
        "make a folder": lambda: os.mkdir(new),
        "make a fifo": lambda: os.mkfifo(new),
        "make a socket": lambda: bound(socket.AF_UNIX, new),
        "listen on a port": lambda: bound(socket.AF_INET, ("127.0.0.1", 0)),
        "connect to a port": lambda: connected(socket.AF_INET, ("127.0.0.1", 9)),
        "connect to an abstract name": lambda: connected(socket.AF_UNIX, f"\0watcherd-{parent}"),
        "send a datagram": lambda: sent(9),
        "make a pair of sockets": lambda: [one.close() for one in socket.socketpair()],
        "start a program": spawned,
        "become a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
        "fork": forked,
        "signal the daemon": lambda: os.kill(parent, 0),
        "signal the group": lambda: os.kill(0, signal.SIGCONT),
        "have the daemon signalled": partial(owned_by, parent),
        "take hold of the daemon": lambda: os.close(os.pidfd_open(parent)),
        "trace the daemon": lambda: answered(libc.ptrace(0x4206, parent, 0, 0)),
        "limit the daemon": lambda: call({"x86_64": 302, "aarch64": 261}[os.uname().machine], parent, 7, 0, 0),
        "leave for a namespace": lambda: answered(libc.unshare(0x10000000)),
        "mount": partial(mounted, folder.encode()),
        "use io_uring": lambda: call(425, 0, 0),
        "load into the kernel": lambda: call({"x86_64": 321, "aarch64": 280}[os.uname().machine], 0, 0, 0),
        "outlive the daemon": lambda: answered(libc.prctl(1, 0, 0, 0, 0)),
        "become dumpable": lambda: answered(libc.prctl(4, 1, 0, 0, 0)),
    }


def permitted() -> dict[str, Callable[[], object]]:
    """What decoders and their libraries live on."""
    return {
        "a thread": lambda: threading.Thread(target=int).start(),
        "a memory file": lambda: os.close(os.memfd_create("m", os.MFD_ALLOW_SEALING)),
        "memory": lambda: mmap.mmap(-1, 1 << 20).close(),
        "chance": lambda: os.urandom(8),
        "a signal to itself": lambda: os.kill(os.getpid(), 0),
        "standard error": lambda: os.write(2, b"still here\n"),
        "the name of a thread": lambda: answered(libc.prctl(15, b"probe", 0, 0, 0)),
    }


LAYERS: dict[str, Callable[[], object]] = {
    "no_new_privileges": lambda: fence._prctl(38, 1),
    "landlock": landlock.close,
    "seccomp": seccomp.close,
    "resources": lambda: fence.limit_resources(0),
    "sandbox": fence.close_sandbox,
}


def tried(what: Callable[[], object]) -> str:
    try:
        what()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def main(folder: str, parent: str, *layers: str) -> None:
    trials, needs = attempts(folder, int(parent)), permitted()
    answers = {layer: LAYERS[layer]() for layer in layers}
    results = {what: tried(how) for what, how in (needs | trials).items() if what != "become a program" or layers}
    os.write(1, json.dumps({"layers": answers, "results": results}).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
