"""What lies on a disk below a root is away while that is not mounted: nothing of it is gone, nothing is done there."""

from dataclasses import replace

import pytest

from tests.daemon.outside import File
from tests.daemon.roots.test_conditions import DISK, MOUNTED, look_comes_back, mounts_are
from tests.daemon.world import World
from watcherd.model import ChangeKind, Entry, Ignored, Incomplete, JobClass, Reason, Source, State
from watcherd.watch.hands.hands import Recognise, StatMany, Stats
from watcherd.watch.linking import identity_of
from watcherd.watch.links import DANGLING, LINKED_FOLDER
from watcherd.watch.mountpoints import LinkLeft, PointSeen
from watcherd.watch.mounts import Mount
from watcherd.watch.recognition import Verdict
from watcherd.watch.roots import RootState
from watcherd.watch.sighting import Sight

CARD = Mount(number=50, device=(7, 5), point=b"/photos/card", kind=b"ext4", source=b"/dev/loop5", read_only=False)
PATH = b"card/a.jpg"


@pytest.fixture
def online(world: World) -> World:
    """A root with a card below it, from which a picture is done."""
    world.sight = Sight(verdict=Verdict.ROOT, file_system=DISK)
    world.frozen.add((world.root, Recognise))
    world.carry_out(world.core.conditions.begin((world.root,), (*MOUNTED, CARD)))
    world.frozen.clear()
    look_comes_back(world)
    seen(world)
    world.put(PATH, b"one")
    world.run(20.0)
    assert world.entry(PATH).state is State.DONE
    return world


def seen(world: World, identity: str = "uuid=5 inode=2", *, is_there: bool = True) -> None:
    """A scan comes by."""
    world.report(PointSeen(root=world.root, directory=b"card", identity=identity, is_there=is_there))
    world.settle_down()


def test_what_an_unmounted_card_takes_along_is_not_gone(online: World) -> None:
    del online.disk[PATH]
    online.tell(ChangeKind.DELETED, PATH)  # seen by a scan that met the empty folder
    mounts_are(online, *MOUNTED)
    online.scan(missing=(PATH,))
    online.run(300.0)
    entry = online.entry(PATH)
    assert (entry.state, entry.gone_at_s, len(entry.derivatives)) == (State.DONE, None, 2)
    assert online.core.conditions.state(online.root) is RootState.ONLINE


def test_each_change_below_a_root_is_a_scan_and_the_rest_goes_on(online: World) -> None:
    mounts_are(online, *MOUNTED)
    online.put(b"elsewhere.jpg", b"two")
    online.run(20.0)
    assert online.entry(b"elsewhere.jpg").state is State.DONE
    mounts_are(online, *MOUNTED, CARD)
    assert len(online.watched_anew) >= 2


@pytest.mark.parametrize(
    ("point", "is_looked_at"), [(b"in/x", True), (b".cache/x", False), (b"in/.x", False), (b"build/in/x", False)]
)
def test_what_is_mounted_in_an_ignored_folder_is_nobody_s_business(
    online: World, point: bytes, *, is_looked_at: bool
) -> None:
    root = online.core.roots[online.root]
    online.core.roots[online.root] = replace(root, settings=replace(root.settings, ignore=("build",)))
    before = len(online.watched_anew)
    mounts_are(online, *MOUNTED, CARD, replace(CARD, number=60, point=b"/photos/" + point))
    mounts_are(online, *MOUNTED, CARD)
    assert (len(online.watched_anew) > before) is is_looked_at
    assert online.core.conditions.state(online.root) is RootState.ONLINE


def test_a_card_that_becomes_read_only_is_the_same_one(online: World) -> None:
    before = len(online.watched_anew)
    mounts_are(online, *MOUNTED, replace(CARD, read_only=True))
    assert len(online.watched_anew) == before


def test_what_was_deleted_before_the_card_went_waits_for_it(online: World) -> None:
    derivatives = {path for path in online.disk if path.startswith(PATH + b".")}
    online.delete(PATH)
    online.run(10.0)
    assert online.entry(PATH).gone_at_s is not None
    mounts_are(online, *MOUNTED)
    online.run(300.0)
    assert online.entry(PATH).derivatives
    mounts_are(online, *MOUNTED, CARD)
    seen(online)
    online.run(300.0)
    assert derivatives & online.disk.keys() == set()


def test_nothing_is_taken_in_from_the_folder_below_a_card(online: World) -> None:
    mounts_are(online, *MOUNTED)
    online.put(b"card/misplaced.jpg", b"three")
    online.run(20.0)
    assert {path for path in online.disk if b"misplaced" in path} == {b"card/misplaced.jpg"}


