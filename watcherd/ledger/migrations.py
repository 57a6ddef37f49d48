"""How a ledger's schema is made and brought up to date.

Responsible for: the numbered steps; each is one transaction, together with the note that it was done.
Not responsible for: what is written into the tables. Imported by the writer only: sqlite-utils takes 140 ms.
"""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from watcherd.ledger.schema import FIRST_CONTACT, FIRST_SCHEMA, LAYOUTS, MOUNTS, MOVES
from watcherd.ledger.unsynced import TABLE

MIGRATION_SET = "watcherd"

migrations = Migrations(MIGRATION_SET)


@migrations()
def m001_first_schema(db: Database) -> None:
    """Roots, directories, sources, derivatives, verdicts."""
    for statement in FIRST_SCHEMA:
        db.execute(statement)


@migrations()
def m002_moves(db: Database) -> None:
    """Finding a moved file by its inode, and what waits by its size; the brake of a root."""
    for statement in MOVES:
        db.execute(statement)


@migrations()
def m003_first_contact(db: Database) -> None:
    """Since when a root is known."""
    for statement in FIRST_CONTACT:
        db.execute(statement)


@migrations()
def m004_layouts(db: Database) -> None:
    """Where derivatives lie: the layouts of each root, and that of each derivative."""
    for statement in LAYOUTS:
        db.execute(statement)


@migrations()
def m005_mounts(db: Database) -> None:
    """The mount points below a root."""
    for statement in MOUNTS:
        db.execute(statement)


@migrations()
def m006_unsynced(db: Database) -> None:
    """Derivatives that are perhaps not on the disk yet."""
    for statement in TABLE:
        db.execute(statement)
