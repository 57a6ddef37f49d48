"""The state directory: where the ledger, the lock, the control socket and this instance's name live.

One daemon (or one scan) at a time: the lock is the kernel's (`flock`), so it ends with its holder however that ends.
"""

import fcntl
import hashlib
import os
import secrets
import socket
from dataclasses import dataclass

VARIABLES = ("WATCHERD_CONFIG", "WATCHERD_STATE_DIR", "WATCHERD_WORKER_MODULE")
"""The environment variables that somebody reads."""


class Busy(Exception):  # noqa: N818  a condition, with its own exit code
    """Another process works with this state directory, or in one of these roots."""


def claim(root: bytes) -> socket.socket:
    """Keep a root for this process, whatever its state directory, until the socket that is returned is closed.

    Two daemons on one folder would take each other's derivatives for their own. An abstract socket (unix(7)) needs no
    file in the root, keeps no file system from being unmounted, and ends with its process. It does not reach beyond
    this machine, or into another network namespace. Raises Busy.
    """
    name = hashlib.sha256(root).hexdigest()[:32]
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claimed.bind(f"\0watcherd-root-{name}")
    except OSError as error:
        claimed.close()
        raise Busy(f"another watcherd works in {os.fsdecode(root)}, with another state directory") from error
    return claimed


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
