"""How our files are called, where they lie, and what they say of themselves inside.

Responsible for: layouts, derivative names, temporary names, and the mark; formatting and parsing of each.
Not responsible for: looking at a disk. Whether a name is really ours is decided with the listing that the caller has.
A pure leaf.

`IMG_1.JPG` -> `IMG_1.JPG.thumbnail.jpg`, in every layout. The whole name of the source stays in it, so `a.jpg` and
`a.png` never meet. A name that would pass the kernel's limit is cut and closed with `~` and 8 hex digits of its hash.

A derivative's path is written as a source's is, below the root; one in a tree of its own (a mirror) is absolute. So one
value says where a derivative lies, and the two never look alike.

The mark is one ASCII line: `watcherd/1 VARIANT DIGEST FINGERPRINT` (both numbers in hex; the digest is what
`sha256sum` prints for the source).
"""

import hashlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass

from watcherd.model import Variant

NAME_MAX_BYTES = 255
"""The longest name that Linux file systems take (NAME_MAX)."""

_CUT_HASH_DIGITS = 8
_TEMPORARY = re.compile(rb"\.watcherd-([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{12}\.tmp")
_MARK = re.compile(rb"watcherd/1 ([a-z0-9][a-z0-9_-]{0,31}) ([0-9a-f]{64}) ([0-9a-f]{16})")
VARIANT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
"""What a variant may be called: it becomes part of file names on every file system."""


# ------------------------------------------------------------------------------------------------------ derivatives


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivativeName:
    """A name taken apart. `stem` is the source's name, or the beginning of it where `cut_hash` is not empty."""

    stem: bytes
    variant: str
    extension: str
    cut_hash: bytes = b""

    def is_of(self, source_name: bytes) -> bool:
        """Whether this is the name that `derivative_name` gives to a derivative of that source."""
        return derivative_name(source_name, self.variant, self.extension) == _join(self)


def derivative_name(source_name: bytes, variant: str, extension: str) -> bytes:
    """The file name of a derivative: at most 255 bytes, whatever the source is called."""
    return _fitted(source_name, f".{variant}.{extension}".encode())


def _fitted(source_name: bytes, suffix: bytes) -> bytes:
    room = NAME_MAX_BYTES - len(suffix)
    if len(source_name) <= room:
        return source_name + suffix
    tag = b"~" + hashlib.sha256(source_name).hexdigest()[:_CUT_HASH_DIGITS].encode()
    return _cut(source_name, room - len(tag)) + tag + suffix


NOTE_SUFFIX = b".watcherd-error.txt"
NOTE_MARK = b"watcherd/1 note"
"""The last line of a note by which it is known to be ours."""


def note_path(source_path: bytes) -> bytes:
    """The path of the note beside a source that cannot be done."""
    directory, slash, name = source_path.rpartition(b"/")
    return directory + slash + _fitted(name, NOTE_SUFFIX)


def parse_derivative_name(name: bytes, known: Iterable[tuple[str, str]]) -> DerivativeName | None:
    """Take a name apart, if it ends as one of the known (variant, extension) pairs does. The inverse of naming."""
    for variant, extension in known:
        suffix = f".{variant}.{extension}".encode()
        if name.endswith(suffix) and len(name) > len(suffix):
            stem = name[: -len(suffix)]
            head, tilde, tail = stem.rpartition(b"~")
            if tilde and len(name) > NAME_MAX_BYTES - 4 and re.fullmatch(rb"[0-9a-f]{8}", tail):
                return DerivativeName(stem=head, variant=variant, extension=extension, cut_hash=tail)
            return DerivativeName(stem=stem, variant=variant, extension=extension)
    return None


def source_beside(name: bytes, known: Iterable[tuple[str, str]], beside: Container[bytes]) -> bytes | None:
    """The source that a derivative's name stands beside, or None where it is a lone look-alike (so: a source itself).

    `beside` holds the names in the same folder; for cut names it must be iterable as well, else they are not found.
    """
    parsed = parse_derivative_name(name, known)
    if parsed is None:
        return None
    if not parsed.cut_hash:
        return parsed.stem if parsed.stem in beside else None
    candidates = beside if isinstance(beside, Iterable) else ()
    return next((other for other in candidates if other != name and parsed.is_of(other)), None)


def _join(parsed: DerivativeName) -> bytes:
    tag = b"~" + parsed.cut_hash if parsed.cut_hash else b""
    return parsed.stem + tag + f".{parsed.variant}.{parsed.extension}".encode()


def _cut(name: bytes, length: int) -> bytes:
    """The first `length` bytes of a name, or up to 3 fewer so as not to end inside a UTF-8 character."""
    for end in range(length, length - 4, -1):
        if name[end] & 0b1100_0000 != 0b1000_0000:
            return name[:end]
    return name[:length]


# ---------------------------------------------------------------------------------------------------------- layouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where derivatives lie: `TREE/the folder of the source/FOLDER/name`, with two parts that may be empty.

    `tree`: the absolute path of the tree that they lie in; empty: the root of their source. `folder`: the name of the
    folder that they have for themselves beside the source; empty: none. `number`: what the ledger calls it, `UNUSED`
    for one that was perhaps never used here.
    """

    tree: bytes = b""
    folder: bytes = b""
    number: int = 0

    def folder_of(self, directory: bytes) -> bytes:
        """Where the derivatives of a folder's sources lie: below the root, or absolute in a tree of their own."""
        return b"/".join(part for part in (self.tree, directory, self.folder) if part)

    def directory_of(self, folder: bytes) -> bytes | None:
        """The folder whose sources' derivatives lie in this one, or None. The inverse of `folder_of`."""
        inside = _below(self.tree, folder)
        if inside is None or not self.folder:
            return inside
        above, _, name = inside.rpartition(b"/")
        return above if name == self.folder else None

    def path_of(self, source_path: bytes, variant: str, extension: str) -> bytes:
        """The path of a derivative: below the root, or absolute in a tree of its own."""
        directory, _, name = source_path.rpartition(b"/")
        return _joined(self.folder_of(directory), derivative_name(name, variant, extension))


