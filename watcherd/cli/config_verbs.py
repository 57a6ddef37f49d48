"""`watcherd config check|show|init|schema`."""

import json
from dataclasses import asdict

import click

from watcherd.cli.options import NAME, json_option, state_dir_option, state_directory

_file = click.argument("file", metavar="FILE", type=NAME, envvar="WATCHERD_CONFIG")
_optional_file = click.argument("file", metavar="[FILE]", type=NAME, envvar="WATCHERD_CONFIG", required=False)


@click.group()
def config() -> None:
    """Check, show or begin a configuration."""


@config.command()
@_file
@state_dir_option
def check(file: str, state_dir: str | None) -> None:
    """Say everything that is wrong with FILE, as file:line; exit code 78 if anything is.

    The folders that it names are looked at as well.
    """
    from watcherd.config import load, validate  # noqa: PLC0415 - not for --help

    settings = validate(load(file), state_directory(state_dir), file=file)
    roots, variants = len(settings.roots), ", ".join(v.name for v in settings.variants)
    click.echo(f"{file}: no errors; roots: {roots}, variants: {variants}", err=True)


@config.command()
@_optional_file
@json_option
def show(file: str | None, *, as_json: bool) -> None:
    """Print the settings that FILE leads to, with every default; without FILE the defaults alone."""
    from watcherd.config import load, show  # noqa: PLC0415 - not for --help
    from watcherd.settings import Settings  # noqa: PLC0415 - as above

    settings = load(file) if file else Settings()
    click.echo(json.dumps(asdict(settings), indent=2) if as_json else show(settings), nl=as_json)


@config.command()
def init() -> None:
    """Print a complete, commented configuration to begin with: `watcherd config init > config.toml`."""
    from watcherd.config import example  # noqa: PLC0415 - not for --help

    click.echo(example(), nl=False)


@config.command()
def schema() -> None:
    """Print a JSON Schema of the configuration file, for editors."""
    from watcherd.config import schema  # noqa: PLC0415 - not for --help

    click.echo(json.dumps(schema(), indent=2))
