"""The first gate: what the ledger knows against what is there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import stamps
from watcherd.model import Derivative, Entry, JobClass, Reason, Source, Stamp, State
from watcherd.queue.plan import Do, DoReason, Skip, plan

STAMP = Stamp(size_bytes=100, mtime_ns=10, ctime_ns=20, inode=5, nlink=1)
WANTED = {"thumbnail": 11, "preview": 22}
EVERY = ("thumbnail", "preview")
FILES = {"thumbnail": (1000, 111), "preview": (2000, 222)}
MADE = tuple(
    Derivative(variant=name, fingerprint=WANTED[name], size_bytes=size, mtime_ns=mtime, width=1, height=1)
    for name, (size, mtime) in FILES.items()
)
ENTRY = Entry(source=Source(1, b"a.jpg"), state=State.DONE, stamp=STAMP, seen_by=7, derivatives=MADE)
ENDED = [State.DONE, State.IGNORED, State.REJECTED, State.FAILED, State.QUARANTINED]


def planned(
    entry: Entry | None,
    stamp: Stamp = STAMP,
    *,
    fingerprints: dict[str, int] | None = None,
    present: dict[str, tuple[int, int]] | None = None,
    seen_by: int = 7,
    keeps_identity: bool = True,
    arriving: JobClass = JobClass.UPLOAD,
    layout: int = 0,
) -> Skip | Do:
    return plan(
        stamp,
        entry,
        fingerprints=WANTED if fingerprints is None else fingerprints,
        present=present,
        seen_by=seen_by,
        keeps_identity=keeps_identity,
        arriving=arriving,
        layout=layout,
    )


def in_state(state: State, reason: Reason | None = None) -> Entry:
    made = MADE if state is State.DONE else ()
    return replace(ENTRY, state=state, reason=reason, derivatives=made)


@pytest.mark.parametrize("arriving", list(JobClass))
@pytest.mark.parametrize("entry", [None, Entry(source=ENTRY.source, state=State.PENDING)])
def test_what_is_not_known_is_new(entry: Entry | None, arriving: JobClass) -> None:
    assert planned(entry, arriving=arriving) == Do(variants=EVERY, job_class=arriving, reason=DoReason.NEW)


@pytest.mark.parametrize("present", [None, FILES])
def test_a_done_source_with_its_files_is_skipped(present: dict[str, tuple[int, int]] | None) -> None:
    assert planned(ENTRY, present=present) == Skip(state=State.DONE)


@pytest.mark.parametrize("state", set(State) - {State.PENDING})
def test_nothing_changed_means_nothing_to_do(state: State) -> None:
    assert planned(in_state(state)) == Skip(state=state)


@pytest.mark.parametrize("state", list(State))
def test_more_links_to_a_file_change_nothing(state: State) -> None:
    assert planned(in_state(state), STAMP._replace(nlink=9)) == planned(in_state(state))


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("field", ["size_bytes", "mtime_ns", "inode"])
def test_other_content_is_an_edit(state: State, field: str) -> None:
    expected = Do(variants=EVERY, job_class=JobClass.EDITED, reason=DoReason.CONTENT)

    assert planned(in_state(state), STAMP._replace(**{field: 1})) == expected


def test_an_upload_that_goes_on_is_no_edit() -> None:
    more = STAMP._replace(size_bytes=999)
    expected = Do(variants=EVERY, job_class=JobClass.UPLOAD, reason=DoReason.CONTENT)

    assert planned(in_state(State.INCOMPLETE), more) == expected
    assert planned(in_state(State.PENDING), more) == expected


def test_another_ctime_alone_is_rehashed_at_backlog_pace() -> None:
    expected = Do(variants=(), job_class=JobClass.BACKLOG, reason=DoReason.IDENTITY)

    assert planned(ENTRY, STAMP._replace(ctime_ns=99), present=FILES) == expected


@pytest.mark.parametrize("state", set(State) - {State.PENDING})
def test_where_identity_is_not_kept_inode_and_ctime_mean_nothing(state: State) -> None:
    assert planned(in_state(state), STAMP._replace(inode=1, ctime_ns=1), keeps_identity=False) == Skip(state=state)


@pytest.mark.parametrize("keeps_identity", [True, False])
def test_a_file_that_could_not_be_read_is_tried_again_after_any_change_of_rights(keeps_identity: bool) -> None:
    decision = planned(
        in_state(State.REJECTED, Reason.NOT_PERMITTED), STAMP._replace(ctime_ns=99), keeps_identity=keeps_identity
    )

    assert decision == Do(variants=EVERY, job_class=JobClass.BACKLOG, reason=DoReason.IDENTITY)


def test_a_changed_recipe_remakes_that_variant_only() -> None:
    decision = planned(ENTRY, fingerprints={"thumbnail": 11, "preview": 23, "web": 5}, present=FILES)

    assert decision == Do(variants=("preview", "web"), job_class=JobClass.RECIPE, reason=DoReason.RECIPE)


def test_a_variant_that_is_not_wanted_any_more_is_not_work() -> None:
    assert planned(ENTRY, fingerprints={"thumbnail": 11}, present={"thumbnail": (1000, 111)}) == Skip(state=State.DONE)


@pytest.mark.parametrize("found", [None, (1, 111), (1000, 1)])
def test_a_missing_or_altered_file_is_remade(found: tuple[int, int] | None) -> None:
    present = {name: file for name, file in {**FILES, "thumbnail": found}.items() if file is not None}

    assert planned(ENTRY, present=present) == Do(
        variants=("thumbnail",), job_class=JobClass.BACKLOG, reason=DoReason.MISSING
    )


def test_a_missing_file_of_a_changed_recipe_is_made_in_one_go() -> None:
    decision = planned(ENTRY, fingerprints={**WANTED, "preview": 23}, present={})

    assert decision == Do(variants=EVERY, job_class=JobClass.RECIPE, reason=DoReason.RECIPE)


@pytest.mark.parametrize("kind", ["video", "pdf"])
def test_what_was_ignored_for_want_of_a_decoder_comes_up_again_with_other_decoders(kind: str) -> None:
    ignored = replace(in_state(State.IGNORED), detail=kind)
    again = Do(variants=EVERY, job_class=JobClass.RECIPE, reason=DoReason.DECODERS)

    assert (planned(ignored, seen_by=7), planned(ignored, seen_by=8)) == (Skip(state=State.IGNORED), again)


def test_what_no_decoder_makes_a_picture_of_stays_ignored() -> None:
    ignored = replace(in_state(State.IGNORED), detail="text")

    assert planned(ignored, seen_by=8) == Skip(state=State.IGNORED)


@pytest.mark.parametrize("state", [State.REJECTED, State.FAILED, State.QUARANTINED])
def test_new_decoders_or_limits_give_another_chance(state: State) -> None:
    decision = planned(in_state(state, Reason.DAMAGED), seen_by=8)

    assert decision == Do(variants=EVERY, job_class=JobClass.RECIPE, reason=DoReason.DECODERS)


@pytest.mark.parametrize("state", [State.DONE, State.IGNORED, State.INCOMPLETE])
def test_new_decoders_do_not_matter_to_others(state: State) -> None:
    assert planned(in_state(state), seen_by=8) == Skip(state=state)


TAKEN = replace(ENTRY, state=State.REJECTED, reason=Reason.NAME_TAKEN, derivatives=MADE[1:])


@pytest.mark.parametrize("present", [None, {**FILES, "thumbnail": (5, 5)}])
def test_a_taken_name_is_left_alone_while_something_is_there(present: dict[str, tuple[int, int]] | None) -> None:
    assert planned(TAKEN, present=present, seen_by=8) == Skip(state=State.REJECTED)


def test_a_name_that_is_free_again_is_used() -> None:
    decision = planned(TAKEN, present={"preview": FILES["preview"]})

    assert decision == Do(variants=("thumbnail",), job_class=JobClass.BACKLOG, reason=DoReason.MISSING)


def test_a_pending_source_keeps_its_class_or_gets_a_better_one() -> None:
    entry = replace(in_state(State.PENDING), job_class=JobClass.EDITED)

    assert planned(entry, arriving=JobClass.BACKLOG) == Do(
        variants=EVERY, job_class=JobClass.EDITED, reason=DoReason.PENDING
    )
    assert planned(entry, arriving=JobClass.UPLOAD) == Do(
        variants=EVERY, job_class=JobClass.UPLOAD, reason=DoReason.PENDING
    )


@given(
    st.none() | st.builds(replace, st.just(ENTRY), state=st.sampled_from(State), stamp=st.none() | stamps()),
    stamps(),
    st.none() | st.dictionaries(st.sampled_from(EVERY), st.tuples(st.integers(0, 2000), st.integers(0, 222))),
    st.booleans(),
    st.integers(7, 8),
)
def test_every_case_is_decided_and_makes_wanted_variants_only(
    entry: Entry | None, stamp: Stamp, present: dict[str, tuple[int, int]] | None, keeps: bool, seen_by: int
) -> None:
    decision = planned(entry, stamp, present=present, keeps_identity=keeps, seen_by=seen_by)
    wished = planned(entry, stamp, present=present, keeps_identity=keeps, seen_by=seen_by, arriving=JobClass.MANUAL)

    assert type(decision) is type(wished)
    if isinstance(decision, Do) and isinstance(wished, Do):
        assert set(decision.variants) <= set(WANTED)
        assert wished == replace(decision, job_class=JobClass.MANUAL)
    if isinstance(decision, Skip) and entry is not None and entry.stamp is not None:
        assert decision.state is entry.state
        assert stamp[:2] == entry.stamp[:2]


@pytest.mark.parametrize("reason", [Reason.NOT_PERMITTED, Reason.READ_ERROR, Reason.WRITE_ERROR])
def test_what_a_folder_or_a_disk_refused_is_tried_again_by_each_scan(reason: Reason) -> None:
    """Its cure leaves no trace on the source: only a look at the folder can tell, and only a scan looks."""
    entry = in_state(State.FAILED, reason)

    assert isinstance(planned(entry, STAMP, present={}), Do)
    assert planned(entry, STAMP, present=None) == Skip(state=State.FAILED)


# ------------------------------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("present", [None, {}, FILES])
def test_derivatives_of_another_layout_are_moved_and_not_missed(present: dict[str, tuple[int, int]] | None) -> None:
    expected = Do(variants=(), job_class=JobClass.RECIPE, reason=DoReason.LAYOUT)
    assert planned(ENTRY, present=present, layout=3, arriving=JobClass.BACKLOG) == expected


def test_only_what_lies_where_it_belongs_can_be_missing_there() -> None:
    half = replace(ENTRY, derivatives=(replace(MADE[0], layout=3), MADE[1]))
    decision = planned(half, present={}, layout=3)
    assert decision == Do(variants=("thumbnail",), job_class=JobClass.RECIPE, reason=DoReason.LAYOUT)


def test_what_is_stale_and_elsewhere_is_moved_before_it_is_made_anew() -> None:
    decision = planned(ENTRY, fingerprints={**WANTED, "preview": 23}, layout=3)
    assert decision == Do(variants=("preview",), job_class=JobClass.RECIPE, reason=DoReason.LAYOUT)


def test_a_source_with_a_ctime_of_its_own_is_hashed_before_its_derivatives_are_moved() -> None:
    decision = planned(ENTRY, STAMP._replace(ctime_ns=21), layout=3)
    assert decision == Do(variants=(), job_class=JobClass.RECIPE, reason=DoReason.IDENTITY)


def test_where_a_name_is_taken_the_move_waits_until_it_is_free() -> None:
    taken = replace(ENTRY, state=State.REJECTED, reason=Reason.NAME_TAKEN)
    assert planned(taken, present=FILES, layout=3) == Skip(state=State.REJECTED)
    assert planned(taken, present=None, layout=3) == Skip(state=State.REJECTED)
    expected = Do(variants=(), job_class=JobClass.RECIPE, reason=DoReason.LAYOUT)
    assert planned(taken, present={"thumbnail": (1, 1)}, layout=3) == expected
