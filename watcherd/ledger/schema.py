"""The ledger's tables, and the names of the steps that lead to them.

Responsible for: the statements. Not responsible for: running them (`migrations.py`). Pure.

Compact (`tests/bench/ledger.py` prints the bytes a source): states and classes are small numbers, 0 and 1 take no byte
in SQLite's records; a digest is found by an index over its first 8 bytes; every index on a rare condition is partial.
A file's times and inode are of type ANY because file systems can hold values that pass 64 bits signed (a year above
2262, hashed inodes); such a number is stored as bytes. Perceptual hashes are stored as signed numbers of the same bits,
`captured` as the digits of its date (20080530155601), which sort and need no calendar to be read. `failure` numbers
failing sources in the order of recording.
`tally` is kept by triggers, so that counting a million sources reads a dozen rows.
"""

STEPS = ("m001_first_schema", "m002_moves", "m003_first_contact", "m004_layouts", "m005_mounts", "m006_unsynced")
"""The migrations, in order: a ledger that knows others was written by a later version."""

FIRST_SCHEMA = (
    "CREATE TABLE root (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, identity TEXT NOT NULL DEFAULT '') STRICT",
    "CREATE TABLE variant (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    """CREATE TABLE known_name (
        id INTEGER PRIMARY KEY, variant TEXT NOT NULL, extension TEXT NOT NULL, UNIQUE (variant, extension)) STRICT""",
    """CREATE TABLE directory (
        id INTEGER PRIMARY KEY, root INTEGER NOT NULL, parent INTEGER, path BLOB NOT NULL,
        listing INTEGER, done INTEGER NOT NULL DEFAULT 0, ignored INTEGER NOT NULL DEFAULT 0,
        UNIQUE (root, path)) STRICT""",
    "CREATE INDEX directory_parent ON directory (parent)",
    """CREATE TABLE source (
        id INTEGER PRIMARY KEY, directory INTEGER NOT NULL, name BLOB NOT NULL, root INTEGER NOT NULL,
        state INTEGER NOT NULL, size_bytes INTEGER, mtime_ns ANY, ctime_ns ANY, inode ANY, nlink INTEGER,
        digest BLOB, job_class INTEGER, sequence INTEGER NOT NULL, faults INTEGER NOT NULL,
        interruptions INTEGER NOT NULL, in_hand INTEGER NOT NULL, reason TEXT, detail TEXT NOT NULL,
        first_seen_at_s REAL NOT NULL, not_before_at_s REAL, gone_at_s REAL, seen_by ANY NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, phash INTEGER, dhash INTEGER, captured INTEGER,
        failure INTEGER,
        UNIQUE (directory, name)) STRICT""",
    "CREATE INDEX source_digest ON source (substr(digest, 1, 8)) WHERE digest IS NOT NULL",
    """CREATE INDEX source_pending ON source (root, job_class, sequence)
        WHERE state = 0 AND not_before_at_s IS NULL AND gone_at_s IS NULL""",
    "CREATE INDEX source_in_hand ON source (in_hand) WHERE in_hand = 1",
    "CREATE INDEX source_waiting ON source (not_before_at_s) WHERE not_before_at_s IS NOT NULL",
    "CREATE INDEX source_gone ON source (gone_at_s) WHERE gone_at_s IS NOT NULL",
    "CREATE INDEX source_failure ON source (failure) WHERE failure IS NOT NULL",
    """CREATE TABLE derivative (
        source INTEGER NOT NULL, variant INTEGER NOT NULL, fingerprint INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
        mtime_ns ANY NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, path BLOB,
        PRIMARY KEY (source, variant)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE verdict (
        digest BLOB PRIMARY KEY, seen_by ANY NOT NULL, quarantined INTEGER NOT NULL, reason TEXT NOT NULL,
        detail TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE tally (
        root INTEGER NOT NULL, state INTEGER NOT NULL, sources INTEGER NOT NULL,
        PRIMARY KEY (root, state)) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER source_added AFTER INSERT ON source BEGIN
        INSERT INTO tally VALUES (new.root, new.state, 1) ON CONFLICT DO UPDATE SET sources = sources + 1; END""",
    """CREATE TRIGGER source_changed AFTER UPDATE OF root, state ON source
        WHEN old.state <> new.state OR old.root <> new.root BEGIN
        UPDATE tally SET sources = sources - 1 WHERE root = old.root AND state = old.state;
        INSERT INTO tally VALUES (new.root, new.state, 1) ON CONFLICT DO UPDATE SET sources = sources + 1; END""",
    """CREATE TRIGGER source_removed AFTER DELETE ON source BEGIN
        UPDATE tally SET sources = sources - 1 WHERE root = old.root AND state = old.state; END""",
)

MOVES = (
    "CREATE INDEX source_inode ON source (inode) WHERE state = 1",
    "CREATE INDEX source_awaited ON source (size_bytes) WHERE state = 0",
    "ALTER TABLE root ADD COLUMN held_since_s REAL",
)
"""A moved file is found by its inode; a file of the size of a gone one may be that one; `held_since_s` is since when a
root's brake holds the derivatives of its gone sources back."""

NOW_S = "(julianday('now') - 2440587.5) * 86400.0"
"""The wall clock to the millisecond, as SQLite before 3.42 can tell it."""

FIRST_CONTACT = (
    "ALTER TABLE root ADD COLUMN since_s REAL",
    f"UPDATE root SET since_s = {NOW_S}",  # noqa: S608  a constant
)
"""When a root was met for the first time: what came later is an upload, whatever the backfill leaves out."""

LAYOUTS = (
    """CREATE TABLE layout (
        id INTEGER PRIMARY KEY, root INTEGER NOT NULL, tree BLOB NOT NULL, folder BLOB NOT NULL,
        UNIQUE (root, tree, folder)) STRICT""",
    "ALTER TABLE derivative DROP COLUMN path",
    "ALTER TABLE derivative ADD COLUMN layout INTEGER NOT NULL DEFAULT 0",
)
"""Every layout that a root's derivatives ever had; 0 is the one beside the source, which needs no row."""

MOUNTS = (
    "ALTER TABLE directory ADD COLUMN mount TEXT",
    "CREATE INDEX directory_mount ON directory (root) WHERE mount IS NOT NULL",
)
"""Folders below a root at which a file system of their own was mounted, each with the identity of that one."""
