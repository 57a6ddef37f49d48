"""What the machine grants: inotify watches, open files, a clock that is right; and what the environment asks of us."""

import difflib
import os
import resource
import time
from collections.abc import Mapping

from watcherd.daemon import openfiles
from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.statedir import VARIABLES

_INOTIFY = "/proc/sys/fs/inotify/"
_FEW_WATCHES, _MANY_WATCHES = 65_536, 1_048_576
_FEW_INSTANCES, _MANY_INSTANCES = 128, 1024
_FILES_OF_THE_DAEMON, _FILES_OF_A_ROOT = 128, 64
"""Descriptors at the most: ledger, sockets and workers; inotify, what its hands hold and have fetched."""
_SLACK_S = 86_400.0


def inotify(folders: int, roots: int = 1, limits: str = _INOTIFY) -> Check:
    """Whether there are watches for all folders that are known or there, an instance for each root, and some more."""
    watches, instances = _number(f"{limits}max_user_watches"), _number(f"{limits}max_user_instances")
    queue = _number(f"{limits}max_queued_events")
    if watches is None or instances is None:
        return Check(
            name="inotify",
            finding=Finding.FAIL,
            detail="this kernel has no inotify: uploads are found by comparing only",
            mend="run on a kernel with CONFIG_INOTIFY_USER",
        )
    told = f"{watches:,} watches, {instances:,} instances, a queue of {queue or 0:,} events; {folders:,} folders"
    wanted = max(_FEW_WATCHES, folders * 3 // 2)
    if watches < wanted:
        mend = f"sysctl fs.inotify.max_user_watches={max(_MANY_WATCHES, wanted)}"
        finding = Finding.FAIL if watches < folders else Finding.WARN
        return Check(name="inotify", finding=finding, detail=f"few for all of a user's programs: {told}", mend=mend)
    if instances < max(_FEW_INSTANCES, roots * 3 // 2):
        mend = f"sysctl fs.inotify.max_user_instances={_MANY_INSTANCES + roots}"
        return Check(name="inotify", finding=Finding.WARN, detail=f"one instance a root: {told}", mend=mend)
    return Check(name="inotify", finding=Finding.OK, detail=told)


def open_files(roots: int, limit: int | None = None) -> Check:
    """Whether as many files may be open as the roots need. `limit`: what the daemon would get where it is None."""
    limit = openfiles.limit() if limit is None else limit
    needed = _FILES_OF_THE_DAEMON + roots * _FILES_OF_A_ROOT
    if limit >= needed or limit == resource.RLIM_INFINITY:
        return Check(
            name="open files", finding=Finding.OK, detail=f"{limit:,} may be open, about {needed:,} are needed"
        )
    enough = max(4096, needed * 2)
    mend = f"ulimit -n {enough}; in a unit LimitNOFILE={enough} (systemctl edit watcherd)"
    detail = f"only {limit:,} may be open, and about {needed:,} are needed for {roots} roots"
    return Check(name="open files", finding=Finding.FAIL, detail=detail, mend=mend)


def clock(ledger: str, now_s: float | None = None) -> Check:
    """Whether the clock can be right: not before this program was installed, nor before the ledger's last write."""
    now_s = time.time() if now_s is None else now_s
    installed_s = os.stat(__file__).st_mtime
    try:
        written_s = os.stat(ledger).st_mtime
    except OSError:
        written_s = 0.0
    last_s, what = max((installed_s, "this program was installed"), (written_s, "the ledger was written"))
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s >= last_s - _SLACK_S:
        return Check(name="clock", finding=Finding.OK, detail=told)
    return Check(
        name="clock",
        finding=Finding.WARN,
        detail=f"it says {told}, but {what} {(last_s - now_s) / 86_400:.0f} days later; new uploads look old",
        mend="timedatectl set-ntp true",
    )


def environment(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether the variables that begin with WATCHERD_ are known; a misspelt one would do nothing, silently."""
    given = sorted(name for name in environ if name.startswith("WATCHERD_"))
    unknown = [name for name in given if name not in VARIABLES]
    if not unknown:
        return Check(name="environment", finding=Finding.OK, detail=", ".join(given) or "no variables of ours are set")
    close = difflib.get_close_matches(unknown[0], VARIABLES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    detail = f"nobody reads {', '.join(unknown)}{hint}"
    return Check(name="environment", finding=Finding.WARN, detail=detail, mend=f"unset {' '.join(unknown)}")


def _number(file: str) -> int | None:
    try:
        with open(file, encoding="ascii") as opened:
            return int(opened.read())
    except (OSError, ValueError):
        return None
