"""A ledger is kept off file systems of other machines."""

import os

import pytest

from watcherd.ledger.errors import LedgerUnsafe
from watcherd.ledger.location import file_system_of, is_network, require_local

MOUNTS = rb"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /srv/my\040share rw shared:1 master:2 - nfs4 nas:/vol rw
31 22 0:41 / /srv/my\040share/local rw - tmpfs tmpfs rw
32 22 0:42 / /srv/twice rw - ext4 /dev/vdb rw
33 32 0:43 / /srv/twice rw - cifs //nas/x rw
a line that is none
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/", b"ext4"),
        (b"/srv", b"ext4"),
        (b"/srv/my share", b"nfs4"),
        (b"/srv/my share/a/b", b"nfs4"),
        (b"/srv/my sharedness", b"ext4"),
        (b"/srv/my share/local/x", b"tmpfs"),
        (b"/srv/twice/x", b"cifs"),
    ],
)
def test_the_innermost_and_latest_mount_tells_the_file_system(path: bytes, kind: bytes) -> None:
    assert file_system_of(path, MOUNTS) == kind


def test_an_unreadable_table_tells_nothing() -> None:
    assert file_system_of(b"/x", b"") == b""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(b"ext4", False), (b"nfs4", True), (b"cifs", True), (b"fuse.sshfs", True), (b"fuse", True), (b"fuseblk", False)],
)
def test_file_systems_of_other_machines_are_known(kind: bytes, expected: bool) -> None:
    assert is_network(kind) == expected


def test_a_local_folder_passes(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr("watcherd.ledger.location.file_system_of", lambda path, _: asked.append(path) or b"ext4")
    require_local(str(tmp_path))
    assert asked == [os.path.realpath(os.fsencode(str(tmp_path)))]


def test_a_share_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.ledger.location.file_system_of", lambda _path, _mounts: b"nfs4")
    with pytest.raises(LedgerUnsafe, match=r"nfs4.*--state-dir"):
        require_local("/srv")
