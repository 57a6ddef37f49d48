"""The daemon's core in a played world, with `durability = "fast"`: what is in doubt, and what becomes of it."""

import errno
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.daemon.world import File, World
from watcherd.daemon.effects import AskHands
from watcherd.daemon.sources.safety import SYNC_AFTER_S, Safety
from watcherd.derivatives.wrecks import Suspect, was_safe_before
from watcherd.model import JobClass, Source, State
from watcherd.settings import DaemonSettings, Durability, Settings
from watcherd.watch.hands.hands import Fault, Publish, Published, Salvage, Salvaged, Sync, Synced

FAST = Settings(daemon=DaemonSettings(durability=Durability.FAST))
THUMBNAIL, PREVIEW = b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"


@dataclass(slots=True)
class Cut(World):
    """A world whose power may be cut: what was not written out may be gone. `asked` are the looks and the syncs."""

    settings: Settings = FAST
    safety: Safety = field(init=False)
    asked: list[Sync | Salvage] = field(default_factory=list)
    durable: list[bool] = field(default_factory=list)
    broken: bool = False

    def start(self) -> None:
        World.start(self)
        self.safety = Safety(self.core, self._carry_out)

    def back(self) -> None:
        """The daemon starts again, and finds its root."""
        self.asked.clear()
        self.start()
        self.carry_out(self.core.conditions.begin((self.root,), ()))
        self.run()

    def pass_(self) -> None:
        while ours := [item for item in self._inbox if isinstance(item, Synced | Salvaged)]:
            self._inbox = [item for item in self._inbox if item not in ours]
            for item in ours:
                told = self.safety.synced if isinstance(item, Synced) else self.safety.salvaged
                self.carry_out(told(item, self.moment))
        World.pass_(self)
        self.safety.due(self.moment)
        self.ledger.commit()

    def _hands(self, request: object) -> object:  # type: ignore[override]
        match request:
            case Sync(ticket=ticket) | Salvage(ticket=ticket) if self.broken:
                self.asked.append(request)
                return Fault(root=self.root, ticket=ticket, path=b"", errno=errno.EIO, operation="syncfs")
            case Sync(ticket=ticket):
                self.asked.append(request)
                return Synced(root=self.root, ticket=ticket)
            case Salvage(ticket=ticket, suspects=suspects):
                self.asked.append(request)
                wrecks = [number for number, one in enumerate(suspects) if self._is_wreck(one)]
                for number in wrecks:
                    del self.disk[suspects[number].paths[0]]
                return Salvaged(root=self.root, ticket=ticket, wrecks=tuple(wrecks))
            case Publish():
                self.durable.append(request.durable)
                reply = World._hands(self, request)
                if isinstance(reply, Published) and not request.durable:
                    sums = tuple((one.variant, zlib.crc32(self.disk[one.path].content)) for one in request.items)
                    return replace(reply, checksums=sums)
                return reply
        return World._hands(self, request)

    def _is_wreck(self, suspect: Suspect) -> bool:
        file = self.disk.get(suspect.paths[0])
        if file is None or was_safe_before(suspect, file.stamp.size_bytes, file.stamp.mtime_ns):
            return False
        return zlib.crc32(file.content) != suspect.checksum

    def wreck(self, path: bytes) -> None:
        """What a power cut makes of a file that was not on the disk."""
        self.disk[path] = File(b"", self.disk[path].stamp)

    @property
    def salvaged(self) -> list[tuple[bytes, ...]]:
        """What was looked at."""
        return [tuple(one.paths[0] for one in item.suspects) for item in self.asked if isinstance(item, Salvage)]

    @property
    def in_doubt(self) -> set[bytes]:
        """The sources that the ledger holds for unsafe."""
        return {row.source.path for row in self.ledger.unsynced(self.root)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cut]:
    with Cut(tmp_path, now=1000.123) as world:  # an mtime with a fraction: moved files are known again by that
        world.put(b"a.jpg", b"picture a")
        world.run()
        yield world


def test_nothing_waits_for_the_disk_until_it_is_written_out(world: Cut) -> None:
    assert (world.durable, world.in_doubt, world.asked) == ([False], {b"a.jpg"}, [])
    world.run(SYNC_AFTER_S)
    assert [type(item) for item in world.asked] == [Sync]
    assert world.in_doubt == set()
    world.run(10 * SYNC_AFTER_S)
    assert len(world.asked) == 1


def test_with_full_nothing_is_ever_in_doubt(tmp_path: Path) -> None:
    with Cut(tmp_path, settings=Settings()) as world:
        world.put(b"a.jpg", b"picture a")
        world.run(100)
        assert (world.durable, world.in_doubt, world.asked) == ([True], set(), [])


