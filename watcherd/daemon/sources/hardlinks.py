"""Several names of one file.

Responsible for: which other sources a write to one of them concerns.
Not responsible for: looking at them (`intake.py`).
"""

from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, Stamp

_MOST_NAMES = 100
"""Of one file, that are looked at where one of them was written (chosen: more than backups keep of a file)."""


def other_names(ledger: Ledger, stamp: Stamp, entry: Entry | None) -> list[Source]:
    """The other names (hard links) of a file that was written in place: the kernel tells of one name only."""
    before = entry.stamp if entry is not None else None
    if entry is None or before is None or stamp.nlink < 2 or before.inode != stamp.inode or before[:2] == stamp[:2]:
        return []
    found = ledger.same_file(before, limit=_MOST_NAMES)
    return [other.source for other in found if other.source != entry.source]
