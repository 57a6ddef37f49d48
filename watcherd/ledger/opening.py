"""How a ledger's file is opened.

Responsible for: the connection and its settings, refusing what is not ours or not of our time, running migrations.
Not responsible for: what is read and written afterwards.
"""

import os
import sqlite3
import stat
import sys
from collections.abc import Sequence
from urllib.parse import quote

from watcherd.ledger.errors import (
    REBUILT,
    LedgerDamaged,
    LedgerError,
    LedgerForeign,
    LedgerMissing,
    LedgerTooNew,
    LedgerTooOld,
    LedgerUnsafe,
)
from watcherd.ledger.schema import STEPS

_BUSY_TIMEOUT_S = 5.0
_CACHED_STATEMENTS = 128
_CACHE_KIB = 8_000
_SPILL_PAGES = 32_768
"""So many changed pages (128 MiB) may one pass hold in memory before any of it is written; most change a few dozen."""
_LOG_KEPT_BYTES = 64 * 1024 * 1024


def _require_file(path: str) -> None:
    """Raise where something else than a file has the ledger's name: SQLite would wait for ever at a pipe.

    Raises LedgerDamaged, or LedgerError for a link that leads nowhere: its disk may be away.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            cause = f"cannot open the ledger {path}: it is a link to {os.readlink(path)}, which is not there"
            raise LedgerError(cause, "see whether its disk is mounted, or remove the link") from None
        return
    except OSError:  # SQLite meets it too
        return
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise LedgerDamaged(f"cannot open the ledger {path}: it is {what}", REBUILT)


def connect(path: str, *, read_only: bool) -> sqlite3.Connection:
    """A connection whose transactions begin and end only where we say so."""
    _require_file(path)
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode={'ro' if read_only else 'rwc'}"
    return sqlite3.connect(
        uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, cached_statements=_CACHED_STATEMENTS
    )


def check(connection: sqlite3.Connection, path: str, *, read_only: bool) -> None:
    """Refuse what is not ours, or not of our time."""
    tables = _tables(connection)
    applied = _applied(connection)
    if tables - {"_sqlite_migrations"} and not applied:
        raise LedgerForeign(f"cannot use {path}: it is a database of another program; choose another state directory")
    _check_schema(applied, path, read_only=read_only)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _applied(connection: sqlite3.Connection) -> set[str]:
    """The steps that a file has behind it; none where it is new, or another program's."""
    if "_sqlite_migrations" not in _tables(connection):
        return set()
    sql = "SELECT name FROM _sqlite_migrations WHERE migration_set = 'watcherd'"
    return {name for (name,) in connection.execute(sql)}


def _check_schema(applied: set[str], path: str, *, read_only: bool) -> None:
    newer = applied - set(STEPS)
    if newer:
        raise LedgerTooNew(
            f"cannot use the ledger {path}: a later version of watcherd wrote it ({min(newer)}); install that version"
            " or choose another state directory"
        )
    if read_only and not applied:
        raise LedgerMissing(f"cannot read the ledger {path}: it is empty; it is filled when watcherd runs")
    if read_only and applied != set(STEPS):
        raise LedgerTooOld(f"cannot read the ledger {path}: it is of an older version; run watcherd once to convert it")


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Write-ahead log, durable commits, the schema of this version."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LedgerUnsafe(f"cannot keep the ledger {path}: its file system allows no write-ahead log ({mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute(f"PRAGMA cache_spill = {_SPILL_PAGES}")  # so that a full disk shows at a commit, and only there
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT_BYTES}")
    lacking = [step for step in STEPS if step not in _applied(connection)]
    if lacking:
        _back_up(connection, path, lacking)
        _convert(connection)


def _convert(connection: sqlite3.Connection) -> None:
    """Run the steps that are lacking. Only here sqlite-utils is imported: 0.14 s CPU.

    It imports numpy where that happens to be installed, to know its numbers: another 0.1 s and 30 MiB for nothing.
    """
    hides_numpy = "numpy" not in sys.modules
    try:
        if hides_numpy:
            sys.modules["numpy"] = None  # type: ignore[assignment]  # so its import fails (sys.modules' documentation)
        from sqlite_utils import Database  # noqa: PLC0415

        from watcherd.ledger.migrations import migrations  # noqa: PLC0415
    finally:
        if hides_numpy:
            del sys.modules["numpy"]
    migrations.apply(Database(connection))


def _back_up(connection: sqlite3.Connection, path: str, lacking: Sequence[str]) -> None:
    """Keep a copy of a ledger that is about to be converted, for whoever goes back to the version before.

    It is named by the first step that it lacks, and replaces one of that name whole. Raises sqlite3.Error, OSError.
    """
    if lacking == list(STEPS):
        return
    copy = f"{path}.before-{lacking[0]}"
    unfinished = f"{copy}.unfinished"
    if os.path.lexists(unfinished):
        os.unlink(unfinished)
    connection.execute("VACUUM INTO ?", (unfinished,))
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    os.replace(unfinished, copy)


def identity(path: str) -> tuple[int, int] | None:
    """Which file lies at a path, or None."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
