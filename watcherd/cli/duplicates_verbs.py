"""`watcherd duplicates`: which sources have the same content, and which look alike.

Responsible for: the groups, from the ledger alone, and how they are printed. Not responsible for: the search among
hashes (`imaging/near.py`), nor for doing anything about duplicates: watcherd never touches a source.

A digest's first 8 bytes, a hash and a number for each source are held in memory, 24 bytes; names come from the ledger
group by group.
"""

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, json_option, state_dir_option, state_directory

if TYPE_CHECKING:
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Entry

_PAGE = 1000
_MOST_BITS = 16


@click.command()
@click.argument("directory", metavar="[DIR]", type=NAME, required=False)
@click.option(
    "--near",
    type=click.IntRange(0, _MOST_BITS),
    metavar="N",
    help=f"Also groups whose perceptual hashes differ in at most N of 64 bits, 0 to {_MOST_BITS}; 4 finds copies that "
    "were resized or encoded anew, above 8 other pictures come in.",
)
@state_dir_option
@json_option
def duplicates(directory: str | None, near: int | None, state_dir: str | None, *, as_json: bool) -> int:
    """List sources that are exact copies of each other; with --near, those that look alike as well.

    Reads the ledger and no picture, so it tells of what was seen by `run` or `scan`. DIR restricts it to what lies
    below. The first of a group is the one that was recorded first; nothing is moved or removed.
    """
    from watcherd.cli.query_verbs import open_to_read  # noqa: PLC0415 - not for --help

    with open_to_read(state_directory(state_dir)) as ledger:
        looks = _collected(ledger, directory)
        shown = dict.fromkeys(("exact", "near"), 0)
        for kind, members in _groups(ledger, looks, near):
            shown[kind] += 1
            click.echo(json.dumps(_line(kind, members)) if as_json else _text(kind, members))
    summary = {"sources": len(looks.numbers), "exact_groups": shown["exact"], "without_hash": looks.without_hash}
    if near is not None:
        summary["near_groups"] = shown["near"]
    if as_json:
        click.echo(json.dumps({"v": 1, "message_type": "summary"} | summary))
    else:
        click.echo(_summary_text(summary), err=True)
    return Exit.OK


# ---------------------------------------------------------------------------------------------------------- the ledger


@dataclass(slots=True)
class _Looks:
    """Of each source its number in the ledger, the beginning of its digest, and its hash (for some there is none)."""

    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    prefixes: "array[int]" = field(default_factory=lambda: array("Q"))
    hashed: "array[int]" = field(default_factory=lambda: array("q"))
    hashes: "array[int]" = field(default_factory=lambda: array("Q"))

    @property
    def without_hash(self) -> int:
        return len(self.numbers) - len(self.hashed)


@dataclass(frozen=True, slots=True)
class _Member:
    """`distance` to the first of the group; `is_copy`: the same bytes as a member before it."""

    path: str
    entry: "Entry"
    distance: int
    is_copy: bool


def _collected(ledger: "Ledger", directory: str | None) -> _Looks:
    looks = _Looks()
    for root, below in _places(ledger, directory):
        for number, prefix, phash in ledger.looks(root, below):
            looks.numbers.append(number)
            looks.prefixes.append(prefix)
            if phash is not None:
                looks.hashed.append(number)
                looks.hashes.append(phash)
    return looks


def _places(ledger: "Ledger", directory: str | None) -> list[tuple[int, bytes]]:
    """The folders of the ledger that a path holds, or that hold it: (root, path below it)."""
    roots = ledger.roots()
    if directory is None:
        return [(root, b"") for root in roots]
    wanted = os.fsencode(os.path.realpath(directory))
    inside = [(root, b"") for root, path in roots.items() if _holds(wanted, path)]
    holders = [
        (root, wanted[len(path) + 1 :]) for root, path in roots.items() if path != wanted and _holds(path, wanted)
    ]
    if not inside and not holders:
        raise Stop(Exit.FAILED, f"the ledger knows nothing of {directory}: no folder that was watched or scanned")
    return inside + holders


