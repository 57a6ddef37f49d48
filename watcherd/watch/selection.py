"""Which files count by what their stamp says: their size and their age.

Responsible for: the comparison of a stamp with a root's settings. Not responsible for: names (`ignore.py`). Pure.
"""

from dataclasses import dataclass

from watcherd.model import Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a root's files may be; 0 is no limit. Files beside these limits are left alone, not rejected."""

    min_bytes: int = 0
    max_bytes: int = 0
    max_age_s: float = 0.0

    def why_not(self, stamp: Stamp, now_ns: int) -> str | None:
        """Why a file of this stamp does not count (`now_ns`: the wall clock), None if it does."""
        if stamp.size_bytes < self.min_bytes:
            return "too_small"
        if self.max_bytes and stamp.size_bytes > self.max_bytes:
            return "too_large"
        if self.max_age_s and now_ns - stamp.mtime_ns > self.max_age_s * 1e9:
            return "too_old"
        return None


EVERY_FILE = Selection()
