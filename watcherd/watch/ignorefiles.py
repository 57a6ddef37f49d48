"""Files called `.watcherdignore`: what a folder's owner wants to be left alone, in the syntax of .gitignore files.

Responsible for: reading them, and what those of a folder and of the folders above it say together. The only module that
imports pathspec. Not responsible for: the settings' own patterns and the built-in list (`ignore.py`).

As in git: a pattern counts from its file's folder down, a later one and a deeper file's overrule, `!` takes back, and
in a folder that is left alone nothing can be taken back. A line that is no pattern is left out.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from pathspec import GitIgnoreSpec

NAME = b".watcherdignore"
MOST_BYTES = 64 * 1024
"""So much of such a file is read."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Texts = Mapping[bytes, bytes]
"""The text of such a file by its folder (a path below the root), of the folders that have one."""


def read(root: int, folder: bytes) -> bytes | None:
    """The text of a folder's file; None where there is none that can be read. `root` is the open root."""
    path = folder + b"/" + NAME if folder else NAME
    try:
        descriptor = os.open(path, _READ, dir_fd=root)
    except OSError:
        return None
    try:
        return os.read(descriptor, MOST_BYTES)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_above(root: int, folder: bytes) -> dict[bytes, bytes]:
    """The texts of a folder's file and of those of all folders above it."""
    texts = ((above, read(root, above)) for above in holders(folder))
    return {above: text for above, text in texts if text is not None}


def holders(folder: bytes) -> Iterator[bytes]:
    """A folder and all above it, the root first."""
    yield b""
    if folder:
        parts = folder.split(b"/")
        yield from (b"/".join(parts[:end]) for end in range(1, len(parts) + 1))


def is_left_alone(path: bytes, texts: Texts, *, is_folder: bool = False) -> bool:
    """Whether a path below the root is to be left alone, itself or as part of a folder that is."""
    if not texts:
        return False
    *folders, _ = [*_prefixes(path)]
    return any(_says(folder + b"/", texts) for folder in folders) or _says(path + b"/" * is_folder, texts)


def in_force(folder: bytes, texts: Texts) -> tuple[tuple[bytes, bytes], ...]:
    """(folder, text) of the files that count in a folder, the root's first."""
    return tuple((above, texts[above]) for above in holders(folder) if above in texts) if texts else ()


def _prefixes(path: bytes) -> Iterator[bytes]:
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)
    yield path


def _says(path: bytes, texts: Texts) -> bool:
    """What the deepest file says that says anything."""
    for folder, text in reversed(in_force(path.rstrip(b"/").rpartition(b"/")[0], texts)):
        below = path[len(folder) + 1 :] if folder else path
        said = _compiled(text).check_file(os.fsdecode(below)).include
        if said is not None:
            return said
    return False


@lru_cache(maxsize=512)
def _compiled(text: bytes) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(_sound(text.decode(errors="surrogateescape").splitlines()))


def _sound(lines: Iterable[str], parse: Callable[[list[str]], object] = GitIgnoreSpec.from_lines) -> Iterator[str]:
    for line in lines:
        try:
            parse([line])
        except ValueError:
            continue
        yield line
