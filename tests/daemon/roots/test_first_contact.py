"""What the first look at a root leaves out, and what becomes of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from watcherd.daemon.effects import Moment, WatchedRoot
from watcherd.daemon.roots.first_contact import taken
from watcherd.daemon.statedir import StateDirectory
from watcherd.ledger.ledger import Ledger
from watcherd.model import Change, ChangeKind, JobClass, Source, Stamp, State
from watcherd.naming import Names
from watcherd.queue.plan import LEFT_OUT, Do, DoReason, Skip, plan
from watcherd.settings import RootSettings
from watcherd.watch.reports import Found

SINCE_S = 1_000.0
NOW = Moment(now=1.0, wall_s=2_000.0)
OLD = Stamp(size_bytes=1, mtime_ns=5 * 10**9, ctime_ns=5 * 10**9, inode=1, nlink=1)
ROOT = WatchedRoot(
    number=1,
    path=b"/photos",
    settings=RootSettings(path="/photos", backfill="none"),
    variants=(),
    names=Names(known=()),
    since_s=SINCE_S,
)


def found(*paths: bytes, stamp: Stamp = OLD, ticket: int | None = None, arriving: JobClass = JobClass.BACKLOG) -> Found:
    changes = tuple(Change(kind=ChangeKind.FOUND, source=Source(1, path), stamp=stamp) for path in paths)
    return Found(root=1, changes=changes, ticket=ticket, arriving=arriving)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(str(tmp_path / "ledger.db")) as opened:
        opened.root_id(b"/photos")
        yield opened


def test_what_is_left_out_is_remembered(ledger: Ledger) -> None:
    assert taken(found(b"a.jpg"), ROOT, ledger, NOW) == ()
    entry = ledger.entry(Source(1, b"a.jpg"))
    assert entry is not None
    assert (entry.state, entry.detail, entry.stamp) == (State.IGNORED, LEFT_OUT, OLD)


def test_what_came_during_the_first_look_is_done(ledger: Ledger) -> None:
    new = found(b"a.jpg", stamp=OLD._replace(ctime_ns=int((SINCE_S + 1) * 1e9)))
    assert taken(new, ROOT, ledger, NOW) == new.changes


def test_after_the_first_look_every_new_name_is_an_upload_whatever_its_times(ledger: Ledger) -> None:
    ledger.set_identity(1, "uuid=1")
    assert taken(found(b"moved/in.jpg"), ROOT, ledger, NOW) == found(b"moved/in.jpg").changes


@pytest.mark.parametrize(("ticket", "arriving"), [(7, JobClass.BACKLOG), (None, JobClass.UPLOAD)])
def test_what_is_asked_for_and_what_comes_in_a_new_folder_is_done(
    ledger: Ledger, ticket: int | None, arriving: JobClass
) -> None:
    asked = found(b"a.jpg", ticket=ticket, arriving=arriving)
    assert taken(asked, ROOT, ledger, NOW) == asked.changes


def test_a_known_source_is_never_left_out(ledger: Ledger) -> None:
    taken(found(b"a.jpg"), ROOT, ledger, NOW)
    again = found(b"a.jpg", stamp=OLD._replace(size_bytes=2))
    assert taken(again, ROOT, ledger, NOW) == again.changes


def judged(stamp: Stamp, ledger: Ledger) -> Skip | Do:
    entry = ledger.entry(Source(1, b"a.jpg"))
    return plan(stamp, entry, fingerprints={"thumbnail": 1}, present={}, seen_by=9, keeps_identity=True)


def test_other_permissions_are_no_upload_and_another_content_is(ledger: Ledger) -> None:
    taken(found(b"a.jpg"), ROOT, ledger, NOW)
    chmodded = judged(OLD._replace(ctime_ns=9 * 10**12), ledger)
    assert isinstance(chmodded, Do)
    assert chmodded.reason is DoReason.LEFT_OUT
    edited = judged(OLD._replace(size_bytes=2), ledger)
    assert isinstance(edited, Do)
    assert edited.reason is DoReason.CONTENT


def test_the_first_contact_survives_the_ledger(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path))
    assert state.first_contact(b"/a\xff", 1.5) == 1.5
    assert state.first_contact(b"/b", 2.5) == 2.5
    assert StateDirectory(str(tmp_path)).first_contact(b"/a\xff", 99.0) == 1.5
    for damaged in ("{", "[1]", "null", '{"/a\\udcff": "soon"}'):
        (tmp_path / "first-contact.json").write_text(damaged)
        assert state.first_contact(b"/a\xff", 7.0) == 7.0


def test_all_leaves_nothing_out(ledger: Ledger) -> None:
    everything = replace(ROOT, settings=RootSettings(path="/photos"))
    assert taken(found(b"a.jpg"), everything, ledger, NOW) == found(b"a.jpg").changes
