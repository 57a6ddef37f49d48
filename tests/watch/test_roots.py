"""Which roots can be worked in, and how they come back."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import Source
from watcherd.watch.roots import (
    HUNG,
    OFFLINE,
    PAUSING,
    UNSEEN,
    Announce,
    CallOverdue,
    CallReturned,
    Event,
    Fault,
    Identity,
    Look,
    Probe,
    ProbeFailed,
    ProbeSucceeded,
    Roots,
    RootState,
    Scan,
    Worked,
)

PAUSING_AT_ONCE = sorted(PAUSING.keys() - {errno.EIO})


def three_roots() -> Roots:
    """Roots 1 and 2 share a file system, 3 has its own."""
    roots = Roots()
    for number, file_system in ((1, "shared"), (2, "shared"), (3, "own")):
        roots.add(number, file_system=file_system)
    return roots


def fault(code: int, root: int = 1, name: bytes = b"a.jpg") -> Fault:
    return Fault(root=root, errno=code, source=Source(root, name))


def states(roots: Roots) -> list[RootState]:
    return [roots.state(number) for number in (1, 2, 3)]


def online(root: int) -> Announce:
    return Announce(root=root, state=RootState.ONLINE, reason="")


@pytest.mark.parametrize("code", PAUSING_AT_ONCE)
def test_a_fault_of_the_environment_pauses_all_roots_of_that_file_system(code: int) -> None:
    roots = three_roots()

    commands = roots.handle(fault(code), 0.0)

    assert commands == tuple(Announce(root=n, state=RootState.PAUSED, reason=PAUSING[code]) for n in (1, 2))
    assert states(roots) == [RootState.PAUSED, RootState.PAUSED, RootState.ONLINE]
    assert [roots.runnable(number) for number in (1, 2, 3)] == [False, False, True]
    assert roots.reason(1) == PAUSING[code]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG])
def test_a_fault_of_one_file_concerns_that_file_only(code: int) -> None:
    roots = three_roots()

    assert [roots.handle(fault(code, name=b"%d" % n), 0.0) for n in range(9)] == [()] * 9
    assert states(roots) == [RootState.ONLINE] * 3


def test_a_paused_root_is_told_once() -> None:
    roots = three_roots()
    roots.handle(fault(errno.ENOSPC), 0.0)

    assert roots.handle(fault(errno.ENOSPC, name=b"b.jpg"), 0.1) == ()
    assert roots.handle(fault(errno.EROFS, root=2), 0.1) == ()


def test_each_paused_root_is_probed_at_growing_distances() -> None:
    roots = Roots()
    roots.add(1, file_system="one")
    roots.handle(fault(errno.ENOSPC), 0.0)
    probes = []
    for _ in range(6):
        now = roots.next_deadline()
        assert now is not None
        assert roots.due(now - 0.001) == ()
        assert roots.due(now) == (Probe(root=1),)
        assert roots.due(now) == ()
        probes.append(now)
        roots.handle(ProbeFailed(root=1, errno=errno.ENOSPC), now)

    assert probes == [5.0, 15.0, 35.0, 75.0, 135.0, 195.0]


def test_a_probe_that_succeeds_brings_the_root_back_with_a_scan() -> None:
    roots = three_roots()
    roots.handle(fault(errno.EROFS), 0.0)
    assert roots.due(5.0) == (Probe(root=1), Probe(root=2))

    assert roots.handle(ProbeSucceeded(root=1), 5.1) == (online(1), Scan(root=1))
    assert states(roots) == [RootState.ONLINE, RootState.PAUSED, RootState.ONLINE]


def test_another_reason_of_a_failing_probe_is_told() -> None:
    roots = three_roots()
    roots.handle(fault(errno.ENOSPC), 0.0)

    assert roots.handle(ProbeFailed(root=1, errno=errno.ENOSPC), 5.0) == ()
    assert roots.handle(ProbeFailed(root=1, errno=errno.EACCES), 15.0) == (
        Announce(root=1, state=RootState.PAUSED, reason="it cannot be worked in (EACCES)"),
    )


def test_a_disk_that_is_full_for_pictures_but_not_for_probes_is_tried_less_and_less() -> None:
    roots = Roots()
    roots.add(1, file_system="one")
    now, waits = 0.0, []
    for _ in range(6):
        roots.handle(fault(errno.ENOSPC), now)
        deadline = roots.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        roots.due(deadline)
        roots.handle(ProbeSucceeded(root=1), deadline)
        now = deadline + 1.0

    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    roots.handle(fault(errno.ENOSPC), now + 100.0)
    assert roots.next_deadline() == now + 105.0


def test_input_output_errors_on_three_files_in_a_row_ask_for_a_probe() -> None:
    roots = three_roots()

    assert [roots.handle(fault(errno.EIO, name=name), 0.0) for name in (b"a", b"b", b"b", b"a")] == [()] * 4
    assert roots.handle(fault(errno.EIO, name=b"c"), 0.0) == (Probe(root=1),)
    assert states(roots) == [RootState.ONLINE] * 3


def test_a_file_that_worked_ends_the_row() -> None:
    roots = three_roots()
    for name in (b"a", b"b"):
        roots.handle(fault(errno.EIO, name=name), 0.0)
    roots.handle(Worked(root=1), 0.0)

    assert roots.handle(fault(errno.EIO, name=b"c"), 0.0) == ()


def test_a_failed_probe_after_input_output_errors_pauses_the_root() -> None:
    roots = three_roots()

    roots.handle(ProbeFailed(root=1, errno=errno.EIO), 10.0)

    assert (roots.state(1), roots.next_deadline()) == (RootState.PAUSED, 15.0)


def test_a_root_whose_calls_do_not_return_is_hung_and_left_alone() -> None:
    roots = three_roots()

    assert roots.handle(CallOverdue(root=1), 0.0) == (Announce(root=1, state=RootState.HUNG, reason=HUNG),)
    assert roots.handle(CallOverdue(root=1), 1.0) == ()
    assert roots.next_deadline() is None
    assert states(roots) == [RootState.HUNG, RootState.ONLINE, RootState.ONLINE]


def test_a_hung_root_that_answers_again_is_looked_at_then_scanned() -> None:
    roots = three_roots()
    roots.handle(CallOverdue(root=1), 0.0)

    assert roots.handle(CallReturned(root=1), 60.0) == (Look(root=1),)
    assert roots.state(1) is RootState.HUNG
    assert roots.handle(Identity(root=1, present=True), 60.1) == (online(1), Scan(root=1, anew=True))


def test_a_hung_root_that_comes_back_as_another_is_offline_with_the_reason() -> None:
    roots = three_roots()
    roots.handle(CallOverdue(root=1), 0.0)
    roots.handle(Identity(root=1, present=False, reason="another disk"), 60.0)

    assert (roots.state(1), roots.reason(1)) == (RootState.OFFLINE, "another disk")


def test_a_hung_root_whose_server_forgot_it_is_paused() -> None:
    roots = three_roots()
    roots.handle(CallOverdue(root=1), 0.0)
    roots.handle(ProbeFailed(root=1, errno=errno.ESTALE), 60.0)

    assert (roots.state(1), roots.reason(1)) == (RootState.PAUSED, PAUSING[errno.ESTALE])


def test_a_call_that_returns_in_time_is_nothing() -> None:
    assert three_roots().handle(CallReturned(root=1), 0.0) == ()


def test_an_unmounted_root_is_offline_until_it_is_back() -> None:
    roots = three_roots()
    roots.handle(fault(errno.ENOSPC), 0.0)

    gone = roots.handle(Identity(root=1, present=False), 1.0)
    meanwhile = [
        roots.handle(event, 2.0)
        for event in (CallOverdue(root=1), ProbeSucceeded(root=1), fault(errno.EROFS), Identity(root=1, present=False))
    ]
    back = roots.handle(Identity(root=1, present=True), 3.0)

    assert gone == (Announce(root=1, state=RootState.OFFLINE, reason=OFFLINE),)
    assert meanwhile == [()] * 4
    assert back == (online(1), Scan(root=1, anew=True))
    assert roots.handle(Identity(root=1, present=True), 4.0) == ()


def test_a_root_missing_from_the_start_is_waited_for() -> None:
    roots = Roots()
    roots.add(1, file_system=None, present=False)

    assert (roots.state(1), roots.reason(1), roots.runnable(1)) == (RootState.OFFLINE, UNSEEN, False)
    assert roots.handle(Identity(root=1, present=False), 0.0) == (
        Announce(root=1, state=RootState.OFFLINE, reason=OFFLINE),
    )
    assert roots.handle(Identity(root=1, present=True), 1.0) == (online(1), Scan(root=1, anew=True))


def test_a_root_that_hangs_from_the_start_is_hung() -> None:
    roots = Roots()
    roots.add(1, file_system=None, present=False)

    assert roots.handle(CallOverdue(root=1), 30.0) == (Announce(root=1, state=RootState.HUNG, reason=HUNG),)


def test_a_root_that_is_not_watched_any_more_is_nobodys_business() -> None:
    roots = three_roots()
    roots.remove(1)

    assert roots.handle(CallOverdue(root=1), 0.0) == ()


def events() -> st.SearchStrategy[Event]:
    numbers = st.integers(1, 3)
    codes = st.sampled_from([*PAUSING_AT_ONCE, errno.EIO, errno.EACCES])
    names = st.integers(0, 4).map(lambda number: b"%d.jpg" % number)
    return st.one_of(
        st.builds(fault, codes, numbers, names),
        st.builds(ProbeFailed, root=numbers, errno=codes),
        st.builds(Identity, root=numbers, present=st.booleans()),
        *(st.builds(kind, root=numbers) for kind in (Worked, CallOverdue, CallReturned, ProbeSucceeded)),
    )


@given(st.lists(st.tuples(events(), st.integers(0, 30)), max_size=30))
def test_each_change_of_state_is_told_and_each_return_is_scanned(steps: list[tuple[Event, int]]) -> None:
    roots, told, now = three_roots(), [RootState.ONLINE] * 3, 0.0
    for event, wait_s in steps:
        now += wait_s
        roots.due(now)
        before = states(roots)
        commands = roots.handle(event, now)
        for command in commands:
            if isinstance(command, Announce):
                told[command.root - 1] = command.state
        scanned = {command.root for command in commands if isinstance(command, Scan)}
        returned = {n + 1 for n in range(3) if before[n] is not RootState.ONLINE and told[n] is RootState.ONLINE}
        assert told == states(roots)
        assert scanned == returned


@given(st.lists(st.tuples(events(), st.integers(0, 30)), max_size=30))
def test_once_all_is_well_again_every_root_comes_back(steps: list[tuple[Event, int]]) -> None:
    roots, now = three_roots(), 0.0
    for event, wait_s in steps:
        now += wait_s
        roots.handle(event, now)

    for number in (1, 2, 3):
        roots.handle(Identity(root=number, present=True), now)
        asked = [*roots.handle(CallReturned(root=number), now), *roots.due(now + 60.0)]
        for root in {command.root for command in asked if isinstance(command, Probe)}:
            roots.handle(ProbeSucceeded(root=root), now)

    assert states(roots) == [RootState.ONLINE] * 3
