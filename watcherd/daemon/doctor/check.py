"""What a check of the doctor comes to."""

from dataclasses import dataclass
from enum import StrEnum


class Finding(StrEnum):
    """How a check came out. WARN: it works, but not as well as it could."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `mend`: a command, or empty; `items`: what it consists of, each with how it came out."""

    name: str
    finding: Finding
    detail: str
    mend: str = ""
    items: tuple[tuple[str, str], ...] = ()
