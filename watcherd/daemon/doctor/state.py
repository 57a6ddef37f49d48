"""What the daemon keeps: its state directory, its ledger, and whether somebody works with them now."""

import fcntl
import os
import shlex

from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.statedir import StateDirectory
from watcherd.ledger.errors import LedgerDamaged, LedgerError, LedgerMissing, LedgerTooOld, LedgerUnsafe
from watcherd.ledger.ledger import Ledger
from watcherd.ledger.location import require_local


def known_folders(folder: str) -> int:
    """How many folders the ledger knows; one watch each."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as opened:
            return opened.count_directories()
    except LedgerError:
        return 0


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
            return Check(name="state directory", finding=Finding.OK, detail=detail)
    return Check(name="state directory", finding=Finding.FAIL, detail=detail, mend=mend)


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


def holder(folder: str) -> str | None:
    """The process that works with this state directory now; None where nobody does. Raises OSError if unreadable."""
    try:
        with open(StateDirectory(folder).lock, "rb") as lock:
            named = lock.read(20).decode(errors="replace").strip()
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return named
    return None


def instance(folder: str) -> Check:
    """Whether a daemon or a scan works with this state directory now; neither is a fault."""
    try:
        process = holder(folder)
    except OSError as error:
        mend = "run this as the daemon's user, or as root"
        detail = f"whether one runs cannot be told: {error}"
        return Check(name="instance", finding=Finding.WARN, detail=detail, mend=mend)
    told = "nobody works with this state directory now" if process is None else f"process {process} is at work"
    return Check(name="instance", finding=Finding.OK, detail=told, items=(("process", process),) if process else ())
