"""The ledger keeps what it was told, durably, and finds it again by index."""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watcherd.ledger.errors import (
    LedgerDamaged,
    LedgerError,
    LedgerForeign,
    LedgerFull,
    LedgerMissing,
    LedgerTooNew,
    LedgerTooOld,
)
from watcherd.ledger.ledger import Ledger
from watcherd.ledger.rows import CLASS_CODES, STATE_CODES
from watcherd.ledger.schema import STEPS
from watcherd.model import Derivative, Entry, JobClass, Reason, Source, Stamp, State, Verdict

STAMP = Stamp(1234, 1_700_000_000_123_456_789, 1_700_000_001_123_456_789, 77, 1)
DIGEST = bytes(range(32))
THUMBNAIL = Derivative(variant="thumbnail", fingerprint=-5, size_bytes=900, mtime_ns=3, width=200, height=150)
PREVIEW = Derivative(variant="preview", fingerprint=2**62, size_bytes=9000, mtime_ns=4, width=1200, height=900)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite3")


@pytest.fixture
def ledger(path: str) -> Iterator[Ledger]:
    with Ledger.open(path) as opened:
        yield opened


def done(path: bytes, root: int = 1, **fields: Any) -> Entry:
    known = {"state": State.DONE, "stamp": STAMP, "digest": DIGEST, "derivatives": (THUMBNAIL, PREVIEW)}
    return Entry(source=Source(root, path), **(known | fields))


def pending(path: bytes, sequence: int, root: int = 1, job_class: JobClass = JobClass.BACKLOG, **fields: Any) -> Entry:
    return Entry(
        source=Source(root, path), state=State.PENDING, stamp=STAMP, job_class=job_class, sequence=sequence, **fields
    )


def record_many(ledger: Ledger, count: int) -> None:
    for number in range(count):
        ledger.record(done(b"new/%d.jpg" % number))


def paths(entries: list[Entry]) -> list[bytes]:
    return [entry.source.path for entry in entries]


# -- entries


def test_an_unknown_source_has_no_entry(ledger: Ledger) -> None:
    assert ledger.entry(Source(1, b"a/b.jpg")) is None


def test_an_entry_is_read_as_it_was_written(ledger: Ledger) -> None:
    entry = Entry(
        source=Source(3, b"holiday/\xff\xfe \n.jpg"),
        state=State.FAILED,
        stamp=STAMP,
        digest=DIGEST,
        job_class=JobClass.EDITED,
        sequence=12,
        faults=2,
        interruptions=3,
        in_hand=True,
        reason=Reason.TIMED_OUT,
        detail="took 61 s",
        first_seen_at_s=1.5,
        not_before_at_s=2.25,
        gone_at_s=3.125,
        seen_by=-(2**63),
        width=6000,
        height=4000,
        phash=2**64 - 1,
        dhash=0,
        captured="2008-05-30T15:56:01",
        derivatives=(THUMBNAIL, replace(PREVIEW, layout=3)),
    )
    ledger.record(entry)
    assert ledger.entry(entry.source) == entry


def test_an_entry_of_which_nothing_is_known_is_read_as_it_was_written(ledger: Ledger) -> None:
    entry = Entry(source=Source(1, b"a.jpg"), state=State.PENDING)
    ledger.record(entry)
    assert ledger.entry(entry.source) == entry


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("captured", ["0001-01-01T00:00:00", "1969-07-20T20:17:40", "9999-12-31T23:59:59", ""])
def test_hashes_and_dates_are_kept_to_the_last_bit(ledger: Ledger, number: int, captured: str) -> None:
    entry = done(b"a.jpg", phash=number, dhash=2**64 - 1 - number, captured=captured)
    ledger.record(entry)
    assert ledger.entry(entry.source) == entry


def test_numbers_beyond_64_bits_signed_are_kept(ledger: Ledger) -> None:
    far = Stamp(5, 2**63 + 5, -(2**70), 2**64 - 1, 1)
    entry = done(b"far.jpg", stamp=far, seen_by=2**63, derivatives=(replace(THUMBNAIL, mtime_ns=2**64),))
    ledger.record(entry)
    ledger.commit()
    assert ledger.entry(entry.source) == entry


