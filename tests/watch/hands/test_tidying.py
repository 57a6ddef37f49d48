import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import (
    INSTANCE,
    RIGHT,
    STALE,
    STRANGE_NAMES,
    as_nobody,
    names,
    no_leak,
    picture,
    place_at,
    public_folder,
    write,
)
from watcherd.naming import temporary_name
from watcherd.watch.hands.hands import Fate, Fault, Remove, Removed
from watcherd.watch.hands.tidying import Fates, remove


@pytest.fixture(autouse=True)
def all_descriptors_are_closed() -> Iterator[None]:
    with no_leak():
        yield


def removed(root: Path, *items: tuple[bytes, int | None, int | None]) -> Fates:
    reply = remove(place_at(root), Remove(ticket=5, items=items))
    assert isinstance(reply, Removed)
    assert (reply.root, reply.ticket) == (3, 5)
    return reply.results


# -------------------------------------------------------------------------------------------------------------- remove


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_a_derivative_of_any_name_is_removed(tmp_path: Path, name: bytes) -> None:
    stamp = write(tmp_path, name, picture(RIGHT))
    assert removed(tmp_path, (name, stamp.size_bytes, stamp.mtime_ns)) == ((Fate.DONE, 0),)
    assert names(tmp_path) == set()


def test_each_item_has_its_fate_in_the_order_of_asking(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    left = temporary_name(INSTANCE, "0000000b", "0" * 12)
    write(tmp_path, b"sub/foreign", b"notes")
    write(tmp_path, b"sub/ours", picture(STALE))
    write(tmp_path, b"sub/" + left, b"half")
    fates = removed(
        tmp_path,
        (b"sub/foreign", 1, 1),
        (b"sub/ours", 1_000, 1),
        (b"sub/missing", 1, 1),
        (b"gone/ours", 1, 1),
        (b"link/ours", 1, 1),
        (b"sub/" + left, None, None),
    )
    expected = [Fate.FOREIGN, Fate.DONE, Fate.DONE, Fate.MISSING, Fate.MISSING, Fate.DONE]
    assert fates == tuple((fate, 0) for fate in expected)
    assert names(tmp_path / "sub") == {b"foreign"}


def test_a_folder_closed_to_us_fails_alone() -> None:
    with public_folder() as root:
        (root / "closed").mkdir()
        for name in (b"a", b"closed/a"):
            write(root, name, picture(RIGHT))
        (root / "closed").chmod(0o555)
        with as_nobody():
            fates = removed(root, (b"closed/a", 1_000, 1), (b"a", 1_000, 1))
        (root / "closed").chmod(0o755)
        left = names(root), names(root / "closed")
    assert fates == ((Fate.FAILED, errno.EACCES), (Fate.DONE, 0))
    assert left == ({b"closed"}, {b"a"})


def test_nothing_is_removed_where_the_root_is_absent(tmp_path: Path) -> None:
    reply = remove(place_at(tmp_path / "gone"), Remove(ticket=5, items=((b"a", 1, 1),)))
    assert reply == Fault(root=3, ticket=5, path=b"", errno=errno.ENOENT, operation="open_root")
