"""Roots that follow symbolic links: what they lead to is done once and in one place, and a cut link deletes nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import Report, audit, ledger_rows, prints
from tests.chaos.disks import Disk, Disks
from tests.chaos.harness import QUICK_SETTLE, Daemon, command, eventually, summary_of
from tests.chaos.pictures import fill, jpeg, put

TIMES = "[daemon]\nforget_after_s = 1\nbrake_share = 1.0\n"
"""What is gone is forgotten soon, and nothing holds its derivatives back."""
MANY = 6
BOTH = {"thumbnail", "preview"}


def following(watched: Path, *more: str) -> str:
    keys = "\n".join(("follow_symlinks = true", "scan_interval_s = 1", *more))
    return f'{QUICK_SETTLE}{TIMES}[[roots]]\npath = "{watched}"\n{keys}\n'


@pytest.fixture
def linking(daemon_at: Callable[..., Daemon], watched: Path) -> Daemon:
    """A daemon for `watched` that follows links, not started yet."""
    return daemon_at(config=following(watched))


@pytest.fixture
def album(place: Path, watched: Path) -> Path:
    """Pictures outside of the root, two folders deep, with a link to them in it."""
    folder = place / "outside" / "album"
    fill(folder, MANY)
    fill(folder / "deep", MANY, first=100)
    (watched / "album").symlink_to(folder)
    return folder


def decodes(daemon: Daemon) -> int:
    return sum(daemon.rendered().values())


def scanned_whole(daemon: Daemon, times: int = 3) -> None:
    """Wait for more scans of the whole root: what one of them finds missing, the next would have forgotten."""
    before = len(whole_scans(daemon))
    eventually(lambda: len(whole_scans(daemon)) >= before + times, within_s=40, what="more scans", every_s=0.3)


def whole_scans(daemon: Daemon) -> list[object]:
    return [line for line in daemon.lines("scan.ended") if line["directory"] == ""]


def all_right(watched: Path, daemon: Daemon, *, sources: int) -> Report:
    """All sources are done, in fact too."""

    def right() -> bool:
        counts = daemon.rested(sources=sources)
        report = audit(watched, daemon.state, over_links=True)
        return not report.problems and (counts["done"], report.derivatives) == (sources, 2 * sources)

    try:
        eventually(right, within_s=30, what="all is done", every_s=0.5)
    except AssertionError as error:
        error.add_note(f"{audit(watched, daemon.state, over_links=True)}\n{daemon.raw()[-3000:]}")
        raise
    return audit(watched, daemon.state, over_links=True)


def derivatives(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if ".thumbnail." in name or ".preview." in name}


def of(name: str) -> set[str]:
    return {f"{name}.{variant}.jpg" for variant in BOTH}


@pytest.mark.timeout(180)
def test_what_links_lead_to_is_done_once_and_loops_end(
    place: Path, watched: Path, album: Path, linking: Daemon
) -> None:
    fill(watched / "real", MANY, first=200)
    one = put(place / "outside" / "one.jpg", jpeg(300))
    (watched / "linked.jpg").symlink_to(one)
    (watched / "real" / "again.jpg").symlink_to("../linked.jpg")
    os.mkfifo(place / "outside" / "fifo")
    left = {"album2": album, "deep": album / "deep", "here": ".", "up": "..", "real/top": "../..", "all": "/"}
    nothing = {"no.jpg": "nothing.jpg", "me.jpg": "me.jpg", "a": "b", "b": "a", "pipe.jpg": place / "outside" / "fifo"}
    for name, target in {**left, **nothing, "tty.jpg": "/dev/null", "cpu.jpg": "/proc/cpuinfo"}.items():
        (watched / name).symlink_to(target)
    (album / "deep" / "back").symlink_to(album)
    (album / "home").symlink_to(watched)
    sources = prints(place / "outside")

    linking.start()
    all_right(watched, linking, sources=3 * MANY + 2)
    assert {line["link"] for line in linking.lines("link.left")} == {*left, "album/deep/back", "album/home"}
    told = linking.status()["daemon"]["roots"][str(watched)]
    assert (set(told["links_left"]), told["mode"]) == ({*left, "album/deep/back", "album/home"}, "native")
    assert derivatives(watched) == of("linked.jpg")
    assert derivatives(album) == {name for n in range(MANY) for name in of(f"p{n:06d}.jpg")}
    assert decodes(linking) == 3 * MANY + 1, "one content has two names"
    assert {path: prints(place / "outside")[path] for path in sources} == sources
    scanned_whole(linking)
    assert len(linking.lines("link.left")) == len(left) + 2, "each is told once"
    assert linking.stop() == 0

    linking.start()
    scanned_whole(linking)
    linking.kill()
    linking.start()
    all_right(watched, linking, sources=3 * MANY + 2)
    assert (decodes(linking), linking.all_lines("source.gone")) == (3 * MANY + 1, [])


@pytest.mark.timeout(120)
def test_a_root_that_is_not_told_to_follows_no_link(watched: Path, album: Path, daemon: Daemon) -> None:
    (watched / "one.jpg").symlink_to(album / "p000000.jpg")
    put(watched / "real.jpg", jpeg(400))
    daemon.start()
    assert daemon.rested(sources=1)["done"] == 1
    put(watched / "later.jpg", jpeg(401))
    assert sum(daemon.rested(sources=2).values()) == 2
    assert derivatives(album) == set()


@pytest.mark.timeout(180)
def test_links_that_are_made_bent_and_removed_are_sources_that_come_change_and_go(
    place: Path, watched: Path, album: Path, linking: Daemon
) -> None:
    other = place / "outside" / "other"
    fill(other, 2, first=500)
    linking.start()
    linking.rested(sources=2 * MANY)
    (watched / "in").mkdir()
    (watched / "in" / "one.jpg").symlink_to(album / "p000001.jpg")
    (watched / "in" / "other").symlink_to(other)
    all_right(watched, linking, sources=2 * MANY + 3)

    bend(watched / "in" / "one.jpg", other / "p000500.jpg")
    first = (watched / "in" / "one.jpg.thumbnail.jpg").read_bytes()
    thumbnail = watched / "in" / "one.jpg.thumbnail.jpg"
    eventually(lambda: thumbnail.read_bytes() != first, within_s=30, what="the bent link is another picture")
    all_right(watched, linking, sources=2 * MANY + 3)

    fill(place / "outside" / "third", 3, first=510)
    bend(watched / "in" / "other", place / "outside" / "third")
    eventually(lambda: derivatives(place / "outside" / "third"), within_s=30, what="the bent link is another folder")
    all_right(watched, linking, sources=2 * MANY + 4)

    there = set(os.listdir(place / "outside" / "third"))
    (watched / "in" / "one.jpg").unlink()
    (watched / "in" / "other").unlink()
    eventually(lambda: not derivatives(watched / "in"), within_s=30, what="the removed link has no derivatives")
    eventually(lambda: linking.at_rest(0) == {**linking.status()["sources"], "done": 2 * MANY}, within_s=30, what="all")
    assert set(os.listdir(place / "outside" / "third")) == there, "behind the link nothing was removed"
    assert len(os.listdir(other)) == 6, "nor there: two pictures, and what was made of them"


@pytest.mark.timeout(180)
def test_behind_a_link_to_a_folder_events_tell_of_what_is_new(
    place: Path, watched: Path, album: Path, daemon_at: Callable[..., Daemon]
) -> None:
    fill(place / "outside" / "other", 1, first=700)
    daemon = daemon_at(config=following(watched).replace("scan_interval_s = 1\n", "")).start()
    daemon.rested(sources=2 * MANY)
    native(daemon, watched)  # so nothing compares within this hour
    put(album / "deep" / "new.jpg", jpeg(600))
    fill(album / "new", MANY, first=610)
    (watched / "other").symlink_to(place / "outside" / "other")
    daemon.wait_for("job.done", within_s=20, where=lambda line: line["source"].endswith("other/p000700.jpg"))
    native(daemon, watched)
    put(place / "outside" / "other" / "later.jpg", jpeg(720))
    all_right(watched, daemon, sources=3 * MANY + 3)
    (album / "deep" / "new.jpg").unlink()
    eventually(lambda: not {*derivatives(album / "deep")} & of("new.jpg"), within_s=20, what="it went")
    (watched / "other").unlink()
    shutil.rmtree(album / "new")
    eventually(lambda: daemon.at_rest(0) == {**daemon.status()["sources"], "done": 2 * MANY}, within_s=30, what="all")
    album.rename(place / "outside" / "moved")
    (place / "outside" / "moved").rename(album)
    put(album / "last.jpg", jpeg(730))
    all_right(watched, daemon, sources=2 * MANY + 1)


def native(daemon: Daemon, watched: Path) -> None:
    """Wait until all of it is watched."""

    def is_watched() -> bool:
        return bool(daemon.status()["daemon"]["roots"][str(watched)]["mode"] == "native")

    eventually(is_watched, within_s=30, what="all is watched", every_s=0.3)


def bend(link: Path, target: Path) -> None:
    """As `ln -sfn` does it."""
    new = link.with_name("new link.tmp")
    new.symlink_to(target)
    new.rename(link)


@pytest.mark.timeout(180)
def test_a_link_that_is_renamed_takes_all_along(watched: Path, album: Path, linking: Daemon) -> None:
    (watched / "one.jpg").symlink_to(album / "p000001.jpg")
    linking.start()
    all_right(watched, linking, sources=2 * MANY + 1)
    made = decodes(linking)
    (watched / "album").rename(watched / "summer")
    (watched / "one.jpg").rename(watched / "two.jpg")
    eventually(lambda: derivatives(watched) == of("two.jpg"), within_s=30, what="the derivatives went along")
    all_right(watched, linking, sources=2 * MANY + 1)
    assert decodes(linking) == made
    assert linking.stop() == 0
    (watched / "summer").rename(watched / "winter")
    linking.start()
    all_right(watched, linking, sources=2 * MANY + 1)
    assert decodes(linking) == made


@pytest.mark.timeout(180)
def test_the_target_of_a_link_may_change_go_and_come_back(place: Path, watched: Path, linking: Daemon) -> None:
    target = put(place / "outside" / "a.jpg", jpeg(600))
    (watched / "a.jpg").symlink_to(target)
    put(watched / "real.jpg", jpeg(601))
    linking.start()
    all_right(watched, linking, sources=2)
    before = (watched / "a.jpg.thumbnail.jpg").read_bytes()
    target.write_bytes(jpeg(613))
    changed = lambda: (watched / "a.jpg.thumbnail.jpg").read_bytes() != before  # noqa: E731
    eventually(changed, within_s=30, what="the target's change is seen")
    all_right(watched, linking, sources=2)
    made = decodes(linking)

    shutil.move(target, place / "outside" / "b.jpg")
    scanned_whole(linking)
    assert (derivatives(watched) >= of("a.jpg"), linking.lines("source.gone")) == (True, [])
    shutil.move(place / "outside" / "b.jpg", target)
    scanned_whole(linking)
    all_right(watched, linking, sources=2)
    assert decodes(linking) == made
    target.unlink()
    scanned_whole(linking)
    assert derivatives(watched) >= of("a.jpg")
    (watched / "a.jpg").unlink()
    eventually(lambda: derivatives(watched) == of("real.jpg"), within_s=30, what="a removed link is a deletion")


@pytest.mark.timeout(120)
def test_a_link_of_a_derivative_s_name_is_somebody_else_s(place: Path, watched: Path, linking: Daemon) -> None:
    precious = put(place / "outside" / "precious.jpg", jpeg(700))
    was = precious.read_bytes(), precious.stat().st_mtime_ns
    (watched / "a.jpg.thumbnail.jpg").symlink_to(precious)
    put(watched / "a.jpg", jpeg(701))
    linking.start()
    assert linking.rested(sources=1)["rejected"] == 1
    (watched / "a.jpg").unlink()
    scanned_whole(linking)
    assert os.path.islink(watched / "a.jpg.thumbnail.jpg")
    assert (precious.read_bytes(), precious.stat().st_mtime_ns) == was


@pytest.mark.timeout(180)
def test_of_two_roots_one_has_a_folder_that_a_link_leads_to(
    place: Path, watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    second = place / "second"
    fill(second / "in", MANY)
    fill(watched / "own", MANY, first=50)
    for name, target in {"second": second, "in": second / "in", "around": place}.items():
        (watched / name).symlink_to(target)
    (second / "first").symlink_to(watched / "own")
    roots = f'[[roots]]\npath = "{second}"\nfollow_symlinks = true\n'
    daemon = daemon_at(config=following(watched) + roots).start()
    assert daemon.rested(sources=2 * MANY)["done"] == 2 * MANY
    scanned_whole(daemon)
    assert sum(daemon.status()["sources"].values()) == 2 * MANY
    assert {line["link"] for line in daemon.lines("link.left")} == {"second", "in", "around", "first"}
    assert set(daemon.rendered().values()) == {1}
    for root in (watched, second):
        assert audit(root, daemon.state).problems == []


@pytest.fixture
def stick(watched: Path, disk_at: Disks) -> Disk:
    """A disk outside of the root with pictures, to which links lead: to itself, to a folder, and to a file."""
    disk = disk_at("stick", "stick")
    disk.mount()
    (disk.point / "lost+found").rmdir()
    fill(disk.point / "in" / "deep", MANY)
    fill(disk.point / "more", MANY, first=100)
    put(disk.point / "one.jpg", jpeg(800))
    fill(watched / "local", 3, first=500)
    (watched / "in").symlink_to(disk.point / "in")
    (watched / "more").symlink_to("../stick/more")
    (watched / "one.jpg").symlink_to(disk.point / "one.jpg")
    return disk


SOURCES = 2 * MANY + 4


@pytest.mark.timeout(240)
@pytest.mark.parametrize("layout", ["sibling", "subfolder", "mirror"])
def test_a_disk_behind_links_that_is_unmounted_and_mounted_again_loses_nothing(
    place: Path, watched: Path, stick: Disk, daemon_at: Callable[..., Daemon], layout: str
) -> None:
    (place / "mirror").mkdir()
    more = (f'layout = "{layout}"', *((f'mirror = "{place}/mirror"',) if layout == "mirror" else ()))
    daemon = daemon_at(config=following(watched, *more)).start()
    assert daemon.rested(sources=SOURCES)["done"] == SOURCES
    made = decodes(daemon)
    files = {path: stat for path, stat in tree(place).items() if stick.point not in path.parents}
    stick.unmount()
    for link in ("in", "more"):
        daemon.wait_for("mount.away", within_s=20, where=lambda line, link=link: line["directory"] == link)
    scanned_whole(daemon)
    assert daemon.status()["sources"]["done"] == SOURCES
    stick.mount()
    for link in ("in", "more"):
        daemon.wait_for("mount.back", within_s=20, where=lambda line, link=link: line["directory"] == link)
    scanned_whole(daemon)
    assert daemon.stop() == 0
    stick.unmount()
    daemon.start()
    scanned_whole(daemon)
    assert daemon.status()["sources"]["done"] == SOURCES
    daemon.kill()
    stick.mount()
    put(stick.point / "more" / "new.jpg", jpeg(900))
    daemon.start()
    eventually(lambda: daemon.rested(sources=SOURCES + 1)["done"] == SOURCES + 1, within_s=30, what="the new one")
    assert (decodes(daemon), daemon.all_lines("source.gone")) == (made + 1, [])
    now = tree(place)
    assert {path: now.get(path) for path in files} == files, "nothing was removed or made anew meanwhile"


def tree(place: Path) -> dict[Path, int]:
    """The pictures and derivatives of the root and the mirror, and when each was written."""
    found = [path for top in ("watched", "mirror") for path in (place / top).rglob("*.jpg") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in found if not path.is_symlink()}


@pytest.mark.timeout(180)
def test_behind_a_link_to_a_mount_point_the_folder_below_is_not_taken_for_the_disk(
    watched: Path, disk_at: Disks, linking: Daemon
) -> None:
    disk = disk_at("card", "card")
    put(disk.point / "below.jpg", jpeg(900))
    disk.mount()
    (disk.point / "lost+found").rmdir()
    fill(disk.point, MANY)
    fill(watched / "local", 2, first=500)
    (watched / "card").symlink_to(disk.point)
    linking.start()
    all_right(watched, linking, sources=MANY + 2)
    disk.unmount()
    linking.wait_for("mount.away", within_s=20)
    scanned_whole(linking)
    assert os.listdir(disk.point) == ["below.jpg"], "nothing is done in the place of a disk"
    assert linking.status()["sources"]["done"] == MANY + 2
    disk.mount()
    linking.wait_for("mount.back", within_s=20)
    all_right(watched, linking, sources=MANY + 2)
    assert (decodes(linking), linking.lines("source.gone")) == (MANY + 2, [])


@pytest.mark.timeout(180)
def test_a_mirror_follows_links_too_and_loses_what_a_removed_link_had(
    place: Path, watched: Path, album: Path, daemon_at: Callable[..., Daemon]
) -> None:
    mirror = place / "mirror"
    mirror.mkdir()
    before = prints(album)
    daemon = daemon_at(config=following(watched, 'layout = "mirror"', f'mirror = "{mirror}"')).start()
    assert daemon.rested(sources=2 * MANY)["done"] == 2 * MANY
    assert prints(album) == before, "nothing is written there"
    assert len(os.listdir(mirror / "album")) == 2 * MANY + 1
    (watched / "album").unlink()
    eventually(lambda: os.listdir(mirror) == [".watcherd-mirror"], within_s=40, what="the mirror is empty")
    assert prints(album) == before


@pytest.mark.timeout(120)
def test_files_behind_links_are_asked_for_by_either_path(
    place: Path, watched: Path, album: Path, linking: Daemon
) -> None:
    linking.start()
    linking.rested(sources=2 * MANY)
    for file in (watched / "album" / "deep" / "p000100.jpg", album / "deep" / "p000100.jpg"):
        assert linking.state_of(file) == "done"
        retried = command("retry", file, "--state-dir", linking.state)
        assert retried.returncode == 0, retried.stderr
        linking.rested(sources=2 * MANY)
    config = linking.folder / "watcherd.toml"
    for run in ("beside the daemon", "alone"):
        put(album / "deep" / f"{run}.jpg", jpeg(run))
        told = command("scan", album / "deep", "--state-dir", linking.state, "--config", config, "--json")
        assert (told.returncode, summary_of(told)["sources"]) == (0, MANY + (1 if run != "alone" else 2)), told.stderr
        if run != "alone":
            assert linking.stop() == 0
    verified = command("verify", album / "deep", "--state-dir", linking.state, "--config", config)
    assert verified.returncode == 0, verified.stderr
    assert list(audit(watched, linking.state, over_links=True).problems) == []
    assert command("status", "--json", "--state-dir", linking.state).stdout.count(os.fspath(place / "outside")) == 0


@pytest.mark.timeout(180)
def test_links_that_are_not_followed_any_more_lose_nothing_and_may_be_followed_again(
    place: Path, watched: Path, album: Path, daemon_at: Callable[..., Daemon]
) -> None:
    mirror = place / "mirror"
    mirror.mkdir()
    (watched / "one.jpg").symlink_to(album / "p000001.jpg")
    put(watched / "real.jpg", jpeg(750))
    on = following(watched, 'layout = "mirror"', f'mirror = "{mirror}"')
    daemon = daemon_at(config=on).start()
    assert daemon.rested(sources=2 * MANY + 2)["done"] == 2 * MANY + 2
    made, files = decodes(daemon), sorted(mirror.rglob("*"))
    for text in (on.replace("follow_symlinks = true", "follow_symlinks = false"), on):
        (daemon.folder / "watcherd.toml").write_text(text)
        reloaded = command("reload", "--state-dir", daemon.state)
        assert reloaded.returncode == 0, reloaded.stderr
        if text is not on:
            put(album / "p000002.jpg", jpeg(751))
        scanned_whole(daemon, 4)
        daemon.rested(sources=2 * MANY + 2)
        assert (sorted(mirror.rglob("*")), daemon.lines("source.gone")) == (files, [])
    eventually(lambda: decodes(daemon) == made + 1, within_s=30, what="what has changed meanwhile is done")


@pytest.mark.timeout(180)
def test_a_disk_further_down_behind_a_link_is_away_until_the_link_goes(
    place: Path, watched: Path, album: Path, disk_at: Disks, linking: Daemon
) -> None:
    disk = disk_at("card", album.relative_to(place) / "card")
    disk.mount()
    (disk.point / "lost+found").rmdir()
    fill(disk.point, MANY, first=900)
    linking.start()
    all_right(watched, linking, sources=3 * MANY)
    scanned_whole(linking)
    disk.unmount()
    linking.wait_for("mount.away", within_s=20, where=lambda line: line["directory"] == "album/card")
    scanned_whole(linking)
    assert linking.status()["sources"]["done"] == 3 * MANY
    disk.mount()
    linking.wait_for("mount.back", within_s=20)
    all_right(watched, linking, sources=3 * MANY)
    assert (decodes(linking), linking.lines("source.gone")) == (3 * MANY, [])
    disk.unmount()
    (watched / "album").unlink()
    eventually(
        lambda: sum(linking.status()["sources"].values()) == 0, within_s=40, what="all is forgotten", every_s=0.5
    )


@pytest.mark.timeout(180)
def test_what_the_backfill_leaves_out_is_left_out_behind_links_too(
    watched: Path, album: Path, daemon_at: Callable[..., Daemon]
) -> None:
    daemon = daemon_at(config=following(watched, 'backfill = "none"'))
    for _ in range(2):
        daemon.start()
        native(daemon, watched)
        scanned_whole(daemon)
        assert daemon.rested(sources=2 * MANY)["ignored"] == 2 * MANY
        assert daemon.stop() == 0
    daemon.start()
    native(daemon, watched)
    put(album / "deep" / "new.jpg", jpeg(990))
    eventually(lambda: derivatives(album / "deep") == of("new.jpg"), within_s=30, what="what is new is done")
    assert derivatives(album) == set()


@pytest.mark.timeout(180)
def test_a_linked_folder_that_becomes_a_root_of_its_own_changes_hands_and_nothing_else(
    watched: Path, album: Path, daemon_at: Callable[..., Daemon]
) -> None:
    put(watched / "real.jpg", jpeg(990))
    alone = following(watched)
    daemon = daemon_at(config=alone).start()
    all_right(watched, daemon, sources=2 * MANY + 1)
    files = {path: path.stat().st_mtime_ns for path in album.rglob("*.jpg")}
    for text, left in ((f'{alone}[[roots]]\npath = "{album}"\n', ["album"]), (alone, [])):
        (daemon.folder / "watcherd.toml").write_text(text)
        reloaded = command("reload", "--state-dir", daemon.state)
        assert reloaded.returncode == 0, reloaded.stderr
        eventually(lambda left=left: links_left(daemon, watched) == left, within_s=30, what=f"{left} are left")
        scanned_whole(daemon, 5)
        daemon.rested(sources=1)
        now = {path: path.stat().st_mtime_ns for path in album.rglob("*.jpg")}
        assert (now, decodes(daemon)) == (files, 2 * MANY + 1)
        owned = [len(ledger_rows(daemon.state, os.fsencode(root))) for root in (watched, album)]
        assert (owned if left else owned[:1]) == ([1, 2 * MANY] if left else [2 * MANY + 1])
    report = audit(watched, daemon.state, over_links=True)
    assert (report.problems, report.derivatives) == ([], 4 * MANY + 2)


def links_left(daemon: Daemon, root: Path) -> list[str]:
    return list(daemon.status()["daemon"]["roots"][str(root)]["links_left"])
