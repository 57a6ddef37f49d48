"""Nothing is done in a root before it was recognised, and nothing after another may stand in its place."""

import errno

import pytest

from tests.daemon.world import World
from watcherd.daemon.effects import AskHands, Bind
from watcherd.model import ChangeKind, State
from watcherd.watch.hands.hands import Fault, Fetch, Recognise, StatMany
from watcherd.watch.mounts import FileSystem, Mount, MountsChanged
from watcherd.watch.recognition import REASONS, Verdict
from watcherd.watch.roots import HUNG, OFFLINE, UNSEEN, RootState
from watcherd.watch.sighting import Sight


def mount(number: int = 30, *, device: tuple[int, int] = (7, 1), read_only: bool = False) -> Mount:
    return Mount(
        number=number, device=device, point=b"/photos", kind=b"ext4", source=b"/dev/loop1", read_only=read_only
    )


BELOW = Mount(number=1, device=(8, 1), point=b"/", kind=b"ext4", source=b"/dev/sda1", read_only=False)
MOUNTED = (BELOW, mount())
UNMOUNTED = (BELOW,)
DISK = FileSystem(
    kind="ext4",
    network=False,
    keeps_identity=True,
    read_only=False,
    root_inode=2,
    identity="uuid=1 inode=2",
    mount=30,
)
SHARE = FileSystem(
    kind="nfs4", network=True, keeps_identity=True, read_only=False, root_inode=9, identity="source=nas:/", mount=31
)


@pytest.fixture
def begun(world: World) -> World:
    """A world as `run` begins it: nothing is known of its root yet."""
    world.sight = Sight(verdict=Verdict.ROOT, file_system=DISK)
    world.frozen.add((world.root, Recognise))
    world.carry_out(world.core.conditions.begin((world.root,), MOUNTED))
    world.frozen.clear()
    return world


def look_comes_back(world: World) -> None:
    world.carry_out(world.core.conditions.look_for_absent())
    ticket = max(world.core.conditions._looks)
    world.carry_out([AskHands(root=world.root, request=Recognise(ticket=ticket, known="", sample=()))])
    world.settle_down()


def state(world: World) -> tuple[RootState, str]:
    return world.core.conditions.state(world.root), world.core.conditions.reason(world.root)


def test_nothing_is_done_in_a_root_before_it_was_looked_at(begun: World) -> None:
    asked: list[type] = []
    begun.hook = lambda effect: asked.append(type(effect.request))
    begun.put(b"a.jpg", b"one")
    begun.run(30.0)
    assert (asked, state(begun)) == ([], (RootState.OFFLINE, UNSEEN))
    begun.hook = None
    look_comes_back(begun)
    begun.run(30.0)
    assert begun.entry(b"a.jpg").state is State.DONE
    assert begun.watched_anew == [begun.root]


def test_a_root_that_is_recognised_binds_its_hands_and_knows_what_it_lies_on(begun: World) -> None:
    begun.sight = Sight(verdict=Verdict.ROOT, file_system=SHARE)
    look_comes_back(begun)
    assert begun.bound == [Bind(root=begun.root, inode=9, mount=31, keeps_identity=True)]
    root = begun.core.roots[begun.root]
    assert (root.kind, root.network, root.file_system) == ("nfs4", True, 31)


@pytest.mark.parametrize("verdict", [Verdict.EMPTIED, Verdict.ANOTHER])
def test_what_is_not_the_root_is_left_alone_with_the_reason(begun: World, verdict: Verdict) -> None:
    begun.sight = Sight(verdict=verdict, file_system=DISK)
    look_comes_back(begun)
    assert state(begun) == (RootState.OFFLINE, REASONS[verdict])
    assert (begun.bound, begun.watched_anew) == ([], [])


def test_a_root_whose_first_look_hangs_is_hung_and_comes_back_with_it(begun: World) -> None:
    begun.carry_out(begun.core.conditions.hung(begun.root, begun.moment, is_hung=True))
    assert state(begun) == (RootState.HUNG, HUNG)
    look_comes_back(begun)
    assert state(begun) == (RootState.ONLINE, "")


