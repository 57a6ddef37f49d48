"""The condition of a derivative, by a look at it."""

from dataclasses import replace

import pytest

from watcherd.derivatives.condition import Condition, condition, overall
from watcherd.derivatives.standing import Standing
from watcherd.model import Derivative
from watcherd.naming import Mark

DIGEST = bytes(range(32))
MARK = Mark(variant="web", digest=DIGEST, fingerprint=5)
MADE = Derivative(variant="web", fingerprint=5, size_bytes=100, mtime_ns=7, width=20, height=10)
RIGHT = Standing(mark=MARK, size_bytes=100, mtime_ns=7, inode=1)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (RIGHT, Condition.RIGHT),
        (replace(RIGHT, mtime_ns=8), Condition.RIGHT),
        (None, Condition.MISSING),
        (replace(RIGHT, mark=None), Condition.EDITED),
        (replace(RIGHT, size_bytes=101), Condition.EDITED),
        (replace(RIGHT, mark=replace(MARK, digest=bytes(32)), size_bytes=50), Condition.DAMAGED),
        (replace(RIGHT, mark=replace(MARK, digest=b"o" * 32)), Condition.OUTDATED),
        (replace(RIGHT, mark=replace(MARK, fingerprint=6)), Condition.OUTDATED),
        (replace(RIGHT, mark=replace(MARK, variant="other")), Condition.OUTDATED),
    ],
)
def test_the_mark_and_the_size_decide(standing: Standing | None, expected: Condition) -> None:
    assert condition(standing, MADE, DIGEST) is expected


def test_what_is_right_at_one_name_is_right_and_nothing_anywhere_is_missing() -> None:
    assert overall([Condition.MISSING, Condition.RIGHT, Condition.EDITED]) is Condition.RIGHT
    assert overall([Condition.MISSING, Condition.EDITED, Condition.DAMAGED]) is Condition.EDITED
    assert overall([]) is Condition.MISSING
