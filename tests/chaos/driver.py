"""A person without a plan: random steps on a watched tree and on the daemon that watches it.

Everything that people and programs do to a folder of photos (create, copy, move, rename folders, delete, replace,
truncate, chmod, link, tamper with derivatives), and everything that happens to a daemon (killed, ended, stopped for a
while until its queue of events runs over, its disk unmounted). The driver knows no promise; it only remembers which
contents it made, and which files of strangers it put down. What holds afterwards, `audit.py` decides.
"""

import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.chaos.harness import Daemon
from tests.chaos.pictures import jpeg, put

_SUFFIXES = (".thumbnail.jpg", ".preview.jpg")
_NAMES = ("a b", "ü", "-x", "no\udcff", "quote'\"", "l" * 200)


class Disk(Protocol):
    """What one of the trees lies on, where it can be taken away."""

    point: Path

    def mount(self) -> None:
        """Put it back."""

    def unmount(self) -> None:
        """Take it away."""


class Driver:
    """Random steps, repeatable by their seed as far as what runs beside them allows."""

    def __init__(
        self, daemon: Daemon, chance: random.Random, disk: Disk | None = None, *, queue: int | None = None
    ) -> None:
        self.roots = tuple(daemon.roots)
        self.queue = queue
        self._away: Path | None = None
        self.daemon = daemon
        self.chance = chance
        self.disk = disk
        self.contents = 0
        self.kills = 0
        self.foreign: dict[Path, bytes] = {}
        self.done: list[str] = []
        self._steps = [
            (12, self.create),
            (4, self.burst),
            (5, self.copy),
            (8, self.move),
            (4, self.rename_folder),
            (2, self.move_folder),
            (6, self.delete),
            (1, self.delete_folder),
            (5, self.replace),
            (4, self.overwrite),
            (2, self.truncate),
            (3, self.chmod),
            (3, self.hard_link),
            (3, self.touch),
            (3, self.delete_derivative),
            (2, self.foreigner),
            (2, self.new_folder),
            (2, self.kill),
            (1, self.restart),
            (1, self.freeze),
            (1 if queue else 0, self.overflow),
            (2 if disk else 0, self.unmount),
            (1 if disk else 0, self.unmount_while_stopped),
        ]

    def start(self, *, ready: bool = True) -> None:
        """Start the daemon; its observers get the queue that was asked for."""
        if self.queue is None:
            self.daemon.start(ready=ready)
        else:
            self.daemon.start_with_short_queue(self.queue, ready=ready)

    def step(self) -> None:
        """One random step. What is not there when it is to be used is no fault: the daemon works at the same time."""
        weights, steps = zip(*self._steps, strict=True)
        (chosen,) = self.chance.choices(steps, weights)
        self.done.append(chosen.__name__)
        chosen()

    # ---- choosing

    def folders(self) -> list[Path]:
        """Every folder of the trees; none of a disk that is away."""
        found = [Path(folder) for root in self.roots for folder, _, _ in os.walk(root)]
        return [folder for folder in found if self._away is None or not folder.is_relative_to(self._away)]

    def sources(self) -> list[Path]:
        """Every upload."""
        found = (path for folder in self.folders() for path in sorted(folder.iterdir()) if path.is_file())
        return [path for path in found if self._is_source(path)]

    def _is_source(self, path: Path) -> bool:
        is_ours = path.name.endswith(_SUFFIXES) or path.name.startswith(".")
        return not is_ours and path.suffix == ".jpg" and path not in self.foreign

    def _folder(self) -> Path:
        return self.chance.choice(sorted(self.folders()))

    def _source(self) -> Path | None:
        sources = sorted(self.sources())
        return self.chance.choice(sources) if sources else None

    def _content(self) -> bytes:
        self.contents += 1
        return jpeg(self.chance.randrange(2**48))

    def _new(self, folder: Path | None = None) -> Path:
        stem = self.chance.choice(_NAMES) + str(self.chance.randrange(1000))
        return (folder or self._folder()) / f"{stem}.jpg"

    # ---- steps on the tree

    def create(self) -> None:
        """Somebody uploads a picture."""
        put(self._new(), self._content())

    def burst(self) -> None:
        """Somebody uploads many at once."""
        for _ in range(self.chance.randrange(5, 30)):
            self.create()

    def new_folder(self) -> None:
        """A folder, and at once a picture in it."""
        put(self._new(self._folder() / f"f{self.chance.randrange(100)}" / "deep"), self._content())

    def copy(self) -> None:
        """A copy of a picture, sometimes with its times."""
        source = self._source()
        if source is not None:
            self.chance.choice((shutil.copy, shutil.copy2))(source, self._new())

    def move(self) -> None:
        """A picture gets another name or folder; it may take the place of another one."""
        source = self._source()
        if source is not None:
            _rename(source, self._new())

    def rename_folder(self) -> None:
        """A folder gets another name."""
        folders = self._movable()
        if folders:
            folder = self.chance.choice(folders)
            self._moved(folder, folder.with_name(f"renamed{self.chance.randrange(10_000)}"))

    def move_folder(self) -> None:
        """A folder goes into another one, or with all that is in it to another disk."""
        folders = self._movable()
        if folders:
            folder, target = self.chance.choice(folders), self._folder()
            if not target.is_relative_to(folder):
                self._moved(folder, target / f"moved{self.chance.randrange(10_000)}")

    def _movable(self) -> list[Path]:
        fixed = (*self.roots, self.disk.point) if self.disk else self.roots
        return [folder for folder in sorted(self.folders()) if folder not in fixed]

    def _moved(self, old: Path, new: Path) -> None:
        if not new.exists():
            _rename_tree(old, new)
            self.foreign = {
                (new / path.relative_to(old) if path.is_relative_to(old) else path): data
                for path, data in self.foreign.items()
            }

    def delete(self) -> None:
        """A picture is deleted."""
        source = self._source()
        if source is not None:
            source.unlink()

    def delete_folder(self) -> None:
        """A whole folder is deleted, with everything."""
        folders = self._movable()
        if folders:
            folder = self.chance.choice(folders)
            shutil.rmtree(os.fsencode(folder), ignore_errors=True)
            self.foreign = {path: data for path, data in self.foreign.items() if not path.is_relative_to(folder)}

    def replace(self) -> None:
        """An editor saves: a new file takes the place of the old one."""
        source = self._source()
        if source is not None:
            unfinished = source.with_name(f"saving{self.chance.randrange(1000)}.tmp")
            unfinished.write_bytes(self._content())
            os.replace(unfinished, source)

    def overwrite(self) -> None:
        """A picture is written anew in place."""
        source = self._source()
        if source is not None:
            source.write_bytes(self._content())

    def truncate(self) -> None:
        """A picture loses all but its first bytes."""
        source = self._source()
        if source is not None:
            os.truncate(source, 20)

    def chmod(self) -> None:
        """Other permissions, which our powers or our group may not care for."""
        source = self._source()
        if source is not None:
            source.chmod(self.chance.choice((0o600, 0o640, 0o644, 0o664)))

    def hard_link(self) -> None:
        """A second name for a picture."""
        source, other = self._source(), self._new()
        is_one_disk = source is not None and source.stat().st_dev == other.parent.stat().st_dev
        if source is not None and is_one_disk and not other.exists():
            os.link(source, other)

    def touch(self) -> None:
        """Another time, the same content."""
        source = self._source()
        if source is not None:
            os.utime(source)

    def delete_derivative(self) -> None:
        """Somebody deletes one of ours."""
        source = self._source()
        if source is not None:
            made = source.with_name(source.name + self.chance.choice(_SUFFIXES))
            made.unlink(missing_ok=True)

    def foreigner(self) -> None:
        """A stranger's file, which looks like one of ours, beside no source."""
        path = self._folder() / f"stranger{self.chance.randrange(1000)}.txt.thumbnail.png"
        self.foreign[path] = b"mine" * self.chance.randrange(1, 100)
        path.write_bytes(self.foreign[path])

    # ---- steps on the daemon

    def kill(self) -> None:
        """The daemon is killed, and started again."""
        self.kills += 1
        self.daemon.kill()
        self.start(ready=self.chance.random() < 0.5)

    def restart(self) -> None:
        """The daemon ends as it should; things happen meanwhile; it is started again."""
        self.daemon.wait_for("daemon.ready", within_s=20)  # a signal before that ends it another way
        self.daemon.stop()
        self._some()
        self.start()

    def freeze(self) -> None:
        """The daemon stands still while many things happen."""
        self.daemon.signal(signal.SIGSTOP)
        try:
            for _ in range(8):
                self.chance.choice((self.burst, self.move, self.delete, self.rename_folder))()
        finally:
            self.daemon.signal(signal.SIGCONT)

    def overflow(self) -> None:
        """More happens while the daemon stands still than its queue of events holds."""
        self.daemon.signal(signal.SIGSTOP)
        try:
            for _ in range(self.queue or 0):
                self.create()
            for _ in range(4):
                self.chance.choice((self.move, self.delete, self.rename_folder, self.new_folder, self.replace))()
        finally:
            self.daemon.signal(signal.SIGCONT)

    def unmount(self) -> None:
        """The disk is taken away for a while, with the daemon running; things happen elsewhere."""
        if self.disk is not None:
            with self._without_disk(self.disk):
                time.sleep(self.chance.choice((0.0, 0.3, 2.0)))
                self._some()

    def unmount_while_stopped(self) -> None:
        """The daemon ends, and begins anew before its disk is there again, or after that."""
        if self.disk is None:
            return
        self.daemon.wait_for("daemon.ready", within_s=20)
        self.daemon.stop()
        with self._without_disk(self.disk):
            self._some()
            is_early = self.chance.random() < 0.5
            if is_early:
                self.daemon.start()
                self._some()
        if not is_early:
            self.start()

    @contextmanager
    def _without_disk(self, disk: Disk) -> Iterator[None]:
        before = self.roots
        disk.unmount()
        self.roots, self._away = tuple(root for root in before if root != disk.point), disk.point
        try:
            yield
        finally:
            disk.mount()
            self.roots, self._away = before, None

    def _some(self) -> None:
        for _ in range(self.chance.randrange(5)):
            self.chance.choice((self.create, self.move, self.delete, self.rename_folder, self.copy))()


# ---- as `mv` does it, also from disk to disk


def _rename(old: Path, new: Path) -> None:
    """A file gets another name; what has that one goes."""
    try:
        os.replace(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(old, new)
        old.unlink()


def _rename_tree(old: Path, new: Path) -> None:
    """A folder gets another name. What comes and goes in it meanwhile is the daemon's."""
    try:
        os.rename(old, new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(os.fsencode(old), os.fsencode(new), copy_function=_copy_if_there)
        shutil.rmtree(os.fsencode(old), ignore_errors=True)


def _copy_if_there(old: bytes, new: bytes) -> None:
    """The copy of a temporary file of ours would stay until the daemon starts anew: those it made itself it trusts."""
    if not os.path.basename(old).startswith(b".watcherd-"):
        with suppress(FileNotFoundError):
            shutil.copy2(old, new)
