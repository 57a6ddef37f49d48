"""Recognition: whether what stands at a root's path is the root.

Responsible for: the judgement, from the identity that is remembered, the one that is seen, and what lies there.
Not responsible for: looking (`sighting.py`), comparing identities (`identity.py`), what follows (`roots.py`). Pure.

What an unmounted disk leaves behind is an empty folder, or one with a few files of its own. So an empty folder is the
root only where the very folder, on the very file system, was emptied; and another file system, or another folder on
the same one, is the root only where something of what is known lies in it (a disk that took over an earlier one's
files, a restored backup). Sources that were seen to be deleted count as not known: a folder that was removed before our
eyes and made again is taken as it is.
"""

from enum import StrEnum

from watcherd.watch.identity import Likeness, compare, is_strong


class Verdict(StrEnum):
    """What stands at a root's path: the root; nothing, where something was; something else."""

    ROOT = "root"
    EMPTIED = "emptied"
    ANOTHER = "another"


REASONS = {
    Verdict.EMPTIED: "it is empty, and it was not: as a disk looks that is not mounted",
    Verdict.ANOTHER: "another folder or disk stands in its place, and nothing that is known lies in it",
}
"""Why a root is away, as the end of a sentence."""


def recognise(*, known: str, seen: str, is_empty: bool, knows_any: bool, finds_any: bool) -> Verdict:
    """Judge what stands at a root's path.

    `known` and `seen` are identities (empty: not told). `knows_any`: the ledger has sources there that were not seen to
    leave; `finds_any`: at least one of a sample of them lies there, in its size.
    """
    if not knows_any or finds_any:
        return Verdict.ROOT
    likeness = compare(known, seen) if known and seen else None
    if is_empty:
        is_root = likeness is Likeness.SAME and is_strong(seen)
        return Verdict.ROOT if is_root else Verdict.EMPTIED
    return Verdict.ANOTHER if likeness in {Likeness.OTHER, Likeness.REMADE} else Verdict.ROOT
