"""An auditor that shares no code with the daemon: reads the tree and the ledger, and says what is wrong.

It knows the product's promises and formats from their descriptions alone: the derivative's name (the source's, then
variant and ending), the mark in a JPEG comment, the ledger's tables. Plain sqlite3 and Pillow, nothing of watcherd.

Where derivatives do not lie beside their source, it is told so: `Where(subfolder=…)` or `Where(mirror=…)`. A derivative
is then taken as if it lay beside its source, after a look that it does lie where it belongs, and at no other place.

What it checks: every source has its derivatives (right box, upright, the source's picture, decodable to the last pixel,
marked with the source's digest, recorded) or a recorded reason; no temporary file; nothing half-made; no derivative of
a derivative; the sources untouched. As a program: `python -m tests.chaos.audit STATE ROOT ...`, for layout sibling.
"""

import hashlib
import io
import os
import re
import sqlite3
import stat
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image, ImageChops, ImageOps, ImageStat

Box = tuple[int, int]
VARIANTS: Mapping[str, Box] = {"thumbnail": (200, 200), "preview": (1200, 1200)}
STATES = ("pending", "done", "ignored", "incomplete", "rejected", "failed", "quarantined")
_SUFFIX = re.compile(rb"\.(?:thumbnail|preview)\.jpg\Z")
_TEMPORARY = re.compile(rb"\.watcherd-.*\.tmp", re.DOTALL)
_MARK = re.compile(rb"watcherd/1 ([a-z0-9_-]+) ([0-9a-f]{64}) [0-9a-f]{16}")
_MIRROR_MARK = b".watcherd-mirror"
_NAME_MAX = 255
_MOST_DIFFERENCE = 14.0
"""Mean difference of grey values (0 to 255) that two ways of scaling may show; a turned picture shows 40 and more."""


class Row(NamedTuple):
    """What the ledger says of one source."""

    state: str
    reason: str
    detail: str
    digest: bytes | None
    derivatives: Mapping[str, tuple[int, int]]
    gone: bool


class Print(NamedTuple):
    """What must not change of a source."""

    digest: str
    mtime_ns: int
    mode: int
    owner: int


class Where(NamedTuple):
    """The layout: the name of the folders for derivatives beside the sources, or their own tree; neither: beside."""

    subfolder: bytes = b""
    mirror: bytes = b""


BESIDE = Where()


class Seen(NamedTuple):
    """A file of the tree: what lstat says, where it really lies, and whether that is a place for derivatives."""

    status: os.stat_result
    full: bytes
    aside: bool = False


@dataclass(slots=True)
class Report:
    """What was found. `problems` is empty where all promises hold."""

    problems: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    derivatives: int = 0

    def add(self, path: bytes, text: str) -> None:
        """Note a problem."""
        self.problems.append(f"{os.fsdecode(path)!r}: {text}")


def audit(
    root: os.PathLike[str] | str,
    state_dir: os.PathLike[str] | str,
    *,
    variants: Mapping[str, Box] = VARIANTS,
    untouched: Mapping[bytes, Print] | None = None,
    where: Where = BESIDE,
    over_links: bool = False,
) -> Report:
    """Everything below one root. `untouched`: what `prints` said of the sources before; `over_links`: it follows."""
    report, base = Report(), os.fsencode(root)
    rows = ledger_rows(state_dir, base)
    tree = _site(base, where, report, over_links=over_links)
    _audit_folders(base, where, report)
    for path in sorted(tree):
        try:
            _audit_file(path, tree, rows, variants, report, where)
        except FileNotFoundError as error:  # the daemon is at work still: whoever waits asks again
            report.add(path, f"went while it was looked at ({error.filename!r})")
    for path, row in rows.items():
        if path not in tree and not row.gone and row.state != "ignored":
            report.add(path, f"is {row.state} in the ledger and not on the disk")
    for path, before in (untouched or {}).items():
        if not os.path.lexists(os.path.join(base, path)):
            report.add(path, "the source is not there any more")
        elif print_of(os.path.join(base, path)) != before:
            report.add(path, "the source was changed")
    return report


