"""What the hands of a root do over links: in one that follows them, and in one that does not."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.places import RIGHT, content, item, mounted, names, no_leak, picture, place_at, write
from watcherd.derivatives.publish import Item
from watcherd.model import Disturbed, Ignored, Outcome, Reason, Rejected, Stamp, Vanished
from watcherd.naming import Layout, Names
from watcherd.watch.files import stamp_of
from watcherd.watch.hands.following import Arrived, Carried, Follow, Move, follow
from watcherd.watch.hands.hands import (
    Annotate,
    Fate,
    Fault,
    Fetch,
    Fetched,
    Place,
    Publish,
    Published,
    Refused,
    Remove,
    Removed,
    StatMany,
    Stats,
    carry_out,
    discard,
)
from watcherd.watch.hands.place import is_derivative
from watcherd.watch.hands.reading import fetch, stat_many
from watcherd.watch.hands.tidying import remove
from watcherd.watch.hands.writing import publish
from watcherd.watch.linking import Links, Refusal, Target
from watcherd.watch.links import SEVERED


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root beside an album: `album` leads to that, `one.jpg` to a picture in it."""
    (tmp_path / "album").mkdir()
    write(tmp_path, b"album/a.jpg", picture())
    root = tmp_path / "root"
    root.mkdir()
    (root / "album").symlink_to(tmp_path / "album")
    (root / "one.jpg").symlink_to(tmp_path / "album" / "a.jpg")
    return root


def following(root: Path, **changes: object) -> Place:
    links = Links(follows=True)
    found = os.stat(root / "album")
    target = Target(path=os.fsencode((root / "album").resolve()), device=found.st_dev, inode=found.st_ino)
    links.set(b"album", target)
    return place_at(root, links=links, **changes)


def looks(place: Place, *paths: bytes) -> list[object]:
    reply = stat_many(place, StatMany(ticket=5, paths=paths))
    assert isinstance(reply, Stats)
    return [found for _, found in reply.results]


def stamp(path: Path) -> Stamp:
    return stamp_of(path.stat())


def outcome(place: Place, path: bytes) -> Outcome:
    reply = fetch(place, Fetch(ticket=5, path=path, stamp=None, max_bytes=10_000))
    discard(reply)
    assert isinstance(reply, Refused), reply
    return reply.outcome


def test_a_source_over_a_link_has_the_stamp_of_what_the_link_leads_to(root: Path, tmp_path: Path) -> None:
    expected = stamp(tmp_path / "album" / "a.jpg")
    assert looks(following(root), b"one.jpg", b"album/a.jpg") == [expected, expected]
    assert looks(place_at(root), b"one.jpg", b"album/a.jpg") == [Ignored(kind="link"), Vanished()]


