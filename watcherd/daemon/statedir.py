"""The state directory: where the ledger, the lock, the control socket and this instance's name live.

One daemon (or one scan) at a time: the lock is the kernel's (`flock`), so it ends with its holder however that ends.
"""

import fcntl
import glob
import hashlib
import json
import os
import secrets
import socket
import struct
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

VARIABLES = ("WATCHERD_CONFIG", "WATCHERD_STATE_DIR", "WATCHERD_WORKER_MODULE")
"""The environment variables that somebody reads."""


_LOOKS = 10
_LOOK_AGAIN_S = 0.02
_BACKLOG = 16


class Busy(Exception):  # noqa: N818  a condition, with its own exit code
    """Another process works with this state directory, or in one of these roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that listens on a name; None where the kernel does not tell."""

    pid: int | None = None
    uid: int | None = None

    def __str__(self) -> str:
        return "an unknown process" if self.pid is None else f"process {self.pid} of user {self.uid}"


class Claim:
    """A root that is kept for this process, whatever its state directory, until `close`. A context manager.

    Two daemons on one folder, or on one inside the other's, would take each other's derivatives for their own. Abstract
    sockets (unix(7)) need no file in the root, keep no file system from being unmounted, and end with their process:
    one is named after the root, and one after each folder above it. They do not reach beyond this machine, or into
    another network namespace. Raises Busy.

    Any user can take any such name. So the kernel is asked whose it is, and who is not of `trusted` (else: root and our
    own user) is no obstacle; `strangers` are these.
    """

    def __init__(self, root: bytes, *, trusted: AbstractSet[int] | None = None) -> None:
        self._sockets: list[socket.socket] = []
        self._trusted = {0, os.geteuid()} if trusted is None else trusted
        self.strangers: frozenset[Holder] = frozenset()
        obstacle = self._obstacle(root)
        if obstacle:
            self.close()
            raise Busy(f"another watcherd works in {obstacle}, with another state directory")

    def _obstacle(self, root: bytes) -> str:
        """Claim the names, and say in what folder another one works; empty where none does.

        A name where nobody listens is one of a process that has just taken it, or is just ending, or means us harm: it
        is looked at again for a moment.
        """
        name = _named(root)
        own = f"watcherd-root-{name}"
        wanted = [own, *(f"watcherd-below-{_named(folder)}-{name}" for folder in _above(root))]
        for look in range(_LOOKS):
            time.sleep(_LOOK_AGAIN_S if look else 0)
            wanted = [one for one in wanted if not self._listens(one)]
            places = _conflicts(root) | ({own: os.fsdecode(root)} if own in wanted else {})
            holders = {other: _holder(other) for other in places}
            for other, holder in holders.items():
                if holder and holder.uid in self._trusted:
                    return places[other]
            if None not in holders.values():
                break
        self.strangers = frozenset(holder or Holder() for holder in holders.values())
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        for claimed in self._sockets:
            claimed.close()

    def _listens(self, name: str) -> bool:
        """Take a name; only of a socket that listens the kernel tells whose it is."""
        claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            claimed.bind(f"\0{name}")
            claimed.listen(_BACKLOG)
        except OSError:
            claimed.close()
            return False
        self._sockets.append(claimed)
        return True


claim = Claim


def _named(folder: bytes) -> str:
    return hashlib.sha256(folder).hexdigest()[:32]


def _above(folder: bytes) -> list[bytes]:
    """All folders that hold one, the nearest first."""
    above = []
    while folder not in (b"/", b""):
        folder = folder.rpartition(b"/")[0] or b"/"
        above.append(folder)
    return above


def _conflicts(root: bytes) -> dict[str, str]:
    """The names that others have taken around a root, and where those work. To be asked when our own are taken.

    Of two processes at once, at least one then sees the other.
    """
    shown, inside = os.fsdecode(root), f"watcherd-below-{_named(root)}-"
    around = {f"watcherd-root-{_named(folder)}" for folder in _above(root)}
    taken = _abstract_names()
    outer = {name: f"a folder that holds {shown}" for name in taken if name in around}
    return outer | {name: f"a folder inside {shown}" for name in taken if name.startswith(inside)}


