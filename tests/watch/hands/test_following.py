"""Derivatives on a real disk, renamed after sources that were moved."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.places import RIGHT, names, no_leak, picture, place_at, read, write
from watcherd.model import Derivative, Stamp
from watcherd.naming import Mark
from watcherd.watch.files import stamp_of
from watcherd.watch.hands.following import Arrived, Carried, Follow, Followed, Move, follow, stepping_aside
from watcherd.watch.hands.hands import Fault, following
from watcherd.watch.hands.place import Steps

OTHER = Mark(variant="thumbnail", digest=b"o" * 32, fingerprint=7)


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def upload(root: Path, path: bytes, mark: Mark | None = RIGHT) -> Stamp:
    """A source, with its thumbnail beside it."""
    if mark is not None:
        write(root, path + b".thumbnail.jpg", picture(mark))
    return write(root, path, b"the source " + path)


def carried(old: bytes, new: bytes, mark: Mark = RIGHT) -> Carried:
    made = Derivative(variant="thumbnail", fingerprint=7, size_bytes=1_000, mtime_ns=0, width=200, height=150)
    return Carried(derivative=made, mark=mark, ways=((old + b".thumbnail.jpg", new + b".thumbnail.jpg"),))


def moved(root: Path, old: bytes, new: bytes, mark: Mark = RIGHT, stamp: Stamp | None = None) -> Move:
    seen = stamp or stamp_of(os.lstat(os.fsencode(root) + b"/" + new))
    return Move(old=old, path=new, stamp=seen, carried=(carried(old, new, mark),))


def followed(root: Path, *moves: Move, old_root: bytes | None = None) -> tuple[Arrived | None, ...]:
    reply = follow(place_at(root), Follow(ticket=5, moves=moves, old_root=old_root))
    assert isinstance(reply, Followed)
    assert (reply.root, reply.ticket) == (3, 5)
    return reply.results


def variants(result: Arrived | None) -> list[str] | None:
    return None if result is None else [derivative.variant for derivative in result.derivatives]


def rename(root: Path, old: bytes, new: bytes) -> None:
    os.rename(os.fsencode(root) + b"/" + old, os.fsencode(root) + b"/" + new)


def test_the_derivative_of_a_renamed_source_goes_with_it(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    made_ns = os.stat(tmp_path / "a.jpg.thumbnail.jpg").st_mtime_ns

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert names(tmp_path) == {b"b.jpg", b"b.jpg.thumbnail.jpg"}
    assert result is not None
    assert result.stamp == stamp_of(os.lstat(tmp_path / "b.jpg"))
    assert [(made.variant, made.size_bytes, made.mtime_ns) for made in result.derivatives] == [
        ("thumbnail", 1_000, made_ns)
    ]


def test_into_another_folder_and_out_of_one_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    upload(tmp_path, b"old/a.jpg")
    rename(tmp_path, b"old", b"new")

    (result,) = followed(tmp_path, moved(tmp_path, b"old/a.jpg", b"new/a.jpg"))

    assert variants(result) == ["thumbnail"]
    assert names(tmp_path / "new") == {b"a.jpg", b"a.jpg.thumbnail.jpg"}


def test_between_two_roots_of_one_file_system(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    upload(one, b"a.jpg")
    os.rename(one / "a.jpg", other / "b.jpg")

    (result,) = followed(other, moved(other, b"a.jpg", b"b.jpg"), old_root=os.fsencode(one))

    assert variants(result) == ["thumbnail"]
    assert names(one) == set()
    assert names(other) == {b"b.jpg", b"b.jpg.thumbnail.jpg"}


def test_a_second_link_to_a_file_that_stays_is_no_move(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")

    assert followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg")) == (None,)
    assert names(tmp_path) == {b"a.jpg", b"a.jpg.thumbnail.jpg", b"b.jpg"}


def test_an_arrival_that_has_changed_meanwhile_is_no_move(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    move = moved(tmp_path, b"a.jpg", b"b.jpg")
    os.utime(tmp_path / "b.jpg", ns=(1, 1))

    assert followed(tmp_path, move) == (None,)
    assert names(tmp_path) == {b"b.jpg", b"a.jpg.thumbnail.jpg"}


def test_an_arrival_that_is_gone_again_is_no_move(tmp_path: Path) -> None:
    stamp = upload(tmp_path, b"a.jpg")

    assert followed(tmp_path, moved(tmp_path, b"z.jpg", b"b.jpg", stamp=stamp)) == (None,)


def test_an_old_name_that_was_taken_at_once_keeps_what_is_the_new_file_s(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    upload(tmp_path, b"a.jpg", OTHER)

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert variants(result) == []
    assert read(tmp_path, b"a.jpg.thumbnail.jpg") == picture(OTHER)
    assert names(tmp_path) == {b"a.jpg", b"a.jpg.thumbnail.jpg", b"b.jpg"}


def test_what_the_next_owner_publishes_in_the_last_moment_goes_back_to_it(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    place = place_at(tmp_path)

    class Racing(Steps):
        def at(self, operation: str) -> None:
            if operation == "rename":
                write(tmp_path, b"new", picture(OTHER))
                rename(tmp_path, b"new", b"a.jpg.thumbnail.jpg")

    object.__setattr__(place, "steps", Racing())
    reply = follow(place, Follow(ticket=5, moves=(moved(tmp_path, b"a.jpg", b"b.jpg"),)))

    assert isinstance(reply, Followed)
    assert [variants(result) for result in reply.results] == [[]]
    assert read(tmp_path, b"a.jpg.thumbnail.jpg") == picture(OTHER)
    assert names(tmp_path) == {b"b.jpg", b"a.jpg.thumbnail.jpg"}


def test_a_file_of_somebody_else_s_at_the_new_name_stays_and_ours_too(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    write(tmp_path, b"b.jpg.thumbnail.jpg", b"a person's")

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert variants(result) == []
    assert read(tmp_path, b"b.jpg.thumbnail.jpg") == b"a person's"
    assert read(tmp_path, b"a.jpg.thumbnail.jpg") == picture(RIGHT)


@pytest.mark.parametrize("content", [b"a person's", picture(OTHER), picture(RIGHT, size=1_001)])
def test_what_is_not_the_recorded_derivative_does_not_go_along(tmp_path: Path, content: bytes) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    write(tmp_path, b"a.jpg.thumbnail.jpg", content)

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert variants(result) == []
    assert names(tmp_path) == {b"b.jpg", b"a.jpg.thumbnail.jpg"}


def test_a_derivative_that_was_copied_along_by_hand_is_taken_and_the_old_one_goes(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    rename(tmp_path, b"a.jpg", b"b.jpg")
    write(tmp_path, b"b.jpg.thumbnail.jpg", picture(RIGHT))

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert variants(result) == ["thumbnail"]
    assert names(tmp_path) == {b"b.jpg", b"b.jpg.thumbnail.jpg"}


def test_a_stale_derivative_at_the_new_name_is_replaced(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    upload(tmp_path, b"b.jpg", OTHER)
    rename(tmp_path, b"a.jpg", b"b.jpg")

    (result,) = followed(tmp_path, moved(tmp_path, b"a.jpg", b"b.jpg"))

    assert variants(result) == ["thumbnail"]
    assert read(tmp_path, b"b.jpg.thumbnail.jpg") == picture(RIGHT)
    assert names(tmp_path) == {b"b.jpg", b"b.jpg.thumbnail.jpg"}


def test_two_sources_that_swapped_their_names_keep_their_derivatives(tmp_path: Path) -> None:
    upload(tmp_path, b"a.jpg")
    upload(tmp_path, b"b.jpg", OTHER)
    for old, new in ((b"a.jpg", b"t"), (b"b.jpg", b"a.jpg"), (b"t", b"b.jpg")):
        rename(tmp_path, old, new)

    moves = moved(tmp_path, b"a.jpg", b"b.jpg"), moved(tmp_path, b"b.jpg", b"a.jpg", OTHER)
    results = followed(tmp_path, *moves)

    assert [variants(result) for result in results] == [["thumbnail"], ["thumbnail"]]
    assert read(tmp_path, b"b.jpg.thumbnail.jpg") == picture(RIGHT)
    assert read(tmp_path, b"a.jpg.thumbnail.jpg") == picture(OTHER)
    assert len(names(tmp_path)) == 4


def test_a_disk_that_becomes_full_on_the_way_of_a_swap_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tmp_path, b"a.jpg")
    upload(tmp_path, b"b.jpg", OTHER)
    for old, new in ((b"a.jpg", b"t"), (b"b.jpg", b"a.jpg"), (b"t", b"b.jpg")):
        rename(tmp_path, old, new)
    moves = moved(tmp_path, b"a.jpg", b"b.jpg"), moved(tmp_path, b"b.jpg", b"a.jpg", OTHER)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(following, "bring", full)
    reply = follow(place_at(tmp_path), Follow(ticket=5, moves=moves))

    assert isinstance(reply, Fault)
    assert (reply.errno, reply.operation) == (errno.ENOSPC, "rename")
    assert read(tmp_path, b"a.jpg.thumbnail.jpg") == picture(RIGHT)
    assert read(tmp_path, b"b.jpg.thumbnail.jpg") == picture(OTHER)
    assert len(names(tmp_path)) == 4


def test_a_root_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    stamp = upload(tmp_path, b"a.jpg")
    away = follow(place_at(tmp_path / "away"), Follow(ticket=5, moves=(moved(tmp_path, b"z", b"a.jpg", stamp=stamp),)))

    assert isinstance(away, Fault)
    assert (away.errno, away.operation) == (errno.ENOENT, "open_root")


NAMES = [b"a", b"b", b"c", b"d", b"e"]


@given(st.permutations(NAMES), st.permutations([*NAMES, b"f", b"g"]), st.randoms(use_true_random=False))
def test_renames_in_any_order_lose_nothing_once_those_in_the_way_are_aside(
    old: list[bytes], new: list[bytes], chance: random.Random
) -> None:
    """Played on a folder that is a dictionary: swaps, chains, rings, and names that stay."""
    moves = [(one, other) for one, other in zip(old, new, strict=False) if one != other][:4]
    while any(other in set(NAMES) - {one for one, _ in moves} for _, other in moves):  # over one that stays
        moves = [(one, other) for one, other in moves if other not in set(NAMES) - {one for one, _ in moves}]
    unmoved = set(NAMES) - {one for one, _ in moves}
    folder = {name: b"content of " + name for name in NAMES}
    wanted = {other: folder[one] for one, other in moves} | {name: folder[name] for name in unmoved}
    aside = stepping_aside(moves)
    chance.shuffle(moves)

    for name in aside:
        folder[b"aside " + name] = folder.pop(name)
    for one, other in sorted(moves, key=lambda move: move[0] in aside):
        name = b"aside " + one if one in aside else one
        assert other not in folder
        folder[other] = folder.pop(name)

    assert {name: folder[name] for name in wanted} == wanted
    assert len(folder) == len(NAMES)


def test_moves_that_do_not_meet_need_no_step_aside() -> None:
    assert stepping_aside([(b"a", b"c"), (b"b", b"d")]) == frozenset()
    assert stepping_aside([(b"a", b"b"), (b"b", b"a")]) == {b"a", b"b"}
    assert stepping_aside([(b"a", b"b"), (b"b", b"c")]) == {b"b"}
