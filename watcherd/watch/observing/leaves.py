"""Folders that have no sub-folders, told without reading them.

Responsible for: on which file systems a folder's link count tells that, and asking for it.
Not responsible for: what follows (`inotify.py`: a folder that need not be read for folders to watch).

Where each sub-folder's `..` counts as a link, a folder with two links has none: its own name and its `.` are all. Other
file systems count otherwise (btrfs says 1, CIFS says 2 whatever is inside), so only those are asked that are known.
"""

import os

from watcherd.watch import mounts

_TWO_LINKS = 2
_COUNTING = frozenset((b"ext2", b"ext3", b"ext4", b"xfs", b"tmpfs"))


class Leaves:
    """The folders of a root, by its absolute path. Other file systems inside of it are not asked."""

    def __init__(self, root: bytes) -> None:
        mount = mounts.mount_of(root, mounts.table())
        is_counted = mount is not None and mount.kind in _COUNTING
        self._device = os.stat(root).st_dev if is_counted else None

    def has(self, folder: bytes) -> bool:
        """Whether a folder surely has no sub-folders. Raises OSError."""
        if self._device is None:
            return False
        found = os.stat(folder, follow_symlinks=False)
        return found.st_nlink == _TWO_LINKS and found.st_dev == self._device
