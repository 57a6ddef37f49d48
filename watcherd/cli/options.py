"""Options that several verbs have, spelled and explained once."""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Name(click.ParamType[str]):
    """The name of a file or folder, which shells complete.

    It is not empty, as that of a script's variable that is not set: that would be the current folder.
    """

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        if not value:
            self.fail("it is empty", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Whatever the shell itself finds."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - seldom needed

        return [CompletionItem(incomplete, type="file")]


NAME = Name()


def config_option(verb: F) -> F:
    """`--config FILE` (or `$WATCHERD_CONFIG`): the parameter `config`, str or None."""
    return click.option(
        "--config",
        metavar="FILE",
        type=NAME,
        envvar="WATCHERD_CONFIG",
        show_envvar=True,
        help="Read settings from this TOML file; see 'watcherd config init'.",
    )(verb)


def state_dir_option(verb: F) -> F:
    """`--state-dir DIR`: the parameter `state_dir`, str or None; hand it to `state_directory`."""
    return click.option(
        "--state-dir",
        metavar="DIR",
        type=NAME,
        help="Keep ledger and lock here. Else: $WATCHERD_STATE_DIR, $STATE_DIRECTORY, the XDG state folder.",
    )(verb)


def json_option(verb: F) -> F:
    """`--json`: the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text for people.")(verb)


def state_directory(option: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The state directory as an absolute path: the option, WATCHERD_STATE_DIR, systemd's STATE_DIRECTORY, or XDG's."""
    named = option or environ.get("WATCHERD_STATE_DIR") or environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if named:
        return os.path.abspath(named)
    from platformdirs import user_state_dir  # noqa: PLC0415 - seldom needed, and not by the service

    return user_state_dir("watcherd")
