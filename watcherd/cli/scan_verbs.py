"""`watcherd scan`."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, config_option, json_option, state_dir_option, state_directory

if TYPE_CHECKING:
    from watcherd.daemon.oneshot import ScanPlace, ScanReport
    from watcherd.settings import RootSettings, Settings

Counts = dict[str, int]
Report = Callable[[Counts, int], None]


@click.command()
@click.argument("places", metavar="DIR|FILE ...", type=NAME, nargs=-1, required=True)
@config_option
@state_dir_option
@click.option("--variant", "variants", metavar="NAME", multiple=True, help="Make only this variant; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are to do, for how long, and how many bytes.")
@json_option
def scan(
    places: Sequence[str],
    config: str | None,
    state_dir: str | None,
    variants: Sequence[str],
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Bring the derivatives of everything below the folders up to date once, then exit.

    A daemon that runs with the same state directory is asked to do it. Exit code 3: finished, but some files were
    rejected, incomplete, failed or quarantined; `watcherd status` tells which and why.
    """
    from watcherd.cli.holding import located, seen_links, seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon.reporting.tally import TROUBLE  # noqa: PLC0415 - as above
    from watcherd.telemetry.log import configure  # noqa: PLC0415 - as above

    folder = state_directory(state_dir)
    settings = _settings(config, variants)
    paths = [_resolved(place, folder, settings) for place in places]
    if dry_run:
        return _foretell(paths, folder, settings, seen_roots(folder), as_json=as_json)
    started = time.monotonic()
    with _reporter(as_json=as_json) as report:
        # A daemon works by its own settings: with others, the lock decides whether it can be done beside it.
        asked = [located(path, seen_links(folder)) for path in paths]
        done = None if variants else _by_daemon(asked, folder, report)
        if done is not None and config:
            click.echo(f"the daemon that runs did it by its own settings, not by {config}", err=True)
        if done is None:
            configure(replace(settings.log, level=_quieter(settings)))
            done = _by_ourselves(paths, folder, settings, seen_roots(folder), report)
    _print_summary(done.counts, time.monotonic() - started, as_json=as_json)
    if done.unfinished:
        raise Stop(Exit(done.exit_code), f"the scan was not finished: {done.unfinished}")
    if done.unreadable:
        click.echo(f"{done.unreadable} files or folders could not be looked at; the log says which and why", err=True)
    trouble = done.unreadable or any(done.counts[key] for key in TROUBLE)
    return Exit.SOME_FAILED if trouble else Exit.OK


def _resolved(place: str, folder: str, settings: "Settings") -> str:
    """The real path of a folder; of a file, its name in the real path of its folder (a link stays one).

    Over a link it goes where a root follows links by these settings.
    """
    from watcherd.cli.holding import located, seen_links  # noqa: PLC0415 - not for --help

    if not os.path.lexists(place):
        raise Stop(Exit.CONFIGURATION, f"{place} does not exist")
    over = located(place, seen_links(folder))
    follows = (os.path.realpath(root.path) for root in settings.roots if root.follow_symlinks)
    return over if any(_holds(root, over) for root in follows) else located(place, {})


def _settings(config: str | None, variants: Sequence[str]) -> "Settings":
    from watcherd import config as configuration  # noqa: PLC0415 - not for --help
    from watcherd.settings import Settings  # noqa: PLC0415 - as above

    settings = configuration.load(config) if config else Settings()
    known = {variant.name: variant for variant in settings.variants}
    unknown = [name for name in variants if name not in known]
    if unknown:
        raise Stop(Exit.USAGE, f"there is no variant {', '.join(unknown)}; there are {', '.join(known)}")
    return replace(settings, variants=tuple(known[name] for name in variants)) if variants else settings


def _quieter(settings: "Settings") -> Any:  # noqa: ANN401  LogLevel, which is imported late
    """A scan's own output says how each file went: the log tells of trouble only, unless more was asked for."""
    from watcherd.settings import LogLevel  # noqa: PLC0415 - not for --help

    return LogLevel.WARNING if settings.log.level is LogLevel.INFO else settings.log.level


# ------------------------------------------------------------------------------------------------------ who does it


def scan_files(paths: list[str], folder: str, config: str | None) -> "ScanReport":
    """Bring the derivatives of some files up to date, by the daemon that runs or by ourselves, without a word."""
    from watcherd.cli.holding import seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.telemetry.log import configure  # noqa: PLC0415 - as above

    done = _by_daemon(paths, folder, lambda *_: None)
    if done is not None:
        return done
    settings = _settings(config, ())
    configure(replace(settings.log, level=_quieter(settings)))
    return _by_ourselves(paths, folder, settings, seen_roots(folder), lambda *_: None)


def _by_daemon(paths: list[str], folder: str, report: Report) -> "ScanReport | None":
    """Ask the daemon of this state directory; None where none runs."""
    from watcherd.daemon.control import Unreachable, ask  # noqa: PLC0415 - not for --help
    from watcherd.daemon.oneshot import ScanReport  # noqa: PLC0415 - as above
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - as above

    def progress(frame: dict[str, Any]) -> None:
        report(frame["counts"], frame["left"])

    control = StateDirectory(folder).control
    if not os.path.exists(control):
        return None
    request = {"verb": "scan", "paths": paths, "files": [not os.path.isdir(path) for path in paths]}
    try:
        answer = ask(control, request, progress)
    except Unreachable:
        return None
    if "error" in answer:
        raise Stop(Exit.FAILED, f"the daemon of {folder} refused: {answer['error']}")
    unfinished = answer.get("unfinished", "")
    return ScanReport(
        counts=answer["counts"],
        exit_code=int(bool(unfinished)),
        unfinished=unfinished,
        unreadable=answer.get("unreadable", 0),
    )


