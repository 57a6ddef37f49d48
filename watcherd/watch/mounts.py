"""Mounts: what kind of file system a root lies on, and by what a root is known again after a restart or a remount.

Responsible for: reading the mount table, the kinds and what to expect of them, finding out a root's identity.
Not responsible for: comparing identities (`identity.py`), what follows from another file system (`roots.py`).

The mount table is read without touching any root, so the loop may do that. `describe` touches the root's file system
and may hang with it: for the root's hands only.

The device number is no identity: it changes at a remount (btrfs, measured) or with the order of plugging. What stays:
the file system's UUID, from the kernel (Linux 6.9) or from udev's links; its fsid where that is made of the UUID; for
network file systems, what they are mounted from. A file `.watcherd-root` that somebody puts into the root is part of
its identity too: for bind mounts, and for shares whose server may lose its own disk.
"""

import ctypes
import errno
import fcntl
import hashlib
import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from watcherd.watch import identity

TABLE = "/proc/self/mountinfo"
MARKER = b".watcherd-root"
"""A file in a root with some text in it, made by a person: without it, or with another text, it is another root."""

_FDINFO_BYTES = 512  # position, flags, mount and inode: the first lines
_AT_EMPTY_PATH, _AT_STATX_DONT_SYNC = 0x1000, 0x4000
_STATX_MNT_ID = 0x1000  # Linux 5.8
_STATX = struct.Struct("=I140xQ104x")  # of struct statx (statx(2), 256 bytes): the mask, and the mount's number
_BY_UUID = b"/dev/disk/by-uuid"
_FS_IOC_GETFSUUID = 0x8011_1500  # _IOR(0x15, 0, struct fsuuid2): one byte of length, 16 of UUID
_ESCAPE = re.compile(rb"\\([0-7]{3})")

_FROM_ELSEWHERE = re.compile(
    rb"nfs4?|cifs|smb3|smbfs|ncpfs|afs|coda|9p|virtiofs|ceph|gfs2?|ocfs2|lustre|beegfs|glusterfs|gpfs|orangefs"
    rb"|vboxsf|vmhgfs|prl_fs|davfs|fuse(\..+)?"
)
"""Others may write there without inotify hearing of it. `fuseblk` (ntfs-3g, exfat) is a local disk."""

_KEEPS_IDENTITY = frozenset(
    b"ext2 ext3 ext4 xfs btrfs f2fs zfs bcachefs jfs reiserfs nilfs2 ubifs tmpfs ramfs overlay nfs nfs4 ceph".split()
)
"""The inode number and ctime of a file stay until it is changed. Unlisted kinds are not trusted with that."""

_FSID_IS_STABLE = frozenset((b"ext2", b"ext3", b"ext4", b"btrfs", b"zfs", b"ubifs", b"bcachefs"))
"""Their fsid is made of the UUID; btrfs adds the subvolume. That of xfs, f2fs and vfat is the device number."""

_MADE_ANEW = frozenset((b"tmpfs", b"ramfs", b"overlay"))
"""Born with each mount, UUID and root inode too; known again by their kind alone."""

