"""A refit of real rooms: hands, scanners and claims of real folders, without workers and without waiting."""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from watcherd.daemon.composition import Composition
from watcherd.daemon.effects import AskScanner, Moment
from watcherd.daemon.reload.refitting import Refitting
from watcherd.daemon.statedir import Busy, StateDirectory, claim
from watcherd.model import Variant
from watcherd.settings import LimitSettings, PoolSettings, RootSettings, Settings, SettleSettings

NOW = Moment(now=10.0, wall_s=1_800_000_000.0)


class Watchers:
    """Stands for the health of the observers: notes which roots it is to look after."""

    def __init__(self, roots: set[int]) -> None:
        self.roots = roots
        self.vigil = self
        self.begun_anew: list[int] = []

    def refit(self, now: float) -> None:
        """Nothing is due here."""

    def watch(self, root: int, now: float | None = None) -> None:
        self.roots.add(root)
        if now is not None:
            self.begun_anew.append(root)

    def unwatch(self, root: int) -> None:
        self.roots.remove(root)


class Run:
    """A composition around two folders, the first of which is watched."""

    def __init__(self, folder: Path) -> None:
        self.folders = [str(folder / name) for name in ("one", "two", "three")]
        for name in self.folders:
            Path(name).mkdir()
        (folder / "state").mkdir()
        self.settings = Settings(roots=(RootSettings(path=self.folders[0]),))
        self.parts = Composition(
            self.settings, StateDirectory(str(folder / "state")), self.settings.roots, patient=True
        )
        self.watchers = Watchers(set(self.parts.core.roots))
        watchers: Any = self.watchers
        self.refitting = Refitting(self.parts, watchers)

    def roots(self, *places: int) -> Settings:
        return replace(self.settings, roots=tuple(RootSettings(path=self.folders[place]) for place in places))

    def watched(self) -> set[str]:
        paths = {root.path.decode() for root in self.parts.core.roots.values()}
        assert self.watchers.roots == set(self.parts.core.roots)
        return paths


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    one = Run(tmp_path)
    with one.parts:
        yield one


def is_free(folder: str) -> bool:
    try:
        claim(folder.encode()).close()
    except Busy:
        return False
    return True


def test_roots_are_added_and_taken_out(run: Run) -> None:
    done = run.refitting.apply(run.roots(1, 2), NOW)
    run.refitting.due(NOW)

    assert run.watched() == {run.folders[1], run.folders[2]}
    assert set(done.added) == {run.folders[1].encode(), run.folders[2].encode()}
    assert done.removed == (run.folders[0].encode(),)
    assert [is_free(folder) for folder in run.folders] == [True, False, False]
    assert set(run.parts.ledger.roots().values()) == {folder.encode() for folder in run.folders}


def test_a_root_that_comes_back_before_it_has_left_keeps_its_rooms(run: Run) -> None:
    (number,) = run.parts.core.roots
    rooms = run.parts.rooms[number]
    run.refitting.apply(run.roots(1), NOW)
    run.refitting.apply(run.roots(0), NOW)

    assert run.watched() == {run.folders[0]}
    assert run.parts.rooms[number] is rooms
    assert rooms.scanner.is_alive()
    run.refitting.due(NOW)
    assert not is_free(run.folders[0])
    assert is_free(run.folders[1])


def test_where_another_daemon_has_a_new_root_nothing_changes(run: Run) -> None:
    with claim(run.folders[2].encode()), pytest.raises(Busy, match="three"):
        run.refitting.apply(replace(run.roots(1, 2), settle=SettleSettings(closed_quiet_s=0.1)), NOW)

    assert run.watched() == {run.folders[0]}
    assert run.parts.core.settings == run.settings
    assert is_free(run.folders[1])


def test_a_name_that_somebody_else_keeps_is_told_and_the_root_is_watched(run: Run) -> None:
    folder = run.folders[1].encode()
    with socket.socket(socket.AF_UNIX) as silent, capture_logs() as lines:
        silent.bind("\0watcherd-root-" + hashlib.sha256(folder).hexdigest()[:32])
        run.refitting.apply(run.roots(0, 1), NOW)
    (line,) = (line for line in lines if line["event"] == "root.contested")
    assert (line["root"], line["pid"], line["uid"]) == (folder, None, None)
    assert run.watched() == set(run.folders[:2])


def test_a_root_whose_variants_change_is_scanned_and_another_is_not(run: Run) -> None:
    run.refitting.apply(run.roots(0, 1), NOW)
    numbers = {root.path.decode(): number for number, root in run.parts.core.roots.items()}
    wanted = run.roots(0, 1)
    only = tuple(variant.name for variant in wanted.variants)
    medium = Variant(name="medium", width=800, height=800)
    roots = (wanted.roots[0], replace(wanted.roots[1], variants=only))
    done = run.refitting.apply(replace(wanted, roots=roots, variants=(*wanted.variants, medium)), NOW)

    assert done.effects == (AskScanner(root=numbers[run.folders[0]], directory=b""),)
    assert done.rescanned == (run.folders[0].encode(),)
    assert [v.name for v in run.parts.core.roots[numbers[run.folders[0]]].variants] == [
        "thumbnail",
        "preview",
        "medium",
    ]


def test_a_change_of_limits_asks_for_what_was_rejected_again(run: Run) -> None:
    before = run.parts.core.force.seen_by
    done = run.refitting.apply(replace(run.settings, limits=LimitSettings(max_side=10)), NOW)

    assert run.parts.core.force.seen_by != before
    assert done.rescanned == (run.folders[0].encode(),)


def test_all_rooms_see_the_new_settings(run: Run) -> None:
    wanted = replace(
        run.settings,
        settle=SettleSettings(closed_quiet_s=0.1),
        pool=PoolSettings(workers=1, memory_bytes=512 << 20, timeout_s=5.0),
    )
    done = run.refitting.apply(wanted, NOW)
    core = run.parts.core

    assert core.settings == wanted
    assert (core.most_workers, core.admission.budget_bytes) == (1, 512 << 20)
    assert core.settle.settings == wanted.settle
    assert set(done.changed) == {"settle.closed_quiet_s", "pool.workers", "pool.memory_bytes", "pool.timeout_s"}
    assert (done.added, done.removed, done.rescanned) == ((), (), ())


def test_a_root_that_now_holds_a_former_one_takes_its_files_over(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with run.parts:
        inner = str(tmp_path / "one" / "inner")
        Path(inner).mkdir()
        run.refitting.apply(replace(run.settings, roots=(RootSettings(path=inner),)), NOW)
        run.refitting.due(NOW)
        run.refitting.apply(run.roots(0), NOW)
        run.refitting.due(NOW)

        assert inner.encode() not in run.parts.ledger.roots().values()