def test_a_record_replaces_the_derivatives_that_were_known(ledger: Ledger) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.record(done(b"a.jpg", derivatives=(THUMBNAIL,)))
    ledger.record(done(b"b.jpg"))
    assert [entry.derivatives for entry in ledger.entries(1, b"")] == [(THUMBNAIL,), (THUMBNAIL, PREVIEW)]


def test_entries_are_those_directly_in_the_folder_in_the_order_of_names(ledger: Ledger) -> None:
    for path in (b"d/b.jpg", b"d/a.jpg", b"d/e/x.jpg", b"top.jpg", b"d2/y.jpg"):
        ledger.record(done(path))
    ledger.record(done(b"d/other-root.jpg", root=2))
    assert paths(ledger.entries(1, b"d")) == [b"d/a.jpg", b"d/b.jpg"]


def test_entries_come_in_pages(ledger: Ledger) -> None:
    for name in (b"a", b"b", b"c"):
        ledger.record(done(b"d/" + name))
    assert paths(ledger.entries(1, b"d", after=b"a", limit=1)) == [b"d/b"]


def test_a_forgotten_source_leaves_nothing(ledger: Ledger) -> None:
    ledger.record(done(b"deep/er/a.jpg"))
    ledger.forget(Source(1, b"deep/er/a.jpg"))
    ledger.forget(Source(1, b"never/known.jpg"))
    tables = ("source", "derivative", "directory")
    left = [ledger._connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]  # noqa: S608
    assert left == [0, 0, 0]


def test_a_mount_point_is_remembered_when_nothing_is_known_there_any_more(ledger: Ledger) -> None:
    ledger.record(done(b"mnt/card/a.jpg"))
    ledger.set_mount(1, b"mnt/card", "uuid=5")
    ledger.forget(Source(1, b"mnt/card/a.jpg"))
    assert ledger.mounts(1) == {b"mnt/card": "uuid=5"}
    ledger.record(done(b"mnt/card/b.jpg"))
    assert ledger.mounts(1) == {b"mnt/card": "uuid=5"}
    ledger.forget(Source(1, b"mnt/card/b.jpg"))
    ledger.set_mount(1, b"mnt/card", None)
    assert (ledger.mounts(1), ledger._connection.execute("SELECT count(*) FROM directory").fetchone()) == ({}, (0,))


def test_mount_points_are_told_one_by_one_and_below_a_folder(ledger: Ledger) -> None:
    for path in (b"mnt", b"mnt/card", b"mnt/card/deep", b"mnt/card2", b"mnt0"):
        ledger.set_mount(1, path, f"of {path.decode()}")
    ledger.set_mount(2, b"mnt/card/x", "of another root")
    ledger.record(done(b"plain/a.jpg"))
    assert ledger.mounts(1, below=b"mnt/card") == {b"mnt/card/deep": "of mnt/card/deep"}
    assert set(ledger.mounts(1, below=b"mnt")) == {b"mnt/card", b"mnt/card/deep", b"mnt/card2"}
    assert [ledger.mount(1, path) for path in (b"mnt0", b"plain", b"none")] == ["of mnt0", None, None]


def test_a_folder_that_was_forgotten_can_be_known_again(ledger: Ledger) -> None:
    ledger.record(done(b"d/a.jpg"))
    ledger.forget(Source(1, b"d/a.jpg"))
    ledger.record(done(b"d/b.jpg"))
    assert paths(ledger.entries(1, b"d")) == [b"d/b.jpg"]


# -- the pass


def test_a_reader_sees_a_pass_after_its_commit(ledger: Ledger, path: str) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.commit()
    ledger.record(done(b"b.jpg"))
    with Ledger.open(path, read_only=True) as reader:
        assert paths(reader.entries(1, b"")) == [b"a.jpg"]


def test_a_reader_in_another_thread_follows_the_writer(ledger: Ledger, path: str) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.commit()
    seen: list[bytes] = []

    def read() -> None:
        with Ledger.open(path, read_only=True) as reader:
            seen.extend(paths(reader.entries(1, b"")))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(10)
    assert seen == [b"a.jpg"]


