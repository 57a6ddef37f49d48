"""Which names count.

Responsible for: the built-in list of hidden, temporary and littered names, and the ignore patterns of the settings.
Not responsible for: what a file contains (a sniff decides whether it is a picture), and whether a name is one of our
derivatives' (`naming`, with the listing). Pure.

The built-in list cannot be switched off, but for hidden names as such: each name on it is made by a program that
renames or removes the file, or that keeps copies of pictures for itself. Names of Windows and macOS are compared
without regard to case, as they do.
"""

import fnmatch
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate

from watcherd.naming import NOTE_SUFFIX


class Why(StrEnum):
    """Why a name does not count."""

    HIDDEN = "hidden"
    TEMPORARY = "temporary"
    BACKUP = "backup"
    LITTER = "litter"
    EXCLUDED = "excluded"
    NOTE = "note"


Globs = re.Pattern[str]
"""The ignore patterns of a root, compiled."""

# Each line has its maker. Hidden names cover many more: rsync (.name.XXXXXX), ProFTPD (.in.name.), pure-ftpd
# (.pureftpd-upload.*), Syncthing (.syncthing.name.tmp), NFS (.nfs0000*), FUSE (.fuse_hidden*), GLib (.goutputstream-*),
# Nextcloud's client (.name.~1a2b), vim (.name.swp), macOS (._name, .DS_Store), and our own temporary files.
_TEMPORARY_ENDINGS = (
    b".tmp",
    b".temp",
    b".part",  # Firefox, FileZilla Server, yt-dlp, Nextcloud's chunks (name.ocTransferId12.part)
    b".partial",  # rclone, Internet Explorer
    b".crdownload",  # Chrome and Edge
    b".opdownload",  # Opera
    b".download",  # Safari
    b".filepart",  # WinSCP
    b".upload",
    b".uploading",
    b".incomplete",
    b".unfinished",
    b".inprogress",
    b".aria2",  # aria2's control file
    b".ytdl",
    b".!ut",  # uTorrent
    b".!qb",  # qBittorrent
    b".!sync",  # Resilio
    b".bc!",  # BitComet
    b".swp",
    b".swo",
    b".swx",
    b".lock",
    b".lck",
    b"_exiftool_tmp",
)
_TEMPORARY_BEGINNINGS = (
    b"~$",  # Office's owner files
    b"~syncthing~",
    b"~wrl",
    b"_.gstmp",
)
_TEMPORARY_FORMS = re.compile(
    rb"#.*#"  # Emacs
    rb"|.*\.rclone_chunk\.\d+.*"
    rb"|.*\.octransferid\d+.*",
    re.DOTALL,
)
_HIDDEN_TEMPORARY = re.compile(
    rb"\.(?:watcherd|#).*"  # ours; Emacs
    rb"|\.(?:_|DS_Store|nfs[0-9a-f]|fuse_hidden|smb|goutputstream-|sync_|owncloudsync|nextcloudsync).*"
    rb"|\.(?:syncthing|in|pureftpd-upload)\..*"
    rb"|\.(?:pending|trashed)-\d+-.*"  # Android
    rb"|\..*(?:\.~[0-9a-f]+|\.sw[opx]|\.tmp)"
    rb"|\..+\.[A-Za-z0-9]{6}",  # rsync
    re.DOTALL,
)
_HIDDEN_LITTER = re.compile(
    rb"\.(?:git|svn|hg|bzr|derivatives|thumbnails|sh_thumbnails|cache|zfs|snapshots?|recycle"
    rb"|Trash.*|@__thumb|@.*|stfolder|stversions|sync|AppleDouble|AppleDB|AppleDesktop|Spotlight-V100|fseventsd"
    rb"|TemporaryItems|DocumentRevisions-V100|dropbox\.cache|tmp\.drive.*|~tmp~|watcherd.*)\Z",
    re.DOTALL,
)
"""Of hidden names these never count: temporary files, and folders that programs keep for themselves."""
_BACKUP_FORMS = re.compile(rb".*(?:~|\.bak|\.[a-z0-9]{1,8}_original)", re.DOTALL)  # ExifTool: name.jpg_original
_LITTER = frozenset(
    (
        b"thumbs.db",
        b"ehthumbs.db",
        b"ehthumbs_vista.db",
        b"desktop.ini",
        b"icon\r",
        b"picasa.ini",
        b"zbthumbnail.info",
    )
)
_LITTER_ENDINGS = (b"@synoeastream", b"@synoresource")
_LITTER_FOLDERS = frozenset(
    (
        b"@eadir",  # Synology
        b"@tmp",
        b"@sharebin",
        b"#recycle",
        b"#snapshot",
        b"@recycle",  # QNAP
        b"@recently-snapshot",
        b"@__thumb",
        b"~snapshot",  # NetApp
        b"lost+found",
        b"$recycle.bin",  # Windows
        b"recycler",
        b"found.000",
        b"system volume information",
        b"__macosx",  # macOS
        b"network trash folder",
        b"temporary items",
        b"thevolumesettingsfolder",
        b"files_trashbin",  # Nextcloud's and ownCloud's data folder
        b"files_versions",
    )
)
_LITTER_FOLDER_BEGINNINGS = (b"appdata_oc",)  # Nextcloud's own previews
_TEMPORARY_FOLDER_ENDINGS = (b".download", b".crdownload", b".part", b".partial", b".filepart", b".tmp")
_DEEPEST_CALL = 100


