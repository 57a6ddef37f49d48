"""`watcherd man`."""

import click


@click.command()
@click.argument("page", type=click.Choice(["watcherd", "watcherd.toml"]), default="watcherd")
def man(page: str) -> None:
    """Print a manual page, made from this very program: `watcherd man | man -l -`.

    PAGE is `watcherd` (the command, default) or `watcherd.toml` (the configuration).
    """
    from watcherd.cli import manual  # noqa: PLC0415 - not for --help

    click.echo(manual.command_page() if page == "watcherd" else manual.configuration_page(), nl=False)
