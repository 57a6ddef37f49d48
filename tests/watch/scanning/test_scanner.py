"""The scanner reports what differs between disk and ledger, and never takes a missing disk for deletions."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.ledger.ledger import Ledger
from watcherd.model import THUMBNAIL, Change, ChangeKind, Derivative, Entry, JobClass, Source, Stamp, State
from watcherd.naming import Names, derivative_name, temporary_name
from watcherd.watch.mountpoints import PointSeen
from watcherd.watch.reports import Found, Listed, Manner, ScanEnded, ScannerFailed, ScanResult, Stray
from watcherd.watch.scanning.batches import BATCH_CHANGES
from watcherd.watch.scanning.compare import Wanted
from watcherd.watch.scanning.listing import MOST_FILES
from watcherd.watch.scanning.scanner import UNANSWERED_BATCHES, Pace, Request, Scanner, merged
from watcherd.watch.scanning.walk import Walk
from watcherd.watch.selection import Selection

if TYPE_CHECKING:
    from watcherd.watch.scanning.folder import Reader

PATIENCE_S = 20.0
INSTANCE, RUN, EARLIER_RUN = "0123abcd", "00000002", "00000001"
ROOT = 1
T = TypeVar("T")

WANTED = Wanted(
    recipe_set=1,
    fingerprints={"thumbnail": 11},
    seen_by=5,
    names=Names(known=(("thumbnail", "jpg"), ("preview", "webp"))),
)


def judge(stamp: Stamp, entry: Entry | None, present: Mapping[str, tuple[int, int]], wanted: Wanted) -> State | None:
    """A small stand-in for the plan: same stamp, same seen_by, and every wanted derivative beside it as recorded."""
    if entry is None or entry.stamp != stamp:
        return None
    if entry.state is not State.DONE:
        return entry.state if entry.seen_by == wanted.seen_by or entry.state is State.IGNORED else None
    recorded = {made.variant: (made.size_bytes, made.mtime_ns) for made in entry.derivatives}
    rests = all(variant in recorded and present.get(variant) == recorded[variant] for variant in wanted.fingerprints)
    return State.DONE if rests else None


class Bench:
    """A root, its ledger, and a scanner whose reports are read here."""

    def __init__(self, folder: Path, most_files: int = MOST_FILES) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.ledger_path = str(folder / "ledger")
        self.ledger = Ledger.open(self.ledger_path)
        self.reports: SimpleQueue[object] = SimpleQueue()
        self.wanted = WANTED
        self.reader: Callable[[], Reader] = lambda: Ledger.open(self.ledger_path, read_only=True)
        self.judge: Any = judge
        self.rate = 0
        self.most_files = most_files
        self.selection = Selection()
        self.scanner = self.new_scanner()

    def __enter__(self) -> Self:
        self.scanner.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.scanner.stop()
        assert self.scanner.join(PATIENCE_S)
        self.ledger.close()

    def new_scanner(self) -> Scanner:
        return Scanner(
            ROOT,
            os.fsencode(self.root),
            reader=lambda: self.reader(),  # noqa: PLW0108  (tests replace it later)
            wanted=lambda _: self.wanted,
            judge=lambda *args: self.judge(*args),  # noqa: PLW0108
            why_ignored=lambda path: "hidden" if path.rpartition(b"/")[2].startswith(b".") else None,
            prunes=lambda path: "hidden" if path.rpartition(b"/")[2].startswith(b".") else None,
            post=self.reports.put,
            instance=INSTANCE,
            run=RUN,
            rate=lambda: self.rate,
            selection=lambda: self.selection,
            most_files=self.most_files,
        )

    def file(self, path: str | bytes, content: bytes = b"picture") -> Path:
        target = Path(os.fsdecode(os.path.join(os.fsencode(self.root), os.fsencode(path))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def stamp(self, path: bytes) -> Stamp:
        status = os.lstat(os.path.join(os.fsencode(self.root), path))
        return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_nlink)

    def record(self, path: bytes, state: State = State.DONE, **fields: Any) -> None:
        """Let the ledger know a file as it lies there, with a thumbnail beside it if it is done."""
        derivatives: tuple[Derivative, ...] = ()
        if state is State.DONE:
            thumbnail = self.wanted.names.path_of(path, THUMBNAIL)
            self.file(thumbnail, b"small")
            made = self.stamp(thumbnail)
            derivatives = (
                Derivative(
                    variant="thumbnail", fingerprint=11, size_bytes=5, mtime_ns=made.mtime_ns, width=1, height=1
                ),
            )
        known = {"stamp": self.stamp(path), "seen_by": 5, "derivatives": derivatives} | fields
        self.ledger.record(Entry(source=Source(ROOT, path), state=state, **known))
        self.ledger.commit()

    def done(self, path: bytes) -> None:
        self.file(path)
        self.record(path)

    def next(self, kind: type[T]) -> T:
        """The next report, which has to be of this kind."""
        report = self.reports.get(timeout=PATIENCE_S)
        assert isinstance(report, kind)
        return report

    def scan(self, directory: bytes = b"", **fields: Any) -> "Scan":
        """Run one scan to its end, acknowledging what it reports."""
        self.scanner.request(directory, **fields)
        return self.rest_of_scan()

    def rest_of_scan(self) -> "Scan":
        seen = Scan()
        while True:
            report = self.reports.get(timeout=PATIENCE_S)
            match report:
                case Found():
                    seen.batches.append(report)
                    self.scanner.acknowledge()
                case Listed():
                    seen.listed.append(report)
                case Stray():
                    seen.stray.extend(report.paths)
                case PointSeen():
                    seen.points.append(report)
                case ScanEnded():
                    seen.ended = report
                    return seen
                case _:
                    raise AssertionError(report)

    def settle_listings(self, scan: "Scan") -> None:
        for it in scan.listed:
            self.ledger.set_listing(it.root, it.directory, it.digest, it.done, it.ignored)
        self.ledger.commit()


class Scan:
    """What one scan reported."""

    def __init__(self) -> None:
        self.batches: list[Found] = []
        self.listed: list[Listed] = []
        self.stray: list[bytes] = []
        self.points: list[PointSeen] = []
        self.ended: ScanEnded

    @property
    def changes(self) -> list[Change]:
        return [change for batch in self.batches for change in batch.changes]

    @property
    def found(self) -> list[bytes]:
        return sorted(c.source.path for c in self.changes if c.kind is ChangeKind.FOUND)

    @property
    def deleted(self) -> list[bytes]:
        return sorted(c.source.path for c in self.changes if c.kind is ChangeKind.DELETED)


@pytest.fixture(params=[MOST_FILES, 2], ids=["whole", "paged"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench whose folders are kept in memory as a whole, or read two files at a time."""
    with Bench(tmp_path, request.param) as bench:
        yield bench


