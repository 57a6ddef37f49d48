"""What the service manager is told: sd_notify(3), over a datagram socket.

Responsible for: the messages and the watchdog's interval. Not responsible for: when to send them. Without a service
manager everything here does nothing. A message that cannot be sent is dropped: nothing may hold up the loop.
"""

import os
import socket
import time
from collections.abc import Mapping

_MICRO = 1_000_000


class Notifier:
    """The way to the service manager named by `$NOTIFY_SOCKET`. Every method says whether the message went out."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def ready(self, status: str) -> bool:
        """Start-up, or a reload, is complete."""
        return self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> bool:
        """The loop is alive."""
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        """A reload begins; `ready` must follow."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> bool:
        """The end has begun."""
        return self._send("STOPPING=1", *([f"STATUS={_line(status)}"] if status else []))

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping goes on, and may take this much longer from now."""
        return self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * _MICRO)}")

    def close(self) -> None:
        """Give the socket back; nothing is sent from here on."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _send(self, *lines: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            return False
        return True


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often `watchdog` should be sent: half of what the service manager allows; None if it does not watch us."""
    try:
        limit_s = int(environ["WATCHDOG_USEC"]) / _MICRO
        watched = int(environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return limit_s / 2 if limit_s > 0 and watched == os.getpid() else None


def _line(text: str) -> str:
    return " ".join(text.split())
