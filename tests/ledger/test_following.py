"""What the ledger answers about sources that were moved, and what it keeps about the brake."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from watcherd.ledger.ledger import Ledger
from watcherd.ledger.schema import FIRST_SCHEMA
from watcherd.model import Entry, JobClass, Source, Stamp, State

STAMP = Stamp(1234, 1_700_000_000_123_456_789, 1_700_000_001_123_456_789, 77, 1)
DONE = Entry(source=Source(1, b"a/b.jpg"), state=State.DONE, stamp=STAMP, digest=bytes(32))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db")) as opened:
        yield opened


def test_a_file_is_found_again_by_inode_size_and_mtime_whatever_its_ctime_is(ledger: Ledger) -> None:
    gone = replace(DONE, source=Source(2, b"other.jpg"), gone_at_s=5.0)
    others = [STAMP._replace(inode=78), STAMP._replace(size_bytes=1), STAMP._replace(mtime_ns=1)]
    for number, stamp in enumerate(others):
        ledger.record(replace(DONE, source=Source(1, b"%d.jpg" % number), stamp=stamp))
    ledger.record(replace(DONE, source=Source(1, b"pending.jpg"), state=State.PENDING, job_class=JobClass.UPLOAD))
    ledger.record(DONE)
    ledger.record(gone)

    assert ledger.same_file(STAMP._replace(ctime_ns=9, nlink=3)) == [DONE, gone]


@pytest.mark.parametrize("inode", [2**63, 2**64 - 1])
def test_inodes_beyond_64_bits_signed_are_found_as_well(ledger: Ledger, inode: int) -> None:
    entry = replace(DONE, stamp=STAMP._replace(inode=inode))
    ledger.record(entry)

    assert ledger.same_file(STAMP._replace(inode=inode)) == [entry]


def test_a_file_is_found_by_an_index(ledger: Ledger) -> None:
    connection = sqlite3.connect(ledger.path)
    sql = "SELECT * FROM source WHERE inode = 7 AND state = 1 AND size_bytes = 8 AND mtime_ns = 9"
    plan = str(connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall())
    awaited = "SELECT 1 FROM source WHERE state = 0 AND size_bytes = 8 AND gone_at_s IS NULL LIMIT 1"
    plan_awaited = str(connection.execute(f"EXPLAIN QUERY PLAN {awaited}").fetchall())
    connection.close()

    assert "source_inode" in plan
    assert "source_awaited" in plan_awaited


def test_a_size_is_awaited_while_a_source_of_it_is_pending(ledger: Ledger) -> None:
    pending = replace(DONE, state=State.PENDING, job_class=JobClass.UPLOAD)

    assert not ledger.is_awaited(STAMP.size_bytes)
    ledger.record(pending)
    assert ledger.is_awaited(STAMP.size_bytes)
    assert not ledger.is_awaited(STAMP.size_bytes + 1)
    ledger.record(replace(pending, gone_at_s=5.0))
    assert not ledger.is_awaited(STAMP.size_bytes)


def test_a_root_s_brake_is_kept(ledger: Ledger) -> None:
    root = ledger.root_id(b"/photos")

    assert ledger.held_since_s(root) is None
    ledger.set_held_since(root, 5.5)
    assert ledger.held_since_s(root) == 5.5
    ledger.set_held_since(root, None)
    assert ledger.held_since_s(root) is None


def test_gone_sources_are_counted_by_root(ledger: Ledger) -> None:
    for number, gone_at_s in enumerate((None, 1.0, 2.0)):
        ledger.record(replace(DONE, source=Source(1, b"%d" % number), gone_at_s=gone_at_s))

    assert (ledger.count_gone(1), ledger.count_gone(2)) == (2, 0)


def _of_the_first_schema(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in FIRST_SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO root (path, identity) VALUES (X'2F61', 'uuid=1')")
    Database(connection)["_sqlite_migrations"].insert(
        {"migration_set": "watcherd", "name": "m001_first_schema", "applied_at": "2026-01-01"}
    )
    connection.close()


def test_a_ledger_of_the_first_schema_is_brought_up_to_date_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    _of_the_first_schema(path)

    with Ledger.open(str(path)) as ledger:
        assert ledger.roots() == {1: b"/a"}
        assert ledger.held_since_s(1) is None
        ledger.record(DONE)
        assert ledger.same_file(STAMP) == [DONE]
        assert ledger.entry(DONE.source) == DONE


def test_a_ledger_is_copied_before_it_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _of_the_first_schema(path)
    (tmp_path / "ledger.db.before-m002_moves.unfinished").write_bytes(b"of a conversion that was killed")

    Ledger.open(str(path)).close()
    copy = sqlite3.connect(tmp_path / "ledger.db.before-m002_moves")
    assert copy.execute("SELECT path FROM root").fetchall() == [(b"/a",)]
    assert copy.execute("SELECT name FROM _sqlite_migrations").fetchall() == [("m001_first_schema",)]
    copy.close()
    Ledger.open(str(path)).close()
    assert [file.name for file in tmp_path.glob("*.before*")] == ["ledger.db.before-m002_moves"]


def test_a_new_ledger_has_no_copy(tmp_path: Path) -> None:
    Ledger.open(str(tmp_path / "ledger.db")).close()
    Ledger.open(str(tmp_path / "ledger.db")).close()
    assert list(tmp_path.glob("*before*")) == []
