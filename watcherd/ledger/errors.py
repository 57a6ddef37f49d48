"""What can be wrong with the ledger, each with what to do about it.

Responsible for: the exceptions, and telling them apart by SQLite's result codes (never by message text).
Not responsible for: doing something about it (setting a damaged ledger aside, pausing) - that is the daemon's.
"""

import os
import sqlite3

_PRIMARY_CODE_MASK = 0xFF
_NOT_WRITTEN = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""What a used-up quota shows as (`SQLITE_FULL` is for ENOSPC alone), and a full disk where the log's index grows."""

REBUILT = "move it away: it is rebuilt from the derivatives' marks, without rendering"
_PERMISSIONS = "see whether this user may read and write it and its folder"


class LedgerError(Exception):
    """The ledger cannot be used. The message says operation, file, cause and hint; `cause` says it without the hint."""

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(f"{cause}; {hint}" if hint else cause)
        self.cause = cause


# Named for what is the matter with the ledger; "Error" at the end would add nothing (N818).


class LedgerMissing(LedgerError):  # noqa: N818
    """There is no ledger to read yet."""


class LedgerTooNew(LedgerError):  # noqa: N818
    """A later version of watcherd wrote this ledger."""


class LedgerTooOld(LedgerError):  # noqa: N818
    """The ledger needs a migration, which a reader must not do."""


class LedgerDamaged(LedgerError):  # noqa: N818
    """The file is no database, or no longer a whole one."""


class LedgerForeign(LedgerError):  # noqa: N818
    """The file is another program's database: leave it alone."""


class LedgerUnsafe(LedgerError):  # noqa: N818
    """The ledger lies where SQLite cannot keep its promises (a network file system)."""


class LedgerFull(LedgerError):  # noqa: N818
    """No space is left for the ledger, or a quota is used up: what was to be written can be written later."""


class LedgerBusy(LedgerError):  # noqa: N818
    """Another program holds the ledger's write lock."""


def translated(error: sqlite3.Error, operation: str, path: str) -> LedgerError:
    """The ledger's name for an error of SQLite's."""
    whole_code = getattr(error, "sqlite_errorcode", 0)
    cause = f"cannot {operation} the ledger {path}: {error}"
    if whole_code in _NOT_WRITTEN:
        return LedgerFull(cause, "make room on its disk, or for its user's quota, or see what is wrong with it")
    match whole_code & _PRIMARY_CODE_MASK:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LedgerDamaged(cause, REBUILT)
        case sqlite3.SQLITE_FULL:
            return LedgerFull(cause, "make room on its disk")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LedgerBusy(cause, "end the other program that has it open for writing")
        case sqlite3.SQLITE_CANTOPEN:
            return _not_opened(cause, path)
        case _:
            return LedgerError(cause, "check the disk it lies on and the permissions of its folder")


def _not_opened(cause: str, path: str) -> LedgerError:
    """SQLite does not say why: most often there is none yet, else its folder keeps this user out."""
    try:
        os.stat(path)
    except FileNotFoundError:
        if os.path.isdir(os.path.dirname(path)) and not os.access(os.path.dirname(path), os.W_OK):
            return LedgerMissing(cause, "there is none yet, and this user may not write to its folder")
        return LedgerMissing(cause, "it is made when watcherd runs for the first time")
    except OSError as refused:
        return LedgerError(f"cannot open the ledger {path}: {refused.strerror}", _PERMISSIONS)
    return LedgerError(cause, _PERMISSIONS)
