"""`watcherd reload`, `pause` and `resume`: what an operator tells the running daemon.

Not responsible for: the ways to it (`asking.py`), what the daemon makes of it (`daemon/`).
"""

import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any

import click

from watcherd.cli.asking import answer_of, asked, safe
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, json_option, state_dir_option, state_directory


@click.command()
@state_dir_option
@json_option
def reload(state_dir: str | None, *, as_json: bool) -> int:
    """Have the running daemon read its configuration file again, as SIGHUP does.

    Roots and variants come and go, workers are resized, and what is in hand is finished as it began. A file with an
    error changes nothing: every error is printed as file:line, and the exit code is 78. What takes a restart is named.
    """
    answer = asked(state_directory(state_dir), {"verb": "reload"}, patiently=True)
    if answer.get("errors"):
        raise Stop(Exit.CONFIGURATION, f"the settings in force stay:\n{answer['error']}")
    if "error" in answer:
        raise Stop(Exit.FAILED, str(answer["error"]))
    click.echo(json.dumps({"v": 1} | answer) if as_json else _text(answer))
    return Exit.OK


def _text(answer: dict[str, Any]) -> str:
    """What came of a reload, a line for each kind of change."""
    words = {
        "added": "watched from now on",
        "removed": "not watched any more",
        "rescanned": "compared anew, as variants or rules have changed",
        "changed": "changed",
        "restart": "needs a restart to take effect",
    }
    lines = [f"{words[key]}: {safe(', '.join(answer[key]))}" for key in words if answer.get(key)]
    return "\n".join(lines) or "nothing has changed"


# -------------------------------------------------------------------------------------------------------- pause, resume

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A length of time: `90s`, `30m`, `2h`, `1d`, `1h30m`; in seconds."""
    if value is None:
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", value))
    if not re.fullmatch(r"(?:\d+[smhd])+", value, re.ASCII) or not 0 < seconds <= _LONGEST_S:
        raise click.BadParameter(f'"{value}" is no length of time such as 30m, 2h, 1d or 1h30m, of at most a year')
    return float(seconds)


_LONGEST_S = 366 * 86_400
_roots = click.argument("roots", metavar="[ROOT ...]", type=NAME, nargs=-1)


@click.command()
@_roots
@click.option("--for", "for_s", metavar="TIME", callback=_seconds, help="Resume by itself after this: 30m, 2h, 1d.")
@state_dir_option
def pause(roots: Sequence[str], for_s: float | None, state_dir: str | None) -> int:
    """Begin no more work: in these roots, or in all of them. Holds over restarts, until `watcherd resume`.

    What is in hand is finished. Uploads are still taken in, so nothing is lost. Without a running daemon the next one
    starts paused.
    """
    folder, names = state_directory(state_dir), [os.path.realpath(root) for root in roots]
    answer = answer_of(folder, {"verb": "pause", "roots": names, "for_s": for_s})
    if answer is None:
        _keep(folder, names, {name: time.time() + for_s if for_s else None for name in names or [""]})
        answer = {"in_hand": 0}
    if "error" in answer:
        raise Stop(Exit.FAILED, str(answer["error"]))
    until = f"for {for_s:.0f} s" if for_s else "until `watcherd resume`"
    what = ", ".join(map(safe, names)) or "everything"
    in_hand = f"; {answer['in_hand']} in hand are finished" if answer["in_hand"] else ""
    click.echo(f"{what} is paused {until}{in_hand}", err=True)
    return Exit.OK


@click.command()
@_roots
@state_dir_option
def resume(roots: Sequence[str], state_dir: str | None) -> int:
    """End a pause: of these roots, or all pauses there are."""
    folder, names = state_directory(state_dir), [os.path.realpath(root) for root in roots]
    answer = answer_of(folder, {"verb": "resume", "roots": names})
    if answer is None:
        answer = {"resumed": _keep(folder, names, None), "quiet": False}
    if "error" in answer:
        raise Stop(Exit.FAILED, str(answer["error"]))
    quiet = "; it is quiet hours, which end by themselves" if answer["quiet"] else ""
    click.echo((f"resumed{quiet}" if answer["resumed"] else f"nothing was paused{quiet}"), err=True)
    return Exit.OK


def _keep(folder: str, names: list[str], until_s: dict[str, float | None] | None) -> int:
    """Write pauses down for the next run, or (None) take them back. Returns how many were taken back."""
    from watcherd.cli.holding import hold, seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon.verbs import pausing  # noqa: PLC0415 - as above

    strange = [name for name in names if name not in seen_roots(folder)]
    if strange:
        raise Stop(Exit.FAILED, f"the ledger knows no root {safe(strange[0])}")
    with hold(folder) as state:
        kept = dict(pausing.load(state.pauses).at(time.time()).until_s)
        if until_s is None:
            left = {name: until for name, until in kept.items() if names and name not in names}
        else:
            left = kept | until_s
        try:
            pausing.keep(state.pauses, pausing.Pauses(until_s=left))
        except OSError as error:
            raise Stop(Exit.FAILED, f"{state.pauses} cannot be written: {error.strerror}") from error
        return len(kept) - len(left)
