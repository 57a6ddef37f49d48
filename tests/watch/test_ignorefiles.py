"""`.watcherdignore` files mean what .gitignore files mean: git itself is asked."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.places import place_at, write
from watcherd.model import Ignored, Stamp
from watcherd.watch.hands.reading import StatMany, Stats, stat_many
from watcherd.watch.ignorefiles import NAME, holders, in_force, is_left_alone, read_above
from watcherd.watch.selection import Selection


@pytest.mark.parametrize(
    ("texts", "path", "expected"),
    [
        ({}, b"a.jpg", False),
        ({b"": b"*.jpg"}, b"d/a.jpg", True),
        ({b"": b"/a.jpg"}, b"d/a.jpg", False),
        ({b"": b"*.jpg", b"d": b"!a.jpg"}, b"d/a.jpg", False),
        ({b"": b"*.jpg", b"d": b"!a.jpg"}, b"d/b.jpg", True),
        ({b"d": b"*.jpg"}, b"a.jpg", False),
        ({b"": b"d/", b"d": b"!a.jpg"}, b"d/a.jpg", True),  # nothing is taken back in a folder that is left alone
        ({b"": b"private"}, b"x/private/deep/a.jpg", True),
        ({b"": b"private/"}, b"private", False),  # a file of that name
        ({b"": b"# *.jpg\n\n"}, b"a.jpg", False),
        ({b"": b"!\n*.png\n"}, b"a.png", True),  # a line that is no pattern
        ({b"": b"caf\xe9.jpg"}, b"caf\xe9.jpg", True),
        ({b"a/b": b"/c/*.jpg"}, b"a/b/c/d.jpg", True),
        ({b"a/b": b"/c/*.jpg"}, b"a/b/x/c/d.jpg", False),
    ],
)
def test_what_is_left_alone(texts: dict[bytes, bytes], path: bytes, expected: bool) -> None:
    assert is_left_alone(path, texts) is expected


names = st.sampled_from(["a", "b", "a.jpg", "b.jpg", "c.png"])
patterns = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "!"]),
    st.sampled_from(["", "/", "**/", "a/", "*/"]),
    st.sampled_from(["a", "b", "*.jpg", "a.jpg", "*", "?.png", "[ab].jpg"]),
    st.sampled_from(["", "/"]),
)
texts = st.dictionaries(st.sampled_from(["", "a", "a/b"]), st.lists(patterns, max_size=4).map("\n".join), max_size=3)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(max_examples=40, deadline=None)
@given(texts, st.lists(st.tuples(names, names, names), min_size=1, max_size=4))
def test_git_says_the_same(texts: dict[str, str], paths: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "init", "-q", folder], check=True)
        for place, text in texts.items():
            (Path(folder) / place).mkdir(parents=True, exist_ok=True)
            (Path(folder) / place / ".gitignore").write_text(text + "\n")
        files = sorted({"/".join(part) for part in paths})
        asked = subprocess.run(
            ["git", "-C", folder, "check-ignore", "--no-index", "--stdin"],
            input="\n".join(files),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
        )
    expected = set(asked.stdout.splitlines())
    said = {place.encode(): text.encode() + b"\n" for place, text in texts.items()}
    assert {file for file in files if is_left_alone(file.encode(), said)} == expected


def test_the_folders_that_hold_a_folder_begin_with_the_root() -> None:
    assert list(holders(b"a/b/c")) == [b"", b"a", b"a/b", b"a/b/c"]
    assert list(holders(b"")) == [b""]


def test_the_files_that_count_in_a_folder_are_read_from_the_root_down(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    write(tmp_path, NAME, b"one")
    write(tmp_path, b"a/b/" + NAME, b"two")
    write(tmp_path, b"c/" + NAME, b"three")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        texts = read_above(root, b"a/b")
    finally:
        os.close(root)
    assert in_force(b"a/b", texts) == ((b"", b"one"), (b"a/b", b"two"))


def look(root: Path, path: bytes, **changes: object) -> object:
    reply = stat_many(place_at(root, **changes), StatMany(ticket=1, paths=(path,)))
    assert isinstance(reply, Stats)
    return reply.results[0][1]


def test_the_hands_heed_ignore_files_whoever_asked(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write(tmp_path, NAME, b"*.raw.jpg")
    write(tmp_path, b"d/a.raw.jpg", b"picture")
    write(tmp_path, b"d/b.jpg", b"picture")
    assert look(tmp_path, b"d/a.raw.jpg") == Ignored(kind="excluded")
    assert isinstance(look(tmp_path, b"d/b.jpg"), Stamp)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(min_bytes=8), Ignored(kind="too_small")),
        (Selection(max_bytes=6), Ignored(kind="too_large")),
        (Selection(max_age_s=1e-9), Ignored(kind="too_old")),
    ],
)
def test_the_hands_heed_size_and_age_whoever_asked(tmp_path: Path, selection: Selection, expected: Ignored) -> None:
    write(tmp_path, b"a.jpg", b"picture")
    assert look(tmp_path, b"a.jpg", selection=selection) == expected
