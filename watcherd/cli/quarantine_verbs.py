"""`watcherd quarantine list|release`: contents whose attempts are used up."""

import json
from collections.abc import Sequence

import click

from watcherd.cli.asking import safe
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, json_option, state_dir_option, state_directory
from watcherd.cli.query_verbs import failures, open_to_read, retry_files


@click.group()
def quarantine() -> None:
    """Show what is in quarantine, or let it out."""


@quarantine.command("list")
@state_dir_option
@json_option
def list_(state_dir: str | None, *, as_json: bool) -> int:
    """List what is in quarantine, the latest first, each with its reason."""
    with open_to_read(state_directory(state_dir)) as ledger:
        found = [row for row in failures(ledger, limit=-1) if row["state"] == "quarantined"]
    if as_json:
        click.echo(json.dumps({"v": 1, "quarantined": found}))
        return Exit.OK
    for row in found:
        click.echo(f"{safe(row['source'])}: {row['reason']}: {safe(row['detail'])}")
    if not found:
        click.echo("nothing is in quarantine", err=True)
    return Exit.OK


@quarantine.command()
@click.argument("files", metavar="[FILE ...]", type=NAME, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that is in quarantine.")
@state_dir_option
def release(files: Sequence[str], state_dir: str | None, *, everything: bool) -> int:
    """Try files again, with all their attempts before them.

    A running daemon does it at once; without one, the next `run` or `scan` does.
    """
    if bool(files) == everything:
        raise Stop(Exit.USAGE, "give files, or --all")
    folder = state_directory(state_dir)
    if everything:
        with open_to_read(folder) as ledger:
            files = [row["source"] for row in failures(ledger, limit=-1) if row["state"] == "quarantined"]
    number = retry_files(folder, files) if files else 0
    click.echo(f"{number} files will be tried again", err=True)
    return Exit.OK