def test_links_that_are_no_sources_are_ignored_by_what_they_are(root: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, target in (("1", tmp_path / "fifo"), ("2", "/dev/null"), ("3", "nothing"), ("4", "4"), ("5", "/")):
        (root / name).symlink_to(target)
    kinds = ["fifo", "device", "dangling_link", "dangling_link", "linked_folder"]
    place = following(root)
    assert looks(place, b"1", b"2", b"3", b"4", b"5") == [Ignored(kind=kind) for kind in kinds]
    assert [outcome(place, name) for name in (b"1", b"2")] == [Ignored(kind="fifo"), Ignored(kind="device")]
    assert outcome(place, b"3") == Disturbed()  # it settles again: it may be back, or it is looked at for the last time


def test_a_picture_is_read_over_links(root: Path) -> None:
    for path in (b"one.jpg", b"album/a.jpg"):
        reply = fetch(following(root), Fetch(ticket=5, path=path, stamp=None, max_bytes=10_000))
        assert isinstance(reply, Fetched)
        assert content(reply.fd) == picture()
        discard(reply)
    assert outcome(place_at(root), b"one.jpg") == Ignored(kind="link")
    assert outcome(place_at(root), b"album/a.jpg") == Vanished()


IS_LOCKED = """
import fcntl, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        sys.exit(path)
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory in which this process has POSIX locks on the ledger's files, as SQLite has."""
    state = tmp_path / "state"
    state.mkdir()
    for name in LEDGER:
        write(state, os.fsencode(name), picture())
    files = [(state / name).open("r+b") for name in LEDGER]
    for file in files:
        fcntl.lockf(file, fcntl.LOCK_EX)
    yield state
    subprocess.run([sys.executable, "-c", IS_LOCKED, *(state / name for name in LEDGER)], check=True, timeout=60)
    for file in files:
        file.close()


LEDGER = ("ledger.db", "ledger.db-wal", "ledger.db-shm")


def test_a_link_to_the_ledger_is_never_opened(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(state, b"damaged.db", picture())
    kept = {(state / name).stat().st_ino for name in (*LEDGER, "damaged.db")}
    opened: list[int] = []
    real = os.open

    def watched(path: bytes, flags: int, *rest: int, **more: int) -> int:
        descriptor = real(path, flags, *rest, **more)
        if os.fstat(descriptor).st_ino in kept and not flags & os.O_PATH:
            opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    place = following(root, ledger=os.fsencode(state / "ledger.db"))
    for name in (*LEDGER, "damaged.db"):
        (root / "hop").symlink_to(state / name)
        bent(root / "one.jpg", "hop")
        assert outcome(place, b"one.jpg") == Ignored(kind="state")
        (root / "hop").unlink()
    assert opened == []


def test_the_ledger_is_known_by_any_other_path(root: Path, state: Path, tmp_path: Path) -> None:
    place = following(root, ledger=os.fsencode(state / "ledger.db"))
    other = tmp_path / "other"
    other.mkdir()
    for name in LEDGER:
        os.link(state / name, other / name)
        bent(root / "one.jpg", other / name)
        assert outcome(place, b"one.jpg") == Ignored(kind="state")


def test_what_says_that_it_is_empty_is_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(os, "pread", lambda descriptor, *_: read.append(descriptor))
    bent(root / "one.jpg", "/proc/self/status")
    write(root, b"empty.jpg", b"")
    assert [outcome(following(root), name) for name in (b"one.jpg", b"empty.jpg")] == [Ignored(kind="empty")] * 2
    assert read == []


def test_what_lies_beside_the_state_directory_is_read_over_links(root: Path, state: Path) -> None:
    place = following(root, ledger=os.fsencode(state / "ledger.db"))
    reply = fetch(place, Fetch(ticket=5, path=b"one.jpg", stamp=None, max_bytes=10_000))
    assert isinstance(reply, Fetched)
    assert content(reply.fd) == picture()
    discard(reply)


def bent(link: Path, target: Path | str) -> None:
    link.unlink()
    link.symlink_to(target)


def test_behind_a_link_that_is_cut_or_bent_nothing_has_vanished(root: Path, tmp_path: Path) -> None:
    place = following(root)
    for target in ("nothing", "/etc"):
        bent(root / "album", target)
        (found,) = looks(place, b"album/a.jpg")
        assert isinstance(found, Fault)
        assert found.errno == SEVERED
        assert outcome(place, b"album/a.jpg") == Disturbed()
        removed = remove(place, Remove(ticket=5, items=((b"album/a.jpg.thumbnail.jpg", 1_000, 1),)))
        assert isinstance(removed, Removed)
        assert removed.results == ((Fate.FAILED, SEVERED),)
    (root / "album").unlink()
    assert looks(place, b"album/a.jpg") == [Vanished()]
    assert names(tmp_path / "album") == {b"a.jpg"}


def test_behind_a_link_that_was_refused_nothing_is(root: Path) -> None:
    place = following(root)
    place.links.set(b"album", Refusal.REACHED)
    assert looks(place, b"album/a.jpg") == [Vanished()]


def published(place: Place, path: bytes, stamp: Stamp, *items: Item) -> object:
    request = Publish(ticket=5, path=path, stamp=stamp, items=items)
    reply = publish(place, request)
    discard(request)
    return reply


def test_derivatives_lie_beside_the_link_or_behind_it(root: Path, tmp_path: Path) -> None:
    found = stamp(tmp_path / "album" / "a.jpg")
    place = following(root)
    for path in (b"one.jpg", b"album/a.jpg"):
        assert isinstance(published(place, path, found, item(path + b".thumbnail.jpg")), Published)
    assert names(root) == {b"album", b"one.jpg", b"one.jpg.thumbnail.jpg"}
    assert names(tmp_path / "album") == {b"a.jpg", b"a.jpg.thumbnail.jpg"}
    assert (tmp_path / "album" / "a.jpg").read_bytes() == picture()
    assert are_derivatives(place, b"one.jpg.thumbnail.jpg", b"one.jpg") == [True, False]


def are_derivatives(place: Place, *in_root: bytes) -> list[bool]:
    descriptor = os.open(place.path, os.O_RDONLY)
    try:
        return [is_derivative(place, descriptor, name) for name in in_root]
    finally:
        os.close(descriptor)


def test_the_derivative_of_a_link_that_leads_nowhere_is_no_source(root: Path) -> None:
    (root / "gone.jpg").symlink_to("nothing")
    (root / "gone.jpg.thumbnail.jpg").write_bytes(picture(RIGHT))
    name = b"gone.jpg.thumbnail.jpg"
    assert [are_derivatives(place, name) for place in (following(root), place_at(root))] == [[True], [False]]


@pytest.mark.parametrize("folder", [b"", b".small"])
def test_nothing_is_written_through_a_link_of_ours(root: Path, tmp_path: Path, folder: bytes) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(picture(RIGHT))
    layouts = (Layout(number=1, folder=folder),) if folder else Names(known=()).layouts
    place = following(root, names=Names(known=(("thumbnail", "jpg"),), layouts=layouts))
    name = b"one.jpg.thumbnail.jpg"
    if folder:
        (root / os.fsdecode(folder)).symlink_to(elsewhere)
    else:
        (root / os.fsdecode(name)).symlink_to(elsewhere / "file")
    path = folder + b"/" + name if folder else name
    reply = published(place, b"one.jpg", stamp(tmp_path / "album" / "a.jpg"), item(path))
    assert isinstance(reply, Published)
    assert (reply.derivatives, reply.taken) == ((), (folder or path,))
    removed = remove(place, Remove(ticket=5, items=((path, 1_000, os.stat(elsewhere / "file").st_mtime_ns),)))
    assert isinstance(removed, Removed)
    assert removed.results[0][0] is not Fate.DONE
    assert names(elsewhere) == {b"file"}


def test_what_is_read_only_behind_a_link_does_not_stop_its_root(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "album"
    with mounted(source, "--bind", os.fspath(source)):
        subprocess.run(["mount", "-o", "remount,bind,ro", source], check=True)
        wanted = Fetch(
            ticket=5,
            path=b"album/a.jpg",
            stamp=None,
            max_bytes=10_000,
            derivatives=(("thumbnail", b"album/a.jpg.thumbnail.jpg"),),
        )
        reply = fetch(following(root), wanted)
        discard(reply)
        assert isinstance(reply, Refused)
        assert isinstance(reply.outcome, Rejected)
        assert reply.outcome.reason is Reason.NOT_PERMITTED


def test_a_note_has_the_mode_of_what_a_link_leads_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "album" / "a.jpg").chmod(0o640)
    carry_out(following(root), Annotate(ticket=5, path=b"one.jpg", text=b"why"))
    (note,) = (name for name in names(root) if b"watcherd-error" in name)
    assert os.stat(os.path.join(os.fsencode(root), note)).st_mode & 0o777 == 0o640


def test_a_link_that_is_renamed_takes_its_derivatives_along(root: Path, tmp_path: Path) -> None:
    found = stamp(tmp_path / "album" / "a.jpg")
    place = following(root)
    reply = published(place, b"one.jpg", found, item(b"one.jpg.thumbnail.jpg"))
    assert isinstance(reply, Published)
    way = (b"one.jpg.thumbnail.jpg", b"two.jpg.thumbnail.jpg")
    carried = Carried(derivative=reply.derivatives[0], mark=RIGHT, ways=(way,))
    (root / "two.jpg").symlink_to(tmp_path / "album" / "a.jpg")
    request = Follow(ticket=5, moves=(Move(old=b"one.jpg", path=b"two.jpg", stamp=found, carried=(carried,)),))
    assert follow(place, request).results == (None,)  # type: ignore[union-attr]  the old one is there still
    (root / "one.jpg").unlink()
    (moved,) = follow(place, request).results  # type: ignore[union-attr]
    assert isinstance(moved, Arrived)
    assert names(root) == {b"album", b"two.jpg", b"two.jpg.thumbnail.jpg"}


def test_a_link_of_which_the_target_moved_has_not_left(root: Path, tmp_path: Path) -> None:
    found = stamp(tmp_path / "album" / "a.jpg")
    (tmp_path / "album" / "a.jpg").rename(root / "a.jpg")
    request = Follow(ticket=5, moves=(Move(old=b"one.jpg", path=b"a.jpg", stamp=stamp(root / "a.jpg"), carried=()),))
    assert follow(following(root), request).results == (None,)  # type: ignore[union-attr]
    assert found.inode == stamp(root / "a.jpg").inode


def test_without_links_a_request_makes_the_calls_that_it_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, b"real.jpg", picture())
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("stat", "open", "fstat", "readlink")}
    for name, call in real.items():
        monkeypatch.setattr(os, name, lambda *a, _n=name, _c=call, **k: (calls.append(_n), _c(*a, **k))[1])
    counted = []
    for place in (place_at(root), following(root)):
        calls.clear()
        looks(place, b"real.jpg")
        counted.append(list(calls))
    assert counted[0] == counted[1]