@pytest.fixture
def online(begun: World) -> World:
    """A world whose root was recognised, with one done source in it."""
    look_comes_back(begun)
    begun.put(b"a.jpg", b"one")
    begun.run(30.0)
    assert begun.entry(b"a.jpg").state is State.DONE
    begun.watched_anew.clear()
    begun.scans_asked.clear()
    return begun


def mounts_are(world: World, *table: Mount) -> None:
    world.report(MountsChanged(table=table))
    world.settle_down()


def test_an_unmount_stops_all_work_before_anything_else_is_believed(online: World) -> None:
    """In one pass with it comes the news that a source is not there any more."""
    online.sight = Sight(verdict=Verdict.EMPTIED, file_system=None)
    del online.disk[b"a.jpg"]
    online.report(MountsChanged(table=UNMOUNTED))
    online.tell(ChangeKind.DELETED, b"a.jpg")
    online.run(300.0)
    assert state(online) == (RootState.OFFLINE, REASONS[Verdict.EMPTIED])
    entry = online.entry(b"a.jpg")
    assert (entry.state, entry.gone_at_s, len(entry.derivatives)) == (State.DONE, None, 2)


def test_a_remount_costs_one_scan_and_no_reading(online: World) -> None:
    online.sight = Sight(verdict=Verdict.EMPTIED, file_system=None)
    mounts_are(online, *UNMOUNTED)
    online.sight = Sight(verdict=Verdict.ROOT, file_system=DISK)
    fetched: list[object] = []
    online.hook = lambda effect: fetched.append(effect) if isinstance(effect.request, Fetch) else None
    mounts_are(online, BELOW, mount(31, device=(7, 9)))
    online.run(30.0)
    assert state(online) == (RootState.ONLINE, "")
    assert (online.watched_anew, online.scans_asked, fetched) == ([online.root], [b""], [])


def test_mounts_elsewhere_and_options_that_change_are_no_doubt(online: World) -> None:
    asked: list[object] = []
    online.hook = asked.append
    elsewhere = Mount(number=40, device=(0, 9), point=b"/srv", kind=b"tmpfs", source=b"tmpfs", read_only=False)
    mounts_are(online, BELOW, mount(read_only=True), elsewhere)
    assert (asked, state(online)) == ([], (RootState.ONLINE, ""))


def test_hands_that_find_another_folder_at_the_path_are_a_doubt(online: World) -> None:
    def refuse(effect: AskHands) -> Fault | None:
        if not isinstance(effect.request, StatMany):
            return None
        ticket = effect.request.ticket
        return Fault(root=effect.root, ticket=ticket, path=b"", errno=errno.ESTALE, operation="open_root")

    online.hook = refuse
    online.sight = Sight(verdict=Verdict.ANOTHER, file_system=DISK)
    online.carry_out(online.core.conditions.look_at_present())
    online.settle_down()
    assert state(online) == (RootState.OFFLINE, REASONS[Verdict.ANOTHER])


def test_a_look_that_fails_is_no_reason_for_another_at_once(online: World) -> None:
    looks: list[object] = []

    def refuse(effect: AskHands) -> Fault:
        looks.append(effect)
        ticket = effect.request.ticket
        return Fault(root=effect.root, ticket=ticket, path=b"", errno=errno.ESTALE, operation="open_root")

    online.hook = refuse
    mounts_are(online, *UNMOUNTED)
    assert (len(looks), state(online)[0]) == (1, RootState.OFFLINE)
    online.hook = lambda effect: Fault(
        root=effect.root, ticket=effect.request.ticket, path=b"", errno=errno.ENOENT, operation="open_root"
    )
    online.carry_out(online.core.conditions.look_for_absent())
    online.settle_down()
    assert state(online) == (RootState.OFFLINE, OFFLINE)


def test_of_several_looks_the_last_one_counts(online: World) -> None:
    """The first may have opened what stood there before the mount that asked for the second."""
    online.frozen.add((online.root, Recognise))
    online.carry_out(online.core.conditions.doubt(online.root, online.moment))
    first = max(online.core.conditions._looks)
    online.carry_out(online.core.conditions.doubt(online.root, online.moment))
    online.frozen.clear()
    online.carry_out([AskHands(root=online.root, request=Recognise(ticket=first, known="", sample=()))])
    online.settle_down()
    assert state(online) == (RootState.OFFLINE, UNSEEN)
    look_comes_back(online)
    assert state(online) == (RootState.ONLINE, "")