def compile_globs(patterns: Iterable[str]) -> Globs | None:
    """Compile ignore patterns: `*`, `?` and `[…]` as in a shell, where `*` goes over slashes too.

    A pattern is compared with the name and with the path below the root, and so with each folder above: one that
    matches a folder excludes what is below it. A slash at the end is allowed and means nothing.
    """
    forms = [fnmatch.translate(pattern.rstrip("/")) for pattern in patterns if pattern.rstrip("/")]
    return re.compile("|".join(forms)) if forms else None


def why_ignored(path: bytes, *, globs: Globs | None = None, hidden: bool = False) -> Why | None:
    """Why a file does not count, by its path below the root; None if it does. `hidden`: hidden ones do."""
    directory, _, name = path.rpartition(b"/")
    below = _why_below(directory, globs, hidden) if directory else None
    return below or _why_file(name, hidden=hidden) or _excluded(path, name, globs)


def prunes(directory: bytes, *, globs: Globs | None = None, hidden: bool = False) -> Why | None:
    """Why nothing in a folder counts, by its name or its path; None if it does. Folders above are not looked at."""
    name = directory.rpartition(b"/")[2]
    return _why_folder(name, hidden=hidden) or _excluded(directory, name, globs)


@lru_cache(maxsize=4096)
def _why_below(directory: bytes, globs: Globs | None, hidden: bool) -> Why | None:
    """By the folder above, whose answer is remembered. Folders may be nested deeper than Python's calls."""
    above = directory.rpartition(b"/")[0]
    if above.count(b"/") < _DEEPEST_CALL:
        found = _why_below(above, globs, hidden) if above else None
    else:
        folders = accumulate(above.split(b"/"), lambda folder, name: folder + b"/" + name)
        found = next(filter(None, (prunes(folder, globs=globs, hidden=hidden) for folder in folders)), None)
    return found or prunes(directory, globs=globs, hidden=hidden)


def _why_file(name: bytes, *, hidden: bool) -> Why | None:
    if name.startswith(b".") and (not hidden or _HIDDEN_TEMPORARY.fullmatch(name)):
        return Why.HIDDEN
    low = name.lower()
    if low.endswith(_TEMPORARY_ENDINGS) or low.startswith(_TEMPORARY_BEGINNINGS) or _TEMPORARY_FORMS.fullmatch(low):
        return Why.TEMPORARY
    if low.endswith(NOTE_SUFFIX):
        return Why.NOTE
    if _BACKUP_FORMS.fullmatch(low):
        return Why.BACKUP
    return Why.LITTER if low in _LITTER or low.endswith(_LITTER_ENDINGS) else None


def _why_folder(name: bytes, *, hidden: bool) -> Why | None:
    if name.startswith(b".") and (not hidden or _HIDDEN_LITTER.match(name)):
        return Why.HIDDEN
    low = name.lower()
    if low in _LITTER_FOLDERS or low.startswith(_LITTER_FOLDER_BEGINNINGS):
        return Why.LITTER
    return Why.TEMPORARY if low.endswith(_TEMPORARY_FOLDER_ENDINGS) else None


def _excluded(path: bytes, name: bytes, globs: Globs | None) -> Why | None:
    if globs is None:
        return None
    texts = (one.decode(errors="surrogateescape") for one in (name, path))
    return Why.EXCLUDED if any(globs.match(text) for text in texts) else None