def test_a_derivative_s_bytes_are_not_read_over_a_link(root: Path) -> None:
    (root / "one.jpg").unlink()
    (root / "one.jpg.thumbnail.jpg").symlink_to("/etc/hostname")
    write(root, b"one.jpg", picture())
    wanted = Fetch(
        ticket=5,
        path=b"one.jpg",
        stamp=None,
        max_bytes=10_000,
        derivatives=(("thumbnail", b"one.jpg.thumbnail.jpg"),),
    )
    reply = fetch(following(root), wanted)
    assert isinstance(reply, Fetched)
    assert [found.mark for found in reply.found] == [None]
    discard(reply)


def at(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, int]]:
    """Device and inode number of what is on a server that is down. A link to it can be looked at: it is in the root."""
    far: set[tuple[int, int]] = set()
    real_stat, real_open = os.stat, os.open

    def stat(*where: bytes, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        found = real_stat(*where, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        if at(found) in far:
            raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))
        return found

    def opening(*how: int, dir_fd: int | None = None) -> int:
        descriptor = real_open(*how, dir_fd=dir_fd)  # type: ignore[call-overload]
        if at(real_stat(descriptor)) in far:
            os.close(descriptor)
            raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))
        return int(descriptor)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "open", opening)
    return far


def test_a_server_that_is_down_behind_a_link_is_no_fault_of_the_root(
    root: Path, tmp_path: Path, far: set[tuple[int, int]]
) -> None:
    place = following(root)
    far.update({at((tmp_path / "album").stat()), at((tmp_path / "album" / "a.jpg").stat())})
    linked, below = looks(place, b"one.jpg", b"album/a.jpg")
    assert linked == Ignored(kind="dangling_link")
    assert isinstance(below, Fault)
    assert below.errno == SEVERED
    assert [outcome(place, path) for path in (b"one.jpg", b"album/a.jpg")] == [Disturbed(), Disturbed()]