# -- what needs a look


def test_new_files_are_found_with_the_stamp_just_seen(bench: Bench) -> None:
    names = [b"a.jpg", b"deep/er/b.jpg", b"deep/not-\xff-text.jpg", b"deep/new\nline.jpg"]
    for name in names:
        bench.file(name)
    scan = bench.scan()
    assert scan.found == sorted(names)
    assert {c.source.path: c.stamp for c in scan.changes} == {name: bench.stamp(name) for name in names}


def test_an_empty_root_is_scanned_to_a_quiet_end(bench: Bench) -> None:
    ended = bench.scan(ticket=7).ended
    assert (ended.ticket, ended.result, ended.directories, ended.sources) == (7, ScanResult.COMPLETE, 1, 0)


def test_resting_sources_are_counted_and_not_reported(bench: Bench) -> None:
    bench.done(b"a.jpg")
    bench.done(b"d/b.jpg")
    bench.file("d/text.txt")
    bench.record(b"d/text.txt", State.IGNORED)
    bench.file("d/bad.jpg")
    bench.record(b"d/bad.jpg", State.REJECTED)
    scan = bench.scan()
    assert (scan.changes, scan.ended.sources, scan.ended.unchanged) == ([], 4, 2)
    assert scan.ended.by_state == {State.DONE: 2, State.IGNORED: 1, State.REJECTED: 1}


def test_a_changed_source_is_found(bench: Bench) -> None:
    bench.done(b"a.jpg")
    bench.file("a.jpg", b"another picture")
    assert bench.scan().found == [b"a.jpg"]


def test_a_source_that_is_back_is_found_though_nothing_else_changed(bench: Bench) -> None:
    bench.done(b"a.jpg")
    bench.record(b"a.jpg", gone_at_s=1.0)
    assert bench.scan().found == [b"a.jpg"]


@pytest.mark.parametrize("harm", [os.unlink, lambda path: os.truncate(path, 1)])
def test_a_missing_or_altered_derivative_makes_its_source_found(bench: Bench, harm: Callable[[Path], None]) -> None:
    bench.done(b"a.jpg")
    harm(bench.root / "a.jpg.thumbnail.jpg")
    assert bench.scan().found == [b"a.jpg"]


def test_the_decision_is_the_judge_s(bench: Bench) -> None:
    asked: list[tuple[Any, ...]] = []
    bench.judge = lambda *args: asked.append(args)
    bench.file("a.jpg")
    thumbnail = bench.file("a.jpg.thumbnail.jpg", b"1234")
    assert bench.scan().found == [b"a.jpg"]
    present = {"thumbnail": (4, thumbnail.stat().st_mtime_ns)}
    assert asked == [(bench.stamp(b"a.jpg"), None, present, WANTED)]


