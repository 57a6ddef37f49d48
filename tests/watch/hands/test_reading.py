import errno
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.places import (
    RIGHT,
    STALE,
    STRANGE_NAMES,
    as_nobody,
    content,
    is_sealed,
    kind_of,
    no_leak,
    picture,
    place_at,
    public_folder,
    write,
)
from watcherd.model import Disturbed, Ignored, Reason, Rejected, Stamp, Vanished
from watcherd.naming import derivative_name
from watcherd.watch.hands.hands import (
    Collect,
    Collected,
    Fault,
    Fetch,
    Fetched,
    Found,
    Refused,
    StatMany,
    Stats,
    discard,
)
from watcherd.watch.hands.reading import collect, fetch, stat_many
from watcherd.watch.mounts import mount_number


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def looks(path: Path, *paths: bytes, **changes: Any) -> list[object]:
    reply = stat_many(place_at(path, **changes), StatMany(ticket=5, paths=paths))
    assert isinstance(reply, Stats)
    assert [path for path, _ in reply.results] == list(paths)
    return [result for _, result in reply.results]


def request(path: bytes, **changes: Any) -> Fetch:
    return Fetch(**{"ticket": 5, "path": path, "stamp": None, "max_bytes": 10_000_000, **changes})


def outcome(path: Path, wanted: Fetch, **changes: Any) -> object:
    reply = fetch(place_at(path, **changes), wanted)
    discard(reply)
    assert isinstance(reply, Refused), reply
    assert (reply.root, reply.ticket) == (3, 5)
    return reply.outcome


def fetched(path: Path, wanted: Fetch, **changes: Any) -> tuple[Fetched, bytes]:
    """The reply and what is in its memfd, which is closed."""
    reply = fetch(place_at(path, **changes), wanted)
    assert isinstance(reply, Fetched), reply
    assert is_sealed(reply.fd)
    data = content(reply.fd)
    discard(reply)
    return reply, data


# ---------------------------------------------------------------------------------------------------------------- stat


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_file_of_any_name_has_its_stamp(tmp_path: Path, name: bytes) -> None:
    stamp = write(tmp_path, name, b"data")
    assert looks(tmp_path, name) == [stamp]


def test_answers_come_in_the_order_of_asking(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    b, a, z = (write(tmp_path, name, name) for name in (b"b.jpg", b"a.jpg", b"z/a.jpg"))
    assert looks(tmp_path, b"b.jpg", b"z/a.jpg", b"a.jpg", b"b.jpg") == [b, z, a, b]


def test_what_is_no_file_is_ignored_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / "socket"))
    kinds = ["folder", "link", "fifo", "socket"]
    assert looks(tmp_path, *map(str.encode, kinds)) == [Ignored(kind=kind) for kind in kinds]


@pytest.mark.parametrize("path", [b"a.jpg", b"nothing/a.jpg", b"link/real.jpg", b"file/a.jpg", b"x" * 300])
def test_what_cannot_be_reached_below_the_root_has_vanished(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path, b"real/real.jpg", b"data")
    write(tmp_path, b"file", b"data")
    (tmp_path / "link").symlink_to("real")
    assert looks(tmp_path, path) == [Vanished()]


def test_a_derivative_beside_its_source_is_never_a_source(tmp_path: Path) -> None:
    long = b"x" * 255
    cut = derivative_name(long, "preview", "jpg")
    for name in (b"a.jpg", b"a.jpg.thumbnail.jpg", long, cut):
        write(tmp_path, name, b"data")
    assert looks(tmp_path, b"a.jpg.thumbnail.jpg", cut) == [Ignored(kind="derivative")] * 2


def test_a_lone_look_alike_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    cut = derivative_name(b"x" * 255, "preview", "jpg")
    stamps = [write(tmp_path, name, b"data") for name in (b"a.thumbnail.jpg", b"b.preview.jpg", cut)]
    assert looks(tmp_path, b"a.thumbnail.jpg", b"b.preview.jpg", cut) == stamps


def test_a_closed_folder_is_a_fault_of_its_files_alone() -> None:
    with public_folder() as root:
        (root / "closed").mkdir(mode=0o700)
        stamp = write(root, b"a.jpg", b"data")
        write(root, b"closed/a.jpg", b"data")
        if os.geteuid() != 0:
            (root / "closed").chmod(0)
        with as_nobody():
            results = looks(root, b"closed/a.jpg", b"a.jpg")
        (root / "closed").chmod(0o700)
    fault = Fault(root=3, ticket=5, path=b"closed/a.jpg", errno=errno.EACCES, operation="stat")
    assert results[1] == stamp
    assert results[0] in (fault, Fault(root=3, ticket=5, path=fault.path, errno=errno.EACCES, operation="open_folder"))


def test_without_its_root_no_source_has_vanished(tmp_path: Path) -> None:
    gone = stat_many(place_at(tmp_path / "gone"), StatMany(ticket=5, paths=(b"a.jpg",)))
    other = stat_many(place_at(tmp_path, inode=1), StatMany(ticket=5, paths=(b"a.jpg",)))
    assert gone == Fault(root=3, ticket=5, path=b"", errno=errno.ENOENT, operation="open_root")
    assert other == Fault(root=3, ticket=5, path=b"", errno=errno.ESTALE, operation="open_root")


