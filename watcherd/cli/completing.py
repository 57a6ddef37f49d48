"""What the shells complete: click's scripts for them.

Not responsible for: file names where a verb takes them (`options.py`), where the scripts are put (`watcherd.service`).
"""

from collections.abc import Mapping

VARIABLE = "_WATCHERD_COMPLETE"
"""click's: set where a shell asks."""


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
