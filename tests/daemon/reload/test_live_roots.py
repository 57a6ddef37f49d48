"""What a reload changes in a root as it runs. One test a setting; the others are in `test_live.py`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.outside import File
from tests.daemon.reload.running import Running, running, shows
from watcherd.daemon.effects import AskScanner, Effect
from watcherd.model import Ignored, Reason, Rejected, State, Vanished, Variant
from watcherd.naming import note_path
from watcherd.settings import Hidden, LayoutKind, ModeWanted, OnDelete, RootSettings
from watcherd.watch.files import stamp_of
from watcherd.watch.hands.hands import Probe, StatMany
from watcherd.watch.modes import Mode
from watcherd.watch.reports import Manner

BOTH = {b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"}


def made(daemon: Running, name: bytes = b"a.jpg") -> set[bytes]:
    """Upload something; what lies beside it then."""
    before = set(daemon.disk)
    daemon.put(name, b"content of " + name)
    daemon.run(2.0)
    return set(daemon.disk) - before - {name}


@shows("roots.path")
def test_a_root_that_is_added_is_worked_in(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        (tmp_path / "more").mkdir()
        settings = daemon.core.settings
        daemon.refit(replace(settings, roots=(*settings.roots, RootSettings(path=str(tmp_path / "more")))))
        (other,) = set(daemon.core.roots) - {daemon.root}
        assert daemon.core.roots[other].path == os.fsencode(tmp_path / "more")
        daemon.put(b"a.jpg", b"picture", root=other)
        daemon.root = other
        daemon.run(2.0)
        assert daemon.entry(b"a.jpg").state is State.DONE


@shows("roots.variants")
def test_these_variants_are_made_there(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.reload(roots={"variants": ("preview",)})
        assert made(daemon) == {b"a.jpg.preview.jpg"}


@shows("variants")
def test_a_new_variant_is_made(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        settings = daemon.core.settings
        medium = Variant(name="medium", width=800, height=800)
        daemon.refit(replace(settings, variants=(*settings.variants, medium)))
        assert made(daemon) == {*BOTH, b"a.jpg.medium.jpg"}


@shows("roots.on_delete")
def test_derivatives_of_deleted_sources_are_kept(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        made(daemon)
        daemon.reload(roots={"on_delete": OnDelete.KEEP})
        daemon.delete(b"a.jpg")
        daemon.run(200.0)
        assert set(daemon.disk) == BOTH


@shows("roots.ignore", "roots.hidden")
@pytest.mark.parametrize(
    ("name", "before", "after", "counts"),
    [
        (b"a.draft.jpg", {}, {"ignore": ("*.draft.jpg",)}, False),
        (b"a.draft.jpg", {"ignore": ("*.draft.jpg",)}, {"ignore": ()}, True),
        (b".a.jpg", {}, {"hidden": Hidden.INCLUDE}, True),
    ],
)
def test_these_names_count(
    tmp_path: Path, name: bytes, before: dict[str, Any], after: dict[str, Any], *, counts: bool
) -> None:
    with running(tmp_path, roots=before) as daemon:
        (Path(daemon.photos) / os.fsdecode(name)).write_bytes(b"picture")
        daemon.reload(roots=after)
        assert bool(made(daemon, name)) is counts
        daemon.ledger.drop_root(daemon.root)
        assert (name in daemon.scan_files()) is counts


@shows("roots.min_bytes", "roots.max_bytes", "roots.max_age_s")
@pytest.mark.parametrize(
    ("after", "kind"),
    [({"min_bytes": 100}, "too_small"), ({"max_bytes": 3}, "too_large"), ({"max_age_s": 3_600.0}, "too_old")],
)
def test_files_beside_these_limits_are_left_alone(tmp_path: Path, after: dict[str, Any], kind: str) -> None:
    with running(tmp_path) as daemon:
        file = Path(daemon.photos) / "a.jpg"
        file.write_bytes(b"picture")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        assert daemon.scan_files() == [b"a.jpg"]
        daemon.reload(roots=after)
        assert daemon.scan_files() == []
        stats = daemon.ask_hands(StatMany(ticket=1, paths=(b"a.jpg",)))
        assert dict(stats.results) == {b"a.jpg": Ignored(kind=kind)}


@shows("roots.backfill")
def test_so_much_of_what_was_there_before_is_done(tmp_path: Path) -> None:
    with running(tmp_path, roots={"backfill": "none"}) as daemon:
        daemon.core.roots[daemon.root] = replace(daemon.core.roots[daemon.root], since_s=2e9)
        daemon.disk[b"a.jpg"] = File(b"picture", daemon.stamp_of(b"picture"))
        daemon.scan(b"a.jpg")
        daemon.run()
        assert daemon.entry(b"a.jpg").state is State.IGNORED
        done = daemon.reload(roots={"backfill": "all"})
        assert done.effects == (AskScanner(root=daemon.root, directory=b""),)
        daemon.scan(b"a.jpg")
        daemon.run()
        assert daemon.entry(b"a.jpg").state is State.DONE


@shows("roots.min_free_bytes")
def test_nothing_is_written_with_less_room_than_that(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.ask_hands(Probe(ticket=1)).ok
        daemon.reload(roots={"min_free_bytes": 1 << 60})
        assert not daemon.ask_hands(Probe(ticket=2)).ok
        daemon.reload(roots={"min_free_bytes": 0})
        assert daemon.ask_hands(Probe(ticket=3)).ok


@shows("roots.svg")
def test_svg_is_let_in(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.parts.rooms[daemon.root].hands.place.refusal_of("svg") is not None
        daemon.reload(roots={"svg": True})
        made(daemon)
        assert daemon.works[-1].svg
        assert daemon.parts.rooms[daemon.root].hands.place.refusal_of("svg") is None


def test_what_was_given_up_is_not_counted_anew_in_a_root_with_svg(tmp_path: Path) -> None:
    with running(tmp_path, roots={"svg": True}, retry={"max_faults": 1}) as daemon:
        daemon.plays[b"content of a.jpg"] = "SIGSEGV"
        made(daemon)
        assert daemon.entry(b"a.jpg").faults == 1
        entry = daemon.entry(b"a.jpg")
        assert entry.stamp is not None
        daemon.core.intake.enqueue(entry.source, entry.stamp, entry, entry.job_class, daemon.moment)
        assert daemon.entry(b"a.jpg").faults == 1


@shows("roots.layout", "roots.subfolder", "roots.mirror")
@pytest.mark.parametrize(
    ("before", "after", "folder"),
    [
        ({}, {"layout": LayoutKind.SUBFOLDER}, b".derivatives"),
        ({"layout": LayoutKind.SUBFOLDER}, {"subfolder": ".small"}, b".small"),
        ({"layout": LayoutKind.MIRROR, "mirror": "one"}, {"mirror": "two"}, b"two"),
    ],
    ids=["layout", "subfolder", "mirror"],
)
def test_derivatives_are_laid_there(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], folder: bytes
) -> None:
    for tree in ("one", "two"):
        (tmp_path / tree).mkdir()
    at_home = [
        {**keys, "mirror": str(tmp_path / keys["mirror"])} if "mirror" in keys else keys for keys in (before, after)
    ]
    with running(tmp_path, roots=at_home[0]) as daemon:
        done = daemon.reload(roots=at_home[1])
        assert [path.split(b"/")[-2] for path in made(daemon)] == [folder, folder]
        assert done.rescanned == (os.fsencode(daemon.photos),)  # those that lie elsewhere are to follow


@shows("roots.mode")
def test_new_files_are_found_in_that_way(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.watchers.watch(daemon.root)
        daemon.watchers.pass_test()
        assert daemon.core.modes.choice(daemon.root).mode is not Mode.SCAN
        daemon.reload(roots={"mode": ModeWanted.SCAN})
        assert daemon.core.modes.choice(daemon.root).mode is Mode.SCAN
        assert not daemon.watchers.observer.alive
        assert daemon.watchers.sweeps == [Manner.SWEEP]
        daemon.reload(roots={"mode": ModeWanted.AUTO})
        assert daemon.watchers.observer.alive


@shows("roots.scan_interval_s")
def test_a_root_that_is_scanned_is_scanned_so_often(tmp_path: Path) -> None:
    with running(tmp_path, roots={"mode": ModeWanted.SCAN, "scan_interval_s": 1_000.0}) as daemon:
        daemon.watchers.watch(daemon.root)
        daemon.watchers.swept()
        daemon.reload(roots={"scan_interval_s": 7.0})
        assert daemon.watchers.wait(6.9) == []
        assert daemon.watchers.wait(0.2) == [Manner.QUICK_SWEEP]


@shows("roots.error_notes")
def test_a_note_lies_beside_what_cannot_be_done(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.plays[b"content of a.jpg"] = Rejected(reason=Reason.UNSUPPORTED, detail="no decoder")
        assert made(daemon) == set()
        daemon.reload(roots={"error_notes": True})
        daemon.run(2.0)
        assert note_path(b"a.jpg") in daemon.disk
        daemon.reload(roots={"error_notes": False})
        daemon.run(2.0)
        assert note_path(b"a.jpg") not in daemon.disk


@shows("roots.follow_symlinks")
def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.jpg").write_bytes(b"picture")
    with running(tmp_path) as daemon:
        photos = Path(daemon.photos)
        (photos / "album").symlink_to(tmp_path / "album")
        (photos / "b.jpg").symlink_to(tmp_path / "album" / "a.jpg")
        asked = StatMany(ticket=1, paths=(b"album/a.jpg", b"b.jpg"))
        assert daemon.scan_files() == []
        assert list(dict(daemon.ask_hands(asked).results).values()) == [Vanished(), Ignored(kind="link")]
        done = daemon.reload(roots={"follow_symlinks": True})
        assert done.rescanned == (os.fsencode(daemon.photos),)
        assert sorted(daemon.scan_files()) == [b"album/a.jpg", b"b.jpg"]
        stamp = stamp_of((tmp_path / "album" / "a.jpg").stat())
        assert list(dict(daemon.ask_hands(asked).results).values()) == [stamp, stamp]
        daemon.reload(roots={"follow_symlinks": False})
        assert daemon.scan_files() == []


def test_links_are_looked_at_anew_when_a_root_comes_or_goes(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    with running(tmp_path, roots={"follow_symlinks": True}) as daemon:
        (Path(daemon.photos) / "album").symlink_to(tmp_path / "album")
        settings = daemon.core.settings
        with_album = replace(settings, roots=(*settings.roots, RootSettings(path=str(tmp_path / "album"))))
        sweep = AskScanner(root=daemon.root, directory=b"", manner=Manner.QUICK_SWEEP)
        assert daemon.refit(with_album).effects == (sweep,)
        assert daemon.parts.rooms[daemon.root].hands.place.links.followed() == {}
        daemon.scan_files(Manner.QUICK_SWEEP)
        assert daemon.parts.rooms[daemon.root].hands.place.links.is_refused(b"album")
        assert daemon.refit(settings).effects == (sweep,)
        daemon.scan_files(Manner.QUICK_SWEEP)
        assert daemon.parts.rooms[daemon.root].hands.place.links.followed() == {b"album": bytes(tmp_path / "album")}


def swept(daemon: Running, root: int) -> list[Effect]:
    """Sweep a root, and have the core hear of it; what it asks scanners for."""
    daemon.root = root
    heard = daemon.scan_heard(Manner.SWEEP)
    return [effect for effect in daemon.core.step(daemon.moment, heard) if isinstance(effect, AskScanner)]


def followed(daemon: Running, root: int) -> dict[bytes, bytes]:
    return daemon.parts.rooms[root].hands.place.links.followed()


def test_of_two_roots_whose_links_lead_to_one_folder_the_first_has_it(tmp_path: Path) -> None:
    (tmp_path / "album" / "deep").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    album, deep = bytes(tmp_path / "album"), bytes(tmp_path / "album" / "deep")
    other = RootSettings(path=str(tmp_path / "second"), follow_symlinks=True)
    with running(tmp_path, roots={"follow_symlinks": True}) as daemon:
        settings, first, ours = daemon.core.settings, daemon.root, Path(daemon.photos) / "ours"
        settings = replace(settings, roots=(*settings.roots, other))
        daemon.refit(settings)
        second = max(daemon.core.roots)
        sweep = AskScanner(root=second, directory=b"", manner=Manner.QUICK_SWEEP)
        (tmp_path / "second" / "theirs").symlink_to(tmp_path / "album" / "deep")
        assert (swept(daemon, second), followed(daemon, second)) == ([], {b"theirs": deep})
        ours.symlink_to(tmp_path / "album")
        assert swept(daemon, first) == [sweep]
        assert swept(daemon, first) == []
        assert (swept(daemon, second), followed(daemon, second)) == ([], {})
        assert followed(daemon, first) == {b"ours": album}
    with Running(tmp_path, settings=settings) as daemon:
        swept(daemon, second)
        assert followed(daemon, second) == {}, "though the first was not looked at in this run"
        assert swept(daemon, first) == []
        ours.unlink()
        assert swept(daemon, first) == [sweep]
        swept(daemon, second)
        assert followed(daemon, second) == {b"theirs": deep}
