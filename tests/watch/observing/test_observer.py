"""The observer reports what the kernel says about a root, and doubts itself where that is not the whole story."""

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar

import pytest
from watchdog.observers.inotify_c import InotifyEvent

from tests.event_queue import SHORT, short_queue, steady_limit
from tests.places import our_threads
from watcherd.model import Change, ChangeKind, Source
from watcherd.watch.observing.inotify import Reader
from watcherd.watch.observing.observer import Observer
from watcherd.watch.reports import Coverage, Doubt, DoubtReason, Felt, WatchFailed, Watching, WatchTrouble

PATIENCE_S = 20.0
ROOT = 4

T = TypeVar("T")


class Watch:
    """An observer under test, and everything that it said."""

    def __init__(self, root: Path, prunes: Callable[[bytes], object] = lambda _: None, at: bytes = b"") -> None:
        self.root = root
        self.said: SimpleQueue[object] = SimpleQueue()
        self.post: Callable[[object], None] = self.said.put
        self.observer = Observer(
            ROOT,
            os.fsencode(root),
            post=lambda report: self.post(report),  # noqa: PLW0108  (a test replaces it later)
            on_doubt=self.said.put,
            prunes=prunes,
            at=at,
        )

    def start(self) -> None:
        self.observer.start()
        self.until(Watching(root=ROOT))

    def __enter__(self) -> Self:
        if not self.observer.is_alive():
            with steady_limit():
                self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.observer.stop()
        assert self.observer.join(PATIENCE_S)

    def coverage(self) -> Coverage:
        """How many folders are watched, counted anew."""
        self.observer.count()
        return self.next(Coverage)

    def next(self, kind: type[T]) -> T:
        """The next thing of a kind that is said."""
        while True:
            said = self.said.get(timeout=PATIENCE_S)
            if isinstance(said, kind):
                return said

    def until(self, *expected: object) -> list[object]:
        """Wait until all of these were said, in any order; gives all that was said on the way."""
        missing, seen = self._listen(expected)
        assert missing == [], f"said instead: {seen}"
        return seen

    def unsaid(self, *expected: object) -> list[object]:
        """Which of these are not said in time, in any order."""
        return self._listen(expected)[0]

    def _listen(self, expected: Iterable[object]) -> tuple[list[object], list[object]]:
        missing, seen = list(expected), []
        deadline_s = time.monotonic() + PATIENCE_S
        while missing:
            try:
                seen.append(self.said.get(timeout=max(0.0, deadline_s - time.monotonic())))
            except Empty:
                break
            if seen[-1] in missing:
                missing.remove(seen[-1])
        return missing, seen


def change(kind: ChangeKind, path: bytes, previous: bytes | None = None) -> Change:
    return Change(kind=kind, source=Source(ROOT, path), previous=previous)


def doubt(why: DoubtReason, directory: bytes = b"") -> Doubt:
    return Doubt(root=ROOT, directory=directory, why=why)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def watch(root: Path) -> Iterator[Watch]:
    with Watch(root) as watch:
        yield watch


# -- files


def test_a_new_file_is_created_and_closed(watch: Watch) -> None:
    (watch.root / "a.jpg").write_bytes(b"picture")
    assert watch.unsaid(change(ChangeKind.CREATED, b"a.jpg"), change(ChangeKind.CLOSED, b"a.jpg")) == []


def test_reading_a_file_is_not_reported(watch: Watch) -> None:
    (watch.root / "a.jpg").write_bytes(b"picture")
    assert watch.unsaid(change(ChangeKind.CLOSED, b"a.jpg")) == []
    (watch.root / "a.jpg").read_bytes()
    (watch.root / "b.jpg").touch()
    assert watch.until(change(ChangeKind.CLOSED, b"b.jpg")) == [
        change(ChangeKind.CREATED, b"b.jpg"),
        change(ChangeKind.CLOSED, b"b.jpg"),
    ]