def test_what_was_not_committed_is_dropped_at_the_close(path: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.record(done(b"a.jpg"))
        ledger.commit()
        ledger.record(done(b"b.jpg"))
    with Ledger.open(path) as ledger:
        assert paths(ledger.entries(1, b"")) == [b"a.jpg"]


def test_a_commit_without_a_write_writes_nothing(ledger: Ledger, path: str) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.commit()
    before = os.stat(path + "-wal").st_size
    ledger.commit()
    assert os.stat(path + "-wal").st_size == before


def test_a_full_disk_takes_back_the_pass_and_leaves_the_ledger_usable(ledger: Ledger) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.commit()
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerFull):
        record_many(ledger, 1000)
    ledger.commit()
    assert ledger.counts() == {1: {State.DONE: 1}}
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    ledger.record(done(b"new/1.jpg"))
    ledger.commit()
    assert paths(ledger.entries(1, b"new")) == [b"new/1.jpg"]


def test_an_attempt_is_noted_until_its_end_is_recorded(ledger: Ledger) -> None:
    entry = pending(b"a.jpg", 1)
    ledger.record(entry)
    assert ledger.begin_attempt(entry.source)
    assert ledger.in_hand() == [replace(entry, in_hand=True)]
    ledger.record(done(b"a.jpg"))
    assert ledger.in_hand() == []


def test_an_attempt_at_an_unknown_source_is_refused(ledger: Ledger) -> None:
    assert not ledger.begin_attempt(Source(1, b"x/nobody.jpg"))


# -- pending, waiting, gone


def test_pending_sources_come_by_lane_and_sequence(ledger: Ledger) -> None:
    for number in (3, 1, 2, 4):
        ledger.record(pending(b"%d.jpg" % number, number))
    ledger.record(pending(b"upload.jpg", 2, job_class=JobClass.UPLOAD))
    ledger.record(pending(b"other.jpg", 2, root=2))
    ledger.record(done(b"done.jpg", sequence=2, job_class=JobClass.BACKLOG))
    assert paths(ledger.pending(1, JobClass.BACKLOG, 1, 2)) == [b"2.jpg", b"3.jpg"]


def test_pending_sources_that_wait_or_are_gone_are_left_out(ledger: Ledger) -> None:
    ledger.record(pending(b"retry.jpg", 1, not_before_at_s=9.0))
    ledger.record(pending(b"gone.jpg", 2, gone_at_s=9.0))
    assert ledger.pending(1, JobClass.BACKLOG, 0, 10) == []


def test_sequences_go_on_after_a_restart(path: str) -> None:
    with Ledger.open(path) as ledger:
        assert [ledger.next_sequence() for _ in range(2)] == [1, 2]
        ledger.record(pending(b"a.jpg", 40))
        ledger.record(pending(b"b.jpg", 41, not_before_at_s=1.0))
        ledger.record(pending(b"c.jpg", 42, gone_at_s=1.0))
        ledger.commit()
    with Ledger.open(path) as ledger:
        assert ledger.next_sequence() == 43


def test_waiting_sources_come_when_they_are_due(ledger: Ledger) -> None:
    ledger.record(pending(b"later.jpg", 1, not_before_at_s=30.0))
    ledger.record(pending(b"second.jpg", 2, not_before_at_s=20.0))
    ledger.record(Entry(source=Source(1, b"first.jpg"), state=State.INCOMPLETE, not_before_at_s=10.0))
    assert paths(ledger.waiting(20.0)) == [b"first.jpg", b"second.jpg"]
    assert ledger.next_waiting_at_s() == 10.0


def test_nothing_waits_in_a_new_ledger(ledger: Ledger) -> None:
    assert (ledger.waiting(1e12), ledger.next_waiting_at_s(), ledger.gone()) == ([], None, [])


def test_gone_sources_keep_their_state_until_they_are_forgotten(ledger: Ledger) -> None:
    ledger.record(done(b"a.jpg", gone_at_s=5.0))
    ledger.record(done(b"b.jpg", gone_at_s=4.0))
    assert [(entry.source.path, entry.state) for entry in ledger.gone()] == [
        (b"b.jpg", State.DONE),
        (b"a.jpg", State.DONE),
    ]


# -- contents


