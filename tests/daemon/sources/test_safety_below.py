"""With `durability = "fast"`: what is in doubt on a disk that is mounted below a root, while that is away and after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.roots.test_conditions import DISK, MOUNTED, look_comes_back, mounts_are
from tests.daemon.roots.test_mountpoints import CARD, PATH, seen
from tests.daemon.sources.test_safety import Cut
from watcherd.daemon.sources.safety import SYNC_AFTER_S
from watcherd.model import State
from watcherd.watch.hands.hands import Recognise, Salvage, Salvaged, Sync, Synced
from watcherd.watch.mounts import Mount
from watcherd.watch.recognition import Verdict
from watcherd.watch.sighting import Sight

THUMBNAIL, PREVIEW = PATH + b".thumbnail.jpg", PATH + b".preview.jpg"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cut]:
    """A root with a card below it, on which a picture was done a moment ago."""
    with Cut(tmp_path) as world:
        world.sight = Sight(verdict=Verdict.ROOT, file_system=DISK)
        begin(world, *MOUNTED, CARD)
        seen(world)
        world.put(PATH, b"one")
        world.run()
        assert (world.entry(PATH).state, world.in_doubt) == (State.DONE, {PATH})
        yield world


def begin(world: Cut, *table: Mount) -> None:
    world.asked.clear()
    world.carry_out(world.core.conditions.begin((world.root,), table))
    world.settle_down()


def again(world: Cut, *table: Mount) -> None:
    """The power is cut, and the daemon starts again."""
    world.wreck(PREVIEW)
    world.die()
    world.start()
    begin(world, *table)


def is_made_again(world: Cut) -> bool:
    world.run(2 * SYNC_AFTER_S)
    return world.rendered == [b"one", b"one"] and world.disk[PREVIEW].content == b"picture of one"


@pytest.mark.parametrize("is_told", [True, False])
def test_what_is_on_a_card_that_is_away_waits_for_it(world: Cut, is_told: bool) -> None:
    again(world, *MOUNTED)
    world.run(3 * SYNC_AFTER_S)
    assert (world.asked, world.in_doubt) == ([], {PATH})
    if is_told:
        mounts_are(world, *MOUNTED, CARD)
    seen(world)
    assert world.salvaged == [(PREVIEW, THUMBNAIL)]
    assert is_made_again(world)
    assert world.in_doubt == set()


def test_nothing_is_done_in_a_root_before_a_card_that_is_back_was_looked_at(world: Cut) -> None:
    again(world, *MOUNTED)
    world.frozen.add((world.root, Salvage))
    seen(world)
    assert not world.core.conditions.runnable(world.root)


def test_a_card_that_comes_back_while_the_root_is_looked_at_is_looked_at_too(world: Cut) -> None:
    world.put(b"other.jpg", b"other")
    world.run()
    world.frozen.add((world.root, Salvage))
    again(world, *MOUNTED)
    (ticket,) = world.safety._salvaging
    seen(world)
    world.frozen.clear()
    world.report(Salvaged(root=world.root, ticket=ticket, wrecks=()))
    world.settle_down()
    assert PREVIEW in world.salvaged[-1]
    assert world.core.conditions.runnable(world.root)
    world.run()
    assert world.rendered == [b"one", b"other", b"one"]


def test_a_root_that_is_doubted_while_it_is_looked_at_is_not_there_before_it_was_seen_again(world: Cut) -> None:
    world.frozen.add((world.root, Salvage))
    again(world, *MOUNTED, CARD)
    (ticket,) = world.safety._salvaging
    world.frozen = {(world.root, Recognise)}
    world.carry_out(world.core.conditions.doubt(world.root, world.moment))
    world.report(Salvaged(root=world.root, ticket=ticket, wrecks=()))
    world.settle_down()
    assert not world.core.conditions.runnable(world.root)
    world.frozen.clear()
    look_comes_back(world)
    assert world.core.conditions.runnable(world.root)
    assert is_made_again(world)


def test_what_was_written_out_after_the_card_had_gone_is_nothing_of_it(world: Cut) -> None:
    world.put(b"other.jpg", b"other")
    world.run()
    world.frozen.add((world.root, Sync))
    world.run(SYNC_AFTER_S)
    (ticket,) = world.safety._syncing
    world.frozen.clear()
    mounts_are(world, *MOUNTED)
    world.report(Synced(root=world.root, ticket=ticket))
    world.run()
    assert world.in_doubt == {PATH}


def test_a_card_of_which_nothing_is_in_doubt_disturbs_nobody(world: Cut) -> None:
    world.run(2 * SYNC_AFTER_S)
    mounts_are(world, *MOUNTED)
    world.put(b"other.jpg", b"other")
    world.run()
    before = len(world.watched_anew)
    seen(world, is_there=False)
    seen(world)
    assert (len(world.watched_anew), world.core.conditions.runnable(world.root)) == (before, True)