def prints(root: os.PathLike[str] | str) -> dict[bytes, Print]:
    """The identity of each regular file below a root."""
    base = os.fsencode(root)
    return {path: print_of(os.path.join(base, path)) for path, _ in _tree(base)}


def print_of(path: bytes) -> Print:
    """The identity of one file."""
    status = os.lstat(path)
    return Print(sha256(path), status.st_mtime_ns, status.st_mode, status.st_uid)


def sha256(path: bytes) -> str:
    """The digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def half_made(root: os.PathLike[str] | str, *, where: Where = BESIDE) -> list[str]:
    """Derivatives that are not whole: to be asked at any moment, also while the daemon works, in any layout."""
    base, report = os.fsencode(root), Report()
    for one in {BESIDE, where}:
        tree = _site(base, one, Report())
        for path in tree:
            if _source_of(path, tree) is not None:
                try:
                    with open(tree[path].full, "rb") as file:
                        _decode(file.read(), path, report)
                except FileNotFoundError:
                    continue
    return report.problems


def temporary_files(root: os.PathLike[str] | str) -> list[bytes]:
    """The daemon's unfinished files below a root."""
    return [path for path, _ in _tree(os.fsencode(root)) if _TEMPORARY.fullmatch(os.path.basename(path))]


def ledger_rows(state_dir: os.PathLike[str] | str, root: bytes) -> dict[bytes, Row]:
    """All that the ledger remembers of one root."""
    file = os.path.join(os.fsdecode(os.fspath(state_dir)), "ledger.db")
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)
    try:
        number = connection.execute("SELECT id FROM root WHERE path = ?", (os.path.realpath(root),)).fetchone()
        if number is None:
            return {}
        made: dict[int, dict[str, tuple[int, int]]] = {}
        for source, name, size, mtime in connection.execute(
            "SELECT source, variant.name, size_bytes, mtime_ns FROM derivative JOIN variant ON variant.id = variant"
        ):
            made.setdefault(source, {})[name] = (size, mtime)
        rows = connection.execute(
            "SELECT source.id, directory.path, name, state, reason, detail, digest, gone_at_s"
            " FROM source JOIN directory ON directory.id = source.directory WHERE source.root = ?",
            number,
        )
        return {
            (directory + b"/" if directory else b"") + name: Row(
                STATES[state], reason or "", detail, digest, made.get(key, {}), gone is not None
            )
            for key, directory, name, state, reason, detail, digest, gone in rows
        }
    finally:
        connection.close()


# ------------------------------------------------------------------------------------------------------------ the tree


def _tree(base: bytes, *, over_links: bool = False) -> Iterator[tuple[bytes, os.stat_result]]:
    """The regular files below a folder, by relative path; links are followed if asked for, to each place once."""
    entered = [os.path.realpath(base)]
    for directory, folders, files in os.walk(base, followlinks=over_links):
        folders[:] = [name for name in sorted(folders) if _may_enter(os.path.join(directory, name), entered)]
        for name in files:
            full = os.path.join(directory, name)
            try:
                status = os.stat(full, follow_symlinks=over_links)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield os.path.relpath(full, base), status


def _may_enter(folder: bytes, entered: list[bytes]) -> bool:
    """Whether a folder is none that a link leads to, or one that is far from all where the walk has been."""
    if not os.path.islink(folder):
        return True
    real = os.path.realpath(folder)
    if any(os.path.commonpath([real, other]) in {real, other} for other in entered):
        return False
    entered.append(real)
    return True


def _site(base: bytes, where: Where, report: Report, *, over_links: bool = False) -> dict[bytes, Seen]:
    """All files by the path that they would have with their derivatives beside them."""
    tree: dict[bytes, Seen] = {}
    aside: dict[bytes, Seen] = {}
    for path, status in _tree(base, over_links=over_links):
        folder, name = os.path.split(path)
        above, own = os.path.split(folder)
        if where.subfolder and own == where.subfolder:
            aside[os.path.join(above, name)] = Seen(status, os.path.join(base, path), aside=True)
        else:
            tree[path] = Seen(status, os.path.join(base, path))
    for path, status in _tree(where.mirror) if where.mirror else ():
        if path != _MIRROR_MARK:
            aside[path] = Seen(status, os.path.join(where.mirror, path), aside=True)
    for path in tree.keys() & aside.keys():
        report.add(path, "lies beside its source and aside")
    return tree | aside


