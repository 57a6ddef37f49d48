"""The command `watcherd`: its verbs, and how it ends.

Responsible for: the table of verbs, turning errors into exit codes. Not responsible for: what a verb does.

A verb's module is imported when that verb is used, so that `watcherd --version` and `watcherd --help` cost next to
nothing. Data goes to standard output, everything else to standard error.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import click

from watcherd import __version__
from watcherd.cli.exits import Exit


class Verb(NamedTuple):
    """Where a verb's click command is found, and the line about it in the help."""

    place: str
    help: str


VERBS = MappingProxyType(
    {
        "run": Verb("watcherd.cli.run_verbs:run", "Watch folders and write derivatives until told to stop."),
        "scan": Verb("watcherd.cli.scan_verbs:scan", "Do the same once over folders or files, then exit."),
        "status": Verb("watcherd.cli.query_verbs:status", "What is done, what is not, and why."),
        "reload": Verb("watcherd.cli.control_verbs:reload", "Have the running daemon read its configuration again."),
        "pause": Verb("watcherd.cli.control_verbs:pause", "Begin no more work until told to, or for a while."),
        "resume": Verb("watcherd.cli.control_verbs:resume", "End a pause."),
        "retry": Verb("watcherd.cli.query_verbs:retry", "Try again what failed."),
        "verify": Verb("watcherd.cli.verify_verbs:verify", "Check that derivatives are there and undamaged."),
        "prune": Verb("watcherd.cli.prune_verbs:prune", "Remove derivatives that nobody needs any more."),
        "duplicates": Verb("watcherd.cli.duplicates_verbs:duplicates", "Which sources are the same, or look alike."),
        "doctor": Verb("watcherd.cli.doctor_verbs:doctor", "Check what this installation can do, and what it lacks."),
        "quarantine": Verb("watcherd.cli.quarantine_verbs:quarantine", "Show what is in quarantine, or let it out."),
        "metrics": Verb("watcherd.cli.metrics_verbs:metrics", "See the metrics, or get dashboard and alert rules."),
        "service": Verb("watcherd.cli.service_verbs:service", "Run under systemd: install, uninstall."),
        "man": Verb("watcherd.cli.manual_verbs:man", "Print a manual page: watcherd man | man -l -"),
        "config": Verb("watcherd.cli.config_verbs:config", "Check, show or begin a configuration."),
    }
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, and not for the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import the verb; None where there is none of that name."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb and what is left for it; an unknown one gets a suggestion."""
        if args[0] not in VERBS and not args[0].startswith("-"):
            from watcherd.config.source import meant  # noqa: PLC0415 - only needed when something is wrong

            ctx.fail(f'there is no verb "{args[0]}"{meant(args[0], VERBS)}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The list of verbs, from the table."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but for some files, 69 no daemon answers, "
    "75 another instance is at work, 78 wrong configuration, 130 interrupted.",
)
@click.version_option(__version__, prog_name="watcherd", message="%(prog)s %(version)s")
def watcherd() -> None:
    """Watch folders and write image derivatives next to each upload."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit. `arguments` are those of the process by default."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = watcherd.main(arguments, prog_name="watcherd", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except Exception as error:  # noqa: BLE001 - raised again unless it is about configuration or ledger
        return _refused(error)
    return code if isinstance(code, int) else Exit.OK


def _refused(error: Exception) -> int:
    """Exit code for a wrong configuration or ledger, which is told; anything else is a fault of ours and goes on."""
    from watcherd.config import ConfigError  # noqa: PLC0415 - only needed when something is wrong
    from watcherd.ledger.errors import LedgerError  # noqa: PLC0415 - as above

    if isinstance(error, LedgerError):  # met while it was read; opening it is told by whoever does
        click.echo(f"Error: {error}", err=True)
        return Exit.FAILED
    if not isinstance(error, ConfigError):
        raise error
    click.echo(str(error), err=True)
    return Exit.CONFIGURATION
