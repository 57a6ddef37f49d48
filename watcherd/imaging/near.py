"""Finding what looks alike: groups of 64-bit hashes that differ in a few bits only, among a million of them.

Responsible for: the search. Not responsible for: the hashes (`phash.py`), nor where they come from (the ledger).
A pure leaf.

Theory: a hash is cut into bands. Where two hashes differ in at most N bits, some band of them differs in at most
N // bands bits; so each hash is only compared with those that share a band with it, but for so many bits (multi-index
hashing, Norouzi et al. 2012). How many bands are best depends on N and on the number of hashes: `_bands_for` weighs
looking into more places against comparing more. A band's table is two arrays, so a million hashes take 8 MB a band.

Measured (tests/bench/near.py, 100,000 random hashes with 10,000 near ones, CPU seconds): 2 bits 0.7, 4 bits 0.7, 6 bits
1.7, 8 bits 6.9, 10 bits 13, 12 bits 40, 16 bits 58.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from math import comb
from typing import NamedTuple

_BITS = 64
_WIDEST = 22
_PLACE_COST, _COMPARISON_COST = 1.5, 0.8  # measured, in tenths of a microsecond
_SHAPE = (1 << 63) - 1


class Near(NamedTuple):
    """One of a group: its place in the sequence that was searched, and its bits' distance to the group's first."""

    place: int
    distance: int


class _Band(NamedTuple):
    """`order` has the places by the band's value; those with value v stand from `start[v]` to `start[v + 1]`."""

    shift: int
    mask: int
    order: "array[int]"
    start: "array[int]"
    flips: tuple[int, ...]


def distance(one: int, other: int) -> int:
    """In how many bits two hashes differ."""
    return (one ^ other).bit_count()


def has_shape(phash: int) -> bool:
    """Whether a DCT hash says anything: pictures of one colour all have the same one, and are not alike for that."""
    return phash & _SHAPE != 0


def near_groups(hashes: Sequence[int], bits: int) -> Iterator[list[Near]]:
    """Groups of two or more of these hashes, each of which differs from its group's first in at most `bits` bits.

    Each hash is in one group at most. The first of a group is the first in the sequence that is in no group yet: so
    a group has a centre, and a chain of small steps does not lead from one picture to quite another.
    """
    taken = bytearray(len(hashes))
    bands = _bands(hashes, bits)
    for place, value in enumerate(hashes):
        if taken[place]:
            continue
        taken[place] = 1
        group = [Near(place, 0)]
        for other in _candidates(bands, value):
            if not taken[other] and (apart := (hashes[other] ^ value).bit_count()) <= bits:
                taken[other] = 1
                group.append(Near(other, apart))
        if len(group) > 1:
            yield [group[0], *sorted(group[1:])]


def _candidates(bands: Sequence[_Band], value: int) -> Iterator[int]:
    for shift, mask, order, start, flips in bands:
        own = value >> shift & mask
        for flip in flips:
            at, end = start[own ^ flip], start[(own ^ flip) + 1]
            if at != end:
                yield from order[at:end]


def _bands(hashes: Sequence[int], bits: int) -> list[_Band]:
    count = _bands_for(len(hashes), bits)
    edges = [_BITS * number // count for number in range(count + 1)]
    return [_band(hashes, low, high - low, bits // count) for low, high in pairwise(edges)]


def _band(hashes: Sequence[int], shift: int, width: int, flipped: int) -> _Band:
    mask = (1 << width) - 1
    start = array("I", bytes(4 * (mask + 2)))
    for value in hashes:
        start[(value >> shift & mask) + 1] += 1
    for number in range(mask + 1):
        start[number + 1] += start[number]
    free = start[:]
    order = array("I", bytes(4 * len(hashes)))
    for place, value in enumerate(hashes):
        own = value >> shift & mask
        order[free[own]] = place
        free[own] += 1
    flips = tuple(
        sum(1 << bit for bit in chosen) for many in range(flipped + 1) for chosen in combinations(range(width), many)
    )
    return _Band(shift, mask, order, start, flips)


def _bands_for(many: int, bits: int) -> int:
    """The number of bands that makes the search for one hash cheapest."""

    def cost(count: int) -> float:
        width = _BITS / count
        places = count * sum(comb(round(width), flipped) for flipped in range(bits // count + 1))
        tables = count * 2**width / max(1, many)
        return places * (_PLACE_COST + _COMPARISON_COST * many / 2**width) + tables

    return min(range(-(-_BITS // _WIDEST), _BITS + 1), key=cost)