def test_of_two_files_of_one_variant_the_current_kind_counts(bench: Bench) -> None:
    seen: list[Mapping[str, tuple[int, int]]] = []
    bench.judge = lambda _stamp, _entry, present, _wanted: seen.append(present)
    bench.wanted = WANTED._replace(names=Names(known=(("thumbnail", "webp"), ("thumbnail", "jpg"))))
    for name, content in ((b"a.jpg", b"a"), (b"a.jpg.thumbnail.jpg", b"old"), (b"a.jpg.thumbnail.webp", b"newer")):
        bench.file(name, content)
    bench.scan()
    assert [present["thumbnail"][0] for present in seen] == [5]


def test_only_what_lies_in_the_requested_folder_is_scanned(bench: Bench) -> None:
    for name in ("a/x.jpg", "a/b/y.jpg", "ab/z.jpg", "top.jpg"):
        bench.file(name)
    scan = bench.scan(b"a", ticket=3, arriving=JobClass.UPLOAD)
    assert scan.found == [b"a/b/y.jpg", b"a/x.jpg"]
    assert {(batch.ticket, batch.arriving) for batch in scan.batches} == {(3, JobClass.UPLOAD)}


# -- what is no source


def test_derivatives_links_pipes_and_ignored_names_are_no_sources(bench: Bench) -> None:
    bench.file("a.jpg")
    for name in ("a.jpg.thumbnail.jpg", "a.jpg.preview.webp", ".hidden.jpg", ".cache/x.jpg", "d/.git/y.jpg"):
        bench.file(name)
    (bench.root / "link.jpg").symlink_to("a.jpg")
    (bench.root / "folder-link").symlink_to(bench.root)
    os.mkfifo(bench.root / "pipe.jpg")
    scan = bench.scan()
    assert (scan.found, scan.ended.sources) == ([b"a.jpg"], 1)


def test_a_lone_look_alike_is_a_source(bench: Bench) -> None:
    bench.file("a.jpg.thumbnail.jpg")
    bench.file("b.jpg.thumbnail.png")
    assert bench.scan().found == [b"a.jpg.thumbnail.jpg", b"b.jpg.thumbnail.png"]


def test_names_cut_for_their_length_are_known_as_derivatives(bench: Bench) -> None:
    long_name = b"n" * 251 + b".jpg"
    bench.done(long_name)
    assert (bench.root / os.fsdecode(derivative_name(long_name, "thumbnail", "jpg"))).exists()
    scan = bench.scan()
    assert (scan.changes, scan.ended.unchanged) == ([], 1)
    bench.file(b"o" * 232 + b"~0123abcd.thumbnail.jpg")
    assert len(bench.scan().found) == 1


def test_what_a_vanished_source_left_behind_does_not_become_a_source(bench: Bench) -> None:
    bench.done(b"d/a.jpg")
    (bench.root / "d/a.jpg").unlink()
    scan = bench.scan()
    assert (scan.found, scan.deleted) == ([], [b"d/a.jpg"])


def test_temporary_files_of_an_earlier_run_are_reported(bench: Bench) -> None:
    ours = os.fsdecode(temporary_name(INSTANCE, EARLIER_RUN, "0" * 12))
    for name in (
        ours,
        f"d/{ours}",
        temporary_name(INSTANCE, RUN, "0" * 12),
        temporary_name("ffffffff", EARLIER_RUN, "0" * 12),
        ".watcherd-notes",
    ):
        bench.file(name)
    scan = bench.scan()
    assert (sorted(scan.stray), scan.found) == (sorted([ours.encode(), b"d/" + ours.encode()]), [])


def test_times_beyond_64_bits_do_no_harm(bench: Bench) -> None:
    path = bench.file("future.jpg")
    os.utime(path, ns=(2**63 + 10**9, 2**63 + 10**9))
    stamp = bench.stamp(b"future.jpg")
    if stamp.mtime_ns < 2**63:
        pytest.skip("this file system holds no year above 2262")
    assert [c.stamp for c in bench.scan().changes] == [stamp]
    bench.record(b"future.jpg")
    assert bench.scan().changes == []


# -- what is missing


def test_a_source_that_is_missing_is_reported_as_deleted(bench: Bench) -> None:
    for name in (b"a.jpg", b"b.jpg", b"c.jpg"):
        bench.done(name)
    (bench.root / "b.jpg").unlink()
    scan = bench.scan()
    assert (scan.found, scan.deleted, scan.ended.unchanged) == ([], [b"b.jpg"], 2)


def test_a_source_whose_place_a_folder_or_link_took_is_missing(bench: Bench) -> None:
    for name in ("a.jpg", "b.jpg"):
        bench.done(name.encode())
        (bench.root / name).unlink()
    (bench.root / "a.jpg").mkdir()
    (bench.root / "b.jpg").symlink_to("elsewhere")
    assert bench.scan().deleted == [b"a.jpg", b"b.jpg"]


