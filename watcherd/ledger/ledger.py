"""The ledger: what is remembered of every source, in one SQLite file.

Responsible for: opening, the transaction of a pass, every write. Reads are in `queries.py`.
Not responsible for: deciding anything; the ledger says what it was told.

One process writes (it holds the state directory's lock), from one thread, with at most one commit a pass: the first
write begins a transaction, `commit()` makes it durable. Readers in other threads open the file for themselves and see
what was committed. A write that fails takes back everything since the last commit, so what is on disk are always whole
passes. Where the disk is full, SQLite takes them back at their commit: their statements are kept here, and a later
`commit` writes them again; nobody else writes, so it comes to the same. `synchronous=FULL`, because a power cut took
300 of 300 commits with NORMAL (measured), at 0.4 ms a commit.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Self

from watcherd.ledger import unsynced
from watcherd.ledger.errors import LedgerFull, translated
from watcherd.ledger.location import require_local
from watcherd.ledger.opening import check, connect, identity, prepare
from watcherd.ledger.queries import PENDING, Queries
from watcherd.ledger.rows import (
    DERIVATIVE_COLUMNS,
    SOURCE_COLUMNS,
    derivative_values,
    source_values,
    widened,
)
from watcherd.ledger.schema import NOW_S
from watcherd.model import Derivative, Entry, Source, State, Verdict

_REMEMBERED_DIRECTORIES = 20_000
_FAILURES = frozenset({State.INCOMPLETE, State.REJECTED, State.FAILED, State.QUARANTINED})

_UPDATES = ", ".join(f"{column.strip()} = excluded.{column.strip()}" for column in SOURCE_COLUMNS.split(","))
_UPSERT = f"""INSERT INTO source (directory, name, {SOURCE_COLUMNS}, failure)
    VALUES (?, ?, {", ".join("?" * len(SOURCE_COLUMNS.split(",")))},
        CASE WHEN ? THEN (SELECT coalesce(max(failure), 0) + 1 FROM source WHERE failure IS NOT NULL) END)
    ON CONFLICT (directory, name) DO UPDATE SET {_UPDATES}, failure = excluded.failure RETURNING id"""  # noqa: S608
_INSERT_DERIVATIVE = f"INSERT INTO derivative (source, variant, {DERIVATIVE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_HIGHEST_SEQUENCE = f"""SELECT max(highest) FROM (
    SELECT max(sequence) AS highest FROM source WHERE {PENDING}
    UNION ALL SELECT max(sequence) FROM source WHERE not_before_at_s IS NOT NULL
    UNION ALL SELECT max(sequence) FROM source WHERE gone_at_s IS NOT NULL)"""  # noqa: S608

_MOST_RECENT = 256
"""So many entries are kept in memory: those of the sources that are in hand."""


class Ledger(Queries):
    """A ledger that is open. Use it as a context manager, in one thread; leaving it drops what was not committed."""

    # -- opening and closing

    @classmethod
    def open(cls, path: str, *, read_only: bool = False) -> Self:
        """Open the ledger; make it or bring its schema up to date, unless it is only read.

        Raises LedgerTooNew, LedgerDamaged, LedgerForeign, LedgerUnsafe, LedgerBusy; LedgerMissing or LedgerTooOld.
        """
        if not read_only:
            require_local(os.path.dirname(os.path.abspath(path)))
        try:
            connection = connect(path, read_only=read_only)
        except sqlite3.Error as error:
            raise translated(error, "open", path) from error
        with ExitStack() as unless_ours:
            unless_ours.callback(connection.close)
            try:
                check(connection, path, read_only=read_only)
                if not read_only:
                    prepare(connection, path)
                ledger = cls(connection, path)
            except sqlite3.Error as error:
                raise translated(error, "open", path) from error
            unless_ours.pop_all()
        ledger._most_recent = 0 if read_only else _MOST_RECENT  # others write to what a reader reads
        return ledger

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        super().__init__(connection, path)
        self._known_directories: dict[tuple[int, bytes], int] = {}
        self._variant_numbers: dict[str, int] = {}
        self._sequence: int | None = None
        self._identity = identity(path)
        self._recent: dict[Source, Entry] = {}
        self._most_recent = 0
        self._changed: set[int] = set()  # folders that have no listing: it need not be taken away with each entry
        self._pass: list[tuple[str, tuple[Any, ...]]] = []  # the statements since the last commit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was not committed is dropped."""
        self._connection.close()

    def is_in_place(self) -> bool:
        """Whether the open file is still the one at its path (writes to an unlinked one succeed, into nothing)."""
        return identity(self.path) == self._identity

    # -- the pass

    @property
    def has_uncommitted(self) -> bool:
        """Whether something was written since the last commit."""
        return self._connection.in_transaction

    def commit(self) -> None:
        """Make everything written since the last call durable; costs nothing where nothing was written.

        Raises LedgerFull where there is no room: nothing may be written then before a later call has done it.
        """
        if not self._pass and not self._connection.in_transaction:
            return
        try:
            if not self._connection.in_transaction:
                self._write_again()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            problem = translated(error, "write", self.path)
            self._take_back(keep=isinstance(problem, LedgerFull))
            raise problem from error
        self._pass.clear()

    def _write_again(self) -> None:
        """The statements of the pass that was taken back. What was remembered from before is of no use after it."""
        self._connection.execute("BEGIN IMMEDIATE")
        for sql, values in self._pass:
            self._connection.execute(sql, values).fetchall()
        self._forget_what_was_read()

    def next_sequence(self) -> int:
        """A number above those of all pending sources."""
        if self._sequence is None:
            self._sequence = self._run(_HIGHEST_SEQUENCE).fetchone()[0] or 0
        self._sequence += 1
        return self._sequence

    # -- sources

    def entry(self, source: Source) -> Entry | None:
        """What is remembered of one source. An attempt asks for it some five times; the file is asked once."""
        known = self._recent.get(source)
        if known is None and (known := super().entry(source)) is not None:
            self._remember(known)
        return known

    def _remember(self, entry: Entry) -> None:
        self._recent.pop(entry.source, None)
        self._recent[entry.source] = entry
        while len(self._recent) > self._most_recent:
            del self._recent[next(iter(self._recent))]

    def record(self, entry: Entry, *, keep_listing: bool = False) -> None:
        """Write an entry with all its derivatives, in place of what was known of its source.

        Its folder then counts as changed (`listing` gives None), unless `keep_listing`.
        """
        self._begin()
        before = self._recent.get(entry.source)
        self._remember(entry)
        directory = self._directory_made(entry.source.root, entry.source.directory)
        number = self._written_number((directory, entry.source.name, *source_values(entry), entry.state in _FAILURES))
        if before is None or before.derivatives:
            self._write("DELETE FROM derivative WHERE source = ?", number)
        if entry.derivatives:
            self._record_derivatives(number, entry.derivatives)
        if not keep_listing and directory not in self._changed:
            self._write("UPDATE directory SET listing = NULL WHERE id = ? AND listing IS NOT NULL", directory)
            self._changed.add(directory)

    def begin_attempt(self, source: Source) -> bool:
        """Note that a worker is about to get this source; False where nothing is known of it."""
        self._begin()
        known = self._recent.get(source)
        if known is not None:
            self._remember(replace(known, in_hand=True))
        directory = self._directory(source.root, source.directory)
        sql = "UPDATE source SET in_hand = 1 WHERE directory = ? AND name = ?"
        return self._write(sql, directory, source.name).rowcount == 1

    def forget(self, source: Source) -> None:
        """Remove all that is known of a source, and its folder where nothing else is known in there."""
        self._begin()
        self._recent.pop(source, None)
        directory = self._directory(source.root, source.directory)
        sql = "DELETE FROM source WHERE directory = ? AND name = ? RETURNING id"
        for (number,) in self._write(sql, directory, source.name).fetchall():
            self._write("DELETE FROM derivative WHERE source = ?", number)
        self._write("UPDATE directory SET listing = NULL WHERE id = ? AND listing IS NOT NULL", directory)
        self._drop_empty(directory)

    def set_listing(self, root: int, directory: bytes, digest: int | None, done: int, ignored: int) -> None:
        """Note that everything in a folder rests, with the digest of its listing; None: that is no longer so."""
        self._begin()
        number = self._directory(root, directory) if digest is None else self._directory_made(root, directory)
        self._changed.discard(number or 0)
        sql = "UPDATE directory SET listing = ?, done = ?, ignored = ? WHERE id = ?"
        self._write(sql, digest, done, ignored, number)

    # -- what is perhaps not on the disk yet

    def unsynced(self, root: int) -> list[unsynced.Unsynced]:
        """The sources of a root whose derivatives are in doubt, in the order in which they came to be so."""
        return [unsynced.row_from(row) for row in self._rows(unsynced.SELECT, root)]

    def note_begun(self, source: Source) -> None:
        """An attempt begins that will not wait for the disk."""
        self._begin()
        self._write(unsynced.INSERT, source.root, source.path, 1, "")

    def note_written(self, source: Source, checksums: Mapping[str, int | None]) -> None:
        """Derivatives were written, maybe not to the disk: by variant, the CRC-32 of their bytes (None: it is safe)."""
        text = unsynced.merged(self._run(unsynced.SELECT_WRITTEN, source.root, source.path).fetchone(), checksums)
        if text is not None:
            self._begin()
            self._write(unsynced.INSERT, source.root, source.path, 0, text)

    def drop_begun(self, source: Source) -> None:
        """That attempt has ended."""
        self._begin()
        self._write(unsynced.DELETE_BEGUN, source.root, source.path)

    def drop_unsynced(self, number: int) -> None:
        """What a row stands for is on the disk."""
        self._begin()
        self._write(unsynced.DELETE, number)

    def move_unsynced(self, old: Source, new: Source) -> None:
        """A source has another path, and its derivatives with it."""
        self._begin()
        self._write(unsynced.MOVE, new.root, new.path, old.root, old.path)

    # -- roots, variants, contents

    def root_id(self, path: bytes) -> int:
        """The number of a root, given at its first mention."""
        row = self._run("SELECT id FROM root WHERE path = ?", path).fetchone()
        if row is not None:
            return int(row[0])
        self._begin()
        sql = f"INSERT INTO root (path, since_s) VALUES (?, {NOW_S}) RETURNING id"  # noqa: S608  a constant of ours
        return int(self._write(sql, path).fetchall()[0][0])

    def drop_root(self, root: int) -> None:
        """Forget a root and all that is in it."""
        self._begin()
        self._forget_what_was_read()
        self._write("DELETE FROM derivative WHERE source IN (SELECT id FROM source WHERE root = ?)", root)
        for table in ("source", "directory", "layout", "unsynced"):
            self._write(f"DELETE FROM {table} WHERE root = ?", root)  # noqa: S608  names of ours
        self._write("DELETE FROM root WHERE id = ?", root)

    def set_identity(self, root: int, identity: str) -> None:
        """Remember by what a root is known again."""
        self._begin()
        self._write("UPDATE root SET identity = ? WHERE id = ? AND identity <> ?", identity, root, identity)

    def set_mount(self, root: int, directory: bytes, identity: str | None) -> None:
        """Remember that a file system of its own is mounted at a folder, and by what that is known again; None: no."""
        self._begin()
        number = self._directory_made(root, directory)
        self._write("UPDATE directory SET mount = ? WHERE id = ?", identity, number)
        self._drop_empty(number)

    def set_held_since(self, root: int, at_s: float | None) -> None:
        """Note since when a root's brake holds; None: it does not."""
        self._begin()
        self._write("UPDATE root SET held_since_s = ? WHERE id = ?", at_s, root)

    def note_variants(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Remember that derivatives are named by these (variant, extension) pairs."""
        known = set(self.known_variants())
        new = [pair for pair in pairs if pair not in known]
        if new:
            self._known_variants = None
            self._begin()
            for row in new:
                self._write("INSERT OR IGNORE INTO known_name (variant, extension) VALUES (?, ?)", *row)

    def layout_id(self, root: int, tree: bytes, folder: bytes) -> int:
        """The number of a root's layout, given at its first mention; 0: beside the source."""
        if not tree and not folder:
            return 0
        row = self._run("SELECT id FROM layout WHERE root = ? AND tree = ? AND folder = ?", root, tree, folder)
        known = row.fetchone()
        if known is not None:
            return int(known[0])
        self._begin()
        sql = "INSERT INTO layout (root, tree, folder) VALUES (?, ?, ?) RETURNING id"
        return int(self._write(sql, root, tree, folder).fetchall()[0][0])

    def put_verdict(self, verdict: Verdict) -> None:
        """Remember that a content cannot be done."""
        (seen_by,) = widened((verdict.seen_by,))
        sql = "INSERT OR REPLACE INTO verdict (digest, seen_by, quarantined, reason, detail) VALUES (?, ?, ?, ?, ?)"
        self._begin()
        self._write(sql, verdict.digest, seen_by, int(verdict.quarantined), verdict.reason.value, verdict.detail)

    def drop_verdict(self, digest: bytes) -> None:
        """Forget what is known of a content."""
        self._begin()
        self._write("DELETE FROM verdict WHERE digest = ?", digest)

    # -- inside

    def _begin(self) -> None:
        if self._connection.in_transaction:
            return
        if self._pass:
            raise LedgerFull(f"cannot write the ledger {self.path}: an earlier write still waits for room on its disk")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise translated(error, "write", self.path) from error

    def _write(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
        try:
            cursor = self._connection.execute(sql, values)
        except sqlite3.Error as error:
            self._take_back()
            raise translated(error, "write", self.path) from error
        self._pass.append((sql, values))
        return cursor

    def _take_back(self, *, keep: bool = False) -> None:
        """Drop this pass, and what was remembered of it; or `keep` its statements for another time."""
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        if not keep:
            self._pass.clear()
        self._forget_what_was_read()

    def _forget_what_was_read(self) -> None:
        self._recent.clear()
        self._changed.clear()
        self._known_directories.clear()
        self._variant_numbers.clear()
        self._variants.clear()

    def _written_number(self, values: tuple[Any, ...]) -> int:
        try:
            return int(self._write(_UPSERT, *values).fetchall()[0][0])
        except OverflowError:  # a time or an inode beyond 64 bits signed
            return int(self._write(_UPSERT, *widened(values)).fetchall()[0][0])

    def _record_derivatives(self, source: int, derivatives: Sequence[Derivative]) -> None:
        for derivative in derivatives:
            values = (source, self._variant_number(derivative.variant), *derivative_values(derivative))
            try:
                self._write(_INSERT_DERIVATIVE, *values)
            except OverflowError:
                self._write(_INSERT_DERIVATIVE, *widened(values))

    def _variant_number(self, name: str) -> int:
        number = self._variant_numbers.get(name)
        if number is None:
            self._write("INSERT OR IGNORE INTO variant (name) VALUES (?)", name)
            number = int(self._run("SELECT id FROM variant WHERE name = ?", name).fetchone()[0])
            self._variant_numbers[name] = number
        return number

    def _directory(self, root: int, path: bytes) -> int | None:
        number = self._known_directories.get((root, path))
        return super()._directory(root, path) if number is None else number

    def _directory_made(self, root: int, path: bytes) -> int:
        """The number of a folder; it and those above it become known."""
        lacking = [path]  # no call for each folder above: people nest them deeper than Python's calls
        while lacking[-1] and self._directory(root, lacking[-1]) is None:
            lacking.append(lacking[-1].rpartition(b"/")[0])
        if len(self._known_directories) >= _REMEMBERED_DIRECTORIES:
            self._forget_what_was_read()
        for folder in reversed(lacking):
            self._known_directories[root, folder] = self._directory(root, folder) or self._new_directory(root, folder)
        return self._known_directories[root, path]

    def _new_directory(self, root: int, path: bytes) -> int:
        parent = self._known_directories[root, path.rpartition(b"/")[0]] if path else None
        sql = "INSERT INTO directory (root, parent, path) VALUES (?, ?, ?) RETURNING id"
        return int(self._write(sql, root, parent, path).fetchall()[0][0])

    def _drop_empty(self, number: int | None) -> None:
        """Drop a folder in which nothing is known, and then those above it. The mount point of a disk is known."""
        sql = """DELETE FROM directory WHERE id = ?1 AND mount IS NULL AND NOT EXISTS (SELECT 1 FROM source WHERE
            directory = ?1) AND NOT EXISTS (SELECT 1 FROM directory WHERE parent = ?1) RETURNING root, path, parent"""
        while number is not None and (dropped := self._write(sql, number).fetchall()):
            root, path, number = dropped[0]
            self._known_directories.pop((root, path), None)
            self._changed.clear()  # its number may be given again