def test_so_it_is_where_only_the_file_cannot_be_had(root: Path, tmp_path: Path, far: set[tuple[int, int]]) -> None:
    place = following(root)
    far.add(at((tmp_path / "album" / "a.jpg").stat()))
    linked, below = looks(place, b"one.jpg", b"album/a.jpg")
    assert linked == Ignored(kind="dangling_link")
    assert isinstance(below, Fault)
    assert below.errno == SEVERED
    assert [outcome(place, path) for path in (b"one.jpg", b"album/a.jpg")] == [Disturbed(), Disturbed()]


def test_what_is_behind_no_link_is_the_root_s_own(root: Path, far: set[tuple[int, int]]) -> None:
    (root / "real").mkdir()
    write(root, b"real/a.jpg", picture())
    far.add(at((root / "real" / "a.jpg").stat()))
    for place in (following(root), place_at(root)):
        (found,) = looks(place, b"real/a.jpg")
        assert isinstance(found, Fault)
        assert found.errno == errno.EHOSTDOWN
        assert isinstance(fetch(place, Fetch(ticket=5, path=b"real/a.jpg", stamp=None, max_bytes=10_000)), Fault)


def test_a_root_that_is_lost_with_its_links_has_a_fault(root: Path, tmp_path: Path, far: set[tuple[int, int]]) -> None:
    place = following(root)
    far.update({at((root / "one.jpg").lstat()), at((tmp_path / "album" / "a.jpg").stat())})
    (found,) = looks(place, b"one.jpg")
    assert isinstance(found, Fault)
    assert found.errno == errno.EHOSTDOWN


@contextmanager
def fails_when_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def pread(*_: int) -> bytes:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        yield


def test_a_server_that_is_lost_while_it_is_read_is_no_fault_either(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Fetch(ticket=5, path=b"one.jpg", stamp=None, max_bytes=10_000)
    with fails_when_read(monkeypatch):
        own = fetch(following(root), request)
    assert isinstance(own, Fault)  # it lies on the root's own disk
    with mounted(tmp_path / "share", "-t", "tmpfs", "none") as share:
        write(share, b"a.jpg", picture())
        bent(root / "one.jpg", share / "a.jpg")
        with fails_when_read(monkeypatch):
            assert outcome(following(root), b"one.jpg") == Disturbed()


def test_of_a_real_server_that_is_gone(root: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    try:
        server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"FUSE cannot be had here: {error.strerror}")
    share.mkdir()
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    call = ["mount", "-i", "-t", "fuse", "-o", options, "none", os.fspath(share)]
    done = subprocess.run(call, pass_fds=[server], capture_output=True, text=True, check=False)
    os.close(server)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        bent(root / "one.jpg", share / "a.jpg")
        place = following(root)
        place.links.set(b"share", Target(path=os.fsencode(share), device=1, inode=1))
        (root / "share").symlink_to(share)
        assert looks(place, b"one.jpg") == [Ignored(kind="dangling_link")]
        assert [outcome(place, path) for path in (b"one.jpg", b"share/a.jpg")] == [Disturbed(), Disturbed()]
        (below,) = looks(place, b"share/a.jpg")
        assert isinstance(below, Fault)
        assert below.errno == SEVERED
    finally:
        subprocess.run(["umount", "--lazy", share], check=True)
