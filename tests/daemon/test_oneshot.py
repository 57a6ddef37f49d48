"""The one-shot scan, whole: its report says what it could not look at."""

import errno
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.imaging.pictures import quarters, saved
from tests.ledger.test_ledger import done
from watcherd.daemon.oneshot import ScanPlace, scan
from watcherd.daemon.statedir import StateDirectory
from watcherd.imaging import decoders
from watcherd.ledger.ledger import Ledger
from watcherd.model import JobClass, Source, State
from watcherd.settings import RootSettings, Settings
from watcherd.watch.scanning import walk


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


DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200"><rect width="99" height="99"/></svg>'


class Folders:
    """Folders of uploads, scanned again and again with the same ledger."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.state = StateDirectory(place / "state")
        (place / "state").mkdir()

    def scan(self, *roots: RootSettings) -> dict[str, int]:
        """The counts of a scan over these roots that are not zero."""
        places = tuple(ScanPlace(root=root, path=b"", is_file=False) for root in roots)
        counts = scan(Settings(roots=roots), self.state, places, progress=lambda _counts, _left: None).counts
        return {name: count for name, count in counts.items() if count}

    def root(self, name: str, *, svg: bool = False) -> RootSettings:
        return RootSettings(path=os.fspath(self.place / name), svg=svg)

    def put(self, folder: str, name: str, content: bytes) -> Path:
        path = self.place / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1e9, 1e9))
        return path


def test_no_link_is_followed_to_a_file_in_the_state_directory(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    picture = folders.put("album", "a.svg", DRAWING)
    kept = folders.put("state", "a.svg", DRAWING)
    for name, target in (("album.svg", picture), ("state.svg", kept), ("ledger.svg", folders.state.ledger)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).symlink_to(target)

    counts = folders.scan(replace(folders.root("photos", svg=True), follow_symlinks=True))

    made = {path.name for path in (tmp_path / "photos").iterdir() if not path.is_symlink()}
    assert made == {"album.svg.thumbnail.jpg", "album.svg.preview.jpg"}, counts


def test_svg_is_taken_up_when_its_root_allows_it_and_in_no_other_root(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    path = folders.put("one", "a.svg", DRAWING)
    assert folders.scan(folders.root("one")) == {"sources": 1, "rejected": 1}
    assert folders.scan(folders.root("one")) == {"sources": 1, "rejected": 1}

    allowed = folders.root("one", svg=True)
    assert folders.scan(allowed)["rendered"] == 1
    assert path.with_name("a.svg.thumbnail.jpg").exists()
    assert folders.scan(allowed) == {"sources": 1, "unchanged": 1}

    folders.put("two", "b.svg", DRAWING + b" ")
    assert folders.scan(allowed, folders.root("two")) == {"sources": 2, "unchanged": 1, "rejected": 1}


def test_a_picture_is_taken_up_when_its_extra_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Folders(tmp_path)
    path = folders.put("one", "a.heic", saved(quarters(), "HEIF"))
    version = decoders._version
    with monkeypatch.context() as without:
        without.setattr(decoders, "_is_installed", lambda _: False)
        without.setattr(decoders, "_version", lambda package: "" if package == "pillow-heif" else version(package))
        decoders.decoder_table.cache_clear()
        assert folders.scan(folders.root("one")) == {"sources": 1, "rejected": 1}
    decoders.decoder_table.cache_clear()
    assert folders.scan(folders.root("one"))["rendered"] == 1
    assert path.with_name("a.heic.preview.jpg").exists()


def test_what_is_pending_on_a_disk_below_a_root_that_is_away_stays(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.put("one", "a.svg", DRAWING)
    (tmp_path / "one" / "card").mkdir()
    with Ledger.open(folders.state.ledger) as ledger:
        source = Source(ledger.root_id(os.fsencode(folders.root("one").path)), b"card/b.jpg")
        ledger.record(
            replace(done(b"card/b.jpg", root=source.root), state=State.PENDING, job_class=JobClass.EDITED, sequence=1)
        )
        ledger.set_mount(source.root, b"card", "uuid=5 inode=2")
        ledger.commit()
    folders.scan(folders.root("one", svg=True))
    with Ledger.open(folders.state.ledger) as ledger:
        entry = ledger.entry(source)
    assert entry is not None
    assert (entry.state, entry.gone_at_s, len(entry.derivatives)) == (State.PENDING, None, 2)


@pytest.fixture
def doubtful(tmp_path: Path) -> Folders:
    """A drawing that a daemon has rendered with `durability = "fast"`; then the power was cut."""
    folders = Folders(tmp_path)
    path = folders.put("one", "a.svg", DRAWING)
    folders.scan(folders.root("one", svg=True))
    sums = {name: zlib.crc32(path.with_name(f"a.svg.{name}.jpg").read_bytes()) for name in ("thumbnail", "preview")}
    with Ledger.open(folders.state.ledger) as ledger:
        ledger.note_written(Source(ledger.root_id(os.fsencode(path.parent)), b"a.svg"), sums)
        ledger.commit()
    thumbnail = path.with_name("a.svg.thumbnail.jpg")
    stat = thumbnail.stat()
    thumbnail.write_bytes(bytes(stat.st_size))
    os.utime(thumbnail, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return folders


def in_doubt(folders: Folders) -> int:
    with Ledger.open(folders.state.ledger) as ledger:
        return len(ledger.unsynced(ledger.root_id(os.fsencode(folders.place / "one"))))


def test_what_a_daemon_left_in_doubt_is_looked_at_first_and_on_the_disk_after_that(doubtful: Folders) -> None:
    root = doubtful.root("one", svg=True)
    assert doubtful.scan(root) == {"sources": 1, "rendered": 1, "derivatives": 1}
    assert any((doubtful.place / "one" / "a.svg.thumbnail.jpg").read_bytes())
    assert in_doubt(doubtful) == 0
    assert doubtful.scan(root) == {"sources": 1, "unchanged": 1}


def test_what_is_in_doubt_waits_for_a_root_that_is_away(doubtful: Folders) -> None:
    here, away = doubtful.place / "one", doubtful.place / "away"
    here.rename(away)
    here.mkdir()
    place = ScanPlace(root=doubtful.root("one", svg=True), path=b"", is_file=False)
    report = scan(Settings(), doubtful.state, (place,), progress=lambda _counts, _left: None)
    assert report.unfinished != ""
    assert in_doubt(doubtful) == 1
    here.rmdir()
    away.rename(here)
    assert doubtful.scan(place.root)["rendered"] == 1
