"""A person without a plan: random steps on a watched tree and on the daemon that watches it.

Everything that people and programs do to a folder of photos (create, copy, move, rename folders, delete, replace,
truncate, chmod, link, tamper with derivatives), and everything that happens to a daemon (killed, ended, stopped for a
while, its disk unmounted). The driver knows no promise; it only remembers which contents it made, and which files of
strangers it put down. What holds afterwards, `audit.py` decides.
"""

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Protocol

from tests.chaos.harness import Daemon
from tests.chaos.pictures import jpeg, put

_SUFFIXES = (".thumbnail.jpg", ".preview.jpg")
_NAMES = ("a b", "ü", "-x", "no\udcff", "quote'\"", "l" * 200)


class Disk(Protocol):
    """What the tree lies on, where it can be taken away."""

    def mount(self) -> None:
        """Put it back."""

    def unmount(self) -> None:
        """Take it away."""


class Driver:
    """Random steps, repeatable by their seed as far as what runs beside them allows."""

    def __init__(self, root: Path, daemon: Daemon, chance: random.Random, disk: Disk | None = None) -> None:
        self.root = root
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
            (1 if disk else 0, self.unmount),
        ]

    def step(self) -> None:
        """One random step. What is not there when it is to be used is no fault: the daemon works at the same time."""
        weights, steps = zip(*self._steps, strict=True)
        (chosen,) = self.chance.choices(steps, weights)
        self.done.append(chosen.__name__)
        chosen()

    # ---- choosing

    def folders(self) -> list[Path]:
        """Every folder of the tree."""
        return [Path(folder) for folder, _, _ in os.walk(self.root)]

    def sources(self) -> list[Path]:
        """Every upload."""
        found = (Path(folder, name) for folder, _, names in os.walk(self.root) for name in sorted(names))
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
            os.replace(source, self._new())

    def rename_folder(self) -> None:
        """A folder gets another name."""
        folders = [folder for folder in sorted(self.folders()) if folder != self.root]
        if folders:
            folder = self.chance.choice(folders)
            self._moved(folder, folder.with_name(f"renamed{self.chance.randrange(10_000)}"))

    def _moved(self, old: Path, new: Path) -> None:
        if not new.exists():
            os.rename(old, new)
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
        folders = [folder for folder in sorted(self.folders()) if folder != self.root]
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
        if source is not None and not other.exists():
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
        self.daemon.start(ready=self.chance.random() < 0.5)

    def restart(self) -> None:
        """The daemon ends as it should; things happen meanwhile; it is started again."""
        self.daemon.wait_for("daemon.ready", within_s=20)  # a signal before that ends it another way
        self.daemon.stop()
        for _ in range(self.chance.randrange(5)):
            self.chance.choice((self.create, self.move, self.delete, self.rename_folder, self.copy))()
        self.daemon.start()

    def freeze(self) -> None:
        """The daemon stands still while many things happen."""
        self.daemon.signal(signal.SIGSTOP)
        try:
            for _ in range(8):
                self.chance.choice((self.burst, self.move, self.delete, self.rename_folder))()
        finally:
            self.daemon.signal(signal.SIGCONT)

    def unmount(self) -> None:
        """The disk is taken away for a moment, with the daemon running."""
        if self.disk is not None:
            self.disk.unmount()
            if self.chance.random() < 0.5:
                self.daemon.wait_for("root.away", within_s=30)
            self.disk.mount()
