"""The search finds every hash that is near enough to the centre of a group, and no other."""

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.imaging.near import Near, distance, has_shape, near_groups

HASHES = st.integers(0, 2**64 - 1)
FAMILIES = st.builds(
    lambda centre, flips: [centre ^ sum({1 << bit for bit in each}) for each in flips],
    HASHES,
    st.lists(st.lists(st.integers(0, 63), max_size=18), min_size=1, max_size=5),
)


def by_comparing_all(hashes: list[int], bits: int) -> list[list[Near]]:
    taken: set[int] = set()
    groups = []
    for place, value in enumerate(hashes):
        if place in taken:
            continue
        rest = [other for other in range(place + 1, len(hashes)) if other not in taken]
        found = sorted(Near(other, distance(value, hashes[other])) for other in rest)
        group = [Near(place, 0), *(one for one in found if one.distance <= bits)]
        taken.update(one.place for one in group)
        groups.extend([group] if len(group) > 1 else [])
    return groups


@given(
    st.lists(FAMILIES, max_size=8).map(lambda families: [one for family in families for one in family]),
    st.integers(0, 16),
)
def test_groups_are_those_of_comparing_each_with_each(hashes: list[int], bits: int) -> None:
    assert list(near_groups(hashes, bits)) == by_comparing_all(hashes, bits)


@pytest.mark.parametrize("bits", [0, 3, 4, 6, 8, 12, 16])
def test_nothing_is_missed_among_thousands(bits: int) -> None:
    chance = random.Random(bits)
    hashes = [chance.getrandbits(64) for _ in range(500)]
    hashes += [one ^ sum(1 << bit for bit in chance.sample(range(64), bits)) for one in hashes[:100]]
    assert list(near_groups(array("Q", hashes), bits)) == by_comparing_all(hashes, bits)


def test_a_chain_of_small_steps_is_not_one_group() -> None:
    steps = [(1 << count) - 1 for count in range(0, 12, 3)]
    assert list(near_groups(steps, 3)) == [[Near(0, 0), Near(1, 3)], [Near(2, 0), Near(3, 3)]]


def test_pictures_of_one_colour_have_no_shape() -> None:
    assert [has_shape(number) for number in (0, 1 << 63, 1, 2**64 - 1)] == [False, False, True, True]
