import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import (
    RIGHT,
    STALE,
    as_nobody,
    item,
    memory,
    mounted,
    names,
    no_leak,
    picture,
    place_at,
    public_folder,
    read,
    write,
)
from watcherd.derivatives.publish import Item
from watcherd.model import Disturbed, Failed, Reason, Rejected, Stamp, Vanished
from watcherd.naming import derivative_name
from watcherd.watch.hands.hands import Fault, Place, Probe, Probed, Publish, Published, Refused, discard
from watcherd.watch.hands.writing import probe, publish


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def publish_in(place: Place, path: bytes, stamp: Stamp, *items: Item) -> object:
    request = Publish(ticket=5, path=path, stamp=stamp, items=items)
    reply = publish(place, request)
    discard(request)
    return reply


def refused(outcome: object, number: int = 0) -> Refused:
    return Refused(root=3, ticket=5, outcome=outcome, errno=number)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- publish


def test_derivatives_are_published_beside_their_source(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    stamp = write(tmp_path, b"sub/a.jpg", b"source")
    reply = publish_in(place_at(tmp_path), b"sub/a.jpg", stamp, item(b"sub/a.jpg.thumbnail.jpg"))
    assert isinstance(reply, Published)
    assert (reply.root, reply.ticket, reply.adopted, reply.taken) == (3, 5, (), ())
    assert [(one.variant, one.width, one.height) for one in reply.derivatives] == [("thumbnail", 200, 150)]
    assert read(tmp_path, b"sub/a.jpg.thumbnail.jpg") == picture(RIGHT)


def test_the_longest_name_has_derivatives_too(tmp_path: Path) -> None:
    name = b"\xe9\n" + b"x" * 253
    stamp = write(tmp_path, name, b"source")
    derivative = derivative_name(name, "thumbnail", "jpg")
    assert isinstance(publish_in(place_at(tmp_path), name, stamp, item(derivative)), Published)
    assert names(tmp_path) == {name, derivative}


def test_a_name_that_the_file_system_does_not_take_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    reply = publish_in(place_at(tmp_path), b"a.jpg", stamp, item(b"t" * 300 + b".jpg"))
    assert isinstance(reply, Refused)
    assert isinstance(reply.outcome, Failed)
    assert (reply.outcome.reason, reply.errno) == (Reason.WRITE_ERROR, errno.ENAMETOOLONG)
    assert reply.outcome.detail.endswith("File name too long")
    assert names(tmp_path) == {b"a.jpg"}


def test_a_source_that_is_another_now_gets_nothing(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    write(tmp_path, b"a.jpg", b"edited")
    os.utime(tmp_path / "a.jpg", ns=(0, stamp.mtime_ns))  # ctime tells nevertheless
    assert publish_in(place_at(tmp_path), b"a.jpg", stamp, item(b"t.jpg")) == refused(Disturbed())
    assert names(tmp_path) == {b"a.jpg"}


def test_a_source_that_is_gone_gets_nothing(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    (tmp_path / "a.jpg").unlink()
    assert publish_in(place_at(tmp_path), b"a.jpg", stamp, item(b"t.jpg")) == refused(Vanished())
    assert names(tmp_path) == set()


def test_a_folder_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    for folder in ("sub", "victim"):
        (tmp_path / folder).mkdir()
    stamp = write(tmp_path, b"sub/a.jpg", b"source")
    (tmp_path / "sub" / "a.jpg").rename(tmp_path / "victim" / "a.jpg")
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").symlink_to("victim")
    reply = publish_in(place_at(tmp_path, keeps_identity=False), b"sub/a.jpg", stamp, item(b"sub/t.jpg"))
    assert isinstance(reply, Refused)
    assert reply.outcome == Vanished()
    assert names(tmp_path / "victim") == {b"a.jpg"}


def test_what_is_no_sealed_memory_is_the_workers_failure(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    fd = memory(picture(RIGHT), sealed=False)
    bad = Item(variant="preview", path=b"p.jpg", fd=fd, mark=RIGHT, width=1, height=1)
    detail = "preview: what the worker handed back is no sealed memory file"
    outcome = Failed(reason=Reason.DECODER_ERROR, detail=detail)
    assert publish_in(place_at(tmp_path), b"a.jpg", stamp, item(b"t.jpg"), bad) == refused(outcome)
    assert names(tmp_path) == {b"a.jpg"}


def test_a_folder_closed_to_us_is_rejected_with_the_reason() -> None:
    with public_folder() as root:
        stamp = write(root, b"a.jpg", b"source")
        root.chmod(0o555)
        with as_nobody():
            reply = publish_in(place_at(root), b"a.jpg", stamp, item(b"t.jpg"))
        root.chmod(0o777)
        left = names(root)
    assert isinstance(reply, Refused)
    assert isinstance(reply.outcome, Rejected)
    assert reply.outcome.reason == Reason.NOT_PERMITTED
    assert reply.outcome.detail.startswith("create: Permission denied (this process is user ")
    assert left == {b"a.jpg"}


def test_an_absent_root_is_a_fault(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    reply = publish_in(place_at(tmp_path / "gone"), b"a.jpg", stamp, item(b"t.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.ENOENT, operation="open_root")


def test_another_folder_at_the_roots_path_gets_nothing(tmp_path: Path) -> None:
    stamp = write(tmp_path, b"a.jpg", b"source")
    reply = publish_in(place_at(tmp_path, inode=1), b"a.jpg", stamp, item(b"t.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.ESTALE, operation="open_root")


def test_a_full_disk_is_a_fault_and_keeps_what_stood_there(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as root:
        stamp = write(root, b"a.jpg", b"source")
        write(root, b"t.jpg", picture(STALE))
        large = item(b"t.jpg", data=picture(RIGHT, size=1_000_000))
        reply = publish_in(place_at(root), b"a.jpg", stamp, large)
        left = names(root), read(root, b"t.jpg")
        again = publish_in(place_at(root), b"a.jpg", stamp, item(b"t.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.ENOSPC, operation="write")
    assert left == ({b"a.jpg", b"t.jpg"}, picture(STALE))
    assert isinstance(again, Published)


def test_a_disk_without_inodes_is_a_fault(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs") as root:
        stamp = write(root, b"a.jpg", b"source")
        reply = publish_in(place_at(root), b"a.jpg", stamp, item(b"t.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.ENOSPC, operation="create")


def test_a_read_only_disk_is_a_fault(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "tmpfs") as root:
        stamp = write(root, b"a.jpg", b"source")
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        reply = publish_in(place_at(root), b"a.jpg", stamp, item(b"t.jpg"))
    assert reply == Fault(root=3, ticket=5, path=b"a.jpg", errno=errno.EROFS, operation="create")


# --------------------------------------------------------------------------------------------------------------- probe


def test_a_root_that_works_is_ok_and_left_as_it_was(tmp_path: Path) -> None:
    reply = probe(place_at(tmp_path, inode=tmp_path.stat().st_ino), Probe(ticket=5))
    assert (reply.ok, reply.errno, reply.operation) == (True, 0, "")
    assert reply.file_system is not None
    assert reply.free_bytes > 0
    assert names(tmp_path) == set()


def test_an_absent_root_fails(tmp_path: Path) -> None:
    expected = Probed(root=3, ticket=5, ok=False, errno=errno.ENOENT, operation="open_root")
    assert probe(place_at(tmp_path / "gone"), Probe(ticket=5)) == expected


def test_another_folder_at_the_roots_path_fails_and_is_told(tmp_path: Path) -> None:
    reply = probe(place_at(tmp_path, inode=1), Probe(ticket=5))
    assert (reply.ok, reply.errno, reply.operation) == (False, errno.ESTALE, "open_root")
    assert reply.file_system is not None
    assert reply.file_system.root_inode == tmp_path.stat().st_ino


def test_a_folder_that_is_closed_to_us_alone_is_ok() -> None:
    with public_folder() as root:
        root.chmod(0o555)
        with as_nobody():
            reply = probe(place_at(root), Probe(ticket=5))
    assert reply.ok is True


@pytest.mark.parametrize(
    ("options", "number", "operation"),
    [("size=256k", errno.ENOSPC, "write"), ("nr_inodes=1", errno.ENOSPC, "create"), ("ro", errno.EROFS, "create")],
)
def test_a_disk_that_takes_nothing_fails(tmp_path: Path, options: str, number: int, operation: str) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", options, "tmpfs") as root:
        reply = probe(place_at(root), Probe(ticket=5))
        left = names(root)
    assert (reply.ok, reply.errno, reply.operation, left) == (False, number, operation, set())


@pytest.mark.chaos
def test_a_folder_that_is_swapped_for_a_link_all_the_time_never_leads_astray(tmp_path: Path) -> None:
    root, victim = tmp_path / "root", tmp_path / "victim"
    (root / "sub").mkdir(parents=True)
    victim.mkdir()
    stamp = write(root, b"sub/a.jpg", b"source")
    write(victim, b"a.jpg", b"source")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "sub").rename(root / "real")
            (root / "sub").symlink_to(victim)
            (root / "sub").unlink()
            (root / "real").rename(root / "sub")
            for _ in range(20):
                os.sched_yield()

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        place = place_at(root, keeps_identity=False)
        replies = [publish_in(place, b"sub/a.jpg", stamp, item(b"sub/%d.jpg" % number)) for number in range(3_000)]
    finally:
        stop.set()
        swapper.join()
    published = sum(isinstance(reply, Published) for reply in replies)
    print(f"{published} published, {len(replies) - published} refused")
    assert all(isinstance(reply, Published | Refused) for reply in replies)
    assert names(victim) == {b"a.jpg"}
    assert len(names(root / "sub")) == 1 + published
