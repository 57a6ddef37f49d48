"""What is there before an installation, or before its end: files, folders, account, limits, and how the folders lie.

Responsible for: looking, and for saying it in the plan's words. Nothing is changed here. Not responsible for: what
follows from it (`plan.py`).
"""

import grp
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping

from watcherd.service import texts
from watcherd.service.places import NAME, RECORD, Places
from watcherd.service.plan import Facts
from watcherd.service.texts import Folder, Needs
from watcherd.watch import mounts

_READ, _WRITE_AND_ENTER = 0o4, 0o3
_ACL = "system.posix_acl_access"
_ESCAPE = re.compile(r"\\([0-7]{3})")
_SHELLS = ("bash", "zsh", "fish")


def look(
    places: Places,
    *,
    program: str,
    configured: Iterable[str],
    roots: Iterable[str],
    kernel_keys: Iterable[str],
    needs: Needs | None = None,
) -> Facts:
    """The facts for a plan. `roots`: every folder that is to be watched, absolute and without links.

    Raises OSError where something of the system's cannot be read.
    """
    files = {path: _content(path) for path in places.files()}
    made, _ = texts.parse_record(files[places.record] or "")
    above = {folder for path in (*files, places.link, f"{places.state}/.") for folder in _above(path)}
    recorded = {one.removeprefix("folder ") for one in made if one.startswith("folder ")}
    systemd_runs = os.path.isdir(_manager_folder(places))
    return Facts(
        places=places,
        program=program,
        program_barrier=_barrier_on_the_way(program),
        files=files,
        folders=frozenset(folder for folder in above | recorded if os.path.isdir(folder)),
        link=_link(places.link),
        has_account=bool(places.account) and _account(places.account) is not None,
        has_state=os.path.isdir(places.state),
        shells=frozenset(shell for shell in _SHELLS if shutil.which(shell)),
        kernel=_kernel(kernel_keys),
        kernel_is_writable=os.access("/proc/sys/fs/inotify/max_user_watches", os.W_OK),
        configured=tuple(configured),
        wanted=tuple(folder(path) for path in roots),
        needs=needs or Needs(),
        systemd_runs=systemd_runs,
        is_enabled=_answers(places, "is-enabled"),
        is_active=systemd_runs and _answers(places, "is-active"),
        has_failed=systemd_runs and _answers(places, "is-failed"),
        other_configurations=() if places.is_users else _other_configurations(places),
        other_records={} if places.is_users else _other_records(places),
    )


def folder(path: str, *, fstab: str = "/etc/fstab") -> Folder:
    """One root, as the service's account will meet it. `fstab`: what is mounted at times, if it is not now."""
    mount_point = max(_mount_point(path), _planned_mount_point(path, fstab), key=len)
    try:
        there = os.stat(path)
    except OSError as error:
        return Folder(path=path, mount_point=mount_point, barrier=f"{path} is not there now ({error.strerror})")
    group = _group_that_may_write(there)
    barrier, closed = _barrier(path, there, group)
    return Folder(path=path, mount_point=mount_point, group=group, barrier=barrier, closed=closed)


def _barrier(path: str, there: os.stat_result, group: str | None) -> tuple[str, tuple[str, ...]]:
    """What keeps the account from the folder, as far as modes tell; access lists are believed to be meant for it."""
    groups = frozenset([there.st_gid]) if group else frozenset[int]()
    way = tuple(above for above in _above(path) if not _may_be_entered(above, groups))
    is_open = there.st_mode & 0o7 == 0o7 or group is not None or _is_ours(there) or _has_access_list(path)
    closed = way if is_open else (*way, path)
    if way:
        return f"the account {NAME} cannot reach {path}: {way[0]} may not be entered by others", closed
    return "" if is_open else f"the account {NAME} may not read and write in {path}", closed


def _barrier_on_the_way(path: str) -> str:
    """The first folder above a path that others may not enter, in words; empty where there is none."""
    for above in _above(path):
        try:
            if not _may_be_entered(above):
                return f"{above} may not be entered by others"
        except OSError as error:
            return f"{above} cannot be looked at ({error.strerror})"
    return ""


def _may_be_entered(folder: str, groups: frozenset[int] = frozenset()) -> bool:
    there = os.stat(folder)
    may_enter = bool(there.st_mode & 0o1) or (there.st_gid in groups and bool(there.st_mode & 0o10))
    return may_enter or _is_ours(there) or _has_access_list(folder)


def _group_that_may_write(there: os.stat_result) -> str | None:
    """The folder's group, where it may do all in it. Root's group is not handed to a service."""
    if there.st_gid == 0 or stat.S_IMODE(there.st_mode) >> 3 & 0o7 != 0o7:
        return None
    try:
        return grp.getgrgid(there.st_gid).gr_name
    except KeyError:
        return str(there.st_gid)


def _is_ours(there: os.stat_result) -> bool:
    account = _account(NAME)
    return account is not None and account.pw_uid == there.st_uid


def _has_access_list(path: str) -> bool:
    try:
        return bool(os.getxattr(path, _ACL))
    except OSError:
        return False


def _mount_point(path: str) -> str:
    mount = mounts.mount_of(os.fsencode(path), mounts.table())
    return os.fsdecode(mount.point) if mount else "/"


def _planned_mount_point(path: str, fstab: str) -> str:
    """The longest mount point in fstab(5) that a path lies on, mounted or not; / where none is."""
    lines = (_content(fstab) or "").splitlines()
    fields = (line.split() for line in lines if not line.lstrip().startswith("#"))
    points = (_ESCAPE.sub(lambda code: chr(int(code[1], 8)), two[1]).rstrip("/") for two in fields if len(two) > 1)
    return max((point for point in points if point and texts.lies_below(path, [point])), key=len, default="/")


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _above(path: str) -> list[str]:
    """The folders above an absolute path, from the top down, without /."""
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _link(path: str) -> str | None:
    """Where a link leads; the path itself where it is something else; None where nothing is."""
    if os.path.islink(path):
        return os.readlink(path)
    return path if os.path.lexists(path) else None


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _kernel(keys: Iterable[str]) -> Mapping[str, int]:
    found = {}
    for key in keys:
        text = _content("/proc/sys/" + key.replace(".", "/"))
        if text is not None:
            found[key] = int(text)
    return found


def _manager_folder(places: Places) -> str:
    """sd_booted(3) looks here as well."""
    return f"{os.environ.get('XDG_RUNTIME_DIR', '/nowhere')}/systemd" if places.is_users else "/run/systemd/system"


def _answers(places: Places, question: str) -> bool:
    """Whether systemctl says yes to a question about the unit."""
    command = ["systemctl", *(["--user"] if places.is_users else []), "--quiet", question, places.service]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _other_configurations(places: Places) -> tuple[str, ...]:
    """Those that no installation has noted."""
    above, _, own = places.config.rpartition("/")
    noted = {f"{_instance_of(record) or 'config'}.toml" for record in _other_records(places)}
    names = (name for name in _names(above) if name.endswith(".toml") and name != own)
    return tuple(f"{above}/{name}" for name in names if name not in noted)


def _other_records(places: Places) -> dict[str, str]:
    above, _, own = places.record.rpartition("/")
    names = (name for name in _names(above) if name != own and name.partition("@")[0] == RECORD)
    return {f"{above}/{name}": _content(f"{above}/{name}") or "" for name in names}


def _instance_of(record: str) -> str:
    return record.rpartition("/")[2].partition("@")[2]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