def test_work_that_waits_on_a_card_is_kept(online: World) -> None:
    online.most_workers = 1
    online.put(b"card/b.jpg", b"four")
    online.pass_()
    mounts_are(online, *MOUNTED)
    del online.disk[b"card/b.jpg"]
    online.run(60.0)
    online.put(b"card/b.jpg", b"four")
    mounts_are(online, *MOUNTED, CARD)
    seen(online)
    online.scan(b"card/b.jpg")
    online.run(20.0)
    assert online.entry(b"card/b.jpg").state is State.DONE


@pytest.fixture
def half(online: World) -> File:
    """Half a picture on the card, of which the rest is waited for."""
    online.plays[b"half"] = Incomplete(reason=Reason.TRUNCATED, detail="it ends early")
    online.put(b"card/half.jpg", b"half")
    online.run(20.0)
    assert online.entry(b"card/half.jpg").state is State.INCOMPLETE
    return online.disk.pop(b"card/half.jpg")


def test_an_incomplete_upload_is_waited_for_over_the_absence_of_its_card(online: World, half: File) -> None:
    mounts_are(online, *MOUNTED)
    online.run(2_000.0)
    assert online.entry(b"card/half.jpg").state is State.INCOMPLETE
    online.disk[b"card/half.jpg"] = half
    mounts_are(online, *MOUNTED, CARD)
    seen(online)
    online.run(60.0)
    assert online.entry(b"card/half.jpg").state is State.DONE


def test_so_it_is_where_it_was_missed_before_the_card_was(online: World, half: File) -> None:
    online.tell(ChangeKind.DELETED, b"card/half.jpg")
    online.run(2.0)
    mounts_are(online, *MOUNTED)
    online.run(20.0)
    online.disk[b"card/half.jpg"] = half
    mounts_are(online, *MOUNTED, CARD)
    seen(online)
    online.scan(b"card/half.jpg")
    online.run(2_000.0)
    assert online.entry(b"card/half.jpg").state is State.DONE


def test_another_card_is_away_too_until_a_scan_finds_the_right_one(online: World) -> None:
    seen(online, "uuid=6 inode=2", is_there=False)
    online.tell(ChangeKind.DELETED, PATH)
    del online.disk[PATH]
    online.run(300.0)
    assert online.entry(PATH).gone_at_s is None
    seen(online)
    online.tell(ChangeKind.DELETED, PATH)
    online.run(10.0)
    assert online.entry(PATH).gone_at_s is not None


def test_what_is_mounted_where_a_card_is_away_is_that_card_only_when_a_scan_has_seen_it(online: World) -> None:
    mounts_are(online, *MOUNTED)
    mounts_are(online, *MOUNTED, replace(CARD, number=51, source=b"/dev/loop6"))
    online.tell(ChangeKind.DELETED, PATH)
    del online.disk[PATH]
    online.run(300.0)
    assert (online.core.conditions.points.away(online.root), online.entry(PATH).gone_at_s) == ([b"card"], None)
    seen(online)
    assert online.core.conditions.points.away(online.root) == []


def test_a_folder_that_another_disk_had_covered_is_there_again_without_it(online: World) -> None:
    online.put(b"in/a.jpg", b"seven")
    online.run(20.0)
    mounts_are(online, *MOUNTED, CARD, replace(CARD, number=70, point=b"/photos/in"))
    online.report(PointSeen(root=online.root, directory=b"in", identity="uuid=7 inode=2", is_there=False))
    online.settle_down()
    assert online.core.conditions.points.away(online.root) == [b"in"]
    mounts_are(online, *MOUNTED, CARD)
    assert online.core.conditions.points.away(online.root) == []


def test_a_restart_remembers_the_card(online: World) -> None:
    online.die()
    del online.disk[PATH]
    begin_anew(online, *MOUNTED)
    online.scan(missing=(PATH,))
    online.run(300.0)
    assert online.entry(PATH).gone_at_s is None
    assert online.ledger.mounts(online.root) == {b"card": "uuid=5 inode=2"}


def test_a_restart_remembers_a_card_that_was_empty_for_a_while(online: World) -> None:
    online.delete(PATH)
    online.run(300.0)
    assert online.ledger.entry(Source(online.root, PATH)) is None
    online.put(b"card/b.jpg", b"five")
    online.run(20.0)
    online.die()
    del online.disk[b"card/b.jpg"]
    begin_anew(online, *MOUNTED)
    online.scan(missing=(b"card/b.jpg",))
    online.run(300.0)
    assert online.entry(b"card/b.jpg").gone_at_s is None


