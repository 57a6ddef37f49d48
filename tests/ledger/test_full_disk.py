"""A ledger whose disk is full at a commit: nothing is lost, nothing is half there, and it goes on where it was."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watcherd.ledger.errors import LedgerError, LedgerFull, translated
from watcherd.ledger.ledger import Ledger
from watcherd.model import Derivative, Entry, Reason, Source, Stamp, State, Verdict

STAMP = Stamp(size_bytes=1, mtime_ns=2, ctime_ns=3, inode=4, nlink=1)


class FullDisk:
    """A connection that does what SQLite does where a commit finds no room: it takes the transaction back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.code = sqlite3.SQLITE_FULL
        self.is_full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.is_full:
            self._connection.execute("ROLLBACK")
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = self.code
            raise error
        return self._connection.execute(sql, values)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db")) as opened:
        opened.root_id(b"/photos")
        opened.commit()
        yield opened


def fill(ledger: Ledger) -> FullDisk:
    disk: Any = FullDisk(ledger._connection)
    disk.is_full = True
    ledger._connection = disk
    return disk  # type: ignore[no-any-return]


def entry(name: bytes, state: State = State.DONE) -> Entry:
    made = Derivative(variant="thumbnail", fingerprint=1, size_bytes=2, mtime_ns=3, width=4, height=5)
    return Entry(source=Source(1, b"a/" + name), state=state, stamp=STAMP, derivatives=(made,))


def seen(ledger: Ledger) -> list[Entry]:
    """What another reader sees."""
    with Ledger.open(ledger.path, read_only=True) as reader:
        return reader.entries(1, b"a")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_a_pass_that_found_no_room_is_written_by_a_later_commit(ledger: Ledger, code: int) -> None:
    verdict = Verdict(digest=b"d" * 32, seen_by=1, quarantined=True, reason=Reason.CRASHED, detail="it crashed")
    ledger.record(entry(b"before.jpg"))
    ledger.commit()
    disk = fill(ledger)
    disk.code = code
    ledger.record(entry(b"new.jpg"))
    ledger.record(entry(b"before.jpg", State.REJECTED))
    ledger.record(entry(b"gone.jpg"))
    ledger.forget(Source(1, b"a/gone.jpg"))
    ledger.put_verdict(verdict)
    ledger.note_variants([("thumbnail", "jpg")])
    for _ in range(3):
        with pytest.raises(LedgerFull):
            ledger.commit()
        assert seen(ledger) == [entry(b"before.jpg")]

    disk.is_full = False
    ledger.commit()
    assert seen(ledger) == [entry(b"before.jpg", State.REJECTED), entry(b"new.jpg")]
    assert ledger.verdict(b"d" * 32) == verdict
    assert ledger.known_variants() == (("thumbnail", "jpg"),)


def test_nothing_else_is_written_while_a_pass_waits(ledger: Ledger) -> None:
    disk = fill(ledger)
    ledger.record(entry(b"new.jpg"))
    with pytest.raises(LedgerFull):
        ledger.commit()
    with pytest.raises(LedgerFull, match="still waits for room"):
        ledger.record(entry(b"other.jpg"))

    disk.is_full = False
    ledger.commit()
    ledger.record(entry(b"other.jpg"))
    ledger.commit()
    assert seen(ledger) == [entry(b"new.jpg"), entry(b"other.jpg")]


def test_what_was_read_while_a_pass_waited_is_not_remembered_after_it(ledger: Ledger) -> None:
    disk = fill(ledger)
    ledger.record(entry(b"new.jpg"))
    with pytest.raises(LedgerFull):
        ledger.commit()
    assert ledger.entry(Source(1, b"a/new.jpg")) is None
    disk.is_full = False
    ledger.commit()

    assert ledger.entry(Source(1, b"a/new.jpg")) == entry(b"new.jpg")
    ledger.record(entry(b"second.jpg"))  # in the folder that was made by the pass that waited
    ledger.commit()
    assert [one.source.name for one in seen(ledger)] == [b"new.jpg", b"second.jpg"]


def test_any_other_error_at_a_commit_drops_the_pass(ledger: Ledger) -> None:
    disk = fill(ledger)
    disk.code = sqlite3.SQLITE_IOERR_FSYNC
    ledger.record(entry(b"new.jpg"))
    with pytest.raises(LedgerError) as raised:
        ledger.commit()
    assert not isinstance(raised.value, LedgerFull)
    disk.is_full = False
    ledger.commit()

    assert seen(ledger) == []


def test_a_used_up_quota_is_a_full_disk() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    assert isinstance(translated(error, "write", "/state/ledger.db"), LedgerFull)
