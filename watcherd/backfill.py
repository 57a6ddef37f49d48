"""Which of the files that were there before us are done: at the first contact with a library of a million photos.

Responsible for: reading the setting, and the judgement on one file. Not responsible for: files that came later, which
are uploads whatever the setting says. Pure.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from watcherd.model import Stamp

EXPECTED = '"all", "none", or "newer_than:" and a date (2024-01-31) or a number of days (90d)'
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """`newer_than_s`: done is what was modified after this instant (wall clock); infinity for nothing at all.

    `days` instead counts back from the first contact. Both None: everything.
    """

    newer_than_s: float | None = None
    days: int | None = None

    def takes(self, stamp: Stamp, since_s: float) -> bool:
        """Whether a file that the first look found is to be done; `since_s`: when its root was met for the first time.

        One whose ctime is later has come or changed while that look was under way, or before it was begun anew.
        """
        limit_s = since_s - self.days * _DAY_S if self.days is not None else self.newer_than_s
        if limit_s is None:
            return True
        return stamp.ctime_ns > since_s * 1e9 or stamp.mtime_ns > limit_s * 1e9


ALL = Backfill()


def parse(text: str) -> Backfill:
    """The setting's meaning. Raises ValueError with what it may be."""
    if text == "all":
        return ALL
    if text == "none":
        return Backfill(newer_than_s=float("inf"))
    found = re.fullmatch(r"newer_than:(?:(\d{1,5})d|(\d{4}-\d\d-\d\d))", text, re.ASCII)
    if found is None:
        raise ValueError(EXPECTED)
    if found[1]:
        return Backfill(days=int(found[1]))
    try:
        day = datetime.strptime(found[2], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(EXPECTED) from None
    return Backfill(newer_than_s=day.timestamp())