def _holder(name: str) -> Holder | None:
    """Who listens on a name; None where nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as asking:
        try:
            asking.connect(f"\0{name}")
        except ConnectionRefusedError:
            return None
        except OSError:  # its queue is full: nobody takes our questions out of it
            return _holder_by_descriptors(_abstract_names().get(name, ""))
        pid, uid, _ = struct.unpack("iII", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Holder(pid=pid, uid=uid)


def _holder_by_descriptors(inode: str) -> Holder:
    """Who has a socket open. Only root sees other users' descriptors, but those of our own user we do see."""
    for path in glob.iglob("/proc/[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(path) == f"socket:[{inode}]":
                pid = path.split("/")[2]
                return Holder(pid=int(pid), uid=os.stat(f"/proc/{pid}").st_uid)
    return Holder()


def _abstract_names() -> dict[str, str]:
    """Names and inodes of the abstract stream sockets of this network namespace (proc_pid_net(5), "unix")."""
    names = {}
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _, _, _, _, kind, _, inode, *name = line.rstrip("\n").split(maxsplit=7)
            if kind == "0001" and inode != "0" and name and name[0].startswith("@"):
                names[name[0][1:]] = inode
    return names


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """A folder of ours, absolute."""

    path: str

    @property
    def ledger(self) -> str:
        """The ledger's file."""
        return os.path.join(self.path, "ledger.db")

    @property
    def control(self) -> str:
        """The control socket."""
        return os.path.join(self.path, "control.sock")

    @property
    def metrics(self) -> str:
        """The metrics endpoint's socket."""
        return os.path.join(self.path, "metrics.sock")

    @property
    def pauses(self) -> str:
        """The pauses that were asked for; none where there is no such file."""
        return os.path.join(self.path, "pauses.json")

    @property
    def lock(self) -> str:
        """The lock file; it holds the process id of the last holder."""
        return os.path.join(self.path, "lock")

    def make(self) -> None:
        """Create the folder, for its owner and group only, if it is not there.

        Raises OSError.
        """
        os.makedirs(self.path, mode=0o750, exist_ok=True)

    def take(self) -> int:
        """Take the lock until the descriptor that is returned is closed.

        Raises Busy, naming the holder.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise Busy(f"the state directory {self.path} is in use by process {holder}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def holder(self) -> str | None:
        """The process id of who holds the lock now; None where nobody does. Takes nothing, so nobody has to wait.

        Raises OSError where that cannot be told.
        """
        try:
            with open(self.lock, "rb") as file:
                named, inode = file.read(20).decode(errors="replace").strip(), os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return None
        with open("/proc/locks", encoding="ascii") as file:  # proc(5): "1: FLOCK ADVISORY WRITE 708 00:13:11 0 EOF"
            held = any(line.split()[1:2] == ["FLOCK"] and f":{inode} " in line for line in file)
        return named if held else None

    def first_contact(self, root: bytes, now_s: float) -> float:
        """When a root was met for the first time; now, if that was never noted. Survives the loss of the ledger.

        Raises OSError.
        """
        path, name = os.path.join(self.path, "first-contact.json"), os.fsdecode(root)
        try:
            with open(path, encoding="ascii") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            found = None
        known = found if isinstance(found, dict) else {}
        if not isinstance(known.get(name), int | float):
            known[name] = now_s
            unfinished = f"{path}.unfinished"
            with open(unfinished, "w", encoding="ascii") as file:
                json.dump(known, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        return float(known[name])

    def instance(self) -> str:
        """The 8 hex digits by which we know our own temporary files again. They survive the loss of the ledger."""
        path = os.path.join(self.path, "instance")
        try:
            with open(path, encoding="ascii") as file:
                known = file.read().strip()
            if len(known) == 8 and int(known, 16) >= 0:
                return known
        except (FileNotFoundError, ValueError):
            pass
        name = secrets.token_hex(4)
        with open(path, "w", encoding="ascii") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        return name
