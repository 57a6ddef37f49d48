"""How an entry is written into the ledger's columns, and read out of them.

Responsible for: the order of columns, the numbers that stand for words, numbers that are too wide for SQLite.
Not responsible for: statements and transactions. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from watcherd.model import Derivative, Entry, JobClass, Reason, Source, Stamp, State

STATE_CODES: Mapping[State, int] = {
    State.PENDING: 0,
    State.DONE: 1,
    State.IGNORED: 2,
    State.INCOMPLETE: 3,
    State.REJECTED: 4,
    State.FAILED: 5,
    State.QUARANTINED: 6,
}
"""What stands in the column `state`. Never renumbered: a new state gets a new number."""

CLASS_CODES: Mapping[JobClass, int] = {
    JobClass.MANUAL: 0,
    JobClass.RETRY: 1,
    JobClass.UPLOAD: 2,
    JobClass.EDITED: 3,
    JobClass.RECIPE: 4,
    JobClass.BACKLOG: 5,
}
"""What stands in the column `job_class`. Never renumbered."""

STATES = {code: state for state, code in STATE_CODES.items()}
CLASSES = {code: job_class for job_class, code in CLASS_CODES.items()}

SOURCE_COLUMNS = (
    "root, state, size_bytes, mtime_ns, ctime_ns, inode, nlink, digest, job_class, sequence, faults, interruptions,"
    " in_hand, reason, detail, first_seen_at_s, not_before_at_s, gone_at_s, seen_by, width, height,"
    " phash, dhash, captured"
)
"""What `source_values` fills, in this order; the directory and the name stand before them in every statement."""

DERIVATIVE_COLUMNS = "fingerprint, size_bytes, mtime_ns, width, height, layout"

_NO_STAMP = (None, None, None, None, None)
_WIDE_BYTES = 16
_SIGN, _ALL_BITS = 1 << 63, (1 << 64) - 1
_INSTANT = (4, 6, 8, 10, 12)
"""Where the parts of a date end in its 14 digits."""


def source_values(entry: Entry) -> tuple[Any, ...]:
    """The values of SOURCE_COLUMNS."""
    return (
        entry.source.root,
        STATE_CODES[entry.state],
        *(entry.stamp or _NO_STAMP),
        entry.digest,
        None if entry.job_class is None else CLASS_CODES[entry.job_class],
        entry.sequence,
        entry.faults,
        entry.interruptions,
        entry.in_hand,
        None if entry.reason is None else entry.reason.value,
        entry.detail,
        entry.first_seen_at_s,
        entry.not_before_at_s,
        entry.gone_at_s,
        entry.seen_by,
        entry.width,
        entry.height,
        signed(entry.phash),
        signed(entry.dhash),
        _digits(entry.captured),
    )


def derivative_values(derivative: Derivative) -> tuple[Any, ...]:
    """The values of DERIVATIVE_COLUMNS."""
    return (
        derivative.fingerprint,
        derivative.size_bytes,
        derivative.mtime_ns,
        derivative.width,
        derivative.height,
        derivative.layout,
    )


def entry_from(path: bytes, row: Sequence[Any], derivatives: tuple[Derivative, ...]) -> Entry:
    """An entry from the values of SOURCE_COLUMNS."""
    return Entry(
        source=Source(row[0], path),
        state=STATES[row[1]],
        stamp=None if row[2] is None else Stamp(row[2], narrow(row[3]), narrow(row[4]), narrow(row[5]), row[6]),
        digest=row[7],
        job_class=None if row[8] is None else CLASSES[row[8]],
        sequence=row[9],
        faults=row[10],
        interruptions=row[11],
        in_hand=bool(row[12]),
        reason=None if row[13] is None else Reason(row[13]),
        detail=row[14],
        first_seen_at_s=row[15],
        not_before_at_s=row[16],
        gone_at_s=row[17],
        seen_by=narrow(row[18]),
        width=row[19],
        height=row[20],
        phash=unsigned(row[21]),
        dhash=unsigned(row[22]),
        captured=_instant(row[23]),
        derivatives=derivatives,
    )


def derivative_from(variant: str, row: Sequence[Any]) -> Derivative:
    """A derivative from the values of DERIVATIVE_COLUMNS."""
    return Derivative(
        variant=variant,
        fingerprint=row[0],
        size_bytes=row[1],
        mtime_ns=narrow(row[2]),
        width=row[3],
        height=row[4],
        layout=row[5],
    )


def widened(values: Iterable[Any]) -> tuple[Any, ...]:
    """The same values, those that pass 64 bits signed as bytes (SQLite has no wider integer)."""
    return tuple(
        value.to_bytes(_WIDE_BYTES, "big", signed=True)
        if isinstance(value, int) and not -(2**63) <= value < 2**63
        else value
        for value in values
    )


def narrow(value: int | bytes) -> int:
    """The number that `widened` has stored."""
    return value if isinstance(value, int) else int.from_bytes(value, "big", signed=True)


def signed(number: int | None) -> int | None:
    """The signed 64-bit number with the bits of an unsigned one."""
    return None if number is None else (number ^ _SIGN) - _SIGN


def unsigned(number: int | None) -> int | None:
    """The inverse of `signed`."""
    return None if number is None else number & _ALL_BITS


def _digits(instant: str) -> int | None:
    """2008-05-30T15:56:01 as 20080530155601."""
    digits = "".join(filter(str.isdigit, instant))
    return int(digits) if digits else None


def _instant(digits: int | None) -> str:
    if digits is None:
        return ""
    text = f"{digits:014}"
    year, *rest = (text[a:b] for a, b in zip((0, *_INSTANT), (*_INSTANT, 14), strict=True))
    return "{}-{}-{}T{}:{}:{}".format(year, *rest)
