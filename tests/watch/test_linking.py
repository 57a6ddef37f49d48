"""Which links are followed: never two ways to one folder, and never one into what is watched, or its own."""

import posixpath
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.watch.identity import Likeness, compare
from watcherd.watch.linking import Held, Links, Refusal, Target, identity_of, refusal, target_of

ROOT = Target(path=b"/srv/photos", device=1, inode=2)
NAMES = st.sampled_from([b"a", b"b", b"ab", b"srv", b"photos"])
PATHS = st.lists(NAMES, max_size=4).map(lambda names: b"/" + b"/".join(names))


def why(target: bytes, *, others: tuple[bytes, ...] = (), held: Mapping[bytes, bytes] | None = None) -> Refusal | None:
    followed = Held({link: Target(path=path) for link, path in (held or {}).items()})
    return refusal(b"link", Target(path=target), root=ROOT, others=others, held=followed)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/srv/photos", Refusal.INTO_ROOT),
        (b"/srv/photos/2024", Refusal.INTO_ROOT),
        (b"/srv", Refusal.INTO_ROOT),
        (b"/", Refusal.INTO_ROOT),
        (b"/srv/photos2", None),
        (b"/mirror/photos", Refusal.INTO_ANOTHER),
        (b"/ext/album", Refusal.REACHED),
        (b"/ext", Refusal.REACHED),
        (b"/ext/album/2024", Refusal.REACHED),
        (b"/ext/album2", None),
    ],
)
def test_a_link_is_followed_only_to_what_nobody_reaches(target: bytes, expected: Refusal | None) -> None:
    assert why(target, others=(b"/mirror",), held={b"album": b"/ext/album"}) is expected


def test_a_link_does_not_stand_in_its_own_way() -> None:
    assert why(b"/ext", held={b"link": b"/ext/album"}) is None


def test_one_folder_with_two_paths_is_one_folder() -> None:
    held = Held({b"album": Target(path=b"/ext/album", device=7, inode=8)})
    bound = Target(path=b"/bound", device=7, inode=8)
    assert refusal(b"link", bound, root=ROOT, others=(), held=held) is Refusal.REACHED
    itself = Target(path=b"/bound", device=1, inode=2)
    assert refusal(b"link", itself, root=ROOT, others=(), held=Held()) is Refusal.INTO_ROOT
    unseen = Held({b"album": Target(path=b"/ext/album")})
    assert refusal(b"link", Target(path=b"/x"), root=ROOT, others=(), held=unseen) is None


@given(PATHS, st.lists(PATHS, max_size=3), st.lists(PATHS, max_size=12))
def test_what_is_followed_lies_apart_and_each_refusal_has_its_cause(
    root: bytes, others: list[bytes], targets: list[bytes]
) -> None:
    place = Target(path=root)
    held: dict[bytes, Target] = {}
    kept = Held()
    for number, path in enumerate(targets):
        link, target = b"link%d" % number, Target(path=path)
        found = refusal(link, target, root=place, others=others, held=kept)
        if found is None:
            held[link] = target
            kept.put(link, target)
        assert bool(kept.holders(link, target)) is (found is Refusal.REACHED or overlaps_any(path, held, link))
    apart = [root, *(target.path for target in held.values())]
    assert not any(overlap(one, other) for i, one in enumerate(apart) for other in apart[:i])
    assert not any(overlap(target.path, other) for target in held.values() for other in others)


LINKS = st.sampled_from([b"1", b"2", b"3"])
TARGETS = st.builds(Target, path=PATHS, device=st.just(1), inode=st.integers(0, 4))


@given(st.lists(st.tuples(LINKS, TARGETS | st.none()), max_size=12), LINKS, TARGETS)
def test_what_is_held_is_found_as_if_all_of_it_was_looked_through(
    steps: list[tuple[bytes, Target | None]], link: bytes, sought: Target
) -> None:
    kept, plain = Held(), dict[bytes, Target]()
    for one, target in steps:
        plain.pop(one, None)
        kept.drop(one)
        if target is not None and not plainly(plain, one, target):  # it lies apart, as all that is followed
            plain[one] = target
            kept.put(one, target)
    assert kept.holders(link, sought) == plainly(plain, link, sought)
    assert {one: kept.get(one) for one in (b"1", b"2", b"3")} == {one: plain.get(one) for one in (b"1", b"2", b"3")}


def plainly(held: Mapping[bytes, Target], link: bytes, target: Target) -> set[bytes]:
    others = {one: other for one, other in held.items() if one != link}
    same = {one for one, other in others.items() if other.inode and other.inode == target.inode}
    return same | {one for one, other in others.items() if overlap(other.path, target.path)}


def overlaps_any(path: bytes, held: Mapping[bytes, Target], link: bytes) -> bool:
    return any(overlap(path, target.path) for one, target in held.items() if one != link)


def overlap(one: bytes, other: bytes) -> bool:
    """By another library than ours."""
    return posixpath.commonpath([one, other]) in {one, other}


@given(st.binary(min_size=1, max_size=40).map(lambda raw: b"/" + raw.replace(b"\0", b"-")))
def test_where_a_link_led_is_remembered_byte_for_byte(path: bytes) -> None:
    identity = identity_of(path, "uuid=5 inode=2")
    assert target_of(identity) == path
    assert compare(identity, "uuid=5 inode=2") is Likeness.SAME
    assert compare(identity, "uuid=6 inode=2") is Likeness.OTHER
    assert target_of(identity_of(path, "")) == path


@pytest.mark.parametrize("identity", ["", "uuid=5 inode=2", "kind=tmpfs"])
def test_the_identity_of_a_mount_is_no_link_s(identity: str) -> None:
    assert target_of(identity) is None


def test_what_was_seen_of_a_link_is_news_once() -> None:
    links, target = Links(follows=True), Target(path=b"/ext", device=1, inode=3)
    assert [links.set(b"a", target), links.set(b"a", target), links.set(b"b", Refusal.REACHED)] == [True, False, True]
    assert (links.target(b"a"), links.target(b"b"), links.followed()) == (target, None, {b"a": b"/ext"})
    assert (links.is_refused(b"a"), links.is_refused(b"b"), links.is_refused(b"c")) == (False, True, False)
    assert [links.set(b"b", None), links.set(b"b", None)] == [True, False]
    assert links.seen == {b"a": target}