def _audit_folders(base: bytes, where: Where, report: Report) -> None:
    """No folder for derivatives is left without any."""
    for folder, folders, files in os.walk(base):
        if not folders and not files and os.path.basename(folder) in {where.subfolder, b".derivatives"}:
            report.add(folder, "is an empty folder for derivatives")
    for folder, folders, files in os.walk(where.mirror) if where.mirror else ():
        if not folders and not files:
            report.add(folder, "is an empty folder in the mirror")


def _source_of(path: bytes, tree: Mapping[bytes, object]) -> bytes | None:
    """The source that this file is a derivative of by its name, or None."""
    directory, name = os.path.split(path)
    found = _SUFFIX.search(name)
    if found is None:
        return None
    stem = name[: found.start()]
    plain = os.path.join(directory, stem)
    if stem and plain in tree:
        return plain
    if len(name) < _NAME_MAX - 3 or not re.fullmatch(rb".*~[0-9a-f]{8}", stem, re.DOTALL):
        return None
    beside = (other for other in tree if os.path.dirname(other) == directory)
    return next((o for o in beside if o != path and _name_for(os.path.basename(o), found[0]) == name), None)


def _name_for(source: bytes, suffix: bytes) -> bytes:
    """The name of a source's derivative: the source's, cut to fit and closed with 8 digits of its hash if need be."""
    if len(source) + len(suffix) <= _NAME_MAX:
        return source + suffix
    tag = b"~" + hashlib.sha256(source).hexdigest()[:8].encode()
    room = _NAME_MAX - len(suffix) - len(tag)
    while room and source[room] & 0xC0 == 0x80 and room > _NAME_MAX - len(suffix) - len(tag) - 3:
        room -= 1
    return source[:room] + tag + suffix


def derivative_of(source: bytes, variant: str) -> bytes:
    """The path of a source's derivative."""
    directory, name = os.path.split(source)
    return os.path.join(directory, _name_for(name, f".{variant}.jpg".encode()))


# ----------------------------------------------------------------------------------------------------------- each file


def _audit_file(
    path: bytes,
    tree: Mapping[bytes, Seen],
    rows: Mapping[bytes, Row],
    variants: Mapping[str, Box],
    report: Report,
    where: Where,
) -> None:
    if _TEMPORARY.fullmatch(os.path.basename(path)):
        report.add(path, "a temporary file was left")
        return
    source = _source_of(path, tree)
    if source is not None:
        if tree[path].aside != (where != BESIDE):
            report.add(path, "is a derivative where another layout would have it")
        _audit_derivative(path, source, tree, rows, report)
        return
    if tree[path].aside:
        report.add(path, "lies among the derivatives and is none of a source that is there")
        return
    row = rows.get(path)
    if row is None:
        _audit_unknown(path, tree[path].full, report)
        return
    report.states[row.state] += 1
    report.reasons[row.reason] += bool(row.reason)
    if row.state == "pending":
        report.add(path, "is still to be done")
    elif row.state == "done":
        _audit_done(path, tree, row, variants, report)
    elif not row.detail or (row.state != "ignored" and not row.reason):
        report.add(path, f"is {row.state} without a reason ({row.reason!r}: {row.detail!r})")


def _audit_unknown(path: bytes, full: bytes, report: Report) -> None:
    if _SUFFIX.search(path):
        with open(full, "rb") as file:
            if _MARK.search(file.read(65_536)):
                report.add(path, "is left of a source that is not there")
                return
    if not os.path.basename(path).startswith(b"."):
        report.add(path, "the ledger knows nothing of it")


