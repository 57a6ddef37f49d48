"""What can be asked of a ledger.

Responsible for: every read, by prepared statements over indices; long answers come in pages.
Not responsible for: writing, opening (`ledger.py`), the schema (`migrations.py`).
"""

import json
import sqlite3
from collections.abc import Container, Iterator, Sequence
from typing import Any

from watcherd.ledger.errors import translated
from watcherd.ledger.rows import (
    CLASS_CODES,
    DERIVATIVE_COLUMNS,
    SOURCE_COLUMNS,
    STATE_CODES,
    STATES,
    derivative_from,
    entry_from,
    narrow,
    unsigned,
    widened,
)
from watcherd.model import Derivative, Entry, JobClass, Reason, Source, Stamp, State, Verdict

PAGE_ROWS = 1000
"""How many rows one statement of a long answer reads: no read stays open for long, so the log can be reset."""

_SWEEP_ROWS = 10_000

_COLUMNS = "s.id, d.path, s.name, " + ", ".join(f"s.{column.strip()}" for column in SOURCE_COLUMNS.split(","))
_SOURCES = f"SELECT {_COLUMNS} FROM source s JOIN directory d ON d.id = s.directory"  # noqa: S608  (our own constants)
_DERIVATIVES = f"SELECT source, variant, {DERIVATIVE_COLUMNS} FROM derivative"  # noqa: S608
_DIRECTORY = "SELECT id FROM directory WHERE root = ? AND path = ?"
_FAILURE_STATES = ", ".join(str(STATE_CODES[s]) for s in (State.REJECTED, State.FAILED, State.QUARANTINED))
PENDING = "state = 0 AND not_before_at_s IS NULL AND gone_at_s IS NULL"
"""A pending source that waits for nothing but its turn (the condition of an index)."""