def test_a_file_moved_in_is_created(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    (tmp_path / "a.jpg").rename(watch.root / "a.jpg")
    assert watch.unsaid(change(ChangeKind.CREATED, b"a.jpg")) == []


def test_a_hard_link_is_created(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    (watch.root / "a.jpg").hardlink_to(tmp_path / "a.jpg")
    assert watch.unsaid(change(ChangeKind.CREATED, b"a.jpg")) == []


def test_a_rename_within_the_root_says_both_names(watch: Watch) -> None:
    (watch.root / "a.jpg").write_bytes(b"picture")
    (watch.root / "a.jpg").rename(watch.root / "b.jpg")
    assert watch.unsaid(change(ChangeKind.MOVED, b"b.jpg", previous=b"a.jpg")) == []


def test_a_file_deleted_or_moved_out_is_deleted(watch: Watch, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (watch.root / name).write_bytes(b"picture")
    (watch.root / "a.jpg").unlink()
    (watch.root / "b.jpg").rename(tmp_path / "b.jpg")
    assert watch.unsaid(change(ChangeKind.DELETED, b"a.jpg"), change(ChangeKind.DELETED, b"b.jpg")) == []


def test_names_are_the_kernel_s_bytes(watch: Watch) -> None:
    name = b"caf\xe9\n.jpg"
    with open(os.path.join(os.fsencode(watch.root), name), "wb"):
        pass
    assert watch.unsaid(change(ChangeKind.CLOSED, name)) == []


def test_files_that_were_there_before_are_left_to_the_scan(root: Path) -> None:
    (root / "old.jpg").write_bytes(b"picture")
    with Watch(root) as watch:
        (root / "new.jpg").write_bytes(b"picture")
        seen = watch.until(change(ChangeKind.CLOSED, b"new.jpg"))
    assert {each.source.path for each in seen if isinstance(each, Change)} == {b"new.jpg"}


# -- folders


def test_a_new_folder_is_a_doubt_and_is_watched_by_then(watch: Watch) -> None:
    (watch.root / "d").mkdir()
    assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"d")) == []
    (watch.root / "d" / "a.jpg").write_bytes(b"picture")
    assert watch.unsaid(change(ChangeKind.CLOSED, b"d/a.jpg")) == []


def test_every_file_of_a_copied_tree_is_reported_or_lies_in_a_doubtful_folder(watch: Watch, tmp_path: Path) -> None:
    paths = {b"tree/%d/deeper/%d.jpg" % (folder, number) for folder in range(20) for number in range(5)}
    for path in paths:
        target = tmp_path / "from" / os.fsdecode(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"picture")
    subprocess.run(["cp", "-r", str(tmp_path / "from" / "tree"), str(watch.root)], check=True)
    folders = [doubt(DoubtReason.NEW_DIRECTORY, b"tree/%d/deeper" % folder) for folder in range(20)]
    (watch.root / "last.jpg").touch()
    seen = watch.until(doubt(DoubtReason.NEW_DIRECTORY, b"tree"), *folders, change(ChangeKind.CLOSED, b"last.jpg"))
    doubtful = {os.path.join(each.directory, b"") for each in seen if isinstance(each, Doubt)}
    reported = {each.source.path for each in seen if isinstance(each, Change)}
    assert {path for path in paths - reported if not path.startswith(tuple(doubtful))} == set()


def test_a_folder_moved_within_the_root_is_doubted_at_both_places(watch: Watch) -> None:
    (watch.root / "d").mkdir()
    assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"d")) == []
    (watch.root / "d").rename(watch.root / "e")
    assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"e"), doubt(DoubtReason.GONE_DIRECTORY, b"d")) == []
    (watch.root / "e" / "a.jpg").write_bytes(b"picture")
    assert watch.unsaid(change(ChangeKind.CLOSED, b"e/a.jpg")) == []


def test_a_folder_moved_in_with_its_files_is_a_doubt(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "d").rename(watch.root / "d")
    assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"d")) == []
    (watch.root / "d" / "e" / "b.jpg").write_bytes(b"picture")
    assert watch.unsaid(change(ChangeKind.CLOSED, b"d/e/b.jpg")) == []


def test_a_folder_that_leaves_or_is_removed_is_a_doubt(watch: Watch, tmp_path: Path) -> None:
    for name in ("d", "e"):
        (watch.root / name).mkdir()
        assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, name.encode())) == []
    (watch.root / "d").rename(tmp_path / "d")
    (watch.root / "e").rmdir()
    assert watch.unsaid(doubt(DoubtReason.GONE_DIRECTORY, b"d"), doubt(DoubtReason.GONE_DIRECTORY, b"e")) == []


