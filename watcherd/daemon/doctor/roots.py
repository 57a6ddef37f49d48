"""The watched folders and their mirrors: are they there, on what, may we write, is there room. Nothing is written."""

import os
import shlex
import stat
from collections.abc import Iterator

from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.statedir import Busy, claim
from watcherd.settings import LayoutKind, RootSettings
from watcherd.watch import mounts
from watcherd.watch.modes import Evidence, choose

_LITTLE_BYTES = 1 << 30
_FEW_INODES = 10_000


def roots(settings: tuple[RootSettings, ...], *, in_use: bool) -> Iterator[Check]:
    """A check for each root. `in_use`: the daemon of this state directory has them, so others are not looked for."""
    for root in settings:
        yield _root(root, in_use=in_use)


def _root(root: RootSettings, *, in_use: bool) -> Check:
    name, quoted = f"root {root.path}", shlex.quote(root.path)
    if not os.path.isdir(root.path):
        detail, mend = "it is not there", f"mkdir -p {quoted}, or mount what belongs there"
        if os.path.lexists(root.path):
            detail, mend = "it is no folder", f"ls -ld {quoted}, and name the folder that is meant"
        return Check(name=name, finding=Finding.FAIL, detail=detail, mend=mend)
    target = root.mirror if root.layout is LayoutKind.MIRROR else root.path
    if not os.path.isdir(target):
        detail = f"its mirror {target} is not there, or no folder"
        return Check(name=name, finding=Finding.FAIL, detail=detail, mend=f"mount {shlex.quote(target)}")
    try:
        there = mounts.file_system_of(os.fsencode(root.path))
        written = mounts.file_system_of(os.fsencode(target))
        space = os.statvfs(target)
    except OSError as error:
        return Check(name=name, finding=Finding.FAIL, detail=str(error), mend=f"ls -la {quoted}")
    claimed = None if in_use else _claimed(root)
    wrongs = _not_readable(root), _not_writable(target, written), _no_room(target, space), claimed, _open_to_links(root)
    for wrong in wrongs:
        if wrong is not None:
            finding, detail, mend = wrong
            return Check(name=name, finding=finding, detail=f"{detail} ({_told(root, there, space)})", mend=mend)
    return Check(name=name, finding=Finding.OK, detail=_told(root, there, space))


Wrong = tuple[Finding, str, str]


def _not_readable(root: RootSettings) -> Wrong | None:
    if os.access(root.path, os.R_OK | os.X_OK):
        return None
    mend = f"setfacl -m u:{os.geteuid()}:rx {shlex.quote(root.path)}"
    return Finding.FAIL, f"user {os.geteuid()} may not read in it", mend


def _not_writable(target: str, there: mounts.FileSystem) -> Wrong | None:
    """`target`: where the derivatives go."""
    quoted = shlex.quote(target)
    if there.read_only:
        return Finding.FAIL, f"{target} is mounted read-only", f"mount -o remount,rw {quoted}"
    if not os.access(target, os.R_OK | os.W_OK | os.X_OK):
        mend = f"setfacl -m u:{os.geteuid()}:rwx {quoted}"
        return Finding.FAIL, f"user {os.geteuid()} may not write in {target}", mend
    return None


def _no_room(target: str, space: os.statvfs_result) -> Wrong | None:
    quoted = shlex.quote(target)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < _LITTLE_BYTES:
        return (Finding.WARN if free_bytes else Finding.FAIL), "there is little room", f"df -h {quoted}"
    if space.f_files and space.f_favail < _FEW_INODES:
        return Finding.WARN, f"only {space.f_favail:,} more files can be made", f"df -i {quoted}"
    return None


def _open_to_links(root: RootSettings) -> Wrong | None:
    """Links are followed, and others than the owner may make some, as far as the root's own folder says."""
    if not root.follow_symlinks or not os.stat(root.path).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    detail = "links are followed, and others than its owner may make some: to all that this user may read"
    return Finding.WARN, detail, f"chmod go-w {shlex.quote(root.path)}, or follow_symlinks = false"


def _claimed(root: RootSettings) -> Wrong | None:
    try:
        with claim(os.fsencode(root.path)) as claimed:
            strangers = sorted(map(str, claimed.strangers))
    except Busy as error:
        return Finding.FAIL, str(error), "systemctl list-units 'watcherd*'; end one of the two"
    if strangers:
        return Finding.WARN, f"{', '.join(strangers)} may work here as well", "ss -xlp | grep @watcherd-"
    return None


def _told(root: RootSettings, there: mounts.FileSystem, space: os.statvfs_result) -> str:
    """With the mode that a daemon would choose if all folders can be watched; `status` has that of a running one."""
    choice = choose(root.mode, Evidence(is_watched=True, network=there.network))
    how = f"mode {choice.mode}" + (f" ({choice.reason})" if choice.reason else "")
    return f"{there.kind}, {how}, {space.f_bavail * space.f_frsize / 1e9:,.1f} GB free"