def _audit_derivative(
    path: bytes,
    source: bytes,
    tree: Mapping[bytes, Seen],
    rows: Mapping[bytes, Row],
    report: Report,
) -> None:
    if _source_of(source, tree) is not None:
        report.add(path, "is a derivative of a derivative")
        return
    if path in rows and not rows[path].gone:
        report.add(path, "is a derivative, and a source in the ledger")
    row = rows.get(source)
    if row is not None and row.reason == "name_taken":
        return
    report.derivatives += 1
    with open(tree[path].full, "rb") as file:
        data = file.read()
    if _decode(data, path, report) is None:
        return
    mark = _MARK.search(data[:65_536])
    if mark is None:
        report.add(path, "has no mark")
    elif mark[2].decode() != sha256(tree[source].full):
        report.add(path, "was made from another content than its source's")


def _audit_done(
    path: bytes,
    tree: Mapping[bytes, Seen],
    row: Row,
    variants: Mapping[str, Box],
    report: Report,
) -> None:
    if row.digest is None or row.digest.hex() != sha256(tree[path].full):
        report.add(path, "is done with another digest")
    picture = _upright(tree[path].full)
    for variant, box in variants.items():
        made = derivative_of(path, variant)
        if made not in tree:
            report.add(path, f"is done without its {variant}")
            continue
        recorded, status = row.derivatives.get(variant), tree[made].status
        if recorded != (status.st_size, status.st_mtime_ns):
            report.add(made, f"is recorded as {recorded}, and is {(status.st_size, status.st_mtime_ns)}")
        if picture is not None:
            with open(tree[made].full, "rb") as file:
                _compare(made, file.read(), picture, box, report)


def _decode(data: bytes, path: bytes, report: Report) -> Image.Image | None:
    """The picture, to its last pixel; None, with a problem, where it is not whole."""
    try:
        if not data.endswith(b"\xff\xd9"):
            raise ValueError(f"{len(data)} bytes, no end marker")  # noqa: TRY301
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture = Image.open(io.BytesIO(data))
            picture.load()
    except Exception as error:  # noqa: BLE001  whatever Pillow says
        report.add(path, f"is half-made or damaged: {error}")
        return None
    return picture


class _Look(NamedTuple):
    """A source's upright size, and a small grey sample where two programs must agree on its colours."""

    size: tuple[int, int]
    sample: Image.Image | None


def _upright(full: bytes) -> _Look | None:
    """What a source shows; None where Pillow cannot read it (then nothing is compared)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(os.fsdecode(full)) as picture:
                width, height = picture.size
                turned = picture.getexif().get(0x0112, 1) in {5, 6, 7, 8}
                is_plain = picture.mode in {"L", "RGB"} and "transparency" not in picture.info
                picture.draft("RGB", (256, 256))
                upright = ImageOps.exif_transpose(picture)
                sample = upright.convert("L").resize((16, 16), Image.Resampling.BOX) if is_plain else None
    except Exception:  # noqa: BLE001  formats are the daemon's matter
        return None
    return _Look((height, width) if turned else (width, height), sample)


def _compare(path: bytes, data: bytes, source: _Look, box: Box, report: Report) -> None:
    try:
        picture = Image.open(io.BytesIO(data))
        sample = picture.convert("L").resize((16, 16), Image.Resampling.BOX)
    except Exception:  # noqa: BLE001  told by _decode
        return
    scale = min(1.0, box[0] / source.size[0], box[1] / source.size[1])
    wanted = tuple(max(1, side * scale) for side in source.size)
    if any(abs(is_ - should) > 1.0 for is_, should in zip(picture.size, wanted, strict=True)):
        report.add(path, f"is {picture.size}, should be {wanted} (of {source.size})")
        return
    if picture.getexif():
        report.add(path, "carries EXIF data")
    if source.sample is None:
        return
    difference = ImageStat.Stat(ImageChops.difference(sample, source.sample)).mean[0]
    if difference > _MOST_DIFFERENCE:
        report.add(path, f"does not look like its source (difference {difference:.1f})")


def main(arguments: list[str]) -> int:
    """Audit some roots and print what is wrong; 1 if anything is."""
    wrong = 0
    for root in arguments[1:]:
        report = audit(root, arguments[0])
        print(f"{root}: {dict(report.states)}, {report.derivatives} derivatives, {dict(report.reasons)}")
        for problem in report.problems:
            print(f"  {problem}")
        wrong += len(report.problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
