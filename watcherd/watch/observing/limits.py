"""The kernel's limit of inotify watches, as it holds for this process.

Responsible for: reading it. Not responsible for: what follows from it (`modes.py`).
"""

_LIMITS = ("/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches")
"""The second one holds in containers with user namespaces of their own, besides the first; the lower one counts."""


def watch_limit(files: tuple[str, ...] = _LIMITS) -> tuple[int, str]:
    """How many folders all programs of a user may watch, and the name of the sysctl that says so. 0: not told."""
    found = []
    for file in files:
        try:
            with open(file, encoding="ascii") as opened:
                found.append((int(opened.read()), file.removeprefix("/proc/sys/").replace("/", ".")))
        except (OSError, ValueError):
            continue
    return min(found, default=(0, "fs.inotify.max_user_watches"), key=lambda one: one[0])