_OF_THE_KERNEL = frozenset(
    b"proc sysfs cgroup cgroup2 debugfs tracefs securityfs configfs bpf devtmpfs devpts pstore efivarfs binfmt_misc"
    b" fusectl selinuxfs smackfs rpc_pipefs nfsd".split()
)
"""What lies there is no file of anybody: reading it asks the kernel, or a driver, something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the mount table. `device` is (major, minor), `point` where it is mounted, `source` what from."""

    number: int
    device: tuple[int, int]
    point: bytes
    kind: bytes
    source: bytes
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MountsChanged:
    """The mount table, after it has changed."""

    table: tuple[Mount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """What a root lies on.

    `network`: changes may come without an event. `keeps_identity`: inode number and ctime may be compared.
    `root_inode`: of the root's folder, to see with each request that it still is what was found at first; None where
    inode numbers are not kept.
    """

    kind: str
    network: bool
    keeps_identity: bool
    read_only: bool
    root_inode: int | None
    identity: str
    mount: int = 0
    """The mount's number in the mount table, as long as it is mounted."""


# --------------------------------------------------------------------------------------------------------- mount table


def table() -> tuple[Mount, ...]:
    """The mount table as it is now. Touches no file system but /proc."""
    with open(TABLE, "rb") as lines:
        return parse_table(lines.read())


def parse_table(text: bytes) -> tuple[Mount, ...]:
    """The lines of /proc/self/mountinfo (proc(5)); what is mounted over something else comes later."""
    return tuple(_parse_line(line) for line in text.splitlines() if b" - " in line)


def mount_of(path: bytes, mounts: Iterable[Mount]) -> Mount | None:
    """The mount that an absolute path without links lies on: the longest mount point, the last one of equals."""
    above = [mount for mount in mounts if _is_below(path, mount.point)]
    return max(reversed(above), key=lambda mount: len(mount.point), default=None)


def mounts_below(path: bytes, mounts: Iterable[Mount]) -> dict[bytes, Mount]:
    """What is mounted below an absolute path without links, by the path from there; the last one of equals."""
    above = path.rstrip(b"/") + b"/"
    below = (mount for mount in mounts if mount.point.startswith(above) and mount.point != above)
    return {mount.point[len(above) :]: mount for mount in below}


def is_same(before: Mount | None, now: Mount | None) -> bool:
    """Whether a path lies on the same mount as before. One that became read-only, or writable, is the same."""
    if before is None or now is None:
        return before is now
    return replace(before, read_only=now.read_only) == now


def is_network(kind: bytes) -> bool:
    """Whether others may write to this kind of file system without an event here."""
    return _FROM_ELSEWHERE.fullmatch(kind) is not None


def of_the_kernel(mounts: Iterable[Mount]) -> frozenset[int]:
    """The device numbers (`st_dev`) of the file systems among these in which the kernel shows itself."""
    return frozenset(os.makedev(*mount.device) for mount in mounts if mount.kind in _OF_THE_KERNEL)


def keeps_identity(kind: bytes) -> bool:
    """Whether inode number and ctime stay with a file on this kind of file system."""
    return kind in _KEEPS_IDENTITY


def _parse_line(line: bytes) -> Mount:
    front, _, back = line.partition(b" - ")
    number, _, device, _, point, options = front.split(b" ")[:6]
    kind, source, super_options = [*back.split(b" ", 2), b"", b""][:3]
    major, _, minor = device.partition(b":")
    return Mount(
        number=int(number),
        device=(int(major), int(minor)),
        point=_plain(point),
        kind=_plain(kind),
        source=_plain(source),
        read_only=b"ro" in options.split(b",") or b"ro" in super_options.split(b","),
    )


def _plain(field: bytes) -> bytes:
    """Undo the table's escapes: a space is written as backslash and three octal digits."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), field)


def _is_below(path: bytes, point: bytes) -> bool:
    return path == point or path.startswith(point.rstrip(b"/") + b"/")


# ------------------------------------------------------------------------------------------------------------ identity


def file_system_of(path: bytes) -> FileSystem:
    """What the folder at an absolute path lies on. Raises OSError. May hang with the file system."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return describe(descriptor)
    finally:
        os.close(descriptor)


def describe(folder: int) -> FileSystem:
    """What an open folder lies on. Raises OSError. May hang with the file system."""
    mount = _mount_of_descriptor(folder)
    is_lasting = not is_network(mount.kind) and mount.kind not in _MADE_ANEW
    inode = os.fstat(folder).st_ino
    features = _features(folder, mount) if is_lasting else {}
    if not features:
        features = {"kind": _printable(mount.kind)}
        if is_network(mount.kind):
            features["source"] = _printable(mount.source)
    if is_lasting and keeps_identity(mount.kind):
        features["inode"] = str(inode)
    marker = _marker(folder)
    if marker:
        features["marker"] = marker
    return FileSystem(
        kind=_printable(mount.kind),
        network=is_network(mount.kind),
        keeps_identity=keeps_identity(mount.kind),
        read_only=mount.read_only,
        root_inode=inode if keeps_identity(mount.kind) else None,
        identity=identity.form(features),
        mount=mount.number,
    )


def _features(folder: int, mount: Mount) -> dict[str, str]:
    """What a disk's file system can be known by, as much as can be told here."""
    uuid = _kernel_uuid(folder)
    volume = _udev_uuid(mount.device)
    fsid = os.fstatvfs(folder).f_fsid if mount.kind in _FSID_IS_STABLE else 0
    features = {"uuid": uuid, "volume": volume, "fsid": f"{fsid:016x}" if fsid else None}
    return {key: value for key, value in features.items() if value}


def _kernel_uuid(folder: int) -> str | None:
    answer = bytearray(17)
    try:
        fcntl.ioctl(folder, _FS_IOC_GETFSUUID, answer)
    except OSError:
        return None
    uuid = bytes(answer[1 : 1 + answer[0]])
    return uuid.hex() if any(uuid) else None


def _udev_uuid(device: tuple[int, int]) -> str | None:
    """The name of udev's link to a device. btrfs shows a device number of its own, so it has none here."""
    wanted = os.makedev(*device)
    try:
        for name in os.listdir(_BY_UUID):
            if os.stat(_BY_UUID + b"/" + name).st_rdev == wanted:
                return _printable(name)
    except OSError:
        pass
    return None


def _marker(folder: int) -> str:
    """What the root's marker says, in a short form; empty where there is none that can be read."""
    try:
        descriptor = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    try:
        text = os.read(descriptor, 1024).strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return hashlib.sha256(text).hexdigest()[:32] if text else ""


def mount_number(descriptor: int) -> int:
    """The number of the mount that an open file lies on. Does not touch its file system.

    Asked for with each request to a root's hands: by one call that takes 1 microsecond, in place of three that take 7.
    """
    number = _mount_by_statx(descriptor)
    return _mount_by_fdinfo(descriptor) if number is None else number


def _mount_by_statx(descriptor: int) -> int | None:
    """By statx(2), which answers from what the kernel holds in memory; None where it does not tell mounts."""
    if _statx is None:
        return None
    answer = ctypes.create_string_buffer(_STATX.size)
    if _statx(descriptor, b"", _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC, _STATX_MNT_ID, answer) != 0:
        return None
    mask, number = _STATX.unpack(answer)
    return int(number) if mask & _STATX_MNT_ID else None


def _mount_by_fdinfo(descriptor: int) -> int:
    """By proc_pid_fdinfo(5)."""
    info = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(info, _FDINFO_BYTES)
    finally:
        os.close(info)
    return int(text.partition(b"mnt_id:")[2].split(None, 1)[0])


def _mount_of_descriptor(folder: int) -> Mount:
    """By the mount's own number: right also where one file system is mounted over another."""
    number = mount_number(folder)
    found = next((mount for mount in table() if mount.number == number), None)
    if found is None:
        raise OSError(errno.ENODEV, "the folder's file system is not mounted any more")
    return found


def _printable(text: bytes) -> str:
    """Text that no log or table stumbles over, and that holds no separator of an identity."""
    return text.decode("utf-8", "backslashreplace").replace("\\", "\\x5c").replace(" ", "\\x20").replace("\n", "\\x0a")


def _find_statx() -> "Callable[[int, bytes, int, int, ctypes.Array[ctypes.c_char]], int] | None":
    """The C library's function (glibc 2.28, musl 1.2.4), or None."""
    function = getattr(ctypes.CDLL(None), "statx", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    function.restype = ctypes.c_int
    typed: Callable[[int, bytes, int, int, ctypes.Array[ctypes.c_char]], int] = function
    return typed


_statx = _find_statx()