def test_what_was_lost_is_made_again_and_what_was_written_out_is_not_looked_at(world: Cut) -> None:
    world.run(SYNC_AFTER_S)
    world.put(b"b.jpg", b"picture b")
    world.run()
    world.wreck(b"b.jpg.preview.jpg")
    world.die()
    world.back()
    assert world.salvaged == [(b"b.jpg.preview.jpg", b"b.jpg.thumbnail.jpg")]
    assert world.rendered == [b"picture a", b"picture b", b"picture b"]
    assert {made.variant for made in world.entry(b"b.jpg").derivatives} == {"preview", "thumbnail"}
    assert world.disk[b"b.jpg.preview.jpg"].mark is not None


def test_nothing_is_made_again_of_what_is_sound(world: Cut) -> None:
    world.die()
    world.back()
    assert world.salvaged == [(PREVIEW, THUMBNAIL)]
    assert world.rendered == [b"picture a"]
    world.run(SYNC_AFTER_S)
    assert world.in_doubt == set()


def test_of_an_attempt_that_was_under_way_everything_of_ours_is_looked_at_first(tmp_path: Path) -> None:
    with Cut(tmp_path, slow={b"picture a"}) as world:
        world.put(b"a.jpg", b"picture a")
        world.run()
        assert world.in_doubt == {b"a.jpg"}
        world.put(b"a.jpg.thumbnail.jpg", b"")  # the rename was on the disk, the content and the record were not
        world.die()
        world.slow.clear()
        world.back()
        assert world.salvaged == [(PREVIEW, THUMBNAIL)]
        assert world.entry(b"a.jpg").state is State.DONE
        assert world.disk[THUMBNAIL].mark is not None


def test_an_attempt_that_made_nothing_leaves_nothing_in_doubt(world: Cut) -> None:
    world.run(SYNC_AFTER_S)
    world.core.intake.resettle(Source(world.root, b"a.jpg"), world.moment)
    world.put(b"note.jpg", b"picture of nothing")
    world.plays[b"picture of nothing"] = "SIGSEGV"
    world.run()
    assert world.in_doubt == set()


def test_nothing_is_begun_in_a_root_before_what_is_in_doubt_was_looked_at(world: Cut) -> None:
    world.put(b"c.jpg", b"picture c")
    world.pass_()
    world.die()
    world.frozen.add((world.root, Salvage))
    world.back()
    assert not world.core.conditions.runnable(world.root)
    assert b"picture c" not in world.rendered
    world.frozen.clear()
    (ticket,) = world.safety._salvaging
    world.report(Salvaged(root=world.root, ticket=ticket, wrecks=()))
    world.run()
    assert world.core.conditions.runnable(world.root)


def test_a_root_that_was_taken_out_while_it_was_looked_at_is_looked_at_anew_when_it_is_back(world: Cut) -> None:
    world.die()
    world.frozen.add((world.root, Salvage))  # hands that are closed answer nothing any more
    world.back()
    root = world.core.roots[world.root]
    world.core.drop_root(world.root)
    world.run(2 * SYNC_AFTER_S)
    world.frozen.clear()
    world.core.add_root(root, world.moment)
    world.carry_out(world.core.conditions.begin((world.root,), ()))
    world.run(2 * SYNC_AFTER_S)
    assert world.core.conditions.runnable(world.root)
    assert world.salvaged == [(PREVIEW, THUMBNAIL)]
    assert world.in_doubt == set()


def test_a_root_that_was_taken_out_while_it_was_written_out_is_written_out_when_it_is_back(world: Cut) -> None:
    world.frozen.add((world.root, Sync))
    world.run(SYNC_AFTER_S)
    root = world.core.roots[world.root]
    world.core.drop_root(world.root)
    assert world.core.answers.awaited == {}
    world.frozen.clear()
    world.core.add_root(root, world.moment)
    world.carry_out(world.core.conditions.begin((world.root,), ()))
    world.run(2 * SYNC_AFTER_S)
    assert world.in_doubt == set()


def test_what_a_sync_failed_for_stays_in_doubt_until_the_next_start(world: Cut) -> None:
    world.broken = True
    world.run(SYNC_AFTER_S)
    world.broken = False
    world.carry_out(world.core.conditions.begin((world.root,), ()))
    world.put(b"b.jpg", b"picture b")
    world.run(3 * SYNC_AFTER_S)
    assert world.in_doubt == {b"a.jpg"}
    world.die()
    world.back()
    assert world.salvaged == [(PREVIEW, THUMBNAIL)]
    world.run(SYNC_AFTER_S)
    assert world.in_doubt == set()


