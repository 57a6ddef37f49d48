"""A folder is known to have no sub-folders where the file system counts them, and nowhere else."""

import os
from pathlib import Path

import pytest

from watcherd.watch import mounts
from watcherd.watch.observing import leaves
from watcherd.watch.observing.leaves import Leaves


def lies_on(kind: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every path lie on one mount of this kind."""
    mount = mounts.Mount(number=1, device=(8, 1), point=b"/", kind=kind, source=b"disk", read_only=False)
    monkeypatch.setattr(mounts, "table", lambda: (mount,))


def test_a_folder_that_is_told_to_have_no_sub_folders_has_none(tmp_path: Path) -> None:
    """On whatever file system this runs."""
    (tmp_path / "inner" / "leaf").mkdir(parents=True)
    (tmp_path / "inner" / "a.jpg").touch()
    asked = Leaves(os.fsencode(tmp_path))
    assert not asked.has(os.fsencode(tmp_path))
    assert not asked.has(os.fsencode(tmp_path / "inner"))


def test_it_is_told_by_two_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = tmp_path / "leaf"
    leaf.mkdir()
    if leaf.stat().st_nlink != 2:
        pytest.skip("this file system does not count sub-folders as links")
    lies_on(b"ext4", monkeypatch)
    assert Leaves(os.fsencode(tmp_path)).has(os.fsencode(leaf))
    (leaf / "sub").mkdir()
    assert not Leaves(os.fsencode(tmp_path)).has(os.fsencode(leaf))


@pytest.mark.parametrize("kind", [b"btrfs", b"cifs", b"nfs4", b"fuse.mergerfs", b"overlay", b"vfat"])
def test_a_file_system_that_may_count_otherwise_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    (tmp_path / "leaf").mkdir()
    lies_on(kind, monkeypatch)
    assert not Leaves(os.fsencode(tmp_path)).has(os.fsencode(tmp_path / "leaf"))


def test_another_file_system_inside_of_the_root_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lies_on(b"ext4", monkeypatch)
    really = os.stat

    def elsewhere(path: bytes, *, follow_symlinks: bool = True) -> os.stat_result:
        found = list(really(path, follow_symlinks=follow_symlinks))
        found[2] += 1 if path == os.fsencode(tmp_path / "mounted") else 0
        return os.stat_result(found)

    (tmp_path / "mounted").mkdir()
    asked = Leaves(os.fsencode(tmp_path))
    monkeypatch.setattr(leaves.os, "stat", elsewhere)
    assert not asked.has(os.fsencode(tmp_path / "mounted"))