def test_a_content_is_done_where_any_source_with_it_is_wherever_that_is(ledger: Ledger) -> None:
    ledger.record(pending(b"pending.jpg", 1, digest=DIGEST))
    ledger.record(done(b"alike.jpg", digest=DIGEST[:8] + bytes(24)))
    assert not ledger.is_done(DIGEST)
    ledger.record(done(b"gone.jpg", gone_at_s=1.0))
    assert ledger.is_done(DIGEST)


def test_twins_are_done_sources_with_the_same_content_that_are_still_there(ledger: Ledger) -> None:
    alike = DIGEST[:8] + bytes(24)
    ledger.record(done(b"d/me.jpg"))
    ledger.record(done(b"d/twin.jpg"))
    ledger.record(done(b"me.jpg"))
    ledger.record(done(b"d/me.jpg", root=2))
    ledger.record(done(b"gone.jpg", gone_at_s=1.0))
    ledger.record(done(b"alike.jpg", digest=alike))
    ledger.record(pending(b"pending.jpg", 1, digest=DIGEST))
    found = ledger.twins(DIGEST, excluding=Source(1, b"d/me.jpg"))
    assert sorted(entry.source for entry in found) == [
        Source(1, b"d/twin.jpg"),
        Source(1, b"me.jpg"),
        Source(2, b"d/me.jpg"),
    ]


def test_verdicts_are_put_replaced_and_dropped(ledger: Ledger) -> None:
    first = Verdict(digest=DIGEST, seen_by=2**63 + 1, quarantined=False, reason=Reason.DAMAGED, detail="no end")
    second = replace(first, quarantined=True, seen_by=2, reason=Reason.CRASHED)
    assert ledger.verdict(DIGEST) is None
    ledger.put_verdict(first)
    assert ledger.verdict(DIGEST) == first
    ledger.put_verdict(second)
    assert ledger.verdict(DIGEST) == second
    ledger.drop_verdict(DIGEST)
    assert ledger.verdict(DIGEST) is None


# -- folders


def test_a_listing_holds_until_a_source_of_the_folder_changes(ledger: Ledger) -> None:
    ledger.record(done(b"d/a.jpg"))
    ledger.record(done(b"e/a.jpg"))
    for directory in (b"d", b"e"):
        ledger.set_listing(1, directory, -12, 1, 4)
    ledger.record(done(b"d/a.jpg", width=1))
    assert (ledger.listing(1, b"d"), ledger.listing(1, b"e")) == (None, (-12, 1, 4))
    ledger.forget(Source(1, b"e/other.jpg"))
    assert ledger.listing(1, b"e") is None


def test_a_record_that_changes_nothing_of_substance_can_keep_the_listing(ledger: Ledger) -> None:
    ledger.record(done(b"a.jpg"))
    ledger.set_listing(1, b"", 7, 1, 0)
    ledger.record(done(b"a.jpg", detail="adopted"), keep_listing=True)
    assert ledger.listing(1, b"") == (7, 1, 0)


def test_a_listing_can_be_taken_back(ledger: Ledger) -> None:
    ledger.set_listing(1, b"d", 7, 1, 0)
    ledger.set_listing(1, b"d", None, 0, 0)
    ledger.set_listing(1, b"never", None, 0, 0)
    assert (ledger.listing(1, b"d"), ledger.directories_below(1, b"")) == (None, [b"d"])


def test_a_mount_point_is_remembered_until_it_is_given_up(ledger: Ledger) -> None:
    ledger.set_mount(1, b"a/card", "uuid=1")
    ledger.set_mount(1, b"b", "uuid=2")
    ledger.set_mount(2, b"c", "")
    ledger.set_mount(1, b"b", "uuid=3")
    ledger.record(done(b"a/card/x.jpg"))
    assert (ledger.mounts(1), ledger.mounts(2)) == ({b"a/card": "uuid=1", b"b": "uuid=3"}, {b"c": ""})
    ledger.set_mount(1, b"b", None)
    assert ledger.mounts(1) == {b"a/card": "uuid=1"}


def test_folders_between_known_folders_are_known(ledger: Ledger) -> None:
    for path in (b"a/b/c/x.jpg", b"a/d/x.jpg", b"a.b/x.jpg"):
        ledger.record(done(path))
    assert sorted(ledger.directories_below(1, b"")) == [b"a", b"a.b"]
    assert sorted(ledger.directories_below(1, b"a")) == [b"a/b", b"a/d"]
    assert ledger.directories_below(2, b"") == []