def test_the_watches_are_as_many_as_the_folders(root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    with Watch(root) as watch:
        assert watch.coverage() == Coverage(root=ROOT, watches=3, refused=0)


# -- what is not watched


def ignored(path: bytes) -> str | None:
    return "ignored" if path.rpartition(b"/")[2].startswith((b".", b"@eaDir")) else None


@pytest.fixture
def pruned(root: Path) -> Iterator[Watch]:
    """An observer of a root with ignored trees in it, which it leaves alone."""
    for folder in ("d/@eaDir/a.jpg", ".git/objects/00", "e/f", "e/.hidden"):
        (root / folder).mkdir(parents=True)
    watch = Watch(root, prunes=ignored)
    with watch:
        yield watch


def test_an_ignored_tree_is_never_watched(pruned: Watch) -> None:
    assert pruned.coverage().watches == len(["root", "d", "e", "e/f"])


def test_an_ignored_tree_that_appears_is_neither_watched_nor_a_doubt(pruned: Watch, tmp_path: Path) -> None:
    (tmp_path / "@eaDir" / "deep").mkdir(parents=True)
    (pruned.root / "e" / "@eaDir" / "deep").mkdir(parents=True)
    (tmp_path / "@eaDir").rename(pruned.root / "@eaDir")
    (pruned.root / "last").mkdir()
    seen = pruned.until(doubt(DoubtReason.NEW_DIRECTORY, b"last"))
    assert [each for each in seen if isinstance(each, Doubt)] == [doubt(DoubtReason.NEW_DIRECTORY, b"last")]
    assert pruned.coverage().watches == 5


def test_a_folder_that_was_ignored_by_its_name_and_gets_another_is_watched(pruned: Watch) -> None:
    (pruned.root / "e" / ".hidden").rename(pruned.root / "e" / "shown")
    assert pruned.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"e/shown")) == []
    (pruned.root / "e" / "shown" / "a.jpg").touch()
    assert pruned.unsaid(change(ChangeKind.CLOSED, b"e/shown/a.jpg")) == []


def test_ignored_trees_stay_unwatched_after_an_overflow(root: Path) -> None:
    (root / ".git" / "objects").mkdir(parents=True)
    watch = Watch(root, prunes=ignored)
    with short_queue():
        watch.start()
    with watch:
        overflow(watch)
        assert watch.unsaid(doubt(DoubtReason.OVERFLOW)) == []
        assert watch.coverage().watches == len(["root", "unseen"])


