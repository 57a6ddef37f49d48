"""What the shells complete: click's scripts for them, and file names where a verb takes them.

Not responsible for: where the scripts are put (`watcherd.service`).
"""

import re
from collections.abc import Mapping

import click

VARIABLE = "_WATCHERD_COMPLETE"
"""click's: set where a shell asks."""

_NAMES_FILES = re.compile(r"\b(?:FILE|DIR|ROOT)\b")


def scripts() -> Mapping[str, str]:
    """What each shell reads to complete the command, by the shell's name."""
    from click.shell_completion import ShellComplete, get_completion_class  # noqa: PLC0415 - seldom needed

    from watcherd.cli import watcherd  # noqa: PLC0415 - it imports this module

    found = {}
    for shell in ("bash", "zsh", "fish"):
        kind = get_completion_class(shell)
        assert kind is not None  # noqa: S101 - click has these three
        # The class's own `source` of bash starts a bash to ask for its version, which may not be there yet.
        found[shell] = ShellComplete.source(kind(watcherd, {}, "watcherd", VARIABLE)).lstrip()
    return found


def offer_files(command: click.Command) -> None:
    """Have every option and argument that takes a FILE or a DIR complete file names.

    The verbs take them as plain text, for which click offers nothing; it is enough to change that where a shell asks.
    """
    for parameter in command.params:
        if parameter.type is click.STRING and _NAMES_FILES.search(parameter.metavar or ""):
            parameter.type = click.Path()
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            offer_files(inner)