def test_a_root_that_went_before_it_was_written_out_is_looked_at_when_it_is_back(world: Cut) -> None:
    world.absent.add(world.root)
    world.run(2 * SYNC_AFTER_S)
    assert world.in_doubt == {b"a.jpg"}
    world.absent.clear()
    world.wreck(PREVIEW)
    world.carry_out(world.core.conditions.begin((world.root,), ()))
    world.run(2 * SYNC_AFTER_S)
    assert (world.rendered, world.in_doubt) == ([b"picture a", b"picture a"], set())


def test_on_a_network_file_system_every_derivative_waits_for_the_disk(tmp_path: Path) -> None:
    with Cut(tmp_path) as world:
        world.core.roots[world.root] = replace(world.core.roots[world.root], network=True)
        world.put(b"a.jpg", b"picture a")
        world.run(100)
        assert (world.durable, world.in_doubt) == ([True], set())


def test_what_is_published_while_the_disk_is_written_to_stays_in_doubt(world: Cut) -> None:
    world.frozen.add((world.root, Sync))
    world.run(SYNC_AFTER_S)
    (ticket,) = world.safety._syncing
    world.put(b"a.jpg", b"another picture a")
    world.put(b"b.jpg", b"picture b")
    world.run()
    world.frozen.clear()
    world.report(Synced(root=world.root, ticket=ticket))
    world.pass_()
    assert world.in_doubt == {b"a.jpg", b"b.jpg"}


def test_a_source_that_moves_takes_its_doubt_along(world: Cut) -> None:
    world.rename(b"a.jpg", b"z.jpg")
    world.run(5)
    assert world.in_doubt == {b"z.jpg"}
    world.wreck(b"z.jpg.preview.jpg")
    world.die()
    world.back()
    assert world.rendered == [b"picture a", b"picture a"]


def test_what_a_person_put_there_meanwhile_is_left_to_them(world: Cut) -> None:
    def nothing_is_ours(asked: AskHands) -> Salvaged | None:
        request = asked.request
        return Salvaged(root=asked.root, ticket=request.ticket, wrecks=()) if isinstance(request, Salvage) else None

    world.hook = nothing_is_ours
    world.wreck(PREVIEW)
    world.die()
    world.back()
    assert world.entry(b"a.jpg").state is State.DONE
    assert world.entry(b"a.jpg").job_class is not JobClass.RETRY


def test_what_waited_for_the_disk_is_not_in_doubt_for_what_was_there_before(world: Cut) -> None:
    world.core.force.settings = Settings()  # a reload
    world.put(b"a.jpg", b"another picture a")
    world.run()
    assert world.durable == [False, True]
    world.die()
    world.back()
    assert world.salvaged == []
    assert world.rendered == [b"picture a", b"another picture a"]
    world.run(SYNC_AFTER_S)
    assert world.in_doubt == set()


@pytest.mark.parametrize("durability", Durability)
def test_what_was_published_before_a_fault_and_found_right_after_it_is_in_doubt(
    world: Cut, durability: Durability
) -> None:
    def fault_after_the_first(asked: AskHands) -> Fault | None:
        request = asked.request
        if not isinstance(request, Publish):
            return None
        world.hook = None
        item = request.items[0]
        content = world._descriptors[item.fd].content
        world.disk[item.path] = File(content, world.stamp_of(content), item.mark)
        return Fault(root=asked.root, ticket=request.ticket, path=b"", errno=errno.EROFS, operation="rename")

    world.run(SYNC_AFTER_S)
    world.hook = fault_after_the_first
    world.put(b"b.jpg", b"picture b")
    world.pass_()
    world.run(3)
    assert world.in_doubt == {b"b.jpg"}
    world.core.force.settings = Settings(daemon=DaemonSettings(durability=durability))
    world.run(10)
    assert world.entry(b"b.jpg").state is State.DONE
    world.wreck(b"b.jpg.thumbnail.jpg")
    world.die()
    world.back()
    assert b"b.jpg.thumbnail.jpg" in world.salvaged[0]
    assert world.disk[b"b.jpg.thumbnail.jpg"].content == b"picture of picture b"
    world.run(2 * SYNC_AFTER_S)
    assert world.in_doubt == set()
    assert world.safety._untold == {}


def test_what_is_in_hand_in_a_root_that_is_taken_out_is_finished_and_waits_for_the_disk(tmp_path: Path) -> None:
    paths = b"/photos", b"/others"
    with Cut(tmp_path, paths=paths, most_workers=1, slow={b"picture a"}) as world:
        world.put(b"a.jpg", b"picture a")
        world.run()
        world.put(b"b.jpg", b"picture b")
        world.run()
        world.core.drop_root(world.root)
        world.release(b"picture a")
        world.run()
        assert [world.entry(path).state for path in (b"a.jpg", b"b.jpg")] == [State.DONE, State.DONE]
        assert world.durable == [False, True]
