import os
import subprocess
from pathlib import Path

import pytest

from tests.places import mounted, no_leak
from watcherd.watch import mounts
from watcherd.watch.identity import Likeness, compare
from watcherd.watch.mounts import Mount, file_system_of, is_network, keeps_identity, mount_of

TABLE = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:27 / /srv/photos rw,relatime shared:7 master:2 - nfs4 nas:/photos rw,vers=4.2
31 27 8:1 /sub /srv/my\040disk\134\011\012 ro,nosuid - xfs /dev/sda1 rw
32 27 0:40 / /mnt rw - fuse.sshfs me@host:/ rw
33 27 0:41 / /mnt rw - tmpfs  rw
34 32 0:42 / /full rw - ext4 /dev/vdb ro
"""


def test_the_mount_table_is_read_with_its_escapes_and_options() -> None:
    table = mounts.parse_table(TABLE)
    assert table[3] == Mount(
        number=31, device=(8, 1), point=b"/srv/my disk\\\t\n", kind=b"xfs", source=b"/dev/sda1", read_only=True
    )
    assert [mount.read_only for mount in table] == [False, False, False, True, False, False, True]
    assert table[5].source == b""


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"/", 27),
        (b"/srv", 27),
        (b"/srv/photos", 30),
        (b"/srv/photos/2024", 30),
        (b"/srv/photos2", 27),
        (b"/srv/my disk\\\t\n/a", 31),
        (b"/mnt/a", 33),
    ],
)
def test_a_path_lies_on_the_nearest_mount_and_the_last_of_several(path: bytes, number: int) -> None:
    found = mount_of(path, mounts.parse_table(TABLE))
    assert found is not None
    assert found.number == number


def test_no_mount_is_none() -> None:
    assert mount_of(b"/a", ()) is None


@pytest.mark.parametrize(
    ("kind", "network", "identity"),
    [
        (b"ext4", False, True),
        (b"xfs", False, True),
        (b"btrfs", False, True),
        (b"tmpfs", False, True),
        (b"vfat", False, False),
        (b"exfat", False, False),
        (b"fuseblk", False, False),
        (b"something_new", False, False),
        (b"nfs", True, True),
        (b"nfs4", True, True),
        (b"cifs", True, False),
        (b"smb3", True, False),
        (b"9p", True, False),
        (b"virtiofs", True, False),
        (b"fuse", True, False),
        (b"fuse.sshfs", True, False),
    ],
)
def test_each_kind_has_its_properties(kind: bytes, network: bool, identity: bool) -> None:
    assert (is_network(kind), keeps_identity(kind)) == (network, identity)


@pytest.mark.parametrize(
    ("known", "seen", "likeness"),
    [
        ("uuid=1 fsid=2 inode=3", "uuid=1 fsid=2 inode=3", Likeness.SAME),
        ("fsid=2 inode=3", "uuid=1 fsid=2 inode=3", Likeness.SAME),  # a newer kernel tells more
        ("uuid=1 inode=3", "volume=1 inode=3", Likeness.OTHER),
        ("uuid=1 inode=3", "uuid=9 inode=3", Likeness.OTHER),
        ("uuid=1 fsid=2 inode=3", "uuid=1 fsid=9 inode=3", Likeness.OTHER),  # another btrfs subvolume
        ("uuid=1 inode=3", "uuid=1 inode=4", Likeness.REMADE),
        ("volume=1", "volume=1 inode=4", Likeness.SAME),
        ("kind=nfs4 source=nas:/a", "kind=nfs4 source=nas:/a", Likeness.SAME),
        ("kind=nfs4 source=nas:/a", "kind=nfs4 source=nas:/b", Likeness.OTHER),
        ("kind=nfs4 source=nas:/a", "uuid=1 inode=3", Likeness.OTHER),  # the mount point below
        ("inode=3", "inode=3", Likeness.OTHER),
        ("", "", Likeness.OTHER),
    ],
)
def test_identities_are_compared_by_what_both_hold(known: str, seen: str, likeness: Likeness) -> None:
    assert compare(known, seen) == likeness
    assert compare(seen, known) == likeness


def test_where_the_kernel_shows_itself_is_told_by_the_device() -> None:
    kinds = {b"proc": 1, b"sysfs": 2, b"cgroup2": 3, b"devtmpfs": 4, b"tmpfs": 5, b"ext4": 6, b"fuse.sshfs": 7}
    table = [
        Mount(number=minor, device=(0, minor), point=b"/" + kind, kind=kind, source=kind, read_only=False)
        for kind, minor in kinds.items()
    ]
    assert mounts.of_the_kernel(table) == {os.makedev(0, minor) for minor in (1, 2, 3, 4)}
    assert os.stat("/proc").st_dev in mounts.of_the_kernel(mounts.table())


def test_a_folder_is_described(tmp_path: Path) -> None:
    with no_leak():
        described = file_system_of(os.fsencode(tmp_path))
    mount = mount_of(os.fsencode(tmp_path.resolve()), mounts.table())
    assert mount is not None
    assert (described.kind, described.read_only) == (mount.kind.decode(), mount.read_only)
    assert compare(described.identity, file_system_of(os.fsencode(tmp_path)).identity) == Likeness.SAME


def test_both_ways_to_a_mounts_number_agree_with_the_mount_table(tmp_path: Path) -> None:
    with mounted(tmp_path, "-t", "tmpfs", "tmpfs"):
        expected = mount_of(os.fsencode(tmp_path), mounts.table())
        descriptor = os.open(tmp_path, os.O_RDONLY)
        numbers = (mounts._mount_by_statx(descriptor), mounts._mount_by_fdinfo(descriptor))
        os.close(descriptor)
    assert expected is not None
    assert numbers in ((expected.number, expected.number), (None, expected.number))


def test_an_absent_folder_raises(tmp_path: Path) -> None:
    with no_leak(), pytest.raises(FileNotFoundError):
        file_system_of(os.fsencode(tmp_path / "gone"))


def test_a_mount_over_a_folder_is_another_file_system_and_a_new_tmpfs_is_known_by_its_kind(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    below = file_system_of(os.fsencode(folder))
    with mounted(folder, "-t", "tmpfs", "tmpfs"):
        first = file_system_of(os.fsencode(folder))
    with mounted(folder, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        second = file_system_of(os.fsencode(folder))
    assert (first.kind, first.read_only, first.network) == ("tmpfs", False, False)
    assert second.read_only is True
    assert compare(first.identity, second.identity) == Likeness.SAME
    assert compare(below.identity, first.identity) == Likeness.OTHER


@pytest.mark.chaos
def test_a_disk_is_known_again_after_a_remount_and_told_from_another(tmp_path: Path) -> None:
    images = [tmp_path / "one.img", tmp_path / "two.img"]
    for image in images:
        with image.open("wb") as file:
            file.truncate(8 * 1024 * 1024)
        try:
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
        except FileNotFoundError:
            pytest.skip("mkfs.ext4 is not installed")
    told = []
    for image in (images[0], images[1], images[0]):
        with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
            (disk / "photos").mkdir(exist_ok=True)
            told.append(file_system_of(os.fsencode(disk / "photos")).identity)
    assert compare(told[0], told[2]) == Likeness.SAME
    assert compare(told[0], told[1]) == Likeness.OTHER
