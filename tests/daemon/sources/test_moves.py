"""The daemon's core in a played world: what becomes of sources that are moved."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.world import World
from watcherd.model import PREVIEW, ChangeKind, Source, State
from watcherd.settings import DaemonSettings, OnDelete, Settings
from watcherd.watch.hands.following import Follow
from watcherd.watch.hands.hands import Fault, Fetch

FRACTION_S = 1000.125
"""A moment within a second: mtimes of whole seconds are not believed."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, now=FRACTION_S) as world:
        yield world


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, paths=(b"/photos", b"/other"), one_file_system=True, now=FRACTION_S) as world:
        yield world


def reads(world: World) -> list[bytes]:
    """Have every fetch noted from now on."""
    fetched: list[bytes] = []
    world.hook = lambda asked: fetched.append(asked.request.path) if isinstance(asked.request, Fetch) else None
    return fetched


def done(world: World, *names: bytes) -> None:
    for name in names:
        world.put(name, b"picture " + name)
    world.run()


def with_derivatives(*names: bytes) -> set[bytes]:
    return {name + ending for name in names for ending in (b"", b".thumbnail.jpg", b".preview.jpg")}


def test_a_renamed_source_is_neither_read_nor_rendered(world: World) -> None:
    done(world, b"a.jpg")
    before = world.entry(b"a.jpg")
    fetched = reads(world)
    world.rename(b"a.jpg", b"b.jpg")
    world.run(1.0)

    assert set(world.disk) == with_derivatives(b"b.jpg")
    entry = world.entry(b"b.jpg")
    assert entry == replace(before, source=entry.source, stamp=world.disk[b"b.jpg"].stamp)
    assert world.ledger.entry(Source(world.root, b"a.jpg")) is None
    world.run(300)
    assert (fetched, world.rendered) == ([], [b"picture a.jpg"])
    assert set(world.disk) == with_derivatives(b"b.jpg")
    assert world.core.quiet


def test_a_source_that_was_renamed_while_nobody_watched_is_found_by_the_scan(world: World) -> None:
    done(world, b"m.jpg")
    world.die()
    world.rename(b"m.jpg", b"b.jpg", told=False)
    world.now += 3600
    world.scanned = False
    world.start()
    fetched = reads(world)
    world.scan(b"b.jpg", missing=(b"m.jpg",))
    world.run(300)

    assert (fetched, world.rendered) == ([], [b"picture m.jpg"])
    assert set(world.disk) == with_derivatives(b"b.jpg")


def test_a_whole_folder_is_followed_in_few_requests(world: World) -> None:
    names = [b"old/%03d.jpg" % number for number in range(450)]
    done(world, *names)
    world.now += 60
    renders = len(world.rendered)
    fetched = reads(world)
    asked: list[int] = []
    previous = world.hook

    def count(effect: object) -> object:
        request = getattr(effect, "request", None)
        if isinstance(request, Follow):
            asked.append(len(request.moves))
        return previous(effect) if previous else None  # type: ignore[arg-type]

    world.hook = count
    for path in [*world.disk]:  # the folder's entry alone changes: not even a ctime below it
        world.disk[path.replace(b"old/", b"new/")] = world.disk.pop(path)
    moved = [name.replace(b"old/", b"new/") for name in names]
    world.scan(*moved, missing=tuple(names))
    world.run(300)

    assert asked == [200, 200, 50]
    assert (fetched, len(world.rendered)) == ([], renders)
    assert set(world.disk) == with_derivatives(*moved)
    assert [world.entry(name).state for name in moved] == [State.DONE] * 450
    assert list(world.ledger.gone_sources()) == []


def test_a_mtime_of_a_whole_second_is_not_enough_so_the_source_is_hashed(tmp_path: Path) -> None:
    with World(tmp_path, now=1000.0) as world:
        done(world, b"a.jpg")
        fetched = reads(world)
        world.rename(b"a.jpg", b"b.jpg")
        world.run(300)

        assert (fetched, world.rendered) == ([b"b.jpg"], [b"picture a.jpg"])
        assert set(world.disk) == with_derivatives(b"b.jpg")


def test_a_source_that_moves_on_is_followed_all_the_way(world: World) -> None:
    done(world, b"a.jpg")
    fetched = reads(world)
    world.rename(b"a.jpg", b"b.jpg")
    world.run(0.2)
    world.rename(b"b.jpg", b"c.jpg")
    world.run(5)
    world.rename(b"c.jpg", b"a.jpg")
    world.run(300)

    assert (fetched, world.rendered) == ([], [b"picture a.jpg"])
    assert set(world.disk) == with_derivatives(b"a.jpg")


