"""`watcherd status` and `watcherd retry`."""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from watcherd.cli.asking import answer_of, safe
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, json_option, state_dir_option, state_directory
from watcherd.cli.status_text import follow, overall_text, queue_text
from watcherd.cli.unknown import why_unknown

if TYPE_CHECKING:
    from watcherd.ledger.ledger import Ledger
    from watcherd.model import Derivative, Entry

_FAILURES_SHOWN = 20


@click.command()
@click.argument("file", metavar="[FILE]", type=NAME, required=False)
@click.option("--queue", is_flag=True, help="Show what a running daemon has in hand, what is next, and why.")
@click.option("--watch", is_flag=True, help="Show it again every second, until Ctrl-C; on a terminal.")
@state_dir_option
@json_option
def status(file: str | None, state_dir: str | None, *, queue: bool, watch: bool, as_json: bool) -> int:
    """Say what is done and what is not; with FILE, why that file is, or is not, done.

    Reads the ledger, and adds what a running daemon knows: its roots, queue and workers, how fast it is, how long what
    is left will take.
    """
    folder = state_directory(state_dir)
    if file is not None:
        with open_to_read(folder) as ledger:
            told = _of_file(ledger, file)
        click.echo(json.dumps(told) if as_json else _file_text(told))
        return Exit.OK
    shown = queue_text if queue else overall_text
    if watch:
        if as_json or not sys.stdout.isatty():
            raise Stop(Exit.USAGE, "--watch shows a screen, which takes a terminal and goes without --json")
        follow(lambda: shown(overall(folder)))
    told = overall(folder)
    click.echo(json.dumps(told) if as_json else shown(told))
    return Exit.OK


def overall(folder: str) -> dict[str, Any]:
    """The status of a state directory. `daemon`: None where none runs; with an `error` where one does not answer.

    `holder`: where no daemon answers, the process that works with the state directory all the same.
    """
    with open_to_read(folder) as ledger:
        told = _overall(ledger)
    try:
        daemon = answer_of(folder, {"verb": "status"})
    except Stop as silent:
        daemon = {"error": silent.message}
    return told | {"daemon": daemon, "holder": _holder(folder) if daemon is None else None}


def _holder(folder: str) -> str | None:
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - not for --help

    try:
        return StateDirectory(folder).holder()
    except OSError:  # the lock file is another user's
        return None


@click.command()
@click.argument("files", metavar="[FILE ...]", type=NAME, nargs=-1)
@click.option("--failed", is_flag=True, help="All files that failed or are in quarantine.")
@state_dir_option
def retry(files: Sequence[str], state_dir: str | None, *, failed: bool) -> int:
    """Try files again, whatever is held against them.

    A running daemon does it at once; without one, the next `run` or `scan` does.
    """
    if bool(files) == failed:
        raise Stop(Exit.USAGE, "give files, or --failed")
    number = retry_files(state_directory(state_dir), files, failed=failed)
    click.echo(f"{number} files will be tried again", err=True)
    return Exit.OK


def retry_files(folder: str, files: Sequence[str], *, failed: bool = False) -> int:
    """Have files tried again, by the daemon that runs or by ourselves. Returns how many.

    Ends the verb where the ledger knows nothing of one of them.
    """
    from watcherd.cli.holding import located, seen_links  # noqa: PLC0415 - not for --help

    links = seen_links(folder)
    paths = [located(file, links) for file in files]
    answer = answer_of(folder, {"verb": "retry", "paths": paths, "failed": failed})
    if answer is None:
        return _retry_offline(folder, paths, failed=failed)
    if "error" in answer:
        raise Stop(Exit.FAILED, answer["error"])
    return int(answer["retried"])


def _retry_offline(folder: str, paths: list[str], *, failed: bool) -> int:
    from watcherd.cli.holding import hold  # noqa: PLC0415 - not for --help
    from watcherd.daemon.damage import open_ledger  # noqa: PLC0415 - as above
    from watcherd.daemon.verbs import requests as verbs  # noqa: PLC0415 - as above

    with hold(folder) as state, open_ledger(state) as ledger:
        entries = verbs.failed(ledger) if failed else [_entry(ledger, path) for path in paths]
        for entry in entries:
            verbs.renew(ledger, entry)
        ledger.commit()
        return len(entries)


# ----------------------------------------------------------------------------------------------------------- reading


def open_to_read(folder: str) -> "Ledger":
    """The ledger of a state directory; ends the verb where there is none to read."""
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - not for --help
    from watcherd.ledger.errors import LedgerError, LedgerMissing  # noqa: PLC0415 - as above
    from watcherd.ledger.ledger import Ledger  # noqa: PLC0415 - as above

    try:
        return Ledger.open(StateDirectory(folder).ledger, read_only=True)
    except LedgerMissing as error:
        text = f"there is no ledger in {folder}: nothing ran with this state directory yet"
        raise Stop(Exit.FAILED, text) from error
    except LedgerError as error:
        raise Stop(Exit.FAILED, str(error)) from error


def _entry(ledger: "Ledger", path: str) -> "Entry":
    from watcherd.daemon.verbs.places import locate  # noqa: PLC0415 - not for --help

    source = locate(os.fsencode(path), ledger.roots())
    entry = ledger.entry(source) if source is not None else None
    if entry is None:
        raise Stop(Exit.FAILED, f"the ledger knows nothing of {safe(path)}: {why_unknown(ledger, path, source)}")
    return entry