def test_all_that_was_known_in_a_vanished_folder_is_missing(bench: Bench) -> None:
    for name in (b"keep.jpg", b"d/a.jpg", b"d/e/f/b.jpg", b"d2/c.jpg"):
        bench.done(name)
    shutil.rmtree(bench.root / "d")
    scan = bench.scan()
    assert (scan.found, scan.deleted, scan.ended.errors) == ([], [b"d/a.jpg", b"d/e/f/b.jpg"], ())
    assert bench.scan(b"d/e").deleted == [b"d/e/f/b.jpg"]


def test_a_folder_replaced_by_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    bench.done(b"d/a.jpg")
    bench.file("other.jpg")
    (bench.root / "d").rename(tmp_path / "elsewhere")
    (bench.root / "d").symlink_to(tmp_path / "elsewhere")
    assert bench.scan().deleted == [b"d/a.jpg"]
    assert bench.scan(b"d").deleted == [b"d/a.jpg"]


def test_known_sources_whose_names_are_ignored_now_are_not_missing(bench: Bench) -> None:
    bench.file(".shy.jpg")
    bench.record(b".shy.jpg", State.IGNORED)
    bench.file(".cache/x.jpg")
    bench.record(b".cache/x.jpg", State.IGNORED)
    assert bench.scan().changes == []
    assert bench.scan(b".cache").changes == []


@pytest.mark.parametrize("loss", ["absent", "file", "link", "loop"])
def test_a_root_that_cannot_be_opened_deletes_nothing(bench: Bench, loss: str) -> None:
    bench.done(b"d/a.jpg")
    away = bench.root.rename(bench.root.with_name("away"))
    if loss == "file":
        bench.root.write_bytes(b"")
    if loss in {"link", "loop"}:
        bench.root.symlink_to(away if loss == "link" else bench.root)
    scan = bench.scan(ticket=1)
    assert (scan.changes, scan.ended.result) == ([], ScanResult.ROOT_UNREADABLE)
    assert scan.ended.errno != 0
    if bench.root.is_symlink() or bench.root.exists():
        bench.root.unlink()
    away.rename(bench.root)
    assert bench.scan().ended.unchanged == 1


@pytest.mark.parametrize("directory", [b"", b"d"])
def test_a_root_that_is_suddenly_empty_deletes_nothing(bench: Bench, directory: bytes) -> None:
    bench.done(b"a.jpg")
    bench.done(b"d/a.jpg")
    bench.root.rename(bench.root.with_name("away"))
    bench.root.mkdir()
    scan = bench.scan(directory)
    assert (scan.changes, scan.ended.result) == ([], ScanResult.ROOT_EMPTIED)


ANOTHER_FILE_SYSTEM = "uuid=00000000000000000000000000000000 inode=2"


def test_another_file_system_with_nothing_of_what_was_known_deletes_nothing(bench: Bench) -> None:
    """A mount point may have files of its own that show while the disk is away."""
    bench.ledger.root_id(os.fsencode(bench.root))
    bench.done(b"a.jpg")
    bench.done(b"d/b.jpg")
    bench.ledger.set_identity(ROOT, ANOTHER_FILE_SYSTEM)
    bench.ledger.commit()
    bench.root.rename(bench.root.with_name("away"))
    bench.file("NOT_MOUNTED", b"")
    scan = bench.scan()
    assert (scan.changes, scan.ended.result) == ([], ScanResult.ROOT_EMPTIED)


def test_another_file_system_with_what_was_known_is_a_disk_that_was_replaced(bench: Bench) -> None:
    bench.ledger.root_id(os.fsencode(bench.root))
    for name in (b"a.jpg", b"d/b.jpg", b"d/lost.jpg"):
        bench.done(name)
    bench.ledger.set_identity(ROOT, ANOTHER_FILE_SYSTEM)
    bench.ledger.commit()
    os.unlink(bench.root / "d" / "lost.jpg")
    scan = bench.scan()
    assert (scan.deleted, scan.ended.unchanged, scan.ended.result) == ([b"d/lost.jpg"], 2, ScanResult.COMPLETE)


def fail_for(name: bytes, number: int, call: Callable[..., Any]) -> Callable[..., Any]:
    def failing(path: Any, *args: Any, **fields: Any) -> Any:
        if path == name:
            raise OSError(number, os.strerror(number))
        return call(path, *args, **fields)

    return failing


@pytest.mark.parametrize("number", [5, 13, 116])
def test_a_folder_that_cannot_be_read_is_reported_and_deletes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bench.done(b"d/e/a.jpg")
    bench.done(b"x/b.jpg")
    monkeypatch.setattr("watcherd.watch.scanning.walk.os.open", fail_for(b"d", number, os.open))
    scan = bench.scan()
    assert (scan.changes, scan.ended.errors, scan.ended.result) == ([], ((b"d", number),), ScanResult.COMPLETE)
    assert scan.ended.unchanged == 1


