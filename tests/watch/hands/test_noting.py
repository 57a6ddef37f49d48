"""Error notes on a real disk: whole or not at all, and only what is ours is replaced or removed."""

import os
from pathlib import Path

import pytest

from watcherd.naming import NOTE_MARK, Names
from watcherd.watch.hands.hands import Annotate, Annotated, Fault, carry_out
from watcherd.watch.hands.place import Place

TEXT = b"it is torn\n" + NOTE_MARK + b"\n"
OTHER = b"it is too large\n" + NOTE_MARK + b"\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"bad")
    (tmp_path / "sub" / "a.jpg").chmod(0o640)
    return tmp_path


def note(root: Path) -> Path:
    return root / "sub" / "a.jpg.watcherd-error.txt"


def ask(root: Path, text: bytes | None, path: bytes = b"sub/a.jpg") -> object:
    place = Place(
        root=1, path=os.fsencode(root), instance="0" * 8, run="1" * 8, kind_of=lambda _: None, names=Names(known=())
    )
    return carry_out(place, Annotate(ticket=7, path=path, text=text))


def test_a_note_is_written_replaced_and_removed(root: Path) -> None:
    said = [ask(root, TEXT)]
    first = note(root).read_bytes()
    said += [ask(root, TEXT), ask(root, OTHER)]
    second = note(root).read_bytes()
    mode = note(root).stat().st_mode & 0o777
    said += [ask(root, None), ask(root, None)]

    assert said == [Annotated(root=1, ticket=7, done=True)] * 5
    assert (first, second, mode) == (TEXT, OTHER, 0o640)
    assert sorted(path.name for path in (root / "sub").iterdir()) == ["a.jpg"]


@pytest.mark.parametrize("kind", ["file", "link", "folder", "fifo"])
def test_what_is_not_ours_is_neither_replaced_nor_removed(root: Path, kind: str) -> None:
    match kind:
        case "file":
            note(root).write_bytes(b"somebody's own notes about a.jpg\n")
        case "link":
            (root / "elsewhere").write_bytes(TEXT)
            note(root).symlink_to(root / "elsewhere")
        case "folder":
            note(root).mkdir()
        case _:
            os.mkfifo(note(root))
    before = sorted(os.walk(root)), note(root).lstat()
    said = [ask(root, OTHER), ask(root, None)]

    assert said == [Annotated(root=1, ticket=7, done=False)] * 2
    assert (sorted(os.walk(root)), note(root).lstat()) == before


def test_where_the_source_is_gone_no_note_is_left(root: Path) -> None:
    (root / "sub" / "a.jpg").unlink()
    said = ask(root, TEXT)

    assert isinstance(said, Annotated)
    assert not said.done
    assert list((root / "sub").iterdir()) == []


def test_a_missing_folder_is_no_trouble_of_the_root(root: Path) -> None:
    assert isinstance(ask(root, TEXT, b"nowhere/a.jpg"), Annotated)
    assert isinstance(ask(root, None, b"nowhere/a.jpg"), Annotated)


def test_a_missing_root_is(root: Path) -> None:
    assert isinstance(ask(root / "nowhere", TEXT), Fault)
