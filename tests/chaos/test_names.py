"""Names and kinds of files: what the kernel accepts works, what is no upload never becomes work."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, prints
from tests.chaos.harness import Daemon, command, eventually, summary_of
from tests.chaos.pictures import jpeg, put

Scan = Callable[..., subprocess.CompletedProcess[str]]
STRANGE = [
    b"a" * 251 + b".jpg",
    "é".encode() * 125 + b"x.jpg",
    b"caf\xe9.jpg",
    b"\xff\xfe.jpg",
    b"new\nline.jpg",
    b"-rf.jpg",
    b" .jpg",
    b"tab\tand\x1b[31mescape.jpg",
    b"quote'\"\\.jpg",
    b"no-ending",
    b"UPPER.JPG",
    b"upper.JPG",
    b"a.jpg",
    b"a.png",
    b"look.thumbnail.jpg",
    "\u0639\u0631\u0628\u064a\u202egpj.jpg".encode(),
]


def _put(root: Path, name: bytes, data: bytes) -> bytes:
    full = os.path.join(os.fsencode(root), name)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as file:
        file.write(data)
    return full


@pytest.mark.parametrize("found_at_start", [True, False])
def test_every_name_that_the_kernel_takes_gets_its_derivatives(
    watched: Path, daemon: Daemon, *, found_at_start: bool
) -> None:
    if not found_at_start:
        daemon.start()
    for number, name in enumerate(STRANGE):
        _put(watched, name, jpeg(number))
        _put(watched, b"sub\xff\n/" + name, jpeg(100 + number))
    before = prints(watched)
    if found_at_start:
        daemon.start()
    counts = daemon.rested(sources=2 * len(STRANGE))
    report = audit(watched, daemon.state, untouched=before)
    assert report.problems == []
    assert (counts["done"], report.derivatives) == (2 * len(STRANGE), 4 * len(STRANGE))
    assert daemon.lines("not json") == []
    for name in STRANGE[:5]:
        assert daemon.state_of(os.path.join(os.fsencode(watched), name)) == "done"


def test_two_long_names_with_the_same_beginning_do_not_meet(watched: Path, daemon: Daemon) -> None:
    for number in range(5):
        _put(watched, b"x" * 246 + str(number).encode() + b".jpg", jpeg(number))
    daemon.start()
    assert daemon.rested(sources=5)["done"] == 5
    report = audit(watched, daemon.state)
    assert (report.problems, report.derivatives) == ([], 10)


def test_a_link_a_pipe_and_a_folder_with_a_pictures_name_are_left_alone(
    watched: Path, place: Path, daemon: Daemon, scan: Scan
) -> None:
    outside = put(place / "outside.jpg", jpeg(1))
    daemon.start()
    (watched / "link.jpg").symlink_to(outside)
    (watched / "dangling.jpg").symlink_to(place / "nowhere.jpg")
    (watched / "linked").symlink_to(place, target_is_directory=True)
    os.mkfifo(watched / "pipe.jpg")
    (watched / "folder.jpg").mkdir()
    put(watched / "real.jpg", jpeg(2))
    daemon.rested(sources=1)
    assert daemon.rendered() == {str(watched / "real.jpg"): 1}
    assert audit(watched, daemon.state).problems == []
    assert sorted(p.name for p in place.glob("outside*")) == ["outside.jpg"]
    assert daemon.stop() == 0
    done = scan(watched, state=daemon.state)
    summary = summary_of(done)
    assert (done.returncode, summary["rendered"], summary["rejected"]) == (0, 0, 0)
    assert audit(watched, daemon.state).states["done"] == 1


def test_litter_and_what_is_no_picture_never_becomes_work(watched: Path, daemon: Daemon, scan: Scan) -> None:
    daemon.start()
    litter = ["a.jpg.part", ".hidden.jpg", "b.jpg~", "c.jpg.bak", "d.jpg_original", ".e.jpg.Xy12Zz", "@eaDir/f.jpg"]
    for number, name in enumerate(litter):
        put(watched / name, jpeg(number))
    put(watched / "notes.txt", b"no picture at all\n")
    put(watched / "empty.jpg", b"")
    put(watched / "song.jpg", b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(1_000))  # no extra reads sound
    put(watched / "real.jpg", jpeg(99))
    counts = daemon.rested(sources=2)
    assert counts["done"] == 1
    assert {os.path.basename(source) for source in daemon.rendered()} == {"real.jpg"}
    assert counts["failed"] == counts["rejected"] == 0
    print(counts, daemon.status_of(watched / "empty.jpg").get("explanation"))
    daemon.stop()
    done = scan(watched, state=daemon.state)
    assert (done.returncode, summary_of(done)["ignored"]) == (0, 3)


def test_a_finished_upload_counts_once_it_has_its_name(watched: Path, daemon: Daemon) -> None:
    daemon.start()
    for number, partial in enumerate(["a.jpg.part", ".b.jpg.Xy12Zz", "c.jpg.filepart"]):
        path = put(watched / partial, jpeg(number))
        path.rename(watched / f"final{number}.jpg")
    assert daemon.rested(sources=3)["done"] == 3
    assert audit(watched, daemon.state).problems == []


@pytest.mark.parametrize("found_at_start", [True, False])
def test_a_foreign_file_at_a_derivatives_name_is_kept_and_named(
    watched: Path, daemon: Daemon, *, found_at_start: bool
) -> None:
    if not found_at_start:
        daemon.start()
    foreign = put(watched / "a.jpg.thumbnail.jpg", jpeg("by somebody else"))
    source = put(watched / "a.jpg", jpeg(1))
    put(watched / "b.jpg", jpeg(2))
    if found_at_start:
        daemon.start()
    before = prints(watched)[b"a.jpg.thumbnail.jpg"]
    eventually(lambda: daemon.state_of(source) == "rejected", within_s=20, what="it is rejected", every_s=0.3)
    told = daemon.status_of(source)
    print(told["explanation"])
    assert told["reason"] == "name_taken"
    assert foreign.name in told["detail"]
    assert prints(watched)[b"a.jpg.thumbnail.jpg"] == before
    assert (watched / "a.jpg.preview.jpg").exists()
    assert daemon.state_of(watched / "b.jpg") == "done"
    assert not list(watched.glob("*.jpg.thumbnail.jpg.*"))

    foreign.unlink()
    assert command("retry", source, "--state-dir", daemon.state).returncode == 0
    eventually(lambda: daemon.state_of(source) == "done", within_s=20, what="it is done", every_s=0.3)
    assert foreign.exists()


def test_hard_links_and_moves_in_are_seen(watched: Path, place: Path, daemon: Daemon) -> None:
    daemon.start()
    os.link(put(place / "one.jpg", jpeg(1)), watched / "linked.jpg")
    put(place / "two.jpg", jpeg(2)).rename(watched / "moved.jpg")
    put(place / "tree" / "deep" / "three.jpg", jpeg(3))
    (place / "tree").rename(watched / "tree")
    shutil.copyfile(watched / "moved.jpg", watched / "twin.jpg")
    counts = daemon.rested(sources=4)
    assert counts["done"] == 4
    assert audit(watched, daemon.state).problems == []
    assert daemon.outcomes() == {"rendered": 3, "reused": 1}