def test_swapped_names_swap_the_derivatives(world: World) -> None:
    done(world, b"a.jpg", b"b.jpg")
    fetched = reads(world)
    for old, new in ((b"a.jpg", b"t"), (b"b.jpg", b"a.jpg"), (b"t", b"b.jpg")):
        world.rename(old, new)
    world.run(300)

    assert fetched == []
    assert set(world.disk) == with_derivatives(b"a.jpg", b"b.jpg")
    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of picture b.jpg"
    assert world.disk[b"b.jpg.preview.jpg"].content == b"picture of picture a.jpg"


def test_an_old_name_that_is_taken_at_once_costs_one_rendering_for_the_newcomer(world: World) -> None:
    done(world, b"a.jpg")
    world.rename(b"a.jpg", b"b.jpg")
    world.put(b"a.jpg", b"newcomer")
    world.run(300)

    assert world.rendered == [b"picture a.jpg", b"newcomer"]
    assert set(world.disk) == with_derivatives(b"a.jpg", b"b.jpg")
    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of newcomer"
    assert world.disk[b"b.jpg.preview.jpg"].content == b"picture of picture a.jpg"
    assert [d.variant for d in world.entry(b"b.jpg").derivatives] == ["thumbnail", "preview"]


def test_a_source_that_is_renamed_over_another_takes_its_place(world: World) -> None:
    done(world, b"a.jpg", b"b.jpg")
    renders = len(world.rendered)
    world.rename(b"a.jpg", b"b.jpg")
    world.run(300)

    assert len(world.rendered) == renders
    assert set(world.disk) == with_derivatives(b"b.jpg")
    assert world.disk[b"b.jpg.preview.jpg"].content == b"picture of picture a.jpg"


def test_a_safe_save_by_an_editor_renders_the_new_content_and_removes_nothing(world: World) -> None:
    """The old file is kept under a name that does not count, the new one is written under a temporary name."""
    done(world, b"a.jpg")
    world.put(b".a.jpg.tmp", b"edited")
    world.disk[b"a.jpg~"] = world.disk.pop(b"a.jpg")
    world.rename(b".a.jpg.tmp", b"a.jpg")
    world.run(300)

    assert world.rendered == [b"picture a.jpg", b"edited"]
    assert set(world.disk) == with_derivatives(b"a.jpg") | {b"a.jpg~"}


def test_a_hard_link_is_a_copy_and_no_move(world: World) -> None:
    done(world, b"a.jpg")
    world.disk[b"b.jpg"] = world.disk[b"a.jpg"]
    world.tell(ChangeKind.CREATED, b"b.jpg")
    world.run(300)

    assert world.rendered == [b"picture a.jpg"]
    assert set(world.disk) == with_derivatives(b"a.jpg", b"b.jpg")


def test_an_upload_that_is_renamed_while_a_worker_has_it_is_done_under_its_new_name(
    world: World,
) -> None:
    world.slow.add(b"slow")
    world.put(b"a.jpg", b"slow")
    world.run(2)
    world.rename(b"a.jpg", b"b.jpg")
    world.run(2)
    world.release(b"slow")
    world.run(300)

    assert set(world.disk) == with_derivatives(b"b.jpg")
    assert world.entry(b"b.jpg").state is State.DONE
    assert world.ledger.entry(Source(world.root, b"a.jpg")) is None
    assert world.open_descriptors() == 0


def test_moves_that_cannot_be_looked_at_go_on_as_arrivals(world: World) -> None:
    done(world, b"a.jpg")
    world.hook = lambda asked: (
        Fault(root=asked.root, ticket=asked.request.ticket, path=b"", errno=24, operation="open_root")
        if isinstance(asked.request, Follow)
        else None
    )
    world.rename(b"a.jpg", b"b.jpg")
    world.run(300)

    assert world.rendered == [b"picture a.jpg"]
    assert set(world.disk) == with_derivatives(b"b.jpg")


def test_a_variant_that_is_new_is_made_and_the_others_are_renamed(tmp_path: Path) -> None:
    with World(tmp_path, now=FRACTION_S) as world:
        done(world, b"a.jpg")
        world.die()
        world.variants = (*world.variants, replace(PREVIEW, name="large", width=2400))
        world.rename(b"a.jpg", b"b.jpg", told=False)
        world.start()
        world.scan(b"b.jpg", missing=(b"a.jpg",))
        world.run(300)

        assert set(world.disk) == with_derivatives(b"b.jpg") | {b"b.jpg.large.jpg"}
        assert [d.variant for d in world.entry(b"b.jpg").derivatives] == ["thumbnail", "preview", "large"]


