"""A folder on the disk against the same folder in the ledger.

Responsible for: walking both in the order of names, telling sources from derivatives, and saying of each source
whether it rests, needs a look, or is missing.
Not responsible for: reading either (`listing.py`, the ledger's reader); the judgement itself, which is handed in.
No I/O of its own: the ledger's entries come in as an iterator, so memory stays bounded by the listing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from watcherd.model import Entry, Stamp, State
from watcherd.naming import NAME_MAX_BYTES, Names, derivative_name, parse_derivative_name
from watcherd.watch.linking import NOT_FOLLOWED, Links
from watcherd.watch.scanning.listing import Listing, name_of


class Wanted(NamedTuple):
    """What the configuration asks of a root's sources, in one value that is replaced as a whole.

    `recipe_set` is any number that changes when a resting source may need a look again: with the fingerprints and the
    ignore rules. `names` says where derivatives lie and how they are called, now and ever. `takes` says whether a file
    that the backfill left out is wanted now, `links` how symbolic links are treated.
    """

    recipe_set: int
    fingerprints: Mapping[str, int]
    seen_by: int
    names: Names
    keeps_identity: bool = True
    takes: Callable[[Stamp], bool] = lambda _: True
    links: Links = NOT_FOLLOWED


class Judge(Protocol):
    """The judgement on a source that lies on the disk: the state in which it rests, or None where it needs a look.

    `present` holds (size, mtime_ns) of its derivatives that lie where they belong.
    """

    def __call__(
        self, stamp: Stamp, entry: Entry | None, present: Mapping[str, tuple[int, int]], wanted: Wanted
    ) -> State | None:
        """Judge one source."""


class Finding(NamedTuple):
    """One source of a folder. Missing: `stamp` is None. Needs a look: `state` is None. Else it rests in `state`."""

    name: bytes
    stamp: Stamp | None
    state: State | None


class Comparison:
    """The comparison of one folder: iterate over it for its findings, in the order of names.

    `recorded` gives the ledger's entry of a name in this folder; it is asked only about names that look like a
    derivative's and have no source beside them. `aside`: what the folder holds that derivatives have for themselves.
    """

    def __init__(
        self,
        listing: Listing,
        wanted: Wanted,
        *,
        judge: Judge,
        ignored: Callable[[bytes], bool],
        recorded: Callable[[bytes], Entry | None],
        aside: Listing | None = None,
    ) -> None:
        self._listing = listing
        self._derivatives = listing if aside is None else aside
        self._wanted = wanted
        self._judge = judge
        self._ignored = ignored
        self._recorded = recorded
        self._suffixes = tuple((*pair, ".{}.{}".format(*pair).encode()) for pair in wanted.names.known)
        self._endings = tuple(suffix for _, _, suffix in self._suffixes)
        self._cut_names: frozenset[bytes] | None = None

    def findings(self, entries: Iterable[Entry]) -> Iterator[Finding]:
        """Merge the folder's rows with its entries; both are in the order of names."""
        remaining = iter(entries)
        entry = next(remaining, None)
        entry_name = b"" if entry is None else entry.source.name
        for row in self._listing.rows:
            name = name_of(row)
            while entry is not None and entry_name < name:
                yield from self._missing(entry_name)
                entry = next(remaining, None)
                entry_name = b"" if entry is None else entry.source.name
            known = entry if entry is not None and entry_name == name else None
            if not (self._is_derivative(name) or self._ignored(name)):
                stamp = self._listing.stamp_of(row)
                yield Finding(name, stamp, self._state(name, stamp, known))
            if known is not None:
                entry = next(remaining, None)
                entry_name = b"" if entry is None else entry.source.name
        while entry is not None:
            yield from self._missing(entry.source.name)
            entry = next(remaining, None)

    def _missing(self, name: bytes) -> Iterator[Finding]:
        """What cannot be stat-ed is not missing, nor is a link that leads nowhere now."""
        if name not in self._listing.unreadable and name not in self._listing.dangling:
            yield Finding(name, None, None)

    def _state(self, name: bytes, stamp: Stamp, entry: Entry | None) -> State | None:
        if entry is not None and entry.gone_at_s is not None:
            return None  # it is back
        return self._judge(stamp, entry, self._present(name), self._wanted)

    def _present(self, name: bytes) -> dict[str, tuple[int, int]]:
        """(size, mtime) of a source's derivatives that are in place; of two of one variant, that of the first pair."""
        present: dict[str, tuple[int, int]] = {}
        for variant, extension, suffix in self._suffixes:
            fits = len(name) + len(suffix) <= NAME_MAX_BYTES
            derivative = name + suffix if fits else derivative_name(name, variant, extension)
            stamp = self._derivatives.find(derivative)
            if stamp is not None and variant not in present and derivative not in self._derivatives.linked:
                present[variant] = stamp.size_bytes, stamp.mtime_ns
        return present

    def _is_derivative(self, name: bytes) -> bool:
        """Whether a name is a derivative's whose source lies beside it, or lay there as far as the ledger knows."""
        if not name.endswith(self._endings):
            return False
        parsed = parse_derivative_name(name, self._wanted.names.known)
        if parsed is None:
            return False
        if parsed.cut_hash:
            return name in self._names_cut()
        if self._listing.find(parsed.stem) is not None:
            return True
        orphan_of = self._recorded(parsed.stem)
        return orphan_of is not None and any(made.variant == parsed.variant for made in orphan_of.derivatives)

    def _names_cut(self) -> frozenset[bytes]:
        """The names, cut for length, of the derivatives that sources of this folder have or could have."""
        if self._cut_names is None:
            shortest = NAME_MAX_BYTES - max(map(len, self._endings), default=0)
            long_names = [name for name in map(name_of, self._listing.rows) if len(name) > shortest]
            self._cut_names = frozenset(
                derivative_name(name, variant, extension)
                for name in long_names
                for variant, extension, _ in self._suffixes
            )
        return self._cut_names
