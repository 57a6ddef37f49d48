"""A changed layout: the daemon moves what there is and renders nothing."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.world import World
from watcherd.daemon.effects import AskHands
from watcherd.model import Change, ChangeKind, Fit, JobClass, Reason, Source, State
from watcherd.naming import SIBLING, UNUSED, Layout
from watcherd.watch.hands.hands import Fault, Fetch, Relocate, Relocated
from watcherd.watch.reports import Found

HIDDEN = Layout(folder=b".derivatives", number=1)
BESIDE = {b"a.jpg", b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"}
ASIDE = {b"a.jpg", b".derivatives/a.jpg.thumbnail.jpg", b".derivatives/a.jpg.preview.jpg"}


@pytest.fixture
def settled(tmp_path: Path) -> Iterator[World]:
    """A world in which one picture is done, and whose daemon has just been started again with another layout."""
    with World(folder=tmp_path) as world:
        world.put(b"a.jpg", b"picture a")
        world.run()
        world.die()
        world.layouts = (HIDDEN, SIBLING)
        world.start()
        yield world


def find(world: World, path: bytes = b"a.jpg") -> None:
    """The scan finds that a source needs a look."""
    change = Change(kind=ChangeKind.FOUND, source=Source(world.root, path), stamp=world.disk[path].stamp)
    world.report(Found(root=world.root, changes=(change,), ticket=None, arriving=JobClass.BACKLOG))
    world.run()


def requests(world: World) -> list[object]:
    """What the hands are asked from now on."""
    asked: list[object] = []

    def note(effect: AskHands) -> None:
        asked.append(effect.request)

    world.hook = note
    return asked


def kinds(asked: list[object]) -> list[type]:
    return [type(request) for request in asked if isinstance(request, Fetch | Relocate)]


def layouts_of(world: World) -> list[int]:
    return [derivative.layout for derivative in world.entry(b"a.jpg").derivatives]


def test_what_is_recorded_under_another_layout_is_moved_unread(settled: World) -> None:
    asked = requests(settled)
    find(settled)

    assert kinds(asked) == [Relocate]
    assert set(settled.disk) == ASIDE
    assert settled.rendered == [b"picture a"]
    assert (settled.entry(b"a.jpg").state, layouts_of(settled)) == (State.DONE, [1, 1])
    assert settled.core.quiet


def test_it_waits_for_its_turn_at_the_pace_of_changed_recipes(settled: World) -> None:
    settled.frozen.add((settled.root, Relocate))
    find(settled)

    entry = settled.entry(b"a.jpg")
    assert (entry.state, entry.job_class, entry.reason) == (State.PENDING, JobClass.RECIPE, Reason.LAYOUT)


def test_a_kill_in_between_costs_a_repetition_and_nothing_else(settled: World) -> None:
    def die(effect: AskHands) -> None:
        if isinstance(effect.request, Relocate):
            settled.hook = None
            assert isinstance(settled.carried_out(effect.request), Relocated)
            raise KeyboardInterrupt

    settled.hook = die
    with pytest.raises(KeyboardInterrupt):
        find(settled)
    assert set(settled.disk) == ASIDE
    settled.die()
    settled.start()
    settled.run()

    assert (set(settled.disk), settled.rendered) == (ASIDE, [b"picture a"])
    assert (settled.entry(b"a.jpg").state, layouts_of(settled)) == (State.DONE, [1, 1])


def test_without_a_ledger_the_marks_tell_what_is_to_be_moved(settled: World) -> None:
    settled.ledger.forget(Source(settled.root, b"a.jpg"))
    asked = requests(settled)
    find(settled)

    assert kinds(asked) == [Fetch, Relocate]
    assert (set(settled.disk), settled.rendered) == (ASIDE, [b"picture a"])
    assert (settled.entry(b"a.jpg").state, layouts_of(settled)) == (State.DONE, [1, 1])
    assert settled.open_descriptors() == 0


def test_derivatives_where_the_default_folder_would_have_them_are_found_without_a_ledger(tmp_path: Path) -> None:
    with World(folder=tmp_path, layouts=(HIDDEN, SIBLING)) as world:
        world.put(b"a.jpg", b"picture a")
        world.run()
        world.ledger.forget(Source(world.root, b"a.jpg"))
        world.ledger.commit()
        world.die()
        world.layouts = (SIBLING, replace(HIDDEN, number=UNUSED))
        world.start()
        find(world)

        assert (set(world.disk), world.rendered) == (BESIDE, [b"picture a"])
        assert layouts_of(world) == [0, 0]


def test_what_cannot_be_moved_is_made(settled: World) -> None:
    del settled.disk[b"a.jpg.preview.jpg"]
    find(settled)

    assert set(settled.disk) == ASIDE
    assert settled.rendered == [b"picture a"] * 2
    assert (settled.entry(b"a.jpg").state, sorted(layouts_of(settled))) == (State.DONE, [1, 1])


def test_a_changed_recipe_and_a_changed_layout_leave_nothing_at_the_old_place(settled: World) -> None:
    settled.die()
    settled.variants = (replace(settled.variants[0], fit=Fit.COVER), settled.variants[1])
    settled.start()
    find(settled)

    assert settled.rendered == [b"picture a"] * 2
    assert settled.entry(b"a.jpg").state is State.DONE
    assert {path for path in settled.disk if path.startswith(b".derivatives")} == ASIDE - {b"a.jpg"}
    find(settled)
    assert set(settled.disk) == ASIDE


def test_another_s_file_at_the_new_place_is_a_rejection_and_ours_stay(settled: World) -> None:
    settled.put(b".derivatives/a.jpg.preview.jpg", b"somebody's")
    find(settled)

    entry = settled.entry(b"a.jpg")
    assert (entry.state, entry.reason) == (State.REJECTED, Reason.NAME_TAKEN)
    assert settled.disk[b".derivatives/a.jpg.preview.jpg"].content == b"somebody's"
    assert b"a.jpg.preview.jpg" in settled.disk
    assert settled.rendered == [b"picture a"]


def test_a_source_that_changed_meanwhile_is_rendered_anew(settled: World) -> None:
    settled.frozen.add((settled.root, Relocate))
    find(settled)
    settled.frozen.clear()
    settled.die()
    settled.put(b"a.jpg", b"another one")
    settled.start()
    settled.tell(ChangeKind.CLOSED, b"a.jpg")
    settled.run()

    assert settled.rendered == [b"picture a", b"another one"]
    assert settled.entry(b"a.jpg").state is State.DONE
    assert settled.disk[b".derivatives/a.jpg.preview.jpg"].content == b"picture of another one"
    assert set(settled.disk) == ASIDE


def test_a_mirror_that_is_away_keeps_the_root_offline_with_the_reason(settled: World) -> None:
    def no_mirror(effect: AskHands) -> Fault | None:
        if not isinstance(effect.request, Relocate):
            return None
        return Fault(
            root=effect.root, ticket=effect.request.ticket, path=b"", errno=errno.ENOMEDIUM, operation="open_tree"
        )

    settled.hook = no_mirror
    find(settled)

    assert not settled.core.conditions.runnable(settled.root)
    assert "mirror is not mounted" in settled.core.conditions.reason(settled.root)
    assert (set(settled.disk), settled.rendered) == (BESIDE, [b"picture a"])
    assert settled.entry(b"a.jpg").state is State.PENDING


def test_a_twin_s_derivatives_are_found_where_its_layout_has_them(settled: World) -> None:
    settled.put(b"b.jpg", b"picture a")
    settled.run()

    assert settled.rendered == [b"picture a"]
    assert b".derivatives/b.jpg.preview.jpg" in settled.disk
    assert b"a.jpg.preview.jpg" in settled.disk


def test_a_deleted_source_loses_its_derivatives_wherever_they_lie(settled: World) -> None:
    settled.delete(b"a.jpg")
    settled.run(200)

    assert settled.disk == {}
