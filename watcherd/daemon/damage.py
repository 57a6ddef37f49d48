"""A ledger that is damaged is set aside under a dated name; the next one is built from the derivatives' marks.

Responsible for: opening the ledger for a run, noticing damage then, and after a run that failed: a page that nothing
had read before may be the reason, and the next run would end in the same way.
Not responsible for: what is in the ledger, and the rebuilding (each file is met as a new one).
"""

import os
from datetime import UTC, datetime

from watcherd.daemon.statedir import StateDirectory
from watcherd.ledger.errors import LedgerDamaged, LedgerError
from watcherd.ledger.ledger import Ledger
from watcherd.telemetry.log import get_logger

log = get_logger()


def open_ledger(state: StateDirectory) -> Ledger:
    """The ledger; a damaged one is set aside, and a new one is begun.

    That costs reading each source once; the marks in the derivatives save rendering them. Raises LedgerError.
    """
    try:
        return Ledger.open(state.ledger)
    except LedgerDamaged as error:
        set_aside(state.ledger, error.cause)
        return Ledger.open(state.ledger)


def set_aside(path: str, cause: str, *, operation: str = "open") -> None:
    """Rename the ledger's files, for whoever wants to look at them. The lock is held, and nobody has it open.

    Raises LedgerError where it cannot be renamed.
    """
    aside = f"{path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("", "-wal", "-shm"):
        if not os.path.lexists(path + suffix):
            continue
        try:
            os.rename(path + suffix, aside + suffix)
        except OSError as error:
            raise LedgerError(f"{cause}, and it cannot be set aside: {error.strerror}", "move it away") from error
    hint = f"it was set aside as {aside}; a new ledger is built from the files"
    log.error("ledger.problem", path=path, operation=operation, cause=cause, hint=hint)


def set_aside_if_damaged(path: str) -> bool:
    """After a run that failed, for whatever reason: look at every page of the ledger; whether it was damaged."""
    try:
        with Ledger.open(path, read_only=True) as ledger:
            found = ledger.damage()
            wrong = found and f"the ledger {path} is damaged: {found.splitlines()[-1]}"
    except LedgerDamaged as error:
        wrong = error.cause
    except LedgerError:  # another matter: it was said, and it is not to be moved away
        return False
    if wrong:
        set_aside(path, wrong, operation="read")
    return bool(wrong)
