"""The files of the package that an installation puts in place.

Not responsible for: what is made of them (`texts.py`).
"""

import os
from collections.abc import Mapping

_NAMES = (
    "watcherd.service",
    "watcherd@.service",
    "user/watcherd.service",
    "watcherd.sysusers",
    "watcherd.tmpfiles",
    "60-watcherd-inotify.conf",
)


def systemd_files() -> Mapping[str, str]:
    """The texts of the files in `systemd/`, by their names there. Raises FileNotFoundError where they are missing."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (package, os.path.dirname(package)):  # inside an installed package; beside it in a source tree
        place = os.path.join(folder, "systemd")
        if os.path.isdir(place):
            return {name: _read(os.path.join(place, name)) for name in _NAMES}
    raise FileNotFoundError("systemd/ is missing from this installation of watcherd")


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
