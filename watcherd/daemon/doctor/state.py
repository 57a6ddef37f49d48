"""What the daemon keeps: its state directory, its ledger, and whether somebody works with them now."""

import os
import shlex
import time
from collections.abc import Iterable
from contextlib import suppress

from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.statedir import StateDirectory
from watcherd.ledger.errors import LedgerDamaged, LedgerError, LedgerMissing, LedgerTooOld, LedgerUnsafe
from watcherd.ledger.ledger import Ledger
from watcherd.ledger.location import require_local

LITTLE_BYTES = 256 << 20
"""Some 800,000 sources (measured: 306 bytes each)."""
FEW_INODES = 1_000


def known_folders(folder: str) -> int:
    """How many folders the ledger knows; one watch each."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as opened:
            return opened.count_directories()
    except LedgerError:
        return 0


def folders_of(roots: Iterable[str], known: int, within_s: float = 5.0) -> int:
    """How many folders have to be watched: those that are known, or, before a first run, those that are there.

    What cannot be counted in this time is left out; a full scan tells the rest.
    """
    if known:
        return known
    give_up_at = time.monotonic() + within_s
    number = 0
    waiting = list(roots)[::-1]  # os.walk calls itself for a folder in a folder; they may be nested deeper than that
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            number += 1
            waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        if time.monotonic() > give_up_at:
            break
    return number


def state_directory(folder: str) -> Check:
    """Whether it is there (or can be made), is ours to write, and lies on a local disk."""
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    quoted = shlex.quote(there)
    if not os.path.isdir(there):
        detail, mend = f"{there} is no folder", f"mv {quoted} {quoted}.aside"
    elif not os.access(there, os.W_OK | os.X_OK):
        detail, mend = f"{there} may not be written by this user", f"chown -R {os.geteuid()} {quoted}"
    else:
        try:
            require_local(there)
        except LedgerUnsafe as error:
            detail, mend = str(error), "give a folder on a local disk with --state-dir"
        else:
            detail = folder if there == folder else f"{folder} is not there yet; it is made at the first run"
            return _with_room(detail, there)
    return Check(name="state directory", finding=Finding.FAIL, detail=detail, mend=mend)


def _with_room(detail: str, there: str) -> Check:
    """The ledger grows with the uploads, and while it is converted, there are two of it."""
    space = os.statvfs(there)
    free_bytes = space.f_bavail * space.f_frsize
    told = f"{detail}, {free_bytes / 1e9:,.1f} GB free"
    quoted = shlex.quote(there)
    if free_bytes < LITTLE_BYTES:
        finding = Finding.WARN if free_bytes else Finding.FAIL
        detail = f"{told}: little for the ledger; a full disk stalls the daemon"
        return Check(name="state directory", finding=finding, detail=detail, mend=f"df -h {quoted}")
    if space.f_files and space.f_favail < FEW_INODES:
        detail = f"{told}, but only {space.f_favail:,} more files can be made"
        return Check(name="state directory", finding=Finding.WARN, detail=detail, mend=f"df -i {quoted}")
    return Check(name="state directory", finding=Finding.OK, detail=told)


def ledger(folder: str) -> Check:
    """Whether it can be read, and every page of it makes sense."""
    path = StateDirectory(folder).ledger
    try:
        with Ledger.open(path, read_only=True) as opened:
            wrong = opened.damage()
            sources = sum(sum(states.values()) for states in opened.counts().values())
    except LedgerMissing:
        return Check(name="ledger", finding=Finding.OK, detail="there is none yet; it is made at the first run")
    except LedgerTooOld as error:
        return Check(name="ledger", finding=Finding.WARN, detail=str(error), mend="systemctl start watcherd")
    except LedgerDamaged as error:
        return Check(name="ledger", finding=Finding.FAIL, detail=str(error), mend=_set_aside(path))
    except LedgerError as error:  # another's file, a later version, no permission: not to be moved away
        return Check(name="ledger", finding=Finding.FAIL, detail=str(error), mend=f"ls -la {shlex.quote(path)}")
    if wrong:
        return Check(name="ledger", finding=Finding.FAIL, detail=f"{path}: {wrong}", mend=_set_aside(path))
    return Check(name="ledger", finding=Finding.OK, detail=f"{path}: {sources:,} sources")


def _set_aside(path: str) -> str:
    """It is made anew from the derivatives' marks, without rendering."""
    quoted = shlex.quote(path)
    return f"mv {quoted} {quoted}.aside"


def instance(folder: str) -> Check:
    """Whether a daemon or a scan works with this state directory now; neither is a fault."""
    try:
        process = StateDirectory(folder).holder()
    except OSError as error:
        mend = "run this as the daemon's user, or as root"
        detail = f"whether one runs cannot be told: {error}"
        return Check(name="instance", finding=Finding.WARN, detail=detail, mend=mend)
    told = "nobody works with this state directory now" if process is None else f"process {process} is at work"
    return Check(name="instance", finding=Finding.OK, detail=told, items=(("process", process),) if process else ())