def test_between_two_roots_of_one_file_system_the_derivatives_go_along(roots: World) -> None:
    done(roots, b"a.jpg")
    fetched = reads(roots)
    roots.rename(b"a.jpg", b"b.jpg", root=roots.other)
    roots.run(300)

    assert (fetched, roots.rendered) == ([], [b"picture a.jpg"])
    assert set(roots.disk) == with_derivatives(b"b.jpg")
    assert roots.ledger.entry(Source(roots.root, b"a.jpg")) is None


def test_out_of_a_root_that_keeps_derivatives_copies_go_to_the_new_one(tmp_path: Path) -> None:
    two = (b"/photos", b"/other")
    with World(tmp_path, paths=two, one_file_system=True, on_delete=OnDelete.KEEP, now=FRACTION_S) as world:
        done(world, b"a.jpg")
        world.rename(b"a.jpg", b"b.jpg", root=world.other)
        world.run(300)

        assert world.rendered == [b"picture a.jpg"]
        assert set(world.disk) == with_derivatives(b"a.jpg", b"b.jpg") - {b"a.jpg"}


@pytest.mark.parametrize("scans", [1, 3])
def test_kept_derivatives_outlast_every_rescan_and_are_no_sources(tmp_path: Path, scans: int) -> None:
    with World(tmp_path, on_delete=OnDelete.KEEP, now=FRACTION_S) as world:
        done(world, b"a.jpg")
        world.delete(b"a.jpg")
        world.run(300)
        for _ in range(scans):
            world.scan()
            world.run(4000)

        assert set(world.disk) == with_derivatives(b"a.jpg") - {b"a.jpg"}
        assert world.rendered == [b"picture a.jpg"]


def test_between_file_systems_the_derivatives_are_copied_and_the_old_ones_go(tmp_path: Path) -> None:
    with World(tmp_path, paths=(b"/photos", b"/other"), now=FRACTION_S) as world:
        done(world, b"a.jpg")
        del world.disk[b"a.jpg"]
        world.tell(ChangeKind.DELETED, b"a.jpg")
        world.put(b"b.jpg", b"picture a.jpg", root=world.other)
        world.run(300)

        assert world.rendered == [b"picture a.jpg"]
        assert set(world.disk) == with_derivatives(b"b.jpg")


def test_nothing_is_removed_while_an_arrival_of_the_same_size_waits_to_be_read(tmp_path: Path) -> None:
    """A million arrivals may wait longer than a gone source does: its twin may be among them."""
    settings = Settings(daemon=DaemonSettings(forget_after_s=5.0))
    with World(tmp_path, paths=(b"/photos", b"/other"), now=FRACTION_S, settings=settings) as world:
        done(world, b"a.jpg")
        del world.disk[b"a.jpg"]
        world.frozen.add((world.other, Fetch))
        world.tell(ChangeKind.DELETED, b"a.jpg")
        world.put(b"b.jpg", b"picture a.jpg", root=world.other)
        world.run(60)
        assert b"a.jpg.preview.jpg" in world.disk

        world.ledger.forget(Source(world.other, b"b.jpg"))
        world.run(60)
        assert set(world.disk) == {b"b.jpg"}


def test_nothing_is_removed_before_the_first_scan_has_seen_the_whole_root(world: World) -> None:
    """What was found missing by an earlier run may have been moved while nobody watched."""
    done(world, b"a.jpg")
    world.delete(b"a.jpg")
    world.run(1)
    world.die()
    world.now += 3600
    world.scanned = False
    world.start()
    world.run(300)
    assert b"a.jpg.preview.jpg" in world.disk

    world.scan()
    world.run(300)
    assert world.disk == {}


def test_scanners_wait_while_many_arrivals_are_looked_at(world: World) -> None:
    assert not world.core.moves.is_full
    names = [b"old/%04d.jpg" % number for number in range(2100)]
    for name in names:
        world.put(name, b"x")
    world.run(60)
    world.frozen.add((world.root, Follow))
    for path in [*world.disk]:
        world.disk[path.replace(b"old/", b"new/")] = world.disk.pop(path)
    world.scan(*[name.replace(b"old/", b"new/") for name in names])
    world.run(1)

    assert world.core.moves.is_full
    assert world.acknowledged == 0