UNUSED = -1
"""The number of a layout of which nobody knows whether a root ever had it."""

SIBLING = Layout()
"""Beside the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Every name that the derivatives of a root's sources have, or ever had.

    `layouts`: that of now, then the earlier ones. `known`: the (variant, extension) pairs, those of now first. A file
    may lie under any of these names: a change of the settings takes its time to reach every derivative.
    """

    layouts: tuple[Layout, ...] = (SIBLING,)
    known: tuple[tuple[str, str], ...] = ()

    @property
    def layout(self) -> Layout:
        """The layout of now."""
        return self.layouts[0]

    def path_of(self, source_path: bytes, variant: Variant, *, layout: int | None = None) -> bytes:
        """Where a derivative is to lie; or where it lies, under the layout that the ledger gave this number."""
        where = next((one for one in self.layouts if one.number == layout), self.layout)
        return where.path_of(source_path, variant.name, variant.format.extension)

    def paths_of(self, source_path: bytes, variant: str, *, layout: int | None = None) -> tuple[bytes, ...]:
        """Wherever a derivative of this variant may lie, in one format or another; the likeliest first.

        `layout`: only under the layout to which the ledger gave this number.
        """
        extensions = [extension for name, extension in self.known if name == variant]
        layouts = [one for one in self.layouts if layout in {None, one.number}]
        return tuple(one.path_of(source_path, variant, extension) for one in layouts for extension in extensions)

    def source_of(self, path: bytes) -> bytes | None:
        """The source that a path is a derivative's of, by its name alone; whether there is such a source is not said.

        None: no derivative is called so, or the name was cut, and only a look at the source's folder could tell.
        """
        folder, _, name = path.rpartition(b"/")
        parsed = parse_derivative_name(name, self.known)
        if parsed is None or parsed.cut_hash:
            return None
        directories = (layout.directory_of(folder) for layout in self.layouts)
        found = (one for one in directories if one is not None and not self.is_ours(one, or_may_be=True))
        return next((_joined(directory, parsed.stem) for directory in found), None)

    def ways_of(self, source_path: bytes, variant: str) -> tuple[tuple[bytes, bytes], ...]:
        """(Where a derivative of this variant may lie of an earlier layout, where it is to lie under that of now)."""
        extensions = [extension for name, extension in self.known if name == variant]
        return tuple(
            (earlier.path_of(source_path, variant, extension), self.layout.path_of(source_path, variant, extension))
            for earlier in self.layouts[1:]
            for extension in extensions
        )

    def tree_of(self, path: bytes) -> bytes | None:
        """The tree of derivatives that an absolute path is, or lies in; None for all other paths."""
        trees = (layout.tree for layout in self.layouts if layout.tree)
        return next((tree for tree in trees if _below(tree, path) is not None), None)

    def is_ours(self, directory: bytes, *, or_may_be: bool = False) -> bool:
        """Whether a folder is, or lies in, one that we made for derivatives: no source lies there.

        `or_may_be`: by a layout that was perhaps never used here, too.
        """
        if directory.startswith(b"/"):
            return self.tree_of(directory) is not None
        folders = {layout.folder for layout in self.layouts if layout.folder and (or_may_be or layout.number != UNUSED)}
        return bool(folders) and not folders.isdisjoint(directory.split(b"/"))


def _below(tree: bytes, path: bytes) -> bytes | None:
    """A path below a tree (empty: below the root), or None where it is not."""
    if not tree:
        return None if path.startswith(b"/") else path
    if path == tree:
        return b""
    return path[len(tree) + 1 :] if path.startswith(tree + b"/") else None


def _joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


# -------------------------------------------------------------------------------------------------- temporary files


def temporary_name(instance: str, run: str, random: str) -> bytes:
    """A hidden name for a file on its way: instance and run are 8 hex digits, random is 12."""
    return f".watcherd-{instance}-{run}-{random}.tmp".encode()


def parse_temporary_name(name: bytes) -> tuple[str, str] | None:
    """(instance, run) of one of our temporary names, or None."""
    found = _TEMPORARY.fullmatch(name)
    return (found[1].decode(), found[2].decode()) if found else None


# ---------------------------------------------------------------------------------------------------------- the mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a derivative says of itself: its variant, the SHA-256 of its source, the variant's fingerprint."""

    variant: str
    digest: bytes
    fingerprint: int

    def __str__(self) -> str:
        return f"watcherd/1 {self.variant} {self.digest.hex()} {self.fingerprint & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def find_mark(text: bytes) -> Mark | None:
    """The first mark in some bytes (a JPEG comment, a PNG text, an XMP packet)."""
    found = _MARK.search(text)
    if found is None:
        return None
    fingerprint = int.from_bytes(bytes.fromhex(found[3].decode()), "big", signed=True)
    return Mark(variant=found[1].decode(), digest=bytes.fromhex(found[2].decode()), fingerprint=fingerprint)