def test_a_folder_that_vanishes_during_the_walk_is_no_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.done(b"d/a.jpg")
    bench.file("e/b.jpg")
    monkeypatch.setattr("watcherd.watch.scanning.walk.os.open", fail_for(b"d", 2, os.open))
    scan = bench.scan()
    assert (scan.found, scan.deleted, scan.ended.errors) == ([b"e/b.jpg"], [b"d/a.jpg"], ())


def test_a_file_that_cannot_be_looked_at_is_reported_and_not_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.done(b"d/a.jpg")
    bench.done(b"d/b.jpg")

    class Broken:
        def __init__(self, entry: "os.DirEntry[str]") -> None:
            self.name = entry.name
            self.is_file, self.is_dir = entry.is_file, entry.is_dir

        def stat(self, *, follow_symlinks: bool) -> os.stat_result:
            raise OSError(5, f"Input/output error {follow_symlinks}")

    monkeypatch.setattr(
        "watcherd.watch.scanning.listing.islice",
        lambda entries, *bounds: (
            Broken(each) if getattr(each, "name", None) == "a.jpg" else each for each in list(entries)[: bounds[-1]]
        ),
    )
    scan = bench.scan()
    assert (scan.changes, scan.ended.errors, scan.listed) == ([], ((b"d/a.jpg", 5),), [])


# -- folders that rest


def test_a_folder_that_rests_is_listed_and_its_rows_are_not_read_again(bench: Bench) -> None:
    bench.done(b"d/a.jpg")
    bench.file("d/text.txt")
    bench.record(b"d/text.txt", State.IGNORED)
    bench.file("empty/.litter")
    first = bench.scan()
    assert [(it.directory, it.done, it.ignored) for it in first.listed] == [(b"d", 1, 1)]
    bench.settle_listings(first)
    bench.judge = None  # not callable: a question would end the scanner
    second = bench.scan()
    assert (second.changes, second.listed, second.ended.sources) == ([], [], 2)
    assert second.ended.by_state == first.ended.by_state


@pytest.mark.parametrize(
    "change",
    [
        lambda bench: bench.file("d/new.jpg"),
        lambda bench: bench.file("d/a.jpg", b"other content"),
        lambda bench: (bench.root / "d/a.jpg").unlink(),
        lambda bench: (bench.root / "d/a.jpg.thumbnail.jpg").unlink(),
        lambda bench: (bench.root / "d/a.jpg").rename(bench.root / "d/b.jpg"),
        lambda bench: setattr(bench, "wanted", WANTED._replace(recipe_set=2, fingerprints={"thumbnail": 1, "new": 2})),
    ],
)
def test_a_change_in_a_listed_folder_is_seen(bench: Bench, change: Callable[[Bench], object]) -> None:
    bench.done(b"d/a.jpg")
    bench.settle_listings(bench.scan())
    change(bench)
    assert bench.scan().changes != []


def test_a_folder_with_work_or_failures_is_not_listed(bench: Bench) -> None:
    bench.done(b"d/a.jpg")
    bench.file("d/bad.jpg")
    bench.record(b"d/bad.jpg", State.FAILED)
    bench.done(b"e/a.jpg")
    bench.file("e/new.jpg")
    assert bench.scan().listed == []


def test_where_ctime_and_inode_are_not_kept_they_do_not_count(bench: Bench) -> None:
    bench.wanted = WANTED._replace(keeps_identity=False)
    bench.done(b"d/a.jpg")
    bench.settle_listings(bench.scan())
    bench.judge = None
    os.chmod(bench.root / "d/a.jpg", 0o600)
    assert bench.scan().ended.unchanged == 1


# -- requests and reports


def test_reports_come_in_batches_and_wait_for_the_loop(bench: Bench) -> None:
    for number in range(BATCH_CHANGES * (UNANSWERED_BATCHES + 1) + 1):
        bench.file(f"{number}.jpg", b"")
    bench.scanner.request()
    sizes = [len(bench.next(Found).changes) for _ in range(UNANSWERED_BATCHES)]
    assert sizes == [BATCH_CHANGES] * UNANSWERED_BATCHES
    with pytest.raises(Empty):
        bench.reports.get(timeout=0.05)
    for _ in sizes:
        bench.scanner.acknowledge()
    rest = bench.rest_of_scan()
    assert [len(batch.changes) for batch in rest.batches] == [BATCH_CHANGES, 1]


def test_a_scanner_that_waits_for_the_loop_can_be_stopped(bench: Bench) -> None:
    for number in range(BATCH_CHANGES * UNANSWERED_BATCHES + 1):
        bench.file(f"{number}.jpg", b"")
    bench.scanner.request()
    for _ in range(UNANSWERED_BATCHES):
        bench.next(Found)
    bench.scanner.stop()
    assert bench.scanner.join(PATIENCE_S)
    with pytest.raises(Empty):
        bench.reports.get_nowait()