# --------------------------------------------------------------------------------------------------------------- fetch


@pytest.mark.parametrize("name", STRANGE_NAMES)
@pytest.mark.parametrize("size", [100, 65_536, 65_537, 3_000_000])
def test_a_source_arrives_whole(tmp_path: Path, name: bytes, size: int) -> None:
    stamp = write(tmp_path, name, picture(size=size))
    reply, data = fetched(tmp_path, request(name, stamp=stamp))
    assert data == picture(size=size)
    expected = Fetched(root=3, ticket=5, fd=reply.fd, stamp=stamp, has_holes=False, kind="jpeg", found=())
    assert reply == expected


def test_the_access_time_stays(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture())
    os.utime(tmp_path / "a.jpg", ns=(1, 2))
    fetched(tmp_path, request(b"a.jpg"))
    assert (tmp_path / "a.jpg").stat().st_atime_ns == 1


def test_anothers_file_is_read_where_keeping_its_access_time_is_not_permitted() -> None:
    with public_folder() as root:
        write(root, b"a.jpg", picture())
        with as_nobody():
            _, data = fetched(root, request(b"a.jpg"))
    assert data == picture()


def test_holes_are_told(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.write(picture())
        file.truncate(1_000_000)
    reply, data = fetched(tmp_path, request(b"a.jpg"))
    assert (reply.has_holes, len(data)) == (True, 1_000_000)


@pytest.mark.parametrize(("data", "kind"), [(b"", "empty"), (b"GIF but text", "no_picture")])
def test_what_is_no_picture_is_ignored(tmp_path: Path, data: bytes, kind: str) -> None:
    write(tmp_path, b"a.jpg", data)
    assert outcome(tmp_path, request(b"a.jpg", max_bytes=1)) == Ignored(kind=kind)


def test_a_kind_that_cannot_be_decoded_here_is_not_read_whatever_its_size(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture(size=1_001))
    refusal = Rejected(reason=Reason.DECODER_MISSING, detail="an extra is wanted")
    asked: list[str] = []

    def refusal_of(kind: str) -> Rejected:
        asked.append(kind)
        return refusal

    assert outcome(tmp_path, request(b"a.jpg", max_bytes=1_000), refusal_of=refusal_of) == refusal
    assert asked == ["jpeg"]


def test_too_large_a_picture_is_rejected_with_the_number_and_the_setting(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture(size=1_001))
    detail = "1001 bytes, and limits.max_bytes allows 1000"
    expected = Rejected(reason=Reason.TOO_MANY_BYTES, detail=detail)
    assert outcome(tmp_path, request(b"a.jpg", max_bytes=1_000)) == expected


def test_a_file_with_our_mark_is_a_derivative_under_any_name(tmp_path: Path) -> None:
    write(tmp_path, b"holiday.jpg", picture(RIGHT))
    assert outcome(tmp_path, request(b"holiday.jpg")) == Ignored(kind="derivative")


def test_a_foreign_file_at_a_derivatives_name_is_no_source(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture())
    write(tmp_path, b"a.jpg.preview.jpg", picture())
    assert outcome(tmp_path, request(b"a.jpg.preview.jpg")) == Ignored(kind="derivative")


def test_nothing_but_files_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    found = [outcome(tmp_path, request(name)) for name in (b"fifo", b"link", b"folder")]
    assert found == [Ignored(kind="fifo"), Ignored(kind="link"), Ignored(kind="folder")]


def test_a_device_is_not_opened(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "a.jpg", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device is not permitted here")
    assert outcome(tmp_path, request(b"a.jpg")) == Ignored(kind="device")


@pytest.mark.parametrize("path", [b"a.jpg", b"nothing/a.jpg", b"link/real.jpg"])
def test_what_is_not_there_has_vanished(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path, b"real/real.jpg", picture())
    (tmp_path / "link").symlink_to("real")
    assert outcome(tmp_path, request(path)) == Vanished()


@pytest.mark.parametrize("field", ["size_bytes", "mtime_ns", "ctime_ns", "inode"])
def test_another_stamp_than_expected_is_disturbed(tmp_path: Path, field: str) -> None:
    stamp = write(tmp_path, b"a.jpg", picture())
    other = Stamp(**{**stamp._asdict(), field: 1})
    assert outcome(tmp_path, request(b"a.jpg", stamp=other)) == Disturbed()


def test_another_inode_is_nothing_where_inodes_are_not_kept(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", picture())
    reply, _ = fetched(tmp_path, request(b"a.jpg", stamp=stamp._replace(inode=1, ctime_ns=1)), keeps_identity=False)
    assert reply.stamp == stamp


@pytest.mark.parametrize("size", [500, 2_000])
def test_a_source_that_changes_while_it_is_read_is_disturbed(tmp_path: Path, size: int) -> None:
    def meddling(head: bytes) -> str | None:
        os.truncate(tmp_path / "a.jpg", size)
        return kind_of(head)

    write(tmp_path, b"a.jpg", picture())
    assert outcome(tmp_path, request(b"a.jpg"), kind_of=meddling) == Disturbed()


def test_a_source_that_a_file_server_holds_for_its_client_is_disturbed(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture())
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    holder = os.open(tmp_path / "a.jpg", os.O_RDWR)
    try:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert outcome(tmp_path, request(b"a.jpg")) == Disturbed()
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, before)


def test_an_unreadable_source_is_rejected_with_the_reason() -> None:
    with public_folder() as root:
        write(root, b"a.jpg", picture())
        (root / "a.jpg").chmod(0)
        with as_nobody():
            found = outcome(root, request(b"a.jpg"))
    assert isinstance(found, Rejected)
    assert found.reason == Reason.NOT_PERMITTED
    assert found.detail.startswith("open: Permission denied (this process is user ")


def test_an_absent_root_is_a_fault(tmp_path: Path) -> None:
    reply = fetch(place_at(tmp_path / "gone"), request(b"a.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.ENOENT, operation="open_root")


def test_what_stands_at_the_derivatives_names_is_told(tmp_path: Path) -> None:
    write(tmp_path, b"a.jpg", picture())
    (tmp_path / "link").symlink_to("/etc/passwd")
    stamps = {
        name: write(tmp_path, name, data)
        for name, data in ((b"right", picture(RIGHT)), (b"stale", picture(STALE)), (b"foreign", b"notes"))
    }
    paths = (b"right", b"missing", b"stale", b"nowhere/at/all", b"foreign", b"link")
    derivatives = tuple((path.decode(), path) for path in paths)
    reply, _ = fetched(tmp_path, request(b"a.jpg", derivatives=derivatives))
    seen = [(found.variant, found.mark) for found in reply.found]
    assert seen == [("right", RIGHT), ("stale", STALE), ("foreign", None), ("link", None)]
    size, mtime_ns = stamps[b"right"][:2]
    assert reply.found[0] == Found(variant="right", path=b"right", mark=RIGHT, size_bytes=size, mtime_ns=mtime_ns)


# ------------------------------------------------------------------------------------------------------------- collect


def test_a_twins_derivatives_come_as_sealed_memory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, b"sub/a", picture(RIGHT, size=200_000))
    write(tmp_path, b"b", picture(STALE))
    items = ((b"sub/a", RIGHT, 200_000), (b"b", STALE, 1_000))
    reply = collect(place_at(tmp_path), Collect(ticket=5, items=items))
    assert isinstance(reply, Collected)
    data = [content(fd) for fd in reply.fds if fd is not None and is_sealed(fd)]
    discard(reply)
    assert data == [picture(RIGHT, size=200_000), picture(STALE)]


def test_on_the_takers_mount_the_files_themselves_are_brought(tmp_path: Path) -> None:
    write(tmp_path, b"a", picture(RIGHT))
    with (tmp_path / "a").open("rb") as file:
        mount = mount_number(file.fileno())
    reply = collect(place_at(tmp_path), Collect(ticket=5, items=((b"a", RIGHT, 1_000),), mount=mount))
    assert isinstance(reply, Collected)
    (descriptor,) = reply.fds
    assert descriptor is not None
    assert os.path.samestat(os.fstat(descriptor), os.stat(tmp_path / "a"))
    discard(reply)


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_twins_derivative_that_somebody_edited_is_not_brought(tmp_path: Path, *, is_shared: bool) -> None:
    write(tmp_path, b"a", picture(RIGHT, size=1_001))
    with (tmp_path / "a").open("rb") as file:
        mount = mount_number(file.fileno()) if is_shared else None
    reply = collect(place_at(tmp_path), Collect(ticket=5, items=((b"a", RIGHT, 1_000),), mount=mount))
    assert reply == Collected(root=3, ticket=5, fds=(None,))


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_does_not_carry_its_mark_is_not_collected(tmp_path: Path, *, is_shared: bool) -> None:
    write(tmp_path, b"stale", picture(STALE))
    with (tmp_path / "stale").open("rb") as file:
        mount = mount_number(file.fileno()) if is_shared else None
    write(tmp_path, b"foreign", picture())
    write(tmp_path, b"empty", b"")
    (tmp_path / "link").symlink_to("stale")
    os.mkfifo(tmp_path / "fifo")
    paths = (b"stale", b"foreign", b"empty", b"link", b"fifo", b"missing", b"no/where")
    items = tuple((path, RIGHT, 1_000) for path in paths)
    reply = collect(place_at(tmp_path), Collect(ticket=5, items=items, mount=mount))
    assert reply == Collected(root=3, ticket=5, fds=(None,) * 7)


def test_no_descriptors_are_left_where_the_system_has_no_more(tmp_path: Path) -> None:
    write(tmp_path, b"a", picture(RIGHT))
    wish = Collect(ticket=5, items=((b"a", RIGHT, 1_000),) * 1_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        reply = collect(place_at(tmp_path), wish)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(reply, Fault)
    assert reply.errno == errno.EMFILE