def _by_ourselves(
    paths: list[str], folder: str, settings: "Settings", known: frozenset[str], report: Report
) -> "ScanReport":
    from watcherd.cli.holding import hold  # noqa: PLC0415 - not for --help
    from watcherd.daemon import oneshot  # noqa: PLC0415 - as above

    roots = _roots(paths, settings, known, folder)
    places = tuple(_place(path, roots) for path in paths)
    with hold(folder) as state:
        return oneshot.scan(settings, state, places, progress=report)


def _foretell(paths: list[str], folder: str, settings: "Settings", known: frozenset[str], *, as_json: bool) -> int:
    from watcherd.cli.holding import hold  # noqa: PLC0415 - not for --help
    from watcherd.daemon import outlook  # noqa: PLC0415 - as above
    from watcherd.telemetry.log import configure  # noqa: PLC0415 - as above

    configure(replace(settings.log, level=_quieter(settings)))
    roots = _roots(paths, settings, known, folder)
    with hold(folder) as state:
        seen = outlook.look(settings, state, tuple(_place(path, roots) for path in paths))
    told = {
        "message_type": "forecast",
        "sources": seen.sources,
        "bytes_in": seen.size_bytes,
        "bytes_out": seen.forecast.bytes_out,
        "seconds": round(seen.forecast.seconds, 3),
        "measured": seen.forecast.measured,
        "resting": seen.resting,
        "unreadable": seen.unreadable,
    }
    click.echo(json.dumps(told) if as_json else _forecast_text(told))
    return Exit.SOME_FAILED if seen.unreadable else Exit.OK


def _forecast_text(told: dict[str, Any]) -> str:
    how = "measured on some of them" if told["measured"] else "assumed: there are too few to measure"
    return (
        f"{told['sources']:,} sources to do ({told['bytes_in'] / 1e9:.1f} GB), {told['resting']:,} need nothing\n"
        f"about {_duration(told['seconds'])} and {told['bytes_out'] / 1e9:.2f} GB of derivatives ({how})"
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _roots(paths: list[str], settings: "Settings", known: frozenset[str], folder: str) -> "list[RootSettings]":
    """The roots of a scan: those of the configuration or the ledger that hold a path, else the folders themselves."""
    from watcherd import config as configuration  # noqa: PLC0415 - not for --help
    from watcherd.settings import RootSettings  # noqa: PLC0415 - as above

    roots = [replace(root, path=os.path.realpath(root.path)) for root in settings.roots]
    named = {root.path for root in roots}
    roots += [RootSettings(path=path) for path in sorted(known - named, key=len)]
    used: dict[str, RootSettings] = {}
    for path in sorted(paths, key=len):
        holder = next((root for root in [*used.values(), *roots] if _holds(root.path, path)), None)
        if holder is None:
            holder = RootSettings(path=path if os.path.isdir(path) else os.path.dirname(path))
        used[holder.path] = holder
    return list(configuration.validate(replace(settings, roots=tuple(used.values())), folder, origin="scan").roots)


def _holds(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _place(path: str, roots: "list[RootSettings]") -> "ScanPlace":
    from watcherd.daemon.oneshot import ScanPlace  # noqa: PLC0415 - not for --help

    root = next(root for root in roots if _holds(root.path, path))
    below = os.fsencode(path)[len(os.fsencode(root.path)) :].lstrip(b"/")
    return ScanPlace(root=root, path=below, is_file=not os.path.isdir(path))


# ----------------------------------------------------------------------------------------------------------- reports


class _reporter:  # noqa: N801  reads as a verb at its use
    """Progress on a terminal as a bar, with --json as lines, else not at all."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._bar: Any = None
        self._task: Any = None
        self._said_at = 0.0

    def __enter__(self) -> Report:
        if not self._as_json and sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415 - only on a terminal
            from rich.console import Console  # noqa: PLC0415 - as above

            self._bar = progress.Progress(
                progress.TextColumn("{task.fields[done]}"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("scan", total=None, done="looking", rate="")
            self._bar.start()
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _report(self, counts: Counts, left: int) -> None:
        done = counts["sources"]
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            rate = f"{speed:.1f}/s" if speed else ""
            said = f"{done:,} of {done + left:,} sources"
            self._bar.update(self._task, completed=done, total=done + left, done=said, rate=rate)
        elif self._as_json and time.monotonic() - self._said_at >= 1.0:
            self._said_at = time.monotonic()
            click.echo(json.dumps({"message_type": "status", "left": left} | counts))


def _print_summary(counts: Counts, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"message_type": "summary"} | counts | {"seconds": round(seconds, 3)}))
        return
    said = [f"{number} {key}" for key, number in counts.items() if number and key not in {"sources", "derivatives"}]
    what = ", ".join(said) if said else "none ended"
    if counts["sources"] and counts["sources"] == counts["unchanged"] + counts["ignored"]:
        what += "; nothing was decoded"
    text = f"{counts['sources']} sources: {what}; {counts['derivatives']} derivatives written in {seconds:.1f} s"
    click.echo(text, err=True)