def test_what_another_pass_lost_of_a_card_is_written_again(online: World) -> None:
    online.ledger.set_mount(online.root, b"card", None)
    seen(online)
    assert online.ledger.mounts(online.root) == {b"card": "uuid=5 inode=2"}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_where_nothing_is_known_of_a_card_its_folder_is_one_like_any_other(
    online: World, *, is_restarted: bool
) -> None:
    online.delete(PATH)
    online.run(300.0)
    if is_restarted:
        online.die()
        begin_anew(online, *MOUNTED)
    else:
        mounts_are(online, *MOUNTED)
    assert (online.core.conditions.points.away(online.root), online.ledger.mounts(online.root)) == ([], {})
    online.put(b"card/up.jpg", b"six")
    online.run(20.0)
    assert online.entry(b"card/up.jpg").state is State.DONE


def test_a_one_shot_run_leaves_alone_what_is_away_and_looks_at_nothing_anew(online: World) -> None:
    online.die()
    online.patient = False
    online.start()
    for _ in range(2):
        mounts_are(online, *MOUNTED)
    assert online.core.conditions.points.away(online.root) == [b"card"]
    mounts_are(online, *MOUNTED, CARD)
    assert (online.core.conditions.state(online.root), len(online.watched_anew)) == (RootState.ONLINE, 1)


def begin_anew(world: World, *table: Mount) -> None:
    """The daemon starts again, with these mounts."""
    world.start()
    world.frozen.add((world.root, Recognise))
    world.carry_out(world.core.conditions.begin((world.root,), table))
    world.frozen.clear()
    look_comes_back(world)


# ---------------------------------------------------------------------------------------------------- followed links

STICK = replace(CARD, number=70, device=(7, 7), point=b"/media/stick")
LINKED = identity_of(b"/media/stick/dcim", "uuid=5 inode=2")


@pytest.fixture
def led(world: World) -> World:
    """A root with a link to a stick, from which a picture is done."""
    root = world.core.roots[world.root]
    world.core.roots[world.root] = replace(root, settings=replace(root.settings, follow_symlinks=True))
    world.sight = Sight(verdict=Verdict.ROOT, file_system=DISK)
    world.frozen.add((world.root, Recognise))
    world.carry_out(world.core.conditions.begin((world.root,), (*MOUNTED, STICK)))
    world.frozen.clear()
    look_comes_back(world)
    seen(world, LINKED)
    mounts_are(world, *MOUNTED, STICK)
    world.put(PATH, b"one")
    world.run(20.0)
    assert world.entry(PATH).state is State.DONE
    return world


def test_what_a_link_led_to_is_away_until_a_scan_has_seen_it_again(led: World) -> None:
    assert led.core.conditions.points.links_followed(led.root) == {b"card": b"/media/stick/dcim"}
    seen(led, LINKED, is_there=False)
    assert led.core.conditions.points.away(led.root) == [b"card"]
    assert led.core.conditions.points.links_followed(led.root) == {}
    del led.disk[PATH]
    led.tell(ChangeKind.DELETED, PATH)
    led.run(300.0)
    entry = led.entry(PATH)
    assert (entry.state, entry.gone_at_s, len(entry.derivatives)) == (State.DONE, None, 2)
    seen(led, LINKED)
    assert led.core.conditions.points.away(led.root) == []


def test_where_links_are_not_followed_any_more_nothing_behind_them_is_gone(led: World) -> None:
    root = led.core.roots[led.root]
    led.core.roots[led.root] = replace(root, settings=replace(root.settings, follow_symlinks=False))
    del led.disk[PATH]  # the hands go there no more
    led.tell(ChangeKind.DELETED, PATH)
    led.scan(missing=(PATH,))
    led.run(300.0)
    entry = led.entry(PATH)
    assert (entry.state, entry.gone_at_s, len(entry.derivatives)) == (State.DONE, None, 2)
    led.core.roots[led.root] = root
    led.tell(ChangeKind.DELETED, PATH)
    led.run(300.0)
    assert led.ledger.entry(Source(led.root, PATH)) is None


def test_where_a_folder_stands_in_place_of_a_link_that_is_not_followed_any_more_work_goes_on(led: World) -> None:
    root = led.core.roots[led.root]
    led.core.roots[led.root] = replace(root, settings=replace(root.settings, follow_symlinks=False))
    led.put(b"card/b.jpg", b"two")
    led.scan(b"card/b.jpg")
    led.run(20.0)
    assert led.ledger.entry(Source(led.root, b"card/b.jpg")) is None
    seen(led, "")
    led.scan(b"card/b.jpg")
    led.run(20.0)
    assert led.entry(b"card/b.jpg").state is State.DONE


def test_a_change_of_the_mount_that_a_link_leads_to_is_a_scan_and_no_verdict(led: World) -> None:
    before = len(led.watched_anew)
    mounts_are(led, *MOUNTED)
    assert len(led.watched_anew) > before
    assert led.core.conditions.points.away(led.root) == [], "the scan will tell"
    again = len(led.watched_anew)
    mounts_are(led, *MOUNTED)
    assert len(led.watched_anew) == again


