"""The state directory: where the ledger, the lock, the control socket and this instance's name live.

One daemon (or one scan) at a time: the lock is the kernel's (`flock`), so it ends with its holder however that ends.
"""

import fcntl
import hashlib
import json
import os
import secrets
import socket
from dataclasses import dataclass
from typing import Self

VARIABLES = ("WATCHERD_CONFIG", "WATCHERD_STATE_DIR", "WATCHERD_WORKER_MODULE")
"""The environment variables that somebody reads."""


class Busy(Exception):  # noqa: N818  a condition, with its own exit code
    """Another process works with this state directory, or in one of these roots."""


class Claim:
    """A root that is kept for this process, whatever its state directory, until `close`. A context manager.

    Two daemons on one folder, or on one inside the other's, would take each other's derivatives for their own. Abstract
    sockets (unix(7)) need no file in the root, keep no file system from being unmounted, and end with their process:
    one is named after the root, and one after each folder above it. They do not reach beyond this machine, or into
    another network namespace. Raises Busy.
    """

    def __init__(self, root: bytes) -> None:
        self._sockets: list[socket.socket] = []
        obstacle = self._obstacle(root)
        if obstacle:
            self.close()
            raise Busy(f"another watcherd works in {obstacle}, with another state directory")

    def _obstacle(self, root: bytes) -> str:
        """Claim the names, and say in what folder another one works; empty where none does."""
        name, shown = _named(root), os.fsdecode(root)
        above = [_named(folder) for folder in _above(root)]
        if not self._bind(f"watcherd-root-{name}"):
            return shown
        for folder in above:
            self._bind(f"watcherd-below-{folder}-{name}")
        taken = _abstract_names()  # after our own, so that of two at once at least one sees the other
        if any(f"watcherd-root-{folder}" in taken for folder in above):
            return f"a folder that holds {shown}"
        if any(other.startswith(f"watcherd-below-{name}-") for other in taken):
            return f"a folder inside {shown}"
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        for claimed in self._sockets:
            claimed.close()

    def _bind(self, name: str) -> bool:
        claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sockets.append(claimed)
        try:
            claimed.bind(f"\0{name}")
        except OSError:
            return False
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


def _abstract_names() -> set[str]:
    """The names of all abstract sockets of this network namespace (proc_net_unix: the last field, after an @)."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as lines:
        return {name for line in lines for _, _, name in (line.rstrip("\n").partition(" @"),) if name}


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

    def first_contact(self, root: bytes, now_s: float) -> float:
        """When a root was met for the first time; now, if that was never noted. Survives the loss of the ledger.

        Raises OSError.
        """
        path, name = os.path.join(self.path, "first-contact.json"), os.fsdecode(root)
        try:
            with open(path, encoding="ascii") as file:
                known: dict[str, float] = json.load(file)
        except (FileNotFoundError, ValueError):
            known = {}
        if name not in known:
            known[name] = now_s
            unfinished = f"{path}.unfinished"
            with open(unfinished, "w", encoding="ascii") as file:
                json.dump(known, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        return known[name]

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
