"""Folders for derivatives: made like the folder of the sources, removed when they are empty."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import KNOWN, RIGHT, as_nobody, item, names, no_leak, picture, place_at, public_folder, write
from watcherd.model import Rejected, Stamp, Vanished
from watcherd.naming import SIBLING, UNUSED, Layout, Names
from watcherd.watch import trees
from watcherd.watch.files import open_root
from watcherd.watch.hands.hands import (
    Fate,
    Fault,
    Place,
    Publish,
    Published,
    Refused,
    Remove,
    Removed,
    discard,
    writing,
)
from watcherd.watch.hands.making import drop_emptied, made
from watcherd.watch.hands.reading import Fetch, fetch
from watcherd.watch.hands.tidying import remove
from watcherd.watch.hands.writing import publish

SUBFOLDER = Names(layouts=(Layout(folder=b".derivatives", number=1), SIBLING), known=KNOWN)


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    trees.found(os.fsencode(folder))
    return folder


def mirrored(mirror: Path) -> Names:
    return Names(layouts=(Layout(tree=os.fsencode(mirror), number=1), SIBLING), known=KNOWN)


def root_at(tmp_path: Path, folder: str = "photos/2024") -> Path:
    (tmp_path / "root" / folder).mkdir(parents=True)
    return tmp_path / "root"


def publish_at(place: Place, source: bytes, stamp: Stamp) -> Published | Refused | Fault:
    path = place.names.layout.path_of(source, "thumbnail", "jpg")
    request = Publish(ticket=5, path=source, stamp=stamp, items=(item(path),))
    reply = publish(place, request)
    discard(request)
    return reply


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_hidden_folder_is_made_for_the_first_derivative(tmp_path: Path) -> None:
    root = root_at(tmp_path)
    (root / "photos" / "2024").chmod(0o2750)
    stamp = write(root, b"photos/2024/a.jpg", b"source")

    assert isinstance(publish_at(place_at(root, names=SUBFOLDER), b"photos/2024/a.jpg", stamp), Published)
    hidden = root / "photos" / "2024" / ".derivatives"
    assert (hidden / "a.jpg.thumbnail.jpg").read_bytes() == picture(RIGHT)
    assert mode_of(hidden) == 0o2750
    assert names(root) == {b"photos"}


def test_the_folders_of_a_mirror_are_made_like_those_of_the_root(tmp_path: Path, mirror: Path) -> None:
    root = root_at(tmp_path)
    (root / "photos").chmod(0o751)
    (root / "photos" / "2024").chmod(0o700)
    stamp = write(root, b"photos/2024/a.jpg", b"source")

    assert isinstance(publish_at(place_at(root, names=mirrored(mirror)), b"photos/2024/a.jpg", stamp), Published)
    assert (mirror / "photos" / "2024" / "a.jpg.thumbnail.jpg").read_bytes() == picture(RIGHT)
    assert (mode_of(mirror / "photos"), mode_of(mirror / "photos" / "2024")) == (0o751, 0o700)
    assert names(root / "photos" / "2024") == {b"a.jpg"}


def test_a_folder_without_write_permission_has_one_in_the_mirror_that_we_can_write_to(
    tmp_path: Path, mirror: Path
) -> None:
    root = root_at(tmp_path)
    stamp = write(root, b"photos/2024/a.jpg", b"source")
    (root / "photos" / "2024").chmod(0o555)

    assert isinstance(publish_at(place_at(root, names=mirrored(mirror)), b"photos/2024/a.jpg", stamp), Published)
    assert mode_of(mirror / "photos" / "2024") == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_folder_belongs_to_whom_the_folder_of_the_sources_belongs_to(tmp_path: Path) -> None:
    root = root_at(tmp_path)
    os.chown(root / "photos" / "2024", 1234, 2345)
    stamp = write(root, b"photos/2024/a.jpg", b"source")

    publish_at(place_at(root, names=SUBFOLDER), b"photos/2024/a.jpg", stamp)
    made_one = (root / "photos" / "2024" / ".derivatives").stat()
    assert (made_one.st_uid, made_one.st_gid) == (1234, 2345)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_has_the_name_of_a_folder_for_derivatives_and_is_none_stays(tmp_path: Path, kind: str) -> None:
    root = root_at(tmp_path, "elsewhere")
    stamp = write(root, b"a.jpg", b"source")
    obstacle = root / ".derivatives"
    if kind == "file":
        obstacle.write_text("notes")
    else:
        obstacle.symlink_to("elsewhere")

    reply = publish_at(place_at(root, names=SUBFOLDER), b"a.jpg", stamp)
    assert isinstance(reply, Published)
    assert (reply.derivatives, reply.taken) == ((), (b".derivatives",))
    assert names(root / "elsewhere") == set()
    assert os.path.lexists(obstacle)


def test_nothing_is_made_for_a_source_that_is_not_there(tmp_path: Path, mirror: Path) -> None:
    root = root_at(tmp_path)
    stamp = write(root, b"photos/2024/a.jpg", b"source")
    shutil.rmtree(root / "photos")

    reply = publish_at(place_at(root, names=mirrored(mirror)), b"photos/2024/a.jpg", stamp)
    assert isinstance(reply, Refused)
    assert reply.outcome == Vanished()
    assert names(mirror) == {b".watcherd-mirror"}


def test_a_folder_that_goes_while_we_publish_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_at(tmp_path)
    stamp = write(root, b"a.jpg", b"source")
    went: list[Path] = []
    really = writing.made

    def made_and_gone(place: Place, root_fd: int, folder: bytes) -> object:
        opened = really(place, root_fd, folder)
        if not went:
            with really(place, root_fd, folder):
                pass
            went.append(root / ".derivatives")

            class Vanishing:
                def __enter__(self) -> int:
                    descriptor = opened.__enter__()
                    (root / ".derivatives").rmdir()
                    return descriptor

                def __exit__(self, *error: object) -> None:
                    opened.__exit__(*error)  # type: ignore[arg-type]

            return Vanishing()
        return opened

    monkeypatch.setattr(writing, "made", made_and_gone)
    assert isinstance(publish_at(place_at(root, names=SUBFOLDER), b"a.jpg", stamp), Published)
    assert went
    assert names(root / ".derivatives") == {b"a.jpg.thumbnail.jpg"}


def test_a_folder_goes_with_its_last_derivative(tmp_path: Path, mirror: Path) -> None:
    for layout in (SUBFOLDER, mirrored(mirror)):
        root = root_at(tmp_path)
        place = place_at(root, names=layout)
        stamp = write(root, b"photos/2024/a.jpg", b"source")
        reply = publish_at(place, b"photos/2024/a.jpg", stamp)
        assert isinstance(reply, Published)
        (one,) = reply.derivatives
        path = layout.layout.path_of(b"photos/2024/a.jpg", "thumbnail", "jpg")

        removed = remove(place, Remove(ticket=5, items=((path, one.size_bytes, one.mtime_ns),)))
        assert isinstance(removed, Removed)
        assert removed.results == ((Fate.DONE, 0),)
        assert names(root / "photos" / "2024") == {b"a.jpg"}
        assert names(mirror) == {b".watcherd-mirror"}
        shutil.rmtree(root)


def test_a_folder_that_holds_another_s_file_stays(tmp_path: Path) -> None:
    hidden = root_at(tmp_path) / ".derivatives"
    hidden.mkdir()
    (hidden / "notes.txt").write_text("mine")
    stamp = write(hidden, b"a.jpg.thumbnail.jpg", picture(RIGHT))

    items = ((b".derivatives/a.jpg.thumbnail.jpg", stamp.size_bytes, stamp.mtime_ns),)
    remove(place_at(tmp_path / "root", names=SUBFOLDER), Remove(ticket=5, items=items))
    assert names(hidden) == {b"notes.txt"}


def test_an_empty_folder_of_a_layout_that_was_never_used_stays(tmp_path: Path) -> None:
    root = root_at(tmp_path)
    (root / ".derivatives").mkdir()
    unused = Names(layouts=(SIBLING, Layout(folder=b".derivatives", number=UNUSED)), known=KNOWN)
    stamp = write(root, b"a.jpg.thumbnail.jpg", picture(RIGHT))

    items = (
        (b"a.jpg.thumbnail.jpg", stamp.size_bytes, stamp.mtime_ns),
        (b".derivatives/a.jpg.thumbnail.jpg", stamp.size_bytes, stamp.mtime_ns),
        (b".derivatives", None, None),
    )
    remove(place_at(root, names=unused), Remove(ticket=5, items=items))
    assert names(root) == {b"photos", b".derivatives"}


def test_an_empty_folder_of_ours_is_a_leftover(tmp_path: Path) -> None:
    root = root_at(tmp_path)
    (root / "photos" / ".derivatives").mkdir()

    remove(place_at(root, names=SUBFOLDER), Remove(ticket=5, items=((b"photos/.derivatives", None, None),)))
    assert names(root / "photos") == {b"2024"}


def test_folders_that_are_not_for_derivatives_are_never_made_or_removed(tmp_path: Path) -> None:
    root = root_at(tmp_path)
    place = place_at(root, names=SUBFOLDER)
    descriptor = open_root(os.fsencode(root), None)
    try:
        with pytest.raises(FileNotFoundError), made(place, descriptor, b"photos/2025"):
            raise AssertionError("it is not made")
        drop_emptied(place, descriptor, [b"photos/2024", b"photos", b""])
    finally:
        os.close(descriptor)
    assert names(root / "photos") == {b"2024"}


def test_a_folder_that_may_not_be_written_to_is_a_rejection_before_anything_is_decoded() -> None:
    with public_folder() as top:
        root = root_at(top)
        stamp = write(root, b"photos/2024/a.jpg", picture())
        (root / "photos" / "2024").chmod(0o555)
        path = SUBFOLDER.layout.path_of(b"photos/2024/a.jpg", "thumbnail", "jpg")
        request = Fetch(
            ticket=5, path=b"photos/2024/a.jpg", stamp=stamp, max_bytes=1 << 20, derivatives=(("thumbnail", path),)
        )
        with as_nobody():
            reply = fetch(place_at(root, names=SUBFOLDER), request)
        assert isinstance(reply, Refused)
        assert isinstance(reply.outcome, Rejected)
