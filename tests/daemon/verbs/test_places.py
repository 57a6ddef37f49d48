"""Absolute paths are found among the roots, also those that a root has over a link."""

import pytest

from watcherd.daemon.verbs.places import locate, over_links
from watcherd.model import Source

ROOTS = {1: b"/srv/photos", 2: b"/srv/photos/inner", 3: b"/"}
LINKS = {b"/srv/photos/album": b"/ext/album", b"/srv/photos/all": b"/media"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/srv/photos/a.jpg", Source(1, b"a.jpg")),
        (b"/srv/photos/inner/a.jpg", Source(2, b"a.jpg")),
        (b"/srv/photos", Source(1, b"")),
        (b"/srv/photos2/a.jpg", Source(3, b"srv/photos2/a.jpg")),
    ],
)
def test_a_path_belongs_to_the_innermost_root_above_it(path: bytes, expected: Source) -> None:
    assert locate(path, ROOTS) == expected


def test_a_path_outside_of_all_roots_is_nobody_s() -> None:
    assert locate(b"/etc/a.jpg", {1: b"/srv/photos"}) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/ext/album", b"/srv/photos/album"),
        (b"/ext/album/deep/a.jpg", b"/srv/photos/album/deep/a.jpg"),
        (b"/ext/album2/a.jpg", b"/ext/album2/a.jpg"),
        (b"/media/a.jpg", b"/srv/photos/all/a.jpg"),
        (b"/srv/photos/real.jpg", b"/srv/photos/real.jpg"),
    ],
)
def test_what_lies_behind_a_followed_link_has_the_path_over_it(path: bytes, expected: bytes) -> None:
    assert over_links(path, LINKS) == expected
