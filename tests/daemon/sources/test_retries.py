"""Attempts after one that went wrong: by which decoder, how often, and what makes a content worth another try."""

import pytest

from tests.daemon.world import World
from watcherd.model import ChangeKind, Failed, Reason, State

MIB = 1 << 20


def tried_by_other(world: World) -> list[bool]:
    return [by_other for _, by_other in world.by_other]


def quarantined(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"a.jpg", b"poison")
    world.run(120)
    assert world.entry(b"a.jpg").state is State.QUARANTINED
    world.by_other.clear()


def started_again(world: World) -> None:
    """The next run of the daemon hears of the source, which is as it was."""
    world.die()
    world.start()
    world.tell(ChangeKind.CREATED, b"a.jpg")
    world.run(120)


# ------------------------------------------------------------------------------------------------- the other decoder


def test_what_the_usual_decoder_crashes_on_is_done_by_the_other_one(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.costs_of_other[b"poison"] = 100 * MIB
    world.put(b"a.jpg", b"poison")
    world.run(120)

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.faults) == (State.DONE, 0)
    assert tried_by_other(world) == [False, True]


def test_the_usual_decoder_has_the_last_word(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"a.jpg", b"poison")
    world.run(120)

    assert tried_by_other(world) == [False, True, False]


def test_what_lacked_memory_has_all_of_it_before_the_other_decoder_is_tried(world: World) -> None:
    world.plays[b"big"] = "out of memory"
    world.put(b"a.jpg", b"big")
    world.run(120)

    assert world.entry(b"a.jpg").state is State.QUARANTINED
    assert tried_by_other(world) == [False, False, True]


def test_the_turn_of_the_other_decoder_outlasts_a_restart(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.put(b"a.jpg", b"poison")
    world.run(2)
    world.die()
    world.start()
    world.run(120)

    assert tried_by_other(world) == [False, True, False]


def test_a_kill_from_outside_is_no_reason_for_the_other_decoder(world: World) -> None:
    world.plays[b"innocent"] = "SIGKILL"
    world.put(b"a.jpg", b"innocent")
    world.run(20)

    assert len(world.by_other) > 2
    assert True not in tried_by_other(world)


def test_an_other_decoder_that_needs_too_much_memory_leaves_the_source_to_the_usual_one(world: World) -> None:
    world.plays[b"poison"] = "SIGSEGV"
    world.costs_of_other[b"poison"] = 5_000 * MIB
    world.put(b"a.jpg", b"poison")
    world.run(2)
    del world.plays[b"poison"]
    world.run(120)

    assert tried_by_other(world) == [False, True, False]
    assert world.entry(b"a.jpg").state is State.DONE


# ---------------------------------------------------------------------------------------------- out of quarantine


def test_a_restart_tries_nothing_that_is_in_quarantine(world: World) -> None:
    quarantined(world)
    started_again(world)

    assert world.by_other == []
    assert world.entry(b"a.jpg").state is State.QUARANTINED


def test_new_decoders_or_limits_try_what_is_in_quarantine_by_themselves(world: World) -> None:
    quarantined(world)
    del world.plays[b"poison"]
    world.seen_by += 1
    started_again(world)

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.faults) == (State.DONE, 0)


def test_what_new_decoders_cannot_do_either_has_all_attempts_again(world: World) -> None:
    quarantined(world)
    world.seen_by += 1
    started_again(world)

    entry = world.entry(b"a.jpg")
    assert (entry.state, entry.faults, len(world.by_other)) == (State.QUARANTINED, 3, 3)


def test_a_new_content_ends_quarantine_by_itself_and_an_old_name_does_not_count(world: World) -> None:
    quarantined(world)
    world.put(b"a.jpg", b"good")
    world.run(10)

    assert world.entry(b"a.jpg").state is State.DONE


@pytest.mark.parametrize("play", ["SIGSEGV", Failed(reason=Reason.DECODER_ERROR, detail="bug")])
def test_three_attempts_are_made_in_all(world: World, play: str | Failed) -> None:
    world.plays[b"poison"] = play
    world.put(b"a.jpg", b"poison")
    world.run(3_600)

    assert len(world.by_other) == 3