def test_sources_below_a_folder_are_those_under_it_and_no_others(ledger: Ledger) -> None:
    inside = [b"a/1.jpg", b"a/2.jpg", b"a/b/c/x.jpg", b"a/\xff/x.jpg"]
    outside = [b"a.jpg", b"a.b/x.jpg", b"a0/x.jpg", b"\xff\xff/x.jpg"]
    for path in inside + outside:
        ledger.record(done(path))
    assert sorted(ledger.sources_below(1, b"a")) == [Source(1, path) for path in sorted(inside)]
    assert sorted(ledger.sources_below(1, b"")) == [Source(1, path) for path in sorted(inside + outside)]
    assert list(ledger.sources_below(1, b"unknown")) == []


def test_sources_below_a_folder_may_be_forgotten_on_the_way(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.ledger.queries.PAGE_ROWS", 2)
    for number in range(9):
        ledger.record(done(b"d%d/%d.jpg" % (number % 3, number)))
    forgotten = 0
    for source in ledger.sources_below(1, b""):
        ledger.forget(source)
        forgotten += 1
    assert (forgotten, ledger.counts()) == (9, {})


# -- roots, variants, reports


def test_a_root_keeps_its_number(path: str) -> None:
    with Ledger.open(path) as ledger:
        first, second = ledger.root_id(b"/srv/a"), ledger.root_id(b"/srv/\xff")
        ledger.commit()
    with Ledger.open(path) as ledger:
        assert (ledger.root_id(b"/srv/\xff"), ledger.roots()) == (second, {first: b"/srv/a", second: b"/srv/\xff"})


def test_a_root_that_is_dropped_leaves_nothing_and_takes_nothing_of_the_others(ledger: Ledger) -> None:
    first, second = ledger.root_id(b"/srv/a"), ledger.root_id(b"/srv/b")
    for root in (first, second):
        ledger.record(done(b"d/a.jpg", root=root))
        ledger.record(pending(b"d/b.jpg", 5 + root, root=root))
        ledger.set_listing(root, b"d", 7, 1, 0)
    kept = ledger.entry(Source(second, b"d/a.jpg"))
    ledger.drop_root(first)
    ledger.commit()

    assert ledger.roots() == {second: b"/srv/b"}
    assert set(ledger.counts()) == {second}
    assert (ledger.entry(Source(first, b"d/a.jpg")), ledger.listing(first, b"d")) == (None, None)
    assert ledger.directories_below(first, b"") == []
    assert (ledger.entry(Source(second, b"d/a.jpg")), ledger.listing(second, b"d")) == (kept, (7, 1, 0))
    assert [twin.source.root for twin in ledger.twins(DIGEST, excluding=Source(9, b""))] == [second]


def test_variants_are_remembered_in_the_order_of_their_first_use(ledger: Ledger) -> None:
    ledger.note_variants([("thumbnail", "jpg"), ("preview", "jpg")])
    ledger.note_variants([("preview", "webp"), ("thumbnail", "jpg"), ("preview", "webp")])
    assert ledger.known_variants() == (("thumbnail", "jpg"), ("preview", "jpg"), ("preview", "webp"))


def test_failures_and_incomplete_uploads_come_latest_first(ledger: Ledger) -> None:
    ledger.record(done(b"a.jpg", state=State.REJECTED, reason=Reason.DAMAGED))
    ledger.record(done(b"b.jpg", state=State.FAILED, reason=Reason.READ_ERROR))
    ledger.record(done(b"c.jpg", state=State.QUARANTINED, reason=Reason.CRASHED))
    ledger.record(done(b"d.jpg", state=State.INCOMPLETE, reason=Reason.TRUNCATED))
    ledger.record(done(b"a.jpg", state=State.REJECTED, reason=Reason.UNSUPPORTED))
    ledger.record(done(b"b.jpg"))
    assert [(e.source.path, e.reason) for e in ledger.failures(5)] == [
        (b"a.jpg", Reason.UNSUPPORTED),
        (b"d.jpg", Reason.TRUNCATED),
        (b"c.jpg", Reason.CRASHED),
    ]


SOURCES = st.builds(Source, st.integers(1, 2), st.sampled_from([b"a", b"d/a", b"d/b", b"d/e/a"]))


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(SOURCES, st.none() | st.sampled_from(State)), max_size=30))
def test_counts_are_the_sources_by_root_and_state(
    steps: list[tuple[Source, State | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model: dict[Source, State] = {}
    with Ledger.open(str(tmp_path_factory.mktemp("ledger") / "ledger")) as ledger:
        for source, state in steps:
            if state is None:
                model.pop(source, None)
                ledger.forget(source)
            else:
                model[source] = state
                ledger.record(Entry(source=source, state=state))
        flat = Counter({(root, state): n for root, states in ledger.counts().items() for state, n in states.items()})
        assert flat == Counter((source.root, state) for source, state in model.items())
        assert sorted(s for root in (1, 2) for s in ledger.sources_below(root, b"")) == sorted(model)


# -- opening


def test_a_later_version_s_ledger_is_refused(path: str) -> None:
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('watcherd', 'm999_from_tomorrow')")
    connection.commit()
    connection.close()
    for read_only in (False, True):
        with pytest.raises(LedgerTooNew, match="m999_from_tomorrow"):
            Ledger.open(path, read_only=read_only)


def test_an_older_version_s_ledger_is_not_for_readers(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Ledger.open(path).close()
    monkeypatch.setattr("watcherd.ledger.opening.STEPS", (*STEPS, "m007_next"))
    with pytest.raises(LedgerTooOld):
        Ledger.open(path, read_only=True)


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"\xff" * 5000, b"not a database at all" * 300])
def test_a_damaged_ledger_is_refused(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(LedgerDamaged):
            Ledger.open(path, read_only=read_only)
    assert Path(path).read_bytes() == content


def test_damage_inside_shows_when_it_is_read(path: str) -> None:
    with Ledger.open(path) as ledger:
        for number in range(500):
            ledger.record(done(b"%d.jpg" % number))
        ledger.commit()
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: 30 * 4096] + b"\xa5" * (len(whole) - 30 * 4096))
    with Ledger.open(path, read_only=True) as ledger, pytest.raises(LedgerDamaged):
        ledger.entries(1, b"")


def test_another_program_s_database_is_left_alone(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.commit()
    connection.close()
    before = Path(path).read_bytes()
    with pytest.raises(LedgerForeign):
        Ledger.open(path)
    assert Path(path).read_bytes() == before


def test_a_reader_does_not_make_a_ledger(path: str) -> None:
    with pytest.raises(LedgerMissing):
        Ledger.open(path, read_only=True)
    assert not os.path.exists(path)


def test_a_ledger_whose_making_was_cut_short_is_made_again(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)"
    )
    connection.commit()
    connection.close()
    with pytest.raises(LedgerMissing):
        Ledger.open(path, read_only=True)
    with Ledger.open(path) as ledger:
        assert ledger.roots() == {}


def test_a_reader_cannot_write(ledger: Ledger, path: str) -> None:
    ledger.commit()
    with Ledger.open(path, read_only=True) as reader, pytest.raises(LedgerError):
        reader.record(done(b"a.jpg"))


def test_commits_are_durable_against_a_power_cut(ledger: Ledger) -> None:
    pragmas = {
        name: ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_ledger_that_was_unlinked_or_replaced_is_noticed(ledger: Ledger, path: str) -> None:
    assert ledger.is_in_place()
    os.rename(path, path + ".moved")
    assert not ledger.is_in_place()
    Path(path).write_bytes(b"")
    assert not ledger.is_in_place()


def test_odd_file_names_of_the_ledger_itself_work(tmp_path: Path) -> None:
    path = str(tmp_path / "what?is #this%20.db")
    with Ledger.open(path) as ledger:
        ledger.root_id(b"/x")
        ledger.commit()
    with Ledger.open(path, read_only=True) as ledger:
        assert ledger.roots() == {1: b"/x"}


def test_every_state_and_class_has_a_number_of_its_own() -> None:
    assert sorted(STATE_CODES.values()) == list(range(len(State)))
    assert sorted(CLASS_CODES.values()) == list(range(len(JobClass)))


def test_no_question_of_the_hot_path_reads_a_whole_table(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[tuple[str, tuple[Any, ...]]] = []
    ask = ledger._rows
    monkeypatch.setattr(ledger, "_rows", lambda sql, *values: statements.append((sql, values)) or ask(sql, *values))
    ledger.entry(Source(1, b"d/a"))
    ledger.entries(1, b"d")
    ledger.directories_below(1, b"d")
    ledger.twins(DIGEST, excluding=Source(1, b"d/a"))
    ledger.pending(1, JobClass.BACKLOG, 0, 10)
    ledger.in_hand()
    ledger.waiting(5.0)
    ledger.gone()
    ledger.failures(5)
    list(ledger.sources_below(1, b"d"))
    plans = [
        (sql, step[3])
        for sql, values in statements
        for step in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
    ]
    assert len(statements) >= 10
    assert [plan for plan in plans if plan[1].startswith("SCAN") and "USING INDEX" not in plan[1]] == []
    assert [plan for plan in plans if "TEMP B-TREE" in plan[1]] == []


# -- entries from memory


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["record", "begin", "forget", "drop", "commit"]), st.integers(0, 5), st.integers(0, 3)
        ),
        max_size=40,
    )
)
@settings(max_examples=40)
def test_what_is_answered_from_memory_is_what_the_file_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    path = str(tmp_path_factory.mktemp("ledger") / "ledger.sqlite3")
    with Ledger.open(path) as ledger:
        root = ledger.root_id(b"/photos")
        for step, number, variety in steps:
            source = Source(root, b"d%d/%d.jpg" % (number % 2, number))
            match step:
                case "record":
                    ledger.record(done(source.path, root, width=variety, in_hand=variety == 1))
                case "begin":
                    ledger.begin_attempt(source)
                case "forget":
                    ledger.forget(source)
                case "drop":
                    ledger.drop_root(root)
                    root = ledger.root_id(b"/photos")
                case _:
                    ledger.commit()
        ledger.commit()
        with Ledger.open(path, read_only=True) as fresh:
            for number in range(6):
                source = Source(root, b"d%d/%d.jpg" % (number % 2, number))
                assert fresh.entry(source) == ledger.entry(source)