def _holds(folder: bytes, path: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _groups(ledger: "Ledger", looks: _Looks, near: int | None) -> Iterator[tuple[str, list[_Member]]]:
    for numbers in _equal(looks.numbers, looks.prefixes):
        entries = sorted(_fetched(ledger, numbers), key=lambda found: (found[1].digest or b"", found[0]))
        for _, same in groupby(entries, key=lambda found: found[1].digest):
            members = _members(ledger, [(number, 0, entry) for number, entry in same])
            if len(members) > 1:
                yield "exact", members
    if near is not None:
        yield from (("near", members) for members in _alike(ledger, looks, near))


def _equal(numbers: "array[int]", keys: "array[int]") -> Iterator[list[int]]:
    """The numbers that share a key with another one, by key."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for _, same in groupby(order, key=keys.__getitem__):
        places = list(same)
        if len(places) > 1:
            yield sorted(numbers[place] for place in places)


def _alike(ledger: "Ledger", looks: _Looks, near: int) -> Iterator[list[_Member]]:
    """Groups with more than one content; pictures of one colour, which all have one hash, are in none."""
    from watcherd.imaging.near import has_shape, near_groups  # noqa: PLC0415 - not for --help

    by_age = array("q", sorted(range(len(looks.hashed)), key=looks.hashed.__getitem__))
    places = array("q", (place for place in by_age if has_shape(looks.hashes[place])))
    hashes = array("Q", (looks.hashes[place] for place in places))
    for group in near_groups(hashes, near):
        yield from _of_several(ledger, [(looks.hashed[places[one.place]], one.distance) for one in group])


def _of_several(ledger: "Ledger", found: Sequence[tuple[int, int]]) -> Iterator[list[_Member]]:
    distances = dict(found)
    members = _members(ledger, [(n, distances[n], entry) for n, entry in _fetched(ledger, [n for n, _ in found])])
    if sum(not member.is_copy for member in members) > 1:
        yield members


def _fetched(ledger: "Ledger", numbers: Sequence[int]) -> Iterator[tuple[int, "Entry"]]:
    for at in range(0, len(numbers), _PAGE):
        yield from ledger.numbered(numbers[at : at + _PAGE]).items()


def _members(ledger: "Ledger", found: Iterable[tuple[int, int, "Entry"]]) -> list[_Member]:
    """In the order of distance, then of age."""
    roots, contents, members = ledger.roots(), set(), []
    for _, apart, entry in sorted(found, key=lambda one: (one[1], one[0])):
        path = os.fsdecode(roots[entry.source.root] + b"/" + entry.source.path)
        members.append(_Member(path, entry, apart, entry.digest in contents))
        contents.add(entry.digest)
    return members


# ------------------------------------------------------------------------------------------------------------ printing


def _line(kind: str, members: Sequence[_Member]) -> dict[str, Any]:
    from watcherd.cli.query_verbs import hexadecimal  # noqa: PLC0415 - not for --help

    sources = [
        {
            "source": member.path,
            "bytes": member.entry.stamp.size_bytes if member.entry.stamp else 0,
            "width": member.entry.width,
            "height": member.entry.height,
            "captured": member.entry.captured,
            "digest": member.entry.digest.hex() if member.entry.digest else "",
            "phash": hexadecimal(member.entry.phash),
            "dhash": hexadecimal(member.entry.dhash),
        }
        | ({"distance": member.distance, "copy": member.is_copy} if kind == "near" else {})
        for member in members
    ]
    return {"v": 1, "message_type": kind, "sources": sources}


def _text(kind: str, members: Sequence[_Member]) -> str:
    from watcherd.cli.asking import safe  # noqa: PLC0415 - not for --help

    first = members[0].entry
    if kind == "exact":
        size = f", {first.stamp.size_bytes:,} bytes each" if first.stamp else ""
        return "\n".join([f"{len(members)} copies{size}", *(f"  {safe(member.path)}" for member in members)])
    lines = [f"{len(members)} look alike"]
    for member in members:
        note = "copy" if member.is_copy else f"{member.distance} bits" if member.distance else "same hash"
        shown = "first" if member is members[0] else note
        lines.append(f"  {shown:>9}  {member.entry.width}x{member.entry.height}  {safe(member.path)}")
    return "\n".join(lines)


def _summary_text(summary: dict[str, int]) -> str:
    text = f"{summary['sources']} sources: {summary['exact_groups']} groups of copies"
    if "near_groups" in summary:
        text += f", {summary['near_groups']} that look alike"
        if summary["without_hash"]:
            text += f"; {summary['without_hash']} were never rendered here and have no perceptual hash"
    return text
