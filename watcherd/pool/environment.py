"""The environment of worker processes: what they inherit, what not, and where they find this package.

Not responsible for: starting them (`processes.py`).
"""

import os
import site
import sys
from collections.abc import Collection

_NOT_FOR_WORKERS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "CREDENTIALS_DIRECTORY",
    "VIPS_",  # VIPS_MAX_COORD=1000 would make damaged files of all that is larger
)
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def environment() -> dict[str, str]:
    """This process's, less what is the daemon's alone, and what other programs want of libvips.

    One libvips thread a worker: N workers are already N threads.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_WORKERS)}
    path = search_path(inherited.get("PYTHONPATH", ""), _PACKAGES, _site_packages())
    return inherited | {"VIPS_CONCURRENCY": "1", "VIPS_WARNING": "0"} | ({"PYTHONPATH": path} if path else {})


def _site_packages() -> Collection[str]:
    """Where a fresh interpreter looks for packages by itself."""
    return {*site.getsitepackages(), site.getusersitepackages()} & set(sys.path)


def search_path(inherited: str, packages: str, found: Collection[str]) -> str:
    """The PYTHONPATH of a worker, which starts in another folder and has to find this very package.

    What is relative is made absolute. The folder of our package comes first, unless a fresh interpreter `found` it
    anyway: a program may have it from its own folder, or have added it to `sys.path`.
    """
    folders = [os.path.abspath(folder) for folder in inherited.split(os.pathsep) if folder]
    ours = [] if packages in found else [packages]
    return os.pathsep.join(dict.fromkeys([*ours, *folders]))
