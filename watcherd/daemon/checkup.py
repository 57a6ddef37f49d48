"""What an installation can do and what it lacks, found by trying it.

Responsible for: the checks, each with its finding and the command that mends it. Not responsible for: printing them
(`cli/doctor_verbs.py`), nor for mending anything.
"""

import os
import platform
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from importlib.util import find_spec

from watcherd import __version__
from watcherd.daemon.statedir import StateDirectory
from watcherd.daemon.trial import Trial, TrialError
from watcherd.imaging.decoders import DECODERS, decoder_for
from watcherd.imaging.samples import sample_of
from watcherd.imaging.sniff import Kind
from watcherd.ledger.errors import LedgerError, LedgerMissing, LedgerUnsafe
from watcherd.ledger.ledger import Ledger
from watcherd.ledger.location import require_local
from watcherd.model import THUMBNAIL, OutputFormat, Rejected, Rendered, Variant
from watcherd.settings import WRITING_EXTRAS

_NEEDED = ("watchdog", "pyvips", "pyvips-binary", "pillow", "sqlite-utils", "structlog", "click", "rich", "pydantic")
_OPTIONAL = ("pillow-heif", "pillow-jxl-plugin", "rawpy", "pypdfium2", "av")
_INOTIFY = "/proc/sys/fs/inotify/"
_FEW_WATCHES, _MANY_WATCHES = 65_536, 1_048_576
_FEW_INSTANCES, _MANY_INSTANCES = 128, 1024


class Finding(StrEnum):
    """How a check came out. WARN: it works, but not as well as it could."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `mend`: a command, or empty; `items`: what it consists of, each with how it came out."""

    name: str
    finding: Finding
    detail: str
    mend: str = ""
    items: tuple[tuple[str, str], ...] = ()


def checks(folder: str) -> Iterator[Check]:
    """All checks, in their order, each made when it is asked for. `folder` is the state directory."""
    yield versions()
    yield from pictures()
    yield inotify(known_folders(folder))
    yield state_directory(folder)
    yield ledger(folder)


# -------------------------------------------------------------------------------------------------------- installation


def versions() -> Check:
    """Python and the libraries; without a needed one nothing starts."""
    found = {name: _version(name) for name in (*_NEEDED, *_OPTIONAL)}
    missing = [name for name in _NEEDED if not found[name]]
    items = (
        ("watcherd", __version__),
        ("python", platform.python_version()),
        ("sqlite", sqlite3.sqlite_version),
        *((name, version) for name, version in found.items() if version),
    )
    told = ", ".join(f"{name} {version}" for name, version in items)
    if missing:
        return Check(
            name="versions",
            finding=Finding.FAIL,
            detail=f"not installed: {', '.join(missing)}; there are {told}",
            mend=f"{shlex.quote(sys.executable)} -m pip install {' '.join(missing)}",
            items=items,
        )
    return Check(name="versions", finding=Finding.OK, detail=told, items=items)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


# ------------------------------------------------------------------------------------------------------------ pictures


def pictures() -> Iterator[Check]:
    """In a real worker: does it start, which layers has its sandbox, what does it read and write."""
    with Trial() as trial:
        try:
            missing = trial.start().missing_layers
        except TrialError as error:
            shows_why = f"{shlex.quote(sys.executable)} -P -c 'from watcherd.imaging import warm; warm.warm_up()'"
            yield Check(name="worker", finding=Finding.FAIL, detail=f"no worker starts: {error}", mend=shows_why)
            return
        yield _sandbox(missing)
        yield _reading(trial)
        yield _writing(trial)


def _sandbox(missing: tuple[str, ...]) -> Check:
    if not missing:
        return Check(name="sandbox", finding=Finding.OK, detail="workers have no files, no network, no programs")
    return Check(
        name="sandbox",
        finding=Finding.WARN,
        detail=f"this kernel ({platform.release()}) or container lacks: {', '.join(missing)}; the other layers hold",
        mend="use Linux 6.12 or later with Landlock in its list: cat /sys/kernel/security/lsm",
        items=tuple((layer, "missing") for layer in missing),
    )


def _reading(trial: Trial) -> Check:
    """Each kind is decoded; one whose extra is not installed is no fault."""
    items = [(kind.value, _read(trial, kind)) for kind in DECODERS]
    wrong = [f"{kind}: {how}" for kind, how in items if how != "ok" and not how.startswith(("pip ", "never"))]
    can = ", ".join(kind for kind, how in items if how == "ok")
    extras = ", ".join(f"{kind} ({how})" for kind, how in items if how.startswith("pip "))
    told = f"reads {can}" + (f"; not installed: {extras}" if extras else "")
    if wrong:
        return Check(
            name="reading",
            finding=Finding.FAIL,
            detail=f"{'; '.join(wrong)}; {told}",
            mend=f"{shlex.quote(sys.executable)} -m pip install --force-reinstall pyvips-binary pillow",
            items=tuple(items),
        )
    return Check(name="reading", finding=Finding.OK, detail=told, items=tuple(items))


def _read(trial: Trial, kind: Kind) -> str:
    decoder = decoder_for(kind)
    if isinstance(decoder, Rejected):
        extra = DECODERS[kind].extra
        return f"pip install 'watcherd[{extra}]'" if extra else f"never: {decoder.detail}"
    return _tried(trial, kind, (THUMBNAIL,))