def test_an_idle_scanner_can_be_stopped(bench: Bench) -> None:
    bench.scanner.stop()
    assert bench.scanner.join(PATIENCE_S)
    assert not bench.scanner.is_alive()


def test_every_ticket_gets_its_own_end(bench: Bench) -> None:
    for ticket in (1, 2, 3):
        bench.scanner.request(ticket=ticket)
    assert [bench.next(ScanEnded).ticket for _ in range(3)] == [1, 2, 3]


def test_a_request_during_a_scan_is_run_after_it(bench: Bench) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        entered.set()
        assert go_on.wait(PATIENCE_S)

    bench.judge = slow
    bench.file("a.jpg")
    bench.scanner.request()
    assert entered.wait(PATIENCE_S)
    for _ in range(3):
        bench.scanner.request()
    go_on.set()
    assert [bench.rest_of_scan().found, bench.rest_of_scan().found] == [[b"a.jpg"], [b"a.jpg"]]
    bench.scanner.stop()
    assert bench.scanner.join(PATIENCE_S)
    with pytest.raises(Empty):
        bench.reports.get_nowait()


def test_a_scanner_that_cannot_read_the_ledger_says_so_and_ends(bench: Bench) -> None:
    bench.reader = lambda: Ledger.open(bench.ledger_path + "-missing", read_only=True)
    bench.scanner.request()
    assert "ledger" in str(bench.next(ScannerFailed).error)
    assert bench.scanner.join(PATIENCE_S)


def wish(directory: bytes, ticket: int | None = None, arriving: JobClass = JobClass.UPLOAD) -> Request:
    return Request(directory, ticket, arriving)


@pytest.mark.parametrize(
    ("waiting", "new", "expected"),
    [
        ([], wish(b"a"), [wish(b"a")]),
        ([wish(b"a")], wish(b"a"), [wish(b"a")]),
        ([wish(b"a")], wish(b"a/b"), [wish(b"a")]),
        ([wish(b"a")], wish(b"ab"), [wish(b"a"), wish(b"ab")]),
        ([wish(b"a/b"), wish(b"c")], wish(b"a"), [wish(b"c"), wish(b"a")]),
        ([wish(b"a/b"), wish(b"c")], wish(b""), [wish(b"")]),
        ([wish(b"", 1)], wish(b"a"), [wish(b"", 1)]),
        ([wish(b"", 1)], wish(b"", 2), [wish(b"", 1), wish(b"", 2)]),
        ([wish(b"a", 1)], wish(b""), [wish(b"a", 1), wish(b"")]),
        ([wish(b"", None, JobClass.BACKLOG)], wish(b"a"), [wish(b"", None, JobClass.BACKLOG), wish(b"a")]),
    ],
)
def test_requests_without_a_ticket_melt_into_one_that_holds_them(
    waiting: list[Request], new: Request, expected: list[Request]
) -> None:
    assert merged(waiting, new) == expected


def test_a_flood_of_requests_becomes_one_for_their_common_folder() -> None:
    waiting = [wish(b"other", 9)]
    for number in range(10_000):
        waiting = merged(waiting, wish(b"new/tree/%d" % number))
    assert waiting == [wish(b"other", 9), wish(b"new/tree")]


# ---------------------------------------------------------------------------------------------------------- sweeps


@pytest.fixture
def swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A root of three folders, all at rest for long, after a full sweep."""
    for path in (b"a.jpg", b"d/b.jpg", b"d/e/c.jpg"):
        bench.done(path)
    now = time.time_ns
    monkeypatch.setattr("watcherd.watch.scanning.walk.time.time_ns", lambda: now() + 3600 * 1_000_000_000)
    bench.settle_listings(bench.scan())
    assert bench.scan(manner=Manner.SWEEP).ended.unchanged == 3
    return bench


class Opened:
    """Which folders a scan reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[bytes] = []
        really = Walk._open

        def opening(walk: Walk, directory: bytes) -> int | None:
            self.names.append(directory)
            return really(walk, directory)

        monkeypatch.setattr(Walk, "_open", opening)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    return Opened(monkeypatch)


def test_a_quick_sweep_reads_no_folder_that_has_not_changed(swept: Bench, opened: Opened) -> None:
    scan = swept.scan(manner=Manner.QUICK_SWEEP)
    assert (scan.changes, opened.names) == ([], [])
    assert (scan.ended.directories, scan.ended.is_quick, scan.ended.result) == (3, True, ScanResult.COMPLETE)


