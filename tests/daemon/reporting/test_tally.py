"""The tally: each source counts once, within the scopes that cover it."""

import pytest

from watcherd.daemon.reporting.tally import KEYS, Scope, Tally
from watcherd.model import (
    Disturbed,
    Failed,
    Ignored,
    Incomplete,
    Outcome,
    Reason,
    Rejected,
    Rendered,
    Source,
    State,
    Vanished,
)

HERE = Source(1, b"a/b.jpg")


@pytest.fixture
def tally() -> Tally:
    tally = Tally()
    tally.open(5, Scope())
    return tally


@pytest.mark.parametrize(
    ("places", "covered"),
    [
        (None, True),
        ((Source(1, b""),), True),
        ((Source(1, b"a"),), True),
        ((Source(1, b"a/b.jpg"),), True),
        ((Source(1, b"a/b"),), False),
        ((Source(2, b""),), False),
        ((Source(2, b""), Source(1, b"a")), True),
    ],
)
def test_a_scope_covers_what_lies_below_its_places(places: tuple[Source, ...] | None, covered: bool) -> None:
    assert covered == Scope(places=places).covers(HERE)


def test_a_rendered_source_counts_with_its_derivatives(tally: Tally) -> None:
    tally.ended(HERE, Rendered(), State.DONE, 2)

    expected = dict.fromkeys(KEYS, 0) | {"sources": 1, "rendered": 1, "derivatives": 2}
    assert expected == tally.counts(5)


@pytest.mark.parametrize("outcome", [Disturbed(), Vanished(), Ignored(kind="derivative")])
def test_what_is_no_end_of_a_source_does_not_count(tally: Tally, outcome: Outcome) -> None:
    tally.ended(HERE, outcome, State.PENDING, 0)

    assert tally.counts(5)["sources"] == 0


def test_an_attempt_that_will_be_repeated_does_not_count(tally: Tally) -> None:
    failed = Failed(reason=Reason.DECODER_ERROR, detail="")
    tally.ended(HERE, failed, State.PENDING, 0)
    tally.ended(HERE, failed, State.PENDING, 0)
    tally.ended(HERE, failed, State.QUARANTINED, 0)

    assert (tally.counts(5)["sources"], tally.counts(5)["quarantined"]) == (1, 1)


def test_a_rejection_counts_by_the_state_that_it_led_to(tally: Tally) -> None:
    tally.ended(HERE, Rejected(reason=Reason.DAMAGED, detail=""), State.QUARANTINED, 0)

    assert (tally.counts(5)["rejected"], tally.counts(5)["quarantined"]) == (0, 1)


def test_skipped_sources_count_by_their_state_for_the_scan_that_asked(tally: Tally) -> None:
    tally.skipped(5, {State.DONE: 7, State.IGNORED: 2, State.REJECTED: 1, State.PENDING: 3})
    tally.skipped(None, {State.DONE: 100})
    counts = tally.close(5)

    assert (counts["sources"], counts["unchanged"], counts["ignored"], counts["rejected"]) == (10, 7, 2, 1)
    assert tally.counts(5)["sources"] == 0


def test_a_tally_knows_which_of_its_scans_have_yet_to_end(tally: Tally) -> None:
    tally.await_scans(5, 2)
    tally.scanned(5)
    assert tally.scanning(5)

    tally.scanned(5)
    tally.scanned(None)
    assert not tally.scanning(5)


def test_an_incomplete_source_that_is_rendered_later_counts_once(tally: Tally) -> None:
    incomplete = Incomplete(reason=Reason.TRUNCATED, detail="")
    tally.ended(HERE, incomplete, State.INCOMPLETE, 0)
    tally.ended(HERE, incomplete, State.INCOMPLETE, 0)
    tally.ended(HERE, Rendered(), State.DONE, 2)

    assert (tally.counts(5)["incomplete"], tally.counts(5)["rendered"], tally.counts(5)["sources"]) == (0, 1, 1)
