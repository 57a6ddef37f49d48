"""When an upload counts as complete. The disk, its clock and its writers are played by a small simulation."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.model import Change, ChangeKind, JobClass, Source, Stamp, Vanished
from watcherd.settings import SettleSettings
from watcherd.watch.settle import Growing, Judgement, Settle, Settled, Waiting

SETTINGS = SettleSettings()
FILE = Source(1, b"upload.jpg")
OTHER = Source(2, b"other.jpg")
WALL_NS = 1_700_000_000 * 10**9
NS = 10**9


def wall(now: float) -> int:
    """The wall clock of these tests: WALL_NS at 0."""
    return WALL_NS + round(now * NS)


def stamp(written: float, *, size: int = 100, changed: float | None = None) -> Stamp:
    """A stamp of a file written at one time and, if told, renamed or linked at another."""
    ctime = wall(written if changed is None else changed)
    return Stamp(size_bytes=size, mtime_ns=wall(written), ctime_ns=ctime, inode=7, nlink=1)


def note(
    settle: Settle,
    kind: ChangeKind,
    now: float,
    *,
    source: Source = FILE,
    network: bool = False,
    found: Stamp | None = None,
) -> Settled | None:
    return settle.note(Change(kind=kind, source=source, stamp=found), now, wall_ns=wall(now), network=network)


def look(settle: Settle, seen: Stamp | None) -> tuple[float, Judgement]:
    """Let time pass to the next planned look, and show it this stamp."""
    now = settle.next_deadline()
    assert now is not None
    assert settle.due(now, 10) == [FILE]
    return now, settle.observe(FILE, seen, now, wall(now))


def settled(seen: Stamp, waited_s: float, arriving: JobClass = JobClass.UPLOAD) -> Settled:
    return Settled(source=FILE, stamp=seen, arriving=arriving, waited_s=pytest.approx(waited_s, abs=0.01))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- local file systems


def test_a_closed_file_is_settled_by_one_stat_after_the_short_quiet_time() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)
    look(settle, stamp(0.4))
    note(settle, ChangeKind.CLOSED, 2.0)

    now, judgement = look(settle, stamp(2.0))

    assert (now, judgement) == (pytest.approx(2.5, abs=0.01), settled(stamp(2.0), 2.5))
    assert FILE not in settle


def test_a_file_without_a_close_is_settled_after_the_long_quiet_time() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)

    assert look(settle, stamp(0.1)) == (0.5, Waiting())
    now, judgement = look(settle, stamp(0.1))

    assert (now, judgement) == (pytest.approx(5.1, abs=0.01), settled(stamp(0.1), 5.1))


def test_a_hard_link_to_old_data_needs_only_the_short_quiet_time() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)

    now, judgement = look(settle, stamp(-1000, changed=0.0))

    assert (now, judgement) == (0.5, settled(stamp(-1000, changed=0.0), 0.5))


def test_fresh_data_moved_in_needs_only_the_short_quiet_time() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.MOVED, 0.0)

    now, judgement = look(settle, stamp(-0.2, changed=0.0))

    assert (now, judgement) == (0.5, settled(stamp(-0.2, changed=0.0), 0.5))


def test_data_written_after_the_close_needs_the_long_quiet_time_again() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0)

    assert look(settle, stamp(0.3)) == (0.5, Waiting())
    now, _ = look(settle, stamp(0.3))

    assert now == pytest.approx(5.3, abs=0.01)


def test_the_next_look_comes_when_the_proof_will_be_complete() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)
    note(settle, ChangeKind.CLOSED, 0.4)

    assert look(settle, stamp(0.4)) == (0.5, Waiting())
    now, judgement = look(settle, stamp(0.4))

    assert (now, judgement) == (pytest.approx(0.9, abs=0.01), settled(stamp(0.4), 0.9))


def test_a_stat_that_took_long_counts_from_when_it_was_asked_for() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0)
    settle.due(0.5, 10)

    assert settle.observe(FILE, stamp(0.0, changed=0.45), 9.0, wall(9.0)) == Waiting()


def test_a_stat_asked_for_before_the_last_report_decides_nothing() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0)
    settle.due(0.6, 10)
    note(settle, ChangeKind.CLOSED, 0.7)

    assert settle.observe(FILE, stamp(0.0), 0.8, wall(0.8)) == Waiting()
    assert settle.next_deadline() == pytest.approx(1.2)


def test_a_file_that_vanished_and_came_back_is_not_lost_to_a_late_stat() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.DELETED, 0.0)
    settle.due(99.0, 10)
    note(settle, ChangeKind.CREATED, 99.1)

    assert settle.observe(FILE, None, 99.2, wall(99.2)) == Waiting()
    assert FILE in settle


def test_a_deletion_is_looked_at_at_once_and_believed_only_by_its_stat() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.DELETED, 3.0)
    note(settle, ChangeKind.DELETED, 3.0, source=OTHER)
    assert set(settle.due(3.0, 10)) == {FILE, OTHER}

    assert settle.observe(FILE, None, 3.0, wall(3.0)) == Vanished()
    assert isinstance(settle.observe(OTHER, stamp(-100), 3.0, wall(3.0)), Settled)
    assert len(settle) == 0


def test_a_ctime_in_the_future_needs_two_equal_stamps() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0)
    odd = stamp(-3, changed=86_400)

    assert look(settle, odd) == (0.5, Waiting())
    now, judgement = look(settle, odd)

    assert (now, judgement) == (pytest.approx(1.0, abs=0.01), settled(odd, 1.0))


def test_a_ctime_in_the_future_that_moves_is_not_settled() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0)

    for step in range(20):
        assert look(settle, stamp(-3, changed=86_400 + step))[1] == Waiting()


# ---------------------------------------------------------------------------------------------------------- finds


def test_an_old_find_is_settled_at_once_as_backlog() -> None:
    settle = Settle(SETTINGS)

    judgement = note(settle, ChangeKind.FOUND, 0.0, found=stamp(-5.0))

    assert judgement == settled(stamp(-5.0), 0.0, JobClass.BACKLOG)
    assert len(settle) == 0


@pytest.mark.parametrize("seen", [stamp(-4.0), stamp(-1000, changed=-4.0), stamp(1000, changed=-4.0)])
def test_a_young_find_is_looked_at_again(seen: Stamp) -> None:
    settle = Settle(SETTINGS)

    assert note(settle, ChangeKind.FOUND, 0.0, found=seen) is None
    assert (settle.next_deadline() or 0.0) <= SETTINGS.open_quiet_s
    assert isinstance(look(settle, seen)[1], Settled | Waiting)


def test_a_find_on_a_network_file_system_must_be_older() -> None:
    settle = Settle(SETTINGS)

    assert note(settle, ChangeKind.FOUND, 0.0, found=stamp(-9.0), network=True) is None
    assert note(settle, ChangeKind.FOUND, 1.0, found=stamp(-9.0), network=True) is not None


def test_a_source_that_was_reported_and_found_is_an_upload() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.FOUND, 0.0, found=stamp(-1.0))
    note(settle, ChangeKind.CREATED, 0.1)
    note(settle, ChangeKind.FOUND, 0.2, found=stamp(-1.0))

    _, judgement = look(settle, stamp(-10.0))

    assert judgement == settled(stamp(-10.0), 0.6, JobClass.UPLOAD)


def test_a_wish_makes_it_manual() -> None:
    settle = Settle(SETTINGS)
    change = Change(kind=ChangeKind.FOUND, source=FILE, stamp=stamp(-9))

    judgement = settle.note(change, 0.0, wall_ns=wall(0), network=False, arriving=JobClass.MANUAL)

    assert judgement == settled(stamp(-9), 0.0, JobClass.MANUAL)


# -------------------------------------------------------------------------------------------- network file systems


def test_on_a_network_file_system_two_equal_stamps_prove_rest() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0, network=True)

    assert look(settle, stamp(-100)) == (0.0, Waiting())
    now, judgement = look(settle, stamp(-100)._replace(inode=99, ctime_ns=5))

    assert now == pytest.approx(10.0, abs=0.01)
    assert isinstance(judgement, Settled)


def test_on_a_network_file_system_a_changed_stamp_starts_anew() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 0.0, network=True)
    look(settle, stamp(0, size=1))

    assert look(settle, stamp(0, size=2))[1] == Waiting()
    now, judgement = look(settle, stamp(0, size=2))

    assert (now, isinstance(judgement, Settled)) == (pytest.approx(20.0, abs=0.01), True)


# -------------------------------------------------------------------------------------------------------- patience


def touched_for_ever(settle: Settle, *, grows: bool) -> list[tuple[float, Judgement]]:
    """Looks at a file that is written just before each of them."""
    note(settle, ChangeKind.CREATED, 0.0)
    looks = []
    for step in range(40):
        now = settle.next_deadline()
        if now is None:
            break
        looks.append(look(settle, stamp(now - 0.1, size=step if grows else 100)))
    return looks


def test_a_file_touched_for_ever_is_taken_after_max_wait() -> None:
    looks = touched_for_ever(Settle(SETTINGS), grows=False)

    assert isinstance(looks[-1][1], Settled)
    assert looks[-1][0] == pytest.approx(60.0, abs=0.01)
    assert {judgement for _, judgement in looks[:-1]} == {Waiting()}


def test_a_file_that_grows_for_ever_is_shown_once_and_never_taken() -> None:
    settle = Settle(SETTINGS)

    looks = touched_for_ever(settle, grows=True)

    assert len(looks) == 40
    [(now, shown)] = [(now, judgement) for now, judgement in looks if judgement != Waiting()]
    assert isinstance(shown, Growing)
    assert now == pytest.approx(60.0, abs=0.01)
    assert settle.growing() == [FILE]


def test_a_growing_file_is_taken_when_it_rests() -> None:
    settle = Settle(SETTINGS)
    last, _ = touched_for_ever(settle, grows=True)[-1]

    assert isinstance(look(settle, stamp(last - 0.1, size=39))[1], Settled)
    assert settle.growing() == []


def test_a_chatty_writer_cannot_put_off_the_look_for_ever_and_is_watched_on() -> None:
    settle = Settle(SETTINGS)
    now, judgement = 0.0, None
    while not isinstance(judgement, Settled):
        note(settle, ChangeKind.CLOSED, now)
        now += 0.01
        for source in settle.due(now, 10):
            note(settle, ChangeKind.CLOSED, now)
            judgement = settle.observe(source, stamp(now), now, wall(now))

    assert now < SETTINGS.max_wait_s + 2 * SETTINGS.open_quiet_s
    assert look(settle, stamp(now - 0.5)) == (pytest.approx(now + 0.5), settled(stamp(now - 0.5), 0.5))
    assert len(settle) == 0


# ------------------------------------------------------------------------------------------------------------ held


def held(until: float = 900.0) -> tuple[Settle, Stamp]:
    settle, seen = Settle(SETTINGS), stamp(-10)
    settle.hold(FILE, seen, until, now=0.0, network=False)
    return settle, seen


def test_a_held_source_that_stays_as_it_was_goes_to_the_decoder_in_the_end() -> None:
    settle, seen = held()

    now, judgement = look(settle, seen)

    expected = Settled(source=FILE, stamp=seen, arriving=JobClass.UPLOAD, waited_s=900.0, tolerant=True)
    assert (now, judgement) == (900.0, expected)
    assert FILE not in settle


def test_a_held_source_is_settled_anew_once_more_of_it_comes() -> None:
    settle, _ = held()
    note(settle, ChangeKind.CLOSED, 100.0)

    now, judgement = look(settle, stamp(100.0, size=200))

    assert (now, judgement) == (100.5, settled(stamp(100.0, size=200), 0.0))


def test_a_report_without_a_change_leaves_a_source_held() -> None:
    settle, seen = held()
    note(settle, ChangeKind.CLOSED, 100.0)
    note(settle, ChangeKind.FOUND, 100.1, found=seen)

    assert look(settle, seen) == (100.5, Waiting())
    assert settle.next_deadline() == 900.0


def test_a_report_that_came_before_the_hold_is_not_lost() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CLOSED, 10.0)
    settle.hold(FILE, stamp(5.0), 900.0, now=10.1, network=False)

    now, judgement = look(settle, stamp(10.0, size=200))

    assert (now, judgement) == (10.5, settled(stamp(10.0, size=200), 0.0))


def test_a_find_with_another_stamp_releases_a_held_source() -> None:
    settle, _ = held()

    judgement = note(settle, ChangeKind.FOUND, 100.0, found=stamp(50.0, size=200))

    assert isinstance(judgement, Settled)
    assert not judgement.tolerant


# ---------------------------------------------------------------------------------------------------- housekeeping


def test_due_names_each_source_once_and_no_more_than_asked_for() -> None:
    settle = Settle(SETTINGS)
    for number in range(5):
        note(settle, ChangeKind.CREATED, float(number), source=Source(1, b"%d" % number))

    assert settle.due(3.0, 2) == [Source(1, b"0"), Source(1, b"1")]
    assert settle.due(3.0, 9) == [Source(1, b"2")]
    assert settle.due(3.0, 9) == []
    assert settle.next_deadline() == 3.5


def test_a_lost_stat_is_asked_for_again_after_the_next_report() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)
    assert settle.due(1.0, 9) == [FILE]
    assert settle.next_deadline() is None

    note(settle, ChangeKind.FOUND, 100.0, found=stamp(99.0))

    assert settle.due(105.0, 9) == [FILE]


def test_a_stat_of_a_forgotten_source_is_nothing() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)
    settle.forget(FILE)

    assert settle.next_deadline() is None
    assert settle.observe(FILE, None, 1.0, wall(1.0)) == Waiting()


def test_a_root_that_is_gone_is_forgotten_with_its_sources() -> None:
    settle = Settle(SETTINGS)
    note(settle, ChangeKind.CREATED, 0.0)
    note(settle, ChangeKind.CREATED, 1.0, source=OTHER)
    settle.forget_root(1)

    assert (len(settle), FILE in settle, settle.due(9.0, 9)) == (1, False, [OTHER])


def test_files_that_come_and_go_leave_nothing_behind() -> None:
    settle = Settle(SETTINGS)
    for step in range(10_000):
        note(settle, ChangeKind.CREATED, step / 1000)
        settle.forget(FILE)

    assert len(settle._heap) < 100


# ------------------------------------------------------------------------------------------------------ properties


@dataclass
class World:
    """One file, written at given times, with or without reports of it; stats take a while; plays the daemon's part."""

    writes: list[tuple[float, int, ChangeKind | None]]
    latency_s: float
    network: bool = False
    settle: Settle = field(default_factory=lambda: Settle(SETTINGS))
    judgements: list[tuple[float, Judgement]] = field(default_factory=list)

    def at(self, now: float) -> Stamp:
        time, size, _ = max(write for write in self.writes if write[0] <= now)
        return stamp(time, size=size)

    def run(self) -> None:
        reports = [(time, kind) for time, _, kind in self.writes if kind is not None]
        answered = 0.0
        while reports or self.settle.next_deadline() is not None:
            wanted = self.settle.next_deadline()
            if reports and (wanted is None or reports[0][0] <= max(wanted, answered)):
                self._note(*reports.pop(0))
                continue
            assert wanted is not None
            wanted = max(wanted, answered)
            self.settle.due(wanted, 10)
            answered = wanted + self.latency_s
            while reports and reports[0][0] <= answered:
                self._note(*reports.pop(0))
            self.judgements.append((wanted, self.settle.observe(FILE, self.at(wanted), answered, wall(answered))))
            assert len(self.judgements) < 1000

    def _note(self, time: float, kind: ChangeKind) -> None:
        found = self.at(time) if kind is ChangeKind.FOUND else None
        judgement = note(self.settle, kind, time, found=found, network=self.network)
        if judgement is not None:
            self.judgements.append((time, judgement))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A writer with pauses, whose last write is reported (as the observer or the next scan will)."""
    pauses = draw(st.lists(st.integers(min_value=1, max_value=300), min_size=1, max_size=12))
    kinds = st.sampled_from([None, ChangeKind.CREATED, ChangeKind.CLOSED, ChangeKind.FOUND])
    writes, time = [], 0.0
    for pause in pauses:
        time += pause / 20
        writes.append((time, draw(st.integers(min_value=1, max_value=3)), draw(kinds)))
    last, size, _ = writes[-1]
    writes[-1] = (last, size, draw(st.sampled_from([ChangeKind.CREATED, ChangeKind.CLOSED, ChangeKind.FOUND])))
    return World(writes=writes, latency_s=draw(st.sampled_from([0.0, 0.03, 2.0])), network=draw(st.booleans()))


@given(worlds())
def test_the_last_content_is_settled_in_the_end_and_nothing_is_left(world: World) -> None:
    world.run()

    ends = [judgement for _, judgement in world.judgements if isinstance(judgement, Settled)]
    assert ends[-1].stamp == world.at(1e9)
    assert len(world.settle) == 0
    assert world.judgements[-1][0] <= world.writes[-1][0] + SETTINGS.max_wait_s + 3 * SETTINGS.network_quiet_s


@given(worlds())
def test_nothing_is_settled_before_its_quiet_time_but_by_patience(world: World) -> None:
    world.run()

    for now, judgement in world.judgements:
        if isinstance(judgement, Settled) and judgement.waited_s < SETTINGS.max_wait_s - 1e-6:
            quiet_s = SETTINGS.network_quiet_s if world.network else SETTINGS.closed_quiet_s
            assert now - max(time for time, _, _ in world.writes if time <= now) >= quiet_s - 1e-6


@given(worlds())
def test_without_a_close_nothing_is_settled_before_the_long_quiet_time(world: World) -> None:
    world.writes = [
        (t, size, ChangeKind.CREATED if kind is ChangeKind.CLOSED else kind) for t, size, kind in world.writes
    ]
    world.run()

    for now, judgement in world.judgements:
        if isinstance(judgement, Settled) and judgement.waited_s < SETTINGS.max_wait_s - 1e-6:
            assert now - max(time for time, _, _ in world.writes if time <= now) >= SETTINGS.open_quiet_s - 1e-6