class NoneLeft:
    """A kernel that has so many watches and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, watches: int) -> None:
        self.left = watches
        self._add = Reader._add_callback

        def add(*args: Any) -> Any:
            if not self.left:
                raise OSError(errno.ENOSPC, "inotify watch limit reached")
            self.left -= 1
            return self._add(*args)

        monkeypatch.setattr(Reader, "_add_callback", add)


def test_where_watches_run_out_the_upper_folders_have_them_and_the_others_are_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (root / name / "deep").mkdir(parents=True)
    NoneLeft(monkeypatch, 4)
    watch = Watch(root)
    watch.observer.start()
    assert watch.next(Coverage) == Coverage(root=ROOT, watches=4, refused=3)
    with watch:
        for name in ("a", "b", "c"):
            (root / name / "a.jpg").touch()
        assert watch.unsaid(*(change(ChangeKind.CLOSED, name + b"/a.jpg") for name in (b"a", b"b", b"c"))) == []


def test_a_new_folder_for_which_there_is_no_watch_left_is_told_at_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NoneLeft(monkeypatch, 1)
    with Watch(root) as watch:
        (root / "new").mkdir()
        assert watch.unsaid(Coverage(root=ROOT, watches=1, refused=1), doubt(DoubtReason.NEW_DIRECTORY, b"new")) == []


def test_a_root_for_which_there_is_no_watch_left_cannot_be_watched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    NoneLeft(monkeypatch, 0)
    watch = Watch(root)
    watch.observer.start()
    assert watch.next(WatchFailed).why is WatchTrouble.WATCH_LIMIT


# -- the self-test


def test_the_event_of_a_file_that_is_expected_is_felt_once_and_is_no_change(watch: Watch) -> None:
    watch.observer.expect(b".test.tmp")
    for _ in range(2):
        (watch.root / ".test.tmp").touch()
        (watch.root / ".test.tmp").unlink()
    (watch.root / "last.jpg").touch()
    seen = watch.until(change(ChangeKind.CLOSED, b"last.jpg"))
    created = [each for each in seen if each in (Felt(root=ROOT), change(ChangeKind.CREATED, b".test.tmp"))]
    assert created == [Felt(root=ROOT), change(ChangeKind.CREATED, b".test.tmp")]


def test_a_file_of_that_name_elsewhere_is_not_the_test_s(watch: Watch) -> None:
    (watch.root / "d").mkdir()
    assert watch.unsaid(doubt(DoubtReason.NEW_DIRECTORY, b"d")) == []
    watch.observer.expect(b".test.tmp")
    (watch.root / "d" / ".test.tmp").touch()
    assert Felt(root=ROOT) not in watch.until(change(ChangeKind.CLOSED, b"d/.test.tmp"))


# -- doubts


@pytest.fixture
def short(root: Path) -> Iterator[Watch]:
    """A watched root whose queue overflows soon."""
    watch = Watch(root)
    with short_queue():
        watch.start()
    with watch:
        yield watch


@contextmanager
def nobody_reads(watch: Watch) -> Iterator[None]:
    """The queue fills up in the block: the reader has an event in hand, and stands still over it."""
    reader = watch.observer._reader
    assert reader is not None
    handle, at_it, go_on = reader.handle_event, threading.Event(), threading.Event()

    def slowly(event: InotifyEvent) -> None:
        at_it.set()
        assert go_on.wait(PATIENCE_S)
        handle(event)

    reader.handle_event = slowly  # type: ignore[method-assign]
    (watch.root / "first.jpg").touch()
    assert at_it.wait(PATIENCE_S)
    try:
        yield
    finally:
        reader.handle_event = handle  # type: ignore[method-assign]
        go_on.set()


def overflow(watch: Watch) -> None:
    """More events than the queue holds, once, and a folder among those that are lost."""
    with nobody_reads(watch):
        for number in range(2 * SHORT):
            (watch.root / f"{number}.jpg").touch()
        (watch.root / "unseen").mkdir()


def test_an_overflow_is_a_doubt_once_everything_is_watched_again(short: Watch) -> None:
    overflow(short)
    assert short.unsaid(doubt(DoubtReason.OVERFLOW)) == []
    assert short.coverage() == Coverage(root=ROOT, watches=2, refused=0)
    (short.root / "unseen" / "a.jpg").touch()
    assert short.unsaid(change(ChangeKind.CLOSED, b"unseen/a.jpg")) == []
    assert short.observer.is_alive()


def test_more_folders_than_the_queue_holds_are_watched_again_by_one_overflow(root: Path) -> None:
    for number in range(3 * SHORT):
        (root / f"d{number}").mkdir()
    watch = Watch(root)
    with short_queue():
        watch.start()
    with watch:
        overflow(watch)
        assert watch.unsaid(doubt(DoubtReason.OVERFLOW)) == []
        assert watch.coverage() == Coverage(root=ROOT, watches=3 * SHORT + 2, refused=0)
        (root / "last.jpg").touch()
        seen = watch.until(change(ChangeKind.CLOSED, b"last.jpg"))
        assert [each for each in seen if isinstance(each, Doubt)] == []


def test_folders_that_moved_within_the_root_and_out_of_it_during_an_overflow(root: Path, tmp_path: Path) -> None:
    for name in ("inside", "outside", "deleted"):
        (root / name / "deep").mkdir(parents=True)
    watch = Watch(root)
    with short_queue():
        watch.start()
    with watch:
        with nobody_reads(watch):
            for number in range(2 * SHORT):
                (root / f"{number}.jpg").touch()
            (root / "inside").rename(root / "elsewhere")
            (root / "outside").rename(tmp_path / "outside")
            shutil.rmtree(root / "deleted")
        assert watch.unsaid(doubt(DoubtReason.OVERFLOW)) == []
        assert watch.coverage() == Coverage(root=ROOT, watches=3, refused=0)
        (tmp_path / "outside" / "deep" / "a.jpg").touch()
        (root / "elsewhere" / "deep" / "a.jpg").touch()
        seen = watch.until(change(ChangeKind.CLOSED, b"elsewhere/deep/a.jpg"))
        assert [each for each in seen if isinstance(each, Change) and b"outside" in each.source.path] == []


def test_a_root_that_went_away_in_an_overflow_is_a_doubt_and_the_end(short: Watch, tmp_path: Path) -> None:
    with nobody_reads(short):
        for number in range(2 * SHORT):
            (short.root / f"{number}.jpg").touch()
        short.root.rename(tmp_path / "away")
    while short.next(Doubt).why is not DoubtReason.WATCHER_ENDED:
        pass
    reader = short.observer._reader
    assert reader is not None
    reader.join(PATIENCE_S)
    assert not short.observer.is_alive()


def test_an_overflow_concerns_the_root_it_happened_in(short: Watch, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Watch(tmp_path / "other") as other:
        overflow(short)
        assert short.unsaid(doubt(DoubtReason.OVERFLOW)) == []
        (tmp_path / "other" / "a.jpg").touch()
        seen = other.until(change(ChangeKind.CLOSED, b"a.jpg"))
    assert [each for each in seen if isinstance(each, Doubt)] == []


def test_an_exception_while_reporting_is_a_doubt_and_not_the_end(watch: Watch) -> None:
    def refuse(report: object) -> None:
        if isinstance(report, Change) and report.source.path == b"bad.jpg":
            raise RuntimeError("no room")
        watch.said.put(report)

    watch.post = refuse
    (watch.root / "bad.jpg").touch()
    (watch.root / "good.jpg").touch()
    assert (
        watch.unsaid(
            Doubt(root=ROOT, directory=b"", why=DoubtReason.HANDLER_FAILED, detail="RuntimeError: no room"),
            change(ChangeKind.CLOSED, b"good.jpg"),
        )
        == []
    )
    assert watch.observer.is_alive()


def test_a_removed_root_is_a_doubt_and_the_observer_knows_that_it_is_blind(watch: Watch) -> None:
    assert watch.observer.is_alive()
    shutil.rmtree(watch.root)
    assert watch.unsaid(doubt(DoubtReason.ROOT_DELETED), doubt(DoubtReason.WATCHER_ENDED)) == []
    dispatcher = watch.observer._dispatcher
    assert dispatcher is not None
    for emitter in dispatcher.emitters:
        emitter.join(PATIENCE_S)
    assert (dispatcher.is_alive(), watch.observer.is_alive()) == (True, False)


def test_a_thread_of_watchdog_s_that_dies_is_a_doubt(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    assert watch.observer._dispatcher is not None
    (emitter,) = watch.observer._dispatcher.emitters
    monkeypatch.setattr(emitter, "build_and_queue_event", fail)
    (watch.root / "a.jpg").touch()
    assert (
        watch.unsaid(
            Doubt(
                root=ROOT,
                directory=b"",
                why=DoubtReason.WATCHER_ENDED,
                detail="OSError: [Errno 5] Input/output error",
            )
        )
        == []
    )
    emitter.join(PATIENCE_S)
    assert not watch.observer.is_alive()


@pytest.mark.chaos
def test_an_unmounted_root_is_a_doubt(root: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(root)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"may not mount: {mounted.stderr.decode()}")
    try:
        with Watch(root) as watch:
            subprocess.run(["umount", str(root)], check=True)
            assert watch.unsaid(doubt(DoubtReason.UNMOUNTED)) == []
    finally:
        subprocess.run(["umount", str(root)], capture_output=True, check=False)


# -- start and end


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.symlink_to("root"), WatchTrouble.ROOT_IS_LINK),
        (lambda path: path.write_bytes(b""), WatchTrouble.ROOT_MISSING),
        (lambda _path: None, WatchTrouble.ROOT_MISSING),
    ],
)
def test_a_root_that_cannot_be_watched_is_refused(
    root: Path, make: Callable[[Path], object], why: WatchTrouble
) -> None:
    path = root.with_name("other")
    make(path)
    watch = Watch(path)
    watch.observer.start()
    failed = watch.said.get(timeout=PATIENCE_S)
    assert isinstance(failed, WatchFailed)
    assert (failed.root, failed.why) == (ROOT, why)
    assert watch.observer.join(PATIENCE_S)
    assert not watch.observer.is_alive()


def test_too_many_observers_are_refused_with_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_reader: object) -> int:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr("watcherd.watch.observing.inotify.InotifyFD._create_inotify_fd", refuse)
    watch = Watch(root)
    watch.observer.start()
    failed = watch.said.get(timeout=PATIENCE_S)
    assert isinstance(failed, WatchFailed)
    assert failed.why is WatchTrouble.INSTANCE_LIMIT


def test_a_stopped_observer_says_nothing_and_leaves_no_thread_and_no_descriptor(root: Path) -> None:
    before = our_threads(), inotify_descriptors()
    with Watch(root) as watch:
        (root / "a.jpg").touch()
        assert watch.unsaid(change(ChangeKind.CLOSED, b"a.jpg")) == []
        assert len(inotify_descriptors()) == len(before[1]) + 1
    assert (our_threads(), inotify_descriptors()) == before
    assert not watch.observer.is_alive()
    assert [each for each in drained(watch.said) if isinstance(each, Doubt)] == []


def test_an_observer_that_still_adds_its_watches_is_alive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, at_it, go_on = Observer._begin, threading.Event(), threading.Event()

    def slowly(observer: Observer) -> None:
        at_it.set()
        go_on.wait(PATIENCE_S)
        begin(observer)

    monkeypatch.setattr(Observer, "_begin", slowly)
    watch = Watch(root)
    watch.observer.start()
    assert at_it.wait(PATIENCE_S)
    alive = watch.observer.is_alive()
    go_on.set()
    assert watch.unsaid(Watching(root=ROOT)) == []
    watch.observer.stop()
    assert watch.observer.join(PATIENCE_S)
    assert alive is True


def test_an_observer_may_be_stopped_before_it_watches(root: Path) -> None:
    watch = Watch(root)
    watch.observer.start()
    watch.observer.stop()
    assert watch.observer.join(PATIENCE_S)


def test_worker_programs_do_not_inherit_the_descriptor(watch: Watch) -> None:
    assert watch.observer.is_alive()
    assert [os.get_inheritable(number) for number in inotify_descriptors()] == [False] * len(inotify_descriptors())


def inotify_descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
        if target == "anon_inode:inotify":
            found.append(int(name))
    return sorted(found)


def drained(queue: "SimpleQueue[object]") -> list[object]:
    seen = []
    while not queue.empty():
        seen.append(queue.get())
    return seen


# -- a folder behind a link


def test_what_happens_behind_a_link_has_the_path_over_it(root: Path) -> None:
    asked: list[bytes] = []

    def prunes(path: bytes) -> bool:
        asked.append(path)
        return path == b"in/link/private"

    (root / "deep").mkdir()
    (root / "private").mkdir()
    with Watch(root, prunes, at=b"in/link") as watch:
        assert watch.coverage().watches == 2
        (root / "a.jpg").write_bytes(b"picture")
        (root / "deep" / "b.jpg").write_bytes(b"picture")
        (root / "deep" / "b.jpg").rename(root / "c.jpg")
        (root / "new").mkdir()
        expected = (
            change(ChangeKind.CLOSED, b"in/link/a.jpg"),
            change(ChangeKind.CLOSED, b"in/link/deep/b.jpg"),
            change(ChangeKind.MOVED, b"in/link/c.jpg", previous=b"in/link/deep/b.jpg"),
            doubt(DoubtReason.NEW_DIRECTORY, b"in/link/new"),
        )
        assert watch.unsaid(*expected) == []
    assert {b"in/link/deep", b"in/link/private", b"in/link/new"} <= set(asked)


def test_that_a_folder_behind_a_link_is_deleted_is_no_doubt_of_the_root(root: Path) -> None:
    with Watch(root, at=b"link") as watch:
        root.rmdir()
        seen = watch.until(doubt(DoubtReason.GONE_DIRECTORY, b"link"))
        assert doubt(DoubtReason.ROOT_DELETED) not in seen


def test_events_that_were_lost_behind_a_link_are_a_doubt_of_the_whole(root: Path) -> None:
    """A scan of a folder takes all in that lies there; one of the root takes as much of it as `backfill` says."""
    with Watch(root, at=b"link") as watch:
        reader = watch.observer._reader
        assert reader is not None
        reader._doubt(DoubtReason.OVERFLOW)
        reader._doubt(DoubtReason.UNMOUNTED)
        assert watch.unsaid(doubt(DoubtReason.OVERFLOW), doubt(DoubtReason.GONE_DIRECTORY, b"link")) == []
