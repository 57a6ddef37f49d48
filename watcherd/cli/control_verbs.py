"""`watcherd reload`: what an operator tells the running daemon.

Not responsible for: the ways to it (`asking.py`), what the daemon makes of it (`daemon/`).
"""

import json
from typing import Any

import click

from watcherd.cli.asking import asked
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import json_option, state_dir_option, state_directory


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
    from watcherd.cli.asking import safe  # noqa: PLC0415 - not for --help

    words = {
        "added": "watched from now on",
        "removed": "not watched any more",
        "rescanned": "compared anew, as variants or rules have changed",
        "changed": "changed",
        "restart": "needs a restart to take effect",
    }
    lines = [f"{words[key]}: {safe(', '.join(answer[key]))}" for key in words if answer.get(key)]
    return "\n".join(lines) or "nothing has changed"
