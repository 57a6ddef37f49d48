"""The condition of a derivative: whether what stands at its name is what we wrote, by a look at it.

Responsible for: the judgement of `watcherd verify`. Not responsible for: what is done about it, and for what only a
decoder can tell (`cli/verify_verbs.py` has the pictures decoded in a worker).
"""

from collections.abc import Iterable
from enum import StrEnum

from watcherd.derivatives.standing import Standing
from watcherd.model import Derivative
from watcherd.naming import Mark

_NOTHING = bytes(32)


class Condition(StrEnum):
    """What became of a derivative.

    RIGHT: as recorded. DAMAGED: ours, but cut off. OUTDATED: ours, but of another content or recipe. EDITED: somebody
    changed it, or put another file in its place; it is theirs.
    """

    RIGHT = "right"
    MISSING = "missing"
    DAMAGED = "damaged"
    OUTDATED = "outdated"
    EDITED = "edited"


_WORST_LAST = (Condition.MISSING, Condition.OUTDATED, Condition.DAMAGED, Condition.EDITED, Condition.RIGHT)
"""Of several names that a derivative may have, what is right at one of them counts; then what is a person's."""


def condition(standing: Standing | None, derivative: Derivative, digest: bytes) -> Condition:
    """Judge what stands at one name against what was recorded, of a source with this digest."""
    if standing is None:
        return Condition.MISSING
    mark = standing.mark
    if mark is None:
        return Condition.EDITED
    if mark.digest == _NOTHING:
        return Condition.DAMAGED
    if mark != Mark(variant=derivative.variant, digest=digest, fingerprint=derivative.fingerprint):
        return Condition.OUTDATED
    # An editor that keeps the comment has kept our mark; it has not kept our bytes.
    return Condition.RIGHT if standing.size_bytes == derivative.size_bytes else Condition.EDITED


def overall(conditions: Iterable[Condition]) -> Condition:
    """The condition of a derivative that may have one of several names."""
    return max(conditions, key=_WORST_LAST.index, default=Condition.MISSING)
