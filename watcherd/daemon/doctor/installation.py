"""What is installed, and what it does: each kind is decoded and each format written, in a real worker."""

import platform
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec

from watcherd import __version__
from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.trial import Trial, TrialError
from watcherd.imaging.decoders import DECODERS, decoder_for
from watcherd.imaging.samples import sample_of
from watcherd.imaging.sniff import Kind
from watcherd.model import THUMBNAIL, OutputFormat, Rejected, Rendered, Variant
from watcherd.settings import WRITING_EXTRAS

_NEEDED = (
    "watchdog",
    "pyvips",
    "pyvips-binary",
    "pillow",
    "sqlite-utils",
    "structlog",
    "click",
    "rich",
    "pydantic",
    "platformdirs",
    "prometheus-client",
)
_OPTIONAL = ("pillow-heif", "pillow-jxl-plugin", "rawpy", "pypdfium2", "av")
_BY_LEAVE = " (in roots with svg = true)"


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
    wrong = [f"{kind}: {how}" for kind, how in items if how != "ok" and not how.startswith("pip ")]
    can = ", ".join(f"{kind}{_BY_LEAVE if DECODERS[Kind(kind)].by_leave else ''}" for kind, how in items if how == "ok")
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
    if isinstance(decoder_for(kind, svg=True), Rejected):
        return f"pip install 'watcherd[{DECODERS[kind].extra}]'"
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
        outcome = trial.attempt(sample_of(kind), variants).outcome
    except TrialError as error:
        return str(error)
    if isinstance(outcome, Rendered):
        return "ok"
    return getattr(outcome, "detail", "") or type(outcome).__name__.lower()