def _overall(ledger: "Ledger") -> dict[str, Any]:
    from watcherd.model import State  # noqa: PLC0415 - not for --help

    by_root = ledger.counts()
    paths = ledger.roots()
    sources = {str(state): sum(counts.get(state, 0) for counts in by_root.values()) for state in State}
    roots = [
        {
            "path": os.fsdecode(path),
            "sources": {str(state): number for state, number in by_root.get(root, {}).items()},
            "held": _held(ledger, root),
        }
        for root, path in paths.items()
    ]
    return {
        "v": 1,
        "ledger": ledger.path,
        "sources": sources,
        "roots": roots,
        "failures_by_reason": [
            {"state": str(state), "reason": reason, "sources": number}
            for state, reason, number in ledger.failures_by_reason()
        ],
        "failures": failures(ledger, limit=_FAILURES_SHOWN),
    }


def _held(ledger: "Ledger", root: int) -> dict[str, Any] | None:
    """What the brake of a root holds back, since when; None where it does not."""
    since_s = ledger.held_since_s(root)
    return None if since_s is None else {"since": _instant(since_s), "gone": ledger.count_gone(root)}


def failures(ledger: "Ledger", limit: int) -> list[dict[str, str]]:
    """What is not done and why, the latest first; `limit` -1: all of it."""
    paths = ledger.roots()
    return [
        {
            "source": os.fsdecode(paths.get(entry.source.root, b"?") + b"/" + entry.source.path),
            "state": str(entry.state),
            "reason": str(entry.reason) if entry.reason else "",
            "detail": entry.detail,
        }
        for entry in ledger.failures(limit)
    ]


def _of_file(ledger: "Ledger", file: str) -> dict[str, Any]:
    from watcherd.cli.holding import links_of, located  # noqa: PLC0415 - not for --help

    path = located(file, links_of(ledger))
    entry = _entry(ledger, path)
    return {
        "v": 1,
        "source": path,
        "state": str(entry.state),
        "reason": str(entry.reason) if entry.reason else "",
        "detail": entry.detail,
        "explanation": _explanation(entry),
        "digest": entry.digest.hex() if entry.digest else "",
        "width": entry.width,
        "height": entry.height,
        "phash": hexadecimal(entry.phash),
        "dhash": hexadecimal(entry.dhash),
        "captured": entry.captured,
        "faults": entry.faults,
        "interruptions": entry.interruptions,
        "not_before": _instant(entry.not_before_at_s),
        "gone_since": _instant(entry.gone_at_s),
        "derivatives": [
            {
                "variant": d.variant,
                "bytes": d.size_bytes,
                "width": d.width,
                "height": d.height,
                "path": os.fsdecode(_place_of(ledger, entry, d)),
            }
            for d in entry.derivatives
        ],
    }


def _place_of(ledger: "Ledger", entry: "Entry", derivative: "Derivative") -> bytes:
    """Where a derivative lies: of the names that its variant ever had under its layout, the first that is there."""
    from watcherd.naming import Layout  # noqa: PLC0415 - not for --help

    root = entry.source.root
    kinds = {number: Layout(tree=tree, folder=folder) for number, tree, folder in ledger.layouts(root)}
    layout = kinds.get(derivative.layout, Layout())
    extensions = [extension for variant, extension in ledger.known_variants() if variant == derivative.variant]
    names = [layout.path_of(entry.source.path, derivative.variant, extension) for extension in extensions]
    paths = [os.path.join(ledger.roots()[root], name) for name in names]
    return next((path for path in paths if os.path.lexists(path)), paths[0] if paths else b"")


def hexadecimal(number: int | None) -> str:
    """16 digits; empty where the number is not known."""
    return "" if number is None else f"{number:016x}"


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# -------------------------------------------------------------------------------------------------------------- text

_MEANINGS = {
    "pending": "it is complete and waits for its turn",
    "done": "its derivatives are made",
    "ignored": "it is no picture",
    "incomplete": "its upload seems not to have ended; more of it is waited for",
    "rejected": "it cannot be done as it is; it is tried again when it, the decoders or the limits change",
    "failed": "the attempts are used up, and not by its content; `watcherd retry` tries again",
    "quarantined": "the attempts are used up; `watcherd retry` tries again",
}


_NO_SOURCES = {
    "derivative": "it is a derivative of another file",
    "empty": "it has no content",
    "no_picture": "it is no picture",
    "video": "it is a video: those need an extra decoder: pip install 'watcherd[video]'",
    "pdf": "it is a PDF: those need an extra decoder: pip install 'watcherd[pdf]'",
}
"""Why a source is ignored, where there is a better sentence than the one for all."""


def _explanation(entry: "Entry") -> str:
    text = _MEANINGS[entry.state]
    if entry.gone_at_s is None and entry.state == "ignored" and entry.detail in _NO_SOURCES:
        return _NO_SOURCES[entry.detail]
    if entry.reason == "name_taken":
        text = "it cannot be done as it is; it is tried again when it changes or that name is free"
    if entry.gone_at_s is not None:
        text = "it is not there any more; it will be forgotten unless it comes back"
    why = f"{entry.reason}: {entry.detail}" if entry.detail else entry.reason
    because = f" ({why})" if entry.reason else f" ({entry.detail})" if entry.detail else ""
    return text + because


def _file_text(told: dict[str, Any]) -> str:
    lines = [f"{safe(told['source'])}: {told['state']}", f"  {safe(told['explanation'])}"]
    lines += [
        f"  {d['variant']}: {d['width']}x{d['height']}, {d['bytes']} bytes, {safe(d['path'])}"
        for d in told["derivatives"]
    ]
    if told["width"]:
        taken = f", taken {told['captured']}" if told["captured"] else ""
        lines.append(f"  {told['width']}x{told['height']} pixels{taken}")
    if told["digest"]:
        lines.append(f"  sha256 {told['digest']}")
    if told["phash"]:
        lines.append(f"  phash {told['phash']}, dhash {told['dhash']}")
    if told["not_before"]:
        lines.append(f"  next look: {told['not_before']}")
    return "\n".join(lines)
