"""The one-shot scan, whole: its report says what it could not look at."""

import errno
import os
from pathlib import Path

import pytest

from watcherd.daemon.oneshot import ScanPlace, scan
from watcherd.daemon.statedir import StateDirectory
from watcherd.settings import RootSettings, Settings
from watcherd.watch import walk


class _OneBadFolder:
    """The os module, but a folder `bad` gives EIO."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    @staticmethod
    def open(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if path == b"bad":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.open(path, flags, dir_fd=dir_fd)


def test_the_report_counts_what_could_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "bad").mkdir(parents=True)
    (tmp_path / "photos" / "good").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.setattr(walk, "os", _OneBadFolder())
    place = ScanPlace(root=RootSettings(path=os.fspath(tmp_path / "photos")), path=b"", is_file=False)

    report = scan(Settings(), StateDirectory(tmp_path / "state"), (place,), progress=lambda _counts, _left: None)

    assert (report.unreadable, report.counts["sources"]) == (1, 0)