def test_a_pass_that_is_taken_back_is_not_remembered(ledger: Ledger) -> None:
    root = ledger.root_id(b"/photos")
    ledger.record(done(b"a.jpg", root))
    ledger.commit()
    ledger.record(done(b"a.jpg", root, width=7))
    ledger._take_back()

    entry = ledger.entry(Source(root, b"a.jpg"))
    assert entry is not None
    assert entry.width == 0


def test_a_layout_has_the_same_number_at_each_mention_and_none_beside_the_source(ledger: Ledger) -> None:
    one, two = ledger.root_id(b"/a"), ledger.root_id(b"/b")
    mirror, hidden = ledger.layout_id(one, b"/mirror", b""), ledger.layout_id(one, b"", b".derivatives")

    assert ledger.layout_id(one, b"", b"") == 0
    assert ledger.layout_id(one, b"/mirror", b"") == mirror
    assert len({0, mirror, hidden, ledger.layout_id(two, b"/mirror", b"")}) == 4
    assert ledger.layouts(one) == ((hidden, b"", b".derivatives"), (mirror, b"/mirror", b""))


def test_a_dropped_root_takes_its_layouts_with_it(ledger: Ledger) -> None:
    one, two = ledger.root_id(b"/a"), ledger.root_id(b"/b")
    for root in (one, two):
        ledger.layout_id(root, b"", b".derivatives")
    ledger.drop_root(one)

    assert ledger.layouts(one) == ()
    assert len(ledger.layouts(two)) == 1


def test_folders_may_be_nested_deeper_than_calls(ledger: Ledger) -> None:
    deep = b"/".join([b"d"] * 1_900)
    ledger.record(done(deep + b"/a.jpg"))
    ledger.commit()
    assert ledger.entry(Source(1, deep + b"/a.jpg")) is not None
    assert list(ledger.sources_below(1, b"d/d")) == [Source(1, deep + b"/a.jpg")]