@pytest.mark.parametrize(
    ("change", "found", "deleted"),
    [
        (lambda bench: bench.file("d/e/new.jpg"), [b"d/e/new.jpg"], []),
        (lambda bench: os.unlink(bench.root / "d/b.jpg"), [], [b"d/b.jpg"]),
        (lambda bench: os.unlink(bench.root / "d/b.jpg.thumbnail.jpg"), [b"d/b.jpg"], []),
        (lambda bench: os.rename(bench.root / "d/b.jpg", bench.root / "d/z.jpg"), [b"d/z.jpg"], [b"d/b.jpg"]),
        (lambda bench: bench.file("new/deep/f.jpg"), [b"new/deep/f.jpg"], []),
        (lambda bench: shutil.rmtree(bench.root / "d/e"), [], [b"d/e/c.jpg"]),
        (lambda bench: os.rename(bench.root / "d", bench.root / "x"), [b"x/b.jpg", b"x/e/c.jpg"], [b"d/b.jpg"]),
    ],
)
def test_a_quick_sweep_sees_what_comes_and_goes(
    swept: Bench, change: Callable[[Bench], object], found: list[bytes], deleted: list[bytes]
) -> None:
    change(swept)
    scan = swept.scan(manner=Manner.QUICK_SWEEP)
    assert sorted(scan.found) == sorted(found)
    assert set(deleted) <= set(scan.deleted)


def test_a_quick_sweep_reads_a_changed_folder_and_no_other(swept: Bench, opened: Opened) -> None:
    swept.file("d/new.jpg")
    swept.scan(manner=Manner.QUICK_SWEEP)
    assert opened.names == [b"d"]


def test_a_file_written_in_place_is_left_to_the_full_sweep(swept: Bench) -> None:
    (swept.root / "d" / "b.jpg").write_bytes(b"another picture")
    assert swept.scan(manner=Manner.QUICK_SWEEP).changes == []
    assert swept.scan(manner=Manner.SWEEP).found == [b"d/b.jpg"]


def test_a_folder_with_work_in_it_is_read_by_every_sweep(swept: Bench, opened: Opened) -> None:
    swept.file("d/new.jpg")
    swept.record(b"d/new.jpg", State.FAILED)
    for _ in range(2):
        swept.scan(manner=Manner.QUICK_SWEEP)
    assert opened.names == [b"d", b"d"]


def test_other_wishes_make_a_quick_sweep_a_full_one(swept: Bench, opened: Opened) -> None:
    swept.wanted = WANTED._replace(recipe_set=2)
    swept.scan(manner=Manner.QUICK_SWEEP)
    assert sorted(opened.names) == [b"", b"d", b"d/e"]


def test_a_folder_that_changed_a_moment_ago_is_read_again(bench: Bench, opened: Opened) -> None:
    """A file that came in the same tick of the clock would not show in the folder's times."""
    bench.done(b"a.jpg")
    bench.settle_listings(bench.scan())
    for _ in range(2):
        bench.scan(manner=Manner.QUICK_SWEEP)
    assert opened.names == [b"", b"", b""]