class Queries:
    """The reads of a ledger. One instance belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.path = path
        self._connection = connection
        self._variants: dict[int, str] = {}
        self._known_variants: tuple[tuple[str, str], ...] | None = None

    # -- roots, directories, variants

    def roots(self) -> dict[int, bytes]:
        """Every root that was ever watched: its number and its absolute path."""
        return dict(self._rows("SELECT id, path FROM root ORDER BY id"))

    def identity(self, root: int) -> str:
        """By what a root is known again (`watch/mounts.py` compares it); empty where that was never told."""
        row = self._run("SELECT identity FROM root WHERE id = ?", root).fetchone()
        return str(row[0]) if row else ""

    def directories_below(self, root: int, directory: bytes) -> list[bytes]:
        """The known direct children of a folder, as paths below the root, in no order."""
        rows = self._rows(f"SELECT path FROM directory WHERE parent = ({_DIRECTORY})", root, directory)  # noqa: S608
        return [path for (path,) in rows]

    def mounts(self, root: int, *, below: bytes = b"") -> dict[bytes, str]:
        """The folders of a root at which another file system was mounted, with the identity of that one.

        Links to folders that were followed are among them. `below`: only those that lie below this folder.
        """
        sql = "SELECT path, mount FROM directory WHERE root = ? AND mount IS NOT NULL"
        if below:
            return dict(self._rows(f"{sql} AND path > ? AND path < ?", root, below + b"/", below + b"0"))
        return dict(self._rows(sql, root))

    def mount(self, root: int, directory: bytes) -> str | None:
        """The same of one folder."""
        sql = "SELECT mount FROM directory WHERE root = ? AND path = ? AND mount IS NOT NULL"
        found = self._run(sql, root, directory).fetchone()
        return None if found is None else str(found[0])

    def listing(self, root: int, directory: bytes) -> tuple[int, int, int] | None:
        """(digest, done, ignored) of a folder whose sources all rest as done or ignored, or None."""
        sql = "SELECT listing, done, ignored FROM directory WHERE root = ? AND path = ? AND listing IS NOT NULL"
        return self._run(sql, root, directory).fetchone()  # type: ignore[no-any-return]

    def known_variants(self) -> tuple[tuple[str, str], ...]:
        """Each (variant, extension) that a derivative was ever named by, oldest first."""
        if self._known_variants is None:
            self._known_variants = tuple(self._rows("SELECT variant, extension FROM known_name ORDER BY id"))
        return self._known_variants

    def layouts(self, root: int) -> tuple[tuple[int, bytes, bytes], ...]:
        """(number, tree, folder) of each layout but 0 that a root's derivatives ever had, the latest known first."""
        return tuple(self._rows("SELECT id, tree, folder FROM layout WHERE root = ? ORDER BY id DESC", root))

    # -- sources

    def entry(self, source: Source) -> Entry | None:
        """What is remembered of one source."""
        number = self._directory(source.root, source.directory)
        found = self._entries(f"{_SOURCES} WHERE s.directory = ? AND s.name = ?", number, source.name)
        return found[0] if found else None

    def entries(self, root: int, directory: bytes, *, after: bytes = b"", limit: int = -1) -> list[Entry]:
        """The sources that lie directly in a folder, by name; `after` a name, at most `limit` (below 0: all)."""
        number = self._directory(root, directory)
        sql = f"{_SOURCES} WHERE s.directory = ? AND s.name > ? ORDER BY s.name LIMIT ?"
        return self._entries(sql, number, after, limit)

    def sources_below(self, root: int, directory: bytes) -> Iterator[Source]:
        """Every source in and below a folder, in pages: writes in between are allowed."""
        for number, path in self._tree(root, directory):
            prefix, name = path + b"/" if path else b"", b""
            while True:
                sql = "SELECT name FROM source WHERE directory = ? AND name > ? ORDER BY name LIMIT ?"
                page = self._rows(sql, number, name, PAGE_ROWS)
                yield from (Source(root, prefix + found) for (found,) in page)
                if len(page) < PAGE_ROWS:
                    break
                name = page[-1][0]

    def is_done(self, digest: bytes) -> bool:
        """Whether any source with this content is done, wherever it is: nearly always none is, and this asks little."""
        sql = "SELECT 1 FROM source WHERE substr(digest, 1, 8) = substr(?, 1, 8) AND digest = ? AND state = 1 LIMIT 1"
        return self._run(sql, digest, digest).fetchone() is not None

    def twins(self, digest: bytes, *, excluding: Source, gone: bool = False, limit: int = 20) -> list[Entry]:
        """Done sources with this content, those that are where they were or those that are gone.

        Not all of them: a content may lie at a million paths.
        """
        sql = (
            f"{_SOURCES} WHERE substr(s.digest, 1, 8) = substr(?, 1, 8) AND s.digest = ? AND s.state = 1"
            f" AND s.gone_at_s IS {'NOT ' if gone else ''}NULL"
            " AND NOT (s.root = ? AND s.name = ? AND d.path = ?) LIMIT ?"
        )
        return self._entries(sql, digest, digest, excluding.root, excluding.name, excluding.directory, limit)

    def same_file(self, stamp: Stamp, limit: int = 8) -> list[Entry]:
        """Done sources that were recorded with this inode, size and mtime: one of them may have become this file."""
        sql = f"{_SOURCES} WHERE s.inode = ? AND s.state = 1 AND s.size_bytes = ? AND s.mtime_ns = ? LIMIT ?"
        values = (stamp.inode, stamp.size_bytes, stamp.mtime_ns)
        return self._entries(sql, *widened(values), limit)

    def is_awaited(self, size_bytes: int) -> bool:
        """Whether a source of this size waits to be read: its content is not known yet."""
        sql = "SELECT 1 FROM source WHERE state = 0 AND size_bytes = ? AND gone_at_s IS NULL LIMIT 1"
        return self._run(sql, size_bytes).fetchone() is not None

    def since_s(self, root: int) -> float:
        """When a root was met for the first time (wall clock)."""
        row = self._run("SELECT since_s FROM root WHERE id = ?", root).fetchone()
        return float(row[0] or 0.0) if row else 0.0

    def held_since_s(self, root: int) -> float | None:
        """Since when (wall clock) the brake of a root keeps the derivatives of its gone sources."""
        row = self._run("SELECT held_since_s FROM root WHERE id = ?", root).fetchone()
        return row[0] if row else None

    def count_gone(self, root: int) -> int:
        """How many sources of a root are gone and not forgotten."""
        sql = "SELECT count(*) FROM source WHERE gone_at_s IS NOT NULL AND root = ?"
        return int(self._run(sql, root).fetchone()[0])

    def looks(self, root: int, directory: bytes) -> Iterator[tuple[int, int, int | None]]:
        """(number, digest's first 8 bytes, phash) of each hashed source in and below a folder that is in its place."""
        sql = """SELECT name, id, substr(digest, 1, 8), phash FROM source WHERE directory = ? AND name > ?
            AND digest IS NOT NULL AND gone_at_s IS NULL ORDER BY name LIMIT ?"""
        for folder, _ in self._tree(root, directory):
            name = b""
            while True:
                page = self._rows(sql, folder, name, PAGE_ROWS)
                for _, number, prefix, phash in page:
                    yield number, int.from_bytes(prefix, "big"), unsigned(phash)
                if len(page) < PAGE_ROWS:
                    break
                name = page[-1][0]

    def numbered(self, numbers: Sequence[int]) -> dict[int, Entry]:
        """Entries by the numbers that `looks` gave, without those that were forgotten since. Give them in pages."""
        rows = self._rows(f"{_SOURCES} WHERE s.id IN (SELECT value FROM json_each(?))", json.dumps(numbers))  # noqa: S608
        return {row[0]: entry_from(row[1] + b"/" + row[2] if row[1] else row[2], row[3:], ()) for row in rows}

    def pending(self, root: int, job_class: JobClass, after_sequence: int, limit: int) -> list[Entry]:
        """What waits in a lane, in its order. Sources that wait for their time (`waiting`) or are gone are left out."""
        sql = (
            f"{_SOURCES} WHERE s.root = ? AND s.job_class = ? AND s.state = 0 AND s.not_before_at_s IS NULL"
            " AND s.gone_at_s IS NULL AND s.sequence > ? ORDER BY s.sequence LIMIT ?"
        )
        return self._entries(sql, root, CLASS_CODES[job_class], after_sequence, limit)

    def in_hand(self) -> list[Entry]:
        """Sources whose attempt began and has no recorded end."""
        return self._entries(f"{_SOURCES} WHERE s.in_hand = 1 ORDER BY s.id")

    def waiting(self, before_s: float, limit: int = PAGE_ROWS) -> list[Entry]:
        """Sources whose time (`not_before_at_s`) has come, the earliest first."""
        sql = f"{_SOURCES} WHERE s.not_before_at_s IS NOT NULL AND s.not_before_at_s <= ?"
        return self._entries(f"{sql} ORDER BY s.not_before_at_s LIMIT ?", before_s, limit)

    def next_waiting_at_s(self) -> float | None:
        """When the first of the waiting sources is due (wall clock)."""
        sql = "SELECT min(not_before_at_s) FROM source WHERE not_before_at_s IS NOT NULL"
        return self._run(sql).fetchone()[0]  # type: ignore[no-any-return]

    def gone(self, limit: int = -1) -> list[Entry]:
        """Sources that were found missing and are not yet forgotten, the longest gone first."""
        sql = f"{_SOURCES} WHERE s.gone_at_s IS NOT NULL ORDER BY s.gone_at_s LIMIT ?"
        return self._entries(sql, limit)

    def gone_sources(self) -> Iterator[tuple[Source, float]]:
        """The same ones without what is known of them, each with the instant, in pages: there may be many."""
        sql = """SELECT s.gone_at_s, s.id, s.root, d.path, s.name FROM source s JOIN directory d ON d.id = s.directory
            WHERE s.gone_at_s IS NOT NULL AND (s.gone_at_s, s.id) > (?, ?) ORDER BY s.gone_at_s, s.id LIMIT ?"""
        last: tuple[float, int] = (float("-inf"), 0)
        while True:
            page = self._rows(sql, *last, PAGE_ROWS)
            for gone_at_s, _, root, directory, name in page:
                yield Source(root, directory + b"/" + name if directory else name), gone_at_s
            if len(page) < PAGE_ROWS:
                return
            last = page[-1][:2]

    def with_other_variants(self, root: int, wanted: Container[str], *, gone: bool = False) -> Iterator[list[Entry]]:
        """Sources of a root with a derivative of a variant that is not wanted, in pages, some of them empty.

        `gone`: those that are gone as well. Writes in between are allowed.
        """
        numbers = [number for number, name in self._rows("SELECT id, name FROM variant") if name not in wanted]
        if not numbers:
            return
        (last,) = self._run("SELECT coalesce(max(id), 0) FROM source").fetchone()
        for first in range(0, last + 1, _SWEEP_ROWS):
            sql = f"""{_SOURCES} WHERE s.root = ? AND (? OR s.gone_at_s IS NULL) AND s.id IN
                (SELECT source FROM derivative WHERE source BETWEEN ? AND ?
                AND variant IN (SELECT value FROM json_each(?)))"""  # noqa: S608
            yield self._entries(sql, root, gone, first, first + _SWEEP_ROWS - 1, json.dumps(numbers))

    def failures(self, limit: int) -> list[Entry]:
        """Incomplete, rejected, failed and quarantined sources, the latest first."""
        return self._entries(f"{_SOURCES} WHERE s.failure IS NOT NULL ORDER BY s.failure DESC LIMIT ?", limit)

    def failures_by_reason(self) -> list[tuple[State, str, int]]:
        """How many sources are in each failing state for each reason, the most frequent first."""
        sql = """SELECT state, coalesce(reason, ''), count(*) FROM source WHERE failure IS NOT NULL
            GROUP BY state, reason ORDER BY 3 DESC, 1, 2"""
        return [(STATES[state], reason, number) for state, reason, number in self._rows(sql)]

    def counts(self) -> dict[int, dict[State, int]]:
        """How many sources each root has in each state (states without any are left out)."""
        counted: dict[int, dict[State, int]] = {}
        for root, state, sources in self._rows("SELECT root, state, sources FROM tally WHERE sources > 0"):
            counted.setdefault(root, {})[STATES[state]] = sources
        return counted

    def count_directories(self) -> int:
        """How many folders are known."""
        return int(self._run("SELECT count(*) FROM directory").fetchone()[0])

    def damage(self) -> str:
        """The first thing that is wrong with the file, by reading every page; empty where nothing is."""
        (said,) = self._run("PRAGMA quick_check(1)").fetchone()
        return "" if said == "ok" else str(said)

    # -- contents

    def verdict(self, digest: bytes) -> Verdict | None:
        """What is known of a content that cannot be done."""
        sql = "SELECT seen_by, quarantined, reason, detail FROM verdict WHERE digest = ?"
        row = self._run(sql, digest).fetchone()
        if row is None:
            return None
        return Verdict(
            digest=digest, seen_by=narrow(row[0]), quarantined=bool(row[1]), reason=Reason(row[2]), detail=row[3]
        )

    # -- inside

    def _run(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise translated(error, "read", self.path) from error

    def _rows(self, sql: str, *values: Any) -> list[Any]:  # noqa: ANN401
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, "read", self.path) from error

    def _directory(self, root: int, path: bytes) -> int | None:
        """The number of a known folder. A reader does not remember it: the writer may drop and make it again."""
        row = self._run(_DIRECTORY, root, path).fetchone()
        return None if row is None else row[0]

    def _tree(self, root: int, directory: bytes) -> Iterator[tuple[int, bytes]]:
        """(number, path) of a folder and all known folders below it, by path."""
        number = self._directory(root, directory)
        if number is not None:
            yield number, directory
        below = "AND path < ?" if directory else ""
        end = (directory + b"0",) if directory else ()  # "0" follows "/"
        last = directory + b"/" if directory else b""
        while True:
            sql = f"SELECT id, path FROM directory WHERE root = ? AND path > ? {below} ORDER BY path LIMIT ?"  # noqa: S608
            page = self._rows(sql, root, last, *end, PAGE_ROWS)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = page[-1][1]

    def _entries(self, sql: str, *values: Any) -> list[Entry]:  # noqa: ANN401
        rows = self._rows(sql, *values)
        made = self._derivatives([row[0] for row in rows])
        return [
            entry_from(row[1] + b"/" + row[2] if row[1] else row[2], row[3:], tuple(made.get(row[0], ())))
            for row in rows
        ]

    def _derivatives(self, sources: Sequence[int]) -> dict[int, list[Derivative]]:
        if not sources:
            return {}
        if len(sources) == 1:
            rows = self._rows(f"{_DERIVATIVES} WHERE source = ?", sources[0])
        else:
            sql = f"{_DERIVATIVES} WHERE source IN (SELECT value FROM json_each(?))"  # noqa: S608
            rows = self._rows(sql, json.dumps(sources))
        made: dict[int, list[Derivative]] = {}
        for row in rows:
            made.setdefault(row[0], []).append(derivative_from(self._variant_name(row[1]), row[2:]))
        return made

    def _variant_name(self, number: int) -> str:
        if number not in self._variants:
            self._variants = dict(self._rows("SELECT id, name FROM variant"))
        return self._variants[number]
