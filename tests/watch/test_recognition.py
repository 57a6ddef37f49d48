"""A root is known again, and an unmounted, emptied or replaced one is not taken for it."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from watcherd.watch.identity import Likeness, compare, form, is_strong
from watcherd.watch.recognition import Verdict, recognise

DISK = "uuid=1 inode=2"
OTHER_DISK = "uuid=9 inode=2"
REMADE = "uuid=1 inode=77"
SHARE = "kind=nfs4 source=nas:/photos"

FEATURES = st.fixed_dictionaries(
    {},
    optional={key: st.sampled_from("12") for key in ("uuid", "volume", "fsid", "kind", "source", "inode", "marker")},
)


def verdict(known: str, seen: str, *, is_empty: bool = False, knows_any: bool = True, finds_any: bool = False) -> str:
    return recognise(known=known, seen=seen, is_empty=is_empty, knows_any=knows_any, finds_any=finds_any)


@pytest.mark.parametrize(
    ("known", "seen", "is_empty", "expected"),
    [
        (DISK, DISK, False, Verdict.ROOT),
        (DISK, DISK, True, Verdict.ROOT),  # this very folder was emptied by somebody
        (DISK, OTHER_DISK, False, Verdict.ANOTHER),
        (DISK, OTHER_DISK, True, Verdict.EMPTIED),
        (DISK, REMADE, False, Verdict.ANOTHER),  # renamed away, and a new one made in its place
        (DISK, REMADE, True, Verdict.EMPTIED),
        (DISK, "kind=overlay", False, Verdict.ANOTHER),  # the mount point below
        (SHARE, SHARE, False, Verdict.ROOT),
        (SHARE, SHARE, True, Verdict.EMPTIED),  # the server may have lost its own disk
        ("kind=tmpfs", "kind=tmpfs", True, Verdict.EMPTIED),
        ("", DISK, True, Verdict.EMPTIED),
        (DISK, "", True, Verdict.EMPTIED),
        ("", DISK, False, Verdict.ROOT),
        (f"{SHARE} marker=1", SHARE, False, Verdict.ANOTHER),
        (f"{SHARE} marker=1", f"{SHARE} marker=2", False, Verdict.ANOTHER),
        (f"{SHARE} marker=1", f"{SHARE} marker=1", True, Verdict.ROOT),
        (SHARE, f"{SHARE} marker=1", False, Verdict.ROOT),  # somebody has put a marker there
    ],
)
def test_what_stands_at_a_roots_path_with_nothing_of_what_is_known(
    known: str, seen: str, is_empty: bool, expected: Verdict
) -> None:
    assert verdict(known, seen, is_empty=is_empty) == expected


@given(known=FEATURES, seen=FEATURES, is_empty=st.booleans())
def test_where_nothing_can_be_lost_or_something_is_found_it_is_the_root(
    known: dict[str, str], seen: dict[str, str], is_empty: bool
) -> None:
    one, other = form(known), form(seen)
    assert verdict(one, other, is_empty=is_empty, knows_any=False) == Verdict.ROOT
    assert verdict(one, other, finds_any=True) == Verdict.ROOT


@given(known=FEATURES, seen=FEATURES)
def test_an_empty_place_is_the_root_only_if_it_is_provably_the_same_folder(
    known: dict[str, str], seen: dict[str, str]
) -> None:
    one, other = form(known), form(seen)
    provable = bool(known and seen) and compare(one, other) is Likeness.SAME and is_strong(other)
    assert (verdict(one, other, is_empty=True) is Verdict.ROOT) == provable


@given(known=FEATURES, seen=FEATURES)
def test_a_marker_that_is_missing_or_another_is_never_overlooked(known: dict[str, str], seen: dict[str, str]) -> None:
    assume("marker" in known and known["marker"] != seen.get("marker"))
    assert verdict(form(known), form(seen)) in ({Verdict.ANOTHER} if seen else {Verdict.ROOT})


@given(features=FEATURES)
def test_what_has_not_changed_is_the_same(features: dict[str, str]) -> None:
    assume(features.keys() - {"inode"})
    assert compare(form(features), form(features)) == Likeness.SAME