def test_the_age_of_a_folder_s_times_is_that_at_the_beginning_of_its_reading(
    bench: Bench, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_ns, really = [time.time_ns()], Walk._read

    def slowly(walk: Walk, directory: bytes, descriptor: int) -> object:
        clock_ns[0] += 3600 * 1_000_000_000
        return really(walk, directory, descriptor)

    bench.done(b"a.jpg")
    bench.settle_listings(bench.scan())
    opened.names.clear()
    monkeypatch.setattr("watcherd.watch.scanning.walk.time.time_ns", lambda: clock_ns[0])
    monkeypatch.setattr(Walk, "_read", slowly)
    for _ in range(3):
        bench.scan(manner=Manner.QUICK_SWEEP)
    assert opened.names == [b"", b""]


def test_folders_that_have_vanished_are_not_remembered(swept: Bench) -> None:
    shutil.rmtree(swept.root / "d")
    swept.scan(manner=Manner.QUICK_SWEEP)
    assert len(swept.scanner._memory.times) == 1


def test_a_sweep_keeps_its_pace_and_lets_an_urgent_scan_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        bench.file(f"{number}/a.jpg")
    at_it, go_on = threading.Event(), threading.Event()
    waited: list[float] = []

    def let_pass(scanner: Scanner, until_s: float) -> None:
        waited.append(until_s)
        at_it.set()
        assert go_on.wait(PATIENCE_S)
        real(scanner, time.monotonic())

    real = Scanner._let_pass
    monkeypatch.setattr(Scanner, "_let_pass", let_pass)
    bench.rate = 2
    bench.scanner.request(manner=Manner.SWEEP)
    assert at_it.wait(PATIENCE_S)
    bench.scanner.request(b"3", arriving=JobClass.UPLOAD)
    go_on.set()
    first, second = bench.rest_of_scan(), bench.rest_of_scan()
    assert (first.ended.directory, first.found) == (b"3", [b"3/a.jpg"])
    assert (second.ended.directory, second.ended.directories) == (b"", 5)
    distances = [later - earlier for earlier, later in itertools.pairwise(waited)]
    assert min(distances) > 0.9, "two entries a folder, two a second"


@given(st.integers(1, 1_000), st.lists(st.tuples(st.integers(1, 500), st.floats(0, 5)), max_size=30))
def test_a_pace_is_never_exceeded_but_by_one_second_s_worth(rate: int, folders: list[tuple[int, float]]) -> None:
    pace, now, entries = Pace(rate, 0.0), 0.0, 0
    for count, busy_s in folders:
        now += busy_s
        entries += count
        now = max(now, pace.after(count, now))
        assert entries <= rate * (now + 1.0) + 1e-6


def test_without_a_limit_nothing_waits() -> None:
    assert Pace(0, 0.0).after(1_000_000, 5.0) == 5.0


def test_a_sweep_does_not_stand_in_for_what_is_urgent_nor_a_quick_one_for_a_full_one() -> None:
    quick, sweep, now = (wish(b"")._replace(manner=manner) for manner in (Manner.QUICK_SWEEP, Manner.SWEEP, Manner.NOW))
    assert merged([quick], sweep) == [sweep]
    assert merged([sweep], quick) == [sweep]
    assert merged([quick], wish(b"a")) == [quick, wish(b"a")]
    assert merged([quick, sweep], now) == [now]


# ------------------------------------------------------------------------------------------------- .watcherdignore


def test_what_an_ignore_file_names_is_left_alone_from_its_folder_down(bench: Bench) -> None:
    for path in ("a.raw.jpg", "d/b.raw.jpg", "d/c.jpg", "d/private/e.jpg", "private/f.jpg"):
        bench.file(path)
    bench.file("d/.watcherdignore", b"*.raw.jpg\nprivate/\n")
    assert sorted(bench.scan().found) == [b"a.raw.jpg", b"d/c.jpg", b"private/f.jpg"]


@pytest.mark.parametrize("directory", [b"d", b"d/e"])
def test_a_scan_of_a_part_heeds_the_ignore_files_above_it(bench: Bench, directory: bytes) -> None:
    bench.file("d/e/a.jpg")
    bench.file("d/e/b.png")
    bench.file(".watcherdignore", b"*.png")
    assert bench.scan(directory).found == [b"d/e/a.jpg"]


def test_a_folder_that_is_left_alone_is_not_scanned_when_asked_for_by_name(bench: Bench) -> None:
    bench.file("d/e/a.jpg")
    bench.file(".watcherdignore", b"d/")
    for directory in (b"d", b"d/e"):
        assert bench.scan(directory).changes == []


def test_known_sources_that_are_left_alone_now_are_not_missing(bench: Bench) -> None:
    for path in (b"a.jpg", b"d/b.jpg"):
        bench.done(path)
    bench.file(".watcherdignore", b"*.jpg\nd/\n")
    assert bench.scan().changes == []


@pytest.mark.parametrize("manner", [Manner.NOW, Manner.QUICK_SWEEP])
def test_an_ignore_file_that_changes_or_goes_makes_all_below_worth_a_look(swept: Bench, manner: Manner) -> None:
    swept.file("d/e/new.jpg")
    swept.file(".watcherdignore", b"new.jpg")
    assert swept.scan(manner=manner).changes == []
    assert swept.scan(b"d/e").changes == []
    swept.settle_listings(swept.scan())
    (swept.root / ".watcherdignore").unlink()
    assert swept.scan(manner=manner).found == [b"d/e/new.jpg"]


def test_what_a_scan_by_hand_learns_of_an_ignore_file_is_news_to_the_next_sweep(swept: Bench) -> None:
    swept.file("d/e/new.jpg")
    swept.file(".watcherdignore", b"new.jpg")
    swept.settle_listings(swept.scan(manner=Manner.SWEEP))
    assert swept.scan(manner=Manner.SWEEP).changes == []
    (swept.root / ".watcherdignore").unlink()
    swept.wanted = WANTED._replace(recipe_set=2)
    swept.scan(b"d", ticket=7)
    swept.wanted = WANTED
    assert swept.scan(manner=Manner.QUICK_SWEEP).found == [b"d/e/new.jpg"]


# --------------------------------------------------------------------------------------------------- size and age


def test_files_beside_the_limits_of_size_and_age_are_left_alone(bench: Bench) -> None:
    for name, content in (("small.jpg", b"x"), ("right.jpg", b"x" * 5), ("large.jpg", b"x" * 50)):
        bench.file(name, content)
    os.utime(bench.file("old.jpg", b"x" * 5), (1_000_000_000, 1_000_000_000))
    bench.selection = Selection(min_bytes=2, max_bytes=10, max_age_s=86_400.0)
    assert bench.scan().found == [b"right.jpg"]


def test_a_known_source_that_grew_too_old_stays_as_it_is(bench: Bench) -> None:
    bench.done(b"a.jpg")
    bench.selection = Selection(max_age_s=1e-9)
    scan = bench.scan()
    assert (scan.changes, scan.ended.unchanged) == ([], 1)