def test_a_disk_below_what_a_link_leads_to_is_one_below_the_root(led: World) -> None:
    below = replace(STICK, number=71, point=b"/media/stick/dcim/more")
    mounts_are(led, *MOUNTED, STICK, below)
    led.report(PointSeen(root=led.root, directory=b"card/more", identity="uuid=9 inode=2", is_there=True))
    led.put(b"card/more/b.jpg", b"two")
    led.run(20.0)
    mounts_are(led, *MOUNTED, STICK)
    assert led.core.conditions.points.away(led.root) == [b"card/more"]


def test_a_link_that_is_not_there_any_more_is_forgotten(led: World) -> None:
    seen(led, LINKED, is_there=False)
    seen(led, "")
    assert led.ledger.mounts(led.root) == {}
    assert led.core.conditions.points.away(led.root) == []


def test_a_link_that_is_left_is_told_once(led: World, capsys: pytest.CaptureFixture[str]) -> None:
    def left(why: str) -> None:
        led.report(LinkLeft(root=led.root, link=b"loop", why=why))
        led.settle_down()

    points = led.core.conditions.points
    left("it is a loop")
    left("it is a loop")
    assert points.links_left(led.root) == [(b"loop", "it is a loop")]
    assert capsys.readouterr().err.count("link.left") == 1
    left("")
    assert points.links_left(led.root) == []


def test_a_link_to_a_folder_that_comes_or_goes_is_for_the_scanner(led: World) -> None:
    led.hook = lambda asked: (
        Stats(root=led.root, ticket=asked.request.ticket, results=((b"new", Ignored(kind=LINKED_FOLDER)),))
        if isinstance(asked.request, StatMany) and asked.request.paths == (b"new",)
        else None
    )
    led.tell(ChangeKind.CREATED, b"new")
    led.tell(ChangeKind.DELETED, b"card")
    led.run(20.0)
    assert {b"card", b"new"} <= set(led.scans_asked)


@pytest.mark.parametrize("has_derivatives", [True, False])
def test_a_link_that_leads_nowhere_waits_for_nobody_and_loses_nothing(led: World, *, has_derivatives: bool) -> None:
    path = PATH if has_derivatives else b"card/new.jpg"
    led.hook = lambda asked: (
        Stats(root=led.root, ticket=asked.request.ticket, results=((path, Ignored(kind=DANGLING)),))
        if isinstance(asked.request, StatMany) and asked.request.paths == (path,)
        else None
    )
    if has_derivatives:
        entry = led.entry(path)
        led.ledger.record(replace(entry, state=State.PENDING, job_class=JobClass.EDITED))
    led.tell(ChangeKind.CREATED, path)
    led.run(300.0)
    assert not led.core.settle.moving()
    entry_now = led.ledger.entry(Source(led.root, path))
    if has_derivatives:
        assert entry_now is not None
        assert (entry_now.state, entry_now.stamp, len(entry_now.derivatives)) == (State.PENDING, None, 2)
    else:
        assert entry_now is None


def test_what_was_to_be_done_behind_a_link_is_taken_up_when_it_is_back(led: World) -> None:
    seen(led, LINKED, is_there=False)
    led.put(b"card/b.jpg", b"two")
    stamp = led.disk[b"card/b.jpg"].stamp
    sequence = led.ledger.next_sequence()
    entry = Entry(
        source=Source(led.root, b"card/b.jpg"),
        state=State.PENDING,
        stamp=stamp,
        job_class=JobClass.UPLOAD,
        sequence=sequence,
    )
    led.ledger.record(entry)
    led.run(60.0)
    assert led.entry(b"card/b.jpg").state is State.PENDING
    seen(led, LINKED)
    led.run(60.0)
    assert led.entry(b"card/b.jpg").state is State.DONE


@pytest.mark.parametrize("identity", ["", identity_of(b"/media/other", "uuid=6")])
def test_with_a_link_goes_all_that_was_mounted_or_linked_behind_it(led: World, identity: str) -> None:
    for below in (b"card/disk", b"card/more"):
        told = identity_of(b"/x", "") if below == b"card/more" else "uuid=9 inode=2"
        led.report(PointSeen(root=led.root, directory=below, identity=told, is_there=True))
    led.settle_down()
    seen(led, LINKED)
    assert set(led.ledger.mounts(led.root)) == {b"card", b"card/disk", b"card/more"}
    seen(led, identity)
    assert set(led.ledger.mounts(led.root)) == ({b"card"} if identity else set())
    before = len(led.watched_anew)
    mounts_are(led, *MOUNTED, STICK)
    mounts_are(led, *MOUNTED, STICK)
    assert len(led.watched_anew) == before, "that a link went is no other mount"
    assert led.core.conditions.points.away(led.root) == []
