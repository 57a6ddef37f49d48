"""What is seen of a real folder and a real home, before anything is planned."""

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import NOBODY, mounted, public_folder
from watcherd.service import facts
from watcherd.service.carry import Stopped, carry_out
from watcherd.service.places import Places, of_user
from watcherd.service.steps import Link, MakeFolder, Note, RemoveFile, RemoveFolder, Run, Step, WriteFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to others, which only root can")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder whose way is open to all; pytest's own are not."""
    with public_folder() as folder:
        yield folder


def places_in(home: Path) -> Places:
    return of_user(config_home=f"{home}/.config", state_home=f"{home}/.local/state", home=str(home))


def look(home: Path, *roots: Path) -> facts.Facts:
    return facts.look(
        places_in(home),
        program="/opt/w",
        configured=(),
        roots=map(str, roots),
        kernel_keys=["fs.inotify.max_user_watches"],
    )


def test_a_folder_that_is_open_to_all_has_no_barrier(open_folder: Path) -> None:
    open_folder.chmod(0o777)
    assert facts.folder(str(open_folder)).barrier == ""


@needs_root
def test_a_group_that_may_write_is_named_and_roots_group_never_is(open_folder: Path) -> None:
    open_folder.chmod(0o770)
    os.chown(open_folder, -1, NOBODY)
    seen = facts.folder(str(open_folder))
    assert (seen.group, seen.barrier) == (grp.getgrgid(NOBODY).gr_name, "")
    os.chown(open_folder, -1, 0)
    seen = facts.folder(str(open_folder))
    assert seen.group is None
    assert "may not read and write" in seen.barrier


@needs_root
def test_a_closed_folder_on_the_way_is_named(open_folder: Path) -> None:
    inside = open_folder / "inside"
    inside.mkdir()
    inside.chmod(0o777)
    open_folder.chmod(0o700)
    seen = facts.folder(str(inside))
    assert f"{open_folder} may not be entered" in seen.barrier
    assert seen.closed == (str(open_folder),)
    inside.chmod(0o755)
    assert facts.folder(str(inside)).closed == (str(open_folder), str(inside))
    open_folder.chmod(0o755)
    assert facts.folder(str(inside)).closed == (str(inside),)


def test_a_folder_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    seen = facts.folder(str(tmp_path / "away"))
    assert "is not there now" in seen.barrier
    assert seen.closed == ()


def test_the_mount_point_of_a_folder_is_seen(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        (disk / "photos").mkdir()
        assert facts.folder(str(disk / "photos")).mount_point == str(disk)
        assert facts.folder(str(disk)).mount_point == str(disk)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("UUID=1 /mnt/my\\040disk/ ext4 noauto 0 2\n", "/mnt/my disk"),
        ("UUID=1 /mnt ext4 defaults 0 2\nUUID=2 /mnt/my\\040disk vfat nofail\n", "/mnt/my disk"),
        ("# UUID=1 /mnt ext4 defaults 0 2\n\nUUID=2 none swap sw 0 0\nUUID=3 /mnt/my ext4 defaults\n", "/"),
    ],
)
def test_a_disk_that_is_away_is_known_from_fstab(tmp_path: Path, lines: str, expected: str) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(lines)
    assert facts.folder("/mnt/my disk/photos", fstab=str(fstab)).mount_point == expected


def test_what_is_mounted_counts_before_what_fstab_has_above_it(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(f"UUID=1 {tmp_path} ext4 defaults 0 2\n")
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        assert facts.folder(str(disk), fstab=str(fstab)).mount_point == str(disk)


def test_a_home_without_anything_is_seen_as_such(tmp_path: Path) -> None:
    seen = look(tmp_path)
    assert set(seen.files.values()) == {None}
    assert (seen.link, seen.has_state, seen.has_account, seen.is_active) == (None, False, False, False)
    assert str(tmp_path) in seen.folders
    assert f"{tmp_path}/.config" not in seen.folders
    assert seen.kernel["fs.inotify.max_user_watches"] > 0


def test_what_was_written_is_seen(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    folder = os.path.dirname(places.config)
    steps: list[Step] = [
        MakeFolder(path=folder),
        WriteFile(path=places.config, content="# caf\udce9\n", what="x"),
        MakeFolder(path=os.path.dirname(places.link)),
        Link(path=places.link, target="/opt/w"),
        Note(text="said"),
    ]
    said: list[str] = []
    carry_out(steps, said.append)
    seen = look(tmp_path)
    assert seen.files[places.config] == "# caf\udce9\n"
    assert seen.link == "/opt/w"
    assert {folder, os.path.dirname(places.link)} <= seen.folders
    assert said == [str(step) for step in steps]
    assert os.listdir(folder) == ["config.toml"]


def test_what_was_made_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    said: list[str] = []
    steps: list[Step] = [
        RemoveFolder(path=f"{tmp_path}/a/b"),
        RemoveFolder(path=f"{tmp_path}/a"),
        RemoveFile(path=f"{tmp_path}/a/file"),
        RemoveFile(path=f"{tmp_path}/a/file"),
        RemoveFolder(path=f"{tmp_path}/a"),
        RemoveFolder(path=f"{tmp_path}/full", with_content=True),
    ]
    carry_out(steps, said.append)
    assert os.listdir(tmp_path) == []
    assert f"{tmp_path}/a is not empty and stays" in said


def test_a_program_that_fails_stops_the_plan_with_its_own_words(tmp_path: Path) -> None:
    command = ("sh", "-c", "echo first; echo 'no such thing' >&2; exit 4")
    steps: list[Step] = [Run(command=command, why="to see"), MakeFolder(path=f"{tmp_path}/later")]
    with pytest.raises(Stopped, match="ended with 4: no such thing"):
        carry_out(steps, lambda _: None)
    assert os.listdir(tmp_path) == []


def rewrite(path: Path) -> None:
    carry_out([WriteFile(path=str(path), content="new", what="x")], lambda _: None)


def test_a_file_that_is_there_keeps_its_mode_and_a_new_one_can_be_read_by_all(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "there").chmod(0o640)
    for name in ("there", "new"):
        rewrite(tmp_path / name)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "new")] == [0o640, 0o644]
    assert (tmp_path / "there").read_text() == "new"


@needs_root
def test_a_file_that_is_there_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    os.chown(tmp_path / "file", NOBODY, NOBODY)
    rewrite(tmp_path / "file")
    there = (tmp_path / "file").stat()
    assert (there.st_uid, there.st_gid) == (NOBODY, NOBODY)


def test_a_link_stays_and_the_file_behind_it_is_rewritten(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles" / "file", tmp_path / "link"
    real.write_text("old")
    link.symlink_to("dotfiles/file")
    rewrite(link)
    assert (os.readlink(link), real.read_text()) == ("dotfiles/file", "new")
    assert os.listdir(tmp_path / "dotfiles") == ["file"]


def test_what_leads_to_no_file_is_not_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(Stopped, match="pipe is there and is no file"):
        rewrite(tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    assert stat.S_ISFIFO((tmp_path / "link").stat().st_mode)


def test_a_file_that_cannot_be_written_stops_the_plan_and_leaves_nothing_half(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"could not write .*: No such file or directory"):
        carry_out([WriteFile(path=f"{tmp_path}/away/file", content="x", what="x")], lambda _: None)
    (tmp_path / "taken").mkdir()
    with pytest.raises(Stopped, match="could not write"):
        carry_out([WriteFile(path=f"{tmp_path}/taken", content="x", what="x")], lambda _: None)
    assert os.listdir(tmp_path) == ["taken"]
