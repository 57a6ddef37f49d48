"""A folder too large to be kept at once: its pages together are the folder, and each is small."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.naming import NAME_MAX_BYTES, derivative_name
from watcherd.watch.files import stamp_of
from watcherd.watch.scanning.listing import Stopped, name_of
from watcherd.watch.scanning.pages import Page, pages

NAMES = st.binary(min_size=1, max_size=6).map(
    lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"-").replace(b".", b"~")
)
LONG = b"n" * 200


def made(folder: str, names: set[bytes]) -> bytes:
    path = os.fsencode(folder)
    for name in names:
        with open(os.path.join(path, name), "wb"):
            pass
    return path


def read(path: bytes, aside: bytes | None, most: int) -> list[tuple[Page, Page | None]]:
    with ExitStack() as stack:
        folders = [os.open(each, os.O_RDONLY) for each in (path, aside) if each is not None]
        for folder in folders:
            stack.callback(os.close, folder)
        return list(pages(folders[0], folders[1] if aside is not None else None, lambda: False, most))


def held(page: Page | None) -> list[bytes]:
    return [name_of(row) for row in page.rows] if page is not None else []


@given(st.sets(NAMES, max_size=40), st.integers(1, 12))
def test_the_pages_are_the_folder_in_the_order_of_names(names: set[bytes], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = read(made(folder, names), None, most)
        assert [name for page, _ in found for name in held(page)] == sorted(names)
        assert all(len(held(page)) <= most for page, _ in found)
        assert len(found) <= len(names) // most + 1


@given(st.sets(NAMES, max_size=30), st.sets(NAMES, max_size=30), st.integers(1, 12))
def test_the_pages_of_two_folders_are_of_the_same_ranges(names: set[bytes], others: set[bytes], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        found = read(made(folder, names), made(other, others), most)
        assert [name for page, _ in found for name in held(page)] == sorted(names)
        assert [name for _, page in found for name in held(page)] == sorted(others)
        for page, beside in found:
            assert beside is not None
            assert (page.after, page.upto) == (beside.after, beside.upto)
            assert len(held(page)) <= most
            assert len(held(beside)) <= most


def test_a_name_is_found_from_every_page(tmp_path: Path) -> None:
    names = {b"a.jpg", b"b.jpg", b"c.jpg", b"d.jpg"}
    path = made(str(tmp_path), names)
    os.mkdir(os.path.join(path, b"e.jpg"))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        seen = list(pages(descriptor, None, lambda: False, 2))
        assert [held(page) for page, _ in seen] == [[b"a.jpg", b"b.jpg"], [b"c.jpg", b"d.jpg"]]
        for page, _ in seen:
            for name in names:
                assert page.find(name) == stamp_of(os.stat(os.path.join(path, name)))
            assert (page.find(b"e.jpg"), page.find(b"nothing")) == (None, None)
    finally:
        os.close(descriptor)


def test_a_derivative_with_a_cut_name_is_on_its_source_s_page(tmp_path: Path) -> None:
    sources = {LONG + b"%050d.jpg" % number for number in (0, 1)}
    cut = {derivative_name(source, "thumbnail", "jpg") for source in sources}
    assert all(len(name) == NAME_MAX_BYTES for name in cut)
    found = read(made(str(tmp_path), sources | cut | {b"a", b"z"}), None, 3)
    assert [held(page) for page, _ in found] == [sorted({b"a"} | sources | cut), [b"z"]]


def test_names_that_are_alike_do_not_make_a_page_endless(tmp_path: Path) -> None:
    names = {LONG + b"%03d" % number for number in range(20)}
    found = read(made(str(tmp_path), names), None, 3)
    assert [name for page, _ in found for name in held(page)] == sorted(names)
    assert max(len(held(page)) for page, _ in found) <= 6


def test_a_file_that_came_before_the_page_is_not_on_it_and_one_that_went_is_no_error(
    tmp_path: Path,
) -> None:
    path = made(str(tmp_path), {b"b", b"c", b"d", b"e"})
    descriptor = os.open(path, os.O_RDONLY)
    try:
        reading = pages(descriptor, None, lambda: False, 2)
        first, _ = next(reading)
        made(str(tmp_path), {b"a", b"f"})
        os.unlink(os.path.join(path, b"d"))
        assert [held(first), *(held(page) for page, _ in reading)] == [[b"b", b"c"], [b"e", b"f"]]
    finally:
        os.close(descriptor)


def test_paging_can_be_stopped(tmp_path: Path) -> None:
    descriptor = os.open(made(str(tmp_path), {b"a"}), os.O_RDONLY)
    try:
        with pytest.raises(Stopped):
            list(pages(descriptor, None, lambda: True, 2))
    finally:
        os.close(descriptor)


def test_links_to_files_are_on_the_pages_where_they_are_followed(tmp_path: Path) -> None:
    path = made(str(tmp_path), {b"a.jpg", b"c.jpg", b"e.jpg"})
    for name, target in ((b"b.jpg", b"a.jpg"), (b"d.jpg", b"nothing"), (b"f.jpg", b"/")):
        os.symlink(target, os.path.join(path, name))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        followed = [page for page, _ in pages(descriptor, None, lambda: False, 2, follows=True)]
        plain = [page for page, _ in pages(descriptor, None, lambda: False, 2)]
        assert [name for page in followed for name in held(page)] == [b"a.jpg", b"b.jpg", b"c.jpg", b"e.jpg"]
        assert [name for page in plain for name in held(page)] == [b"a.jpg", b"c.jpg", b"e.jpg"]
        assert {name for page in followed for name in page.linked} == {b"b.jpg"}
        assert followed[0].find(b"b.jpg") == stamp_of(os.stat(os.path.join(path, b"a.jpg")))
    finally:
        os.close(descriptor)