def _writing(trial: Trial) -> Check:
    items = [(form.value, _written(trial, form)) for form in OutputFormat]
    wrong = [f"{form}: {how}" for form, how in items if how != "ok" and not how.startswith("pip ")]
    if wrong:
        mend = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall pillow"
        return Check(name="writing", finding=Finding.FAIL, detail="; ".join(wrong), mend=mend, items=tuple(items))
    told = ", ".join(form for form, how in items if how == "ok")
    extras = ", ".join(f"{form} ({how})" for form, how in items if how != "ok")
    detail = f"writes {told}" + (f"; not installed: {extras}" if extras else "")
    return Check(name="writing", finding=Finding.OK, detail=detail, items=tuple(items))


def _written(trial: Trial, form: OutputFormat) -> str:
    extra, module = WRITING_EXTRAS.get(form, ("", ""))
    if extra and find_spec(module) is None:
        return f"pip install 'watcherd[{extra}]'"
    return _tried(trial, Kind.PNG, (Variant(name="trial", width=16, height=16, format=form),))


def _tried(trial: Trial, kind: Kind, variants: tuple[Variant, ...]) -> str:
    try:
        outcome = trial.attempt(sample_of(kind) or b"", variants).outcome
    except TrialError as error:
        return str(error)
    if isinstance(outcome, Rendered):
        return "ok"
    return getattr(outcome, "detail", "") or type(outcome).__name__.lower()


# ---------------------------------------------------------------------------------------------------------- the system


def inotify(folders: int, limits: str = _INOTIFY) -> Check:
    """Whether there are watches for all folders that are known, and some more."""
    watches, instances = _number(f"{limits}max_user_watches"), _number(f"{limits}max_user_instances")
    queue = _number(f"{limits}max_queued_events")
    if watches is None or instances is None:
        return Check(
            name="inotify",
            finding=Finding.FAIL,
            detail="this kernel has no inotify: uploads are found by comparing only",
            mend="run on a kernel with CONFIG_INOTIFY_USER",
        )
    told = f"{watches:,} watches, {instances:,} instances, a queue of {queue or 0:,} events; {folders:,} known folders"
    wanted = max(_FEW_WATCHES, folders * 3 // 2)
    if watches < wanted:
        mend = f"sysctl fs.inotify.max_user_watches={max(_MANY_WATCHES, wanted)}"
        finding = Finding.FAIL if watches < folders else Finding.WARN
        return Check(name="inotify", finding=finding, detail=f"few for all of a user's programs: {told}", mend=mend)
    if instances < _FEW_INSTANCES:
        mend = f"sysctl fs.inotify.max_user_instances={_MANY_INSTANCES}"
        return Check(name="inotify", finding=Finding.WARN, detail=f"one instance a root: {told}", mend=mend)
    return Check(name="inotify", finding=Finding.OK, detail=told)


def _number(file: str) -> int | None:
    try:
        with open(file, encoding="ascii") as opened:
            return int(opened.read())
    except (OSError, ValueError):
        return None


def known_folders(folder: str) -> int:
    """How many folders the ledger knows; one watch each."""
    try:
        with Ledger.open(StateDirectory(folder).ledger, read_only=True) as opened:
            return opened.count_directories()
    except LedgerError:
        return 0


def state_directory(folder: str) -> Check:
    """Whether it is there (or can be made), is ours to write, and lies on a local disk."""
    there = folder
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    quoted = shlex.quote(there)
    if not os.path.isdir(there):
        detail, mend = f"{there} is no folder", f"mv {quoted} {quoted}.aside"
    elif not os.access(there, os.W_OK | os.X_OK):
        detail, mend = f"{there} may not be written by this user", f"chown -R {os.geteuid()} {quoted}"
    else:
        try:
            require_local(there)
        except LedgerUnsafe as error:
            detail, mend = str(error), "give a folder on a local disk with --state-dir"
        else:
            detail = folder if there == folder else f"{folder} is not there yet; it is made at the first run"
            return Check(name="state directory", finding=Finding.OK, detail=detail)
    return Check(name="state directory", finding=Finding.FAIL, detail=detail, mend=mend)


def ledger(folder: str) -> Check:
    """Whether it can be read, and every page of it makes sense."""
    path = StateDirectory(folder).ledger
    try:
        with Ledger.open(path, read_only=True) as opened:
            wrong = opened.damage()
            sources = sum(sum(states.values()) for states in opened.counts().values())
    except LedgerMissing:
        return Check(name="ledger", finding=Finding.OK, detail="there is none yet; it is made at the first run")
    except LedgerError as error:
        return Check(name="ledger", finding=Finding.FAIL, detail=str(error), mend=_set_aside(path))
    if wrong:
        return Check(name="ledger", finding=Finding.FAIL, detail=f"{path}: {wrong}", mend=_set_aside(path))
    return Check(name="ledger", finding=Finding.OK, detail=f"{path}: {sources:,} sources")


def _set_aside(path: str) -> str:
    """It is made anew from the derivatives' marks, without rendering."""
    quoted = shlex.quote(path)
    return f"mv {quoted} {quoted}.aside"
