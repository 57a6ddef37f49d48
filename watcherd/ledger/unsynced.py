"""What the ledger holds of derivatives that are perhaps not on the disk yet.

Responsible for: the table's statements and its rows. Not responsible for: what they mean (`daemon/sources/safety.py`),
running statements (`ledger.py`). Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from watcherd.model import Source

TABLE = (
    """CREATE TABLE unsynced (
        id INTEGER PRIMARY KEY AUTOINCREMENT, root INTEGER NOT NULL, path BLOB NOT NULL, begun INTEGER NOT NULL,
        checksums TEXT NOT NULL, UNIQUE (root, path, begun)) STRICT""",
)
"""One row for an attempt that has begun, one for what was written of a source. A number is never given twice, so that
what was written again meanwhile is not taken for what was there before."""

SELECT = "SELECT id, root, path, begun, checksums FROM unsynced WHERE root = ? ORDER BY id"
SELECT_WRITTEN = "SELECT checksums FROM unsynced WHERE root = ? AND path = ? AND begun = 0"
INSERT = "INSERT OR REPLACE INTO unsynced (root, path, begun, checksums) VALUES (?, ?, ?, ?)"
DELETE = "DELETE FROM unsynced WHERE id = ?"
DELETE_BEGUN = "DELETE FROM unsynced WHERE root = ? AND path = ? AND begun = 1"
MOVE = "UPDATE OR REPLACE unsynced SET root = ?, path = ? WHERE root = ? AND path = ? AND begun = 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsynced:
    """A source whose derivatives are in doubt: by variant, the CRC-32 of what was written; None: only begun."""

    number: int
    source: Source
    checksums: Mapping[str, int] | None


def row_from(row: tuple[int, int, bytes, int, str]) -> Unsynced:
    """A row of SELECT."""
    number, root, path, begun, text = row
    return Unsynced(number=number, source=Source(root, path), checksums=None if begun else checksums_from(text))


def text_of(checksums: Mapping[str, int]) -> str:
    """`thumbnail:0a1b2c3d preview:…`: the names of variants hold neither."""
    return " ".join(f"{variant}:{checksum:08x}" for variant, checksum in sorted(checksums.items()))


def merged(row: tuple[str] | None, checksums: Mapping[str, int | None]) -> str | None:
    """What a row of SELECT_WRITTEN is to hold with news of some variants (None: safe); None: there need be no row."""
    before = checksums_from(row[0]) if row is not None else {}
    left = {variant: one for variant, one in {**before, **checksums}.items() if one is not None}
    return text_of(left) if left or row is not None else None


def checksums_from(text: str) -> dict[str, int]:
    """The inverse of `text_of`."""
    pairs = (word.split(":") for word in text.split())
    return {variant: int(digits, 16) for variant, digits in pairs}
