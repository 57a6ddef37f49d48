"""`watcherd metrics show|dashboard|alerts`."""

from importlib.resources import files

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import state_dir_option, state_directory


@click.group()
def metrics() -> None:
    """See the metrics, and get what Grafana and Prometheus need for them."""


@metrics.command()
@state_dir_option
def show(state_dir: str | None) -> None:
    """Print the running daemon's metrics, as Prometheus would read them; exit code 69 if none runs."""
    from watcherd.daemon.reporting.scraping import Unscraped, scrape  # noqa: PLC0415 - not for --help
    from watcherd.daemon.statedir import StateDirectory  # noqa: PLC0415 - as above

    try:
        click.echo(scrape(StateDirectory(state_directory(state_dir)).metrics), nl=False)
    except Unscraped as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error


@metrics.command()
def dashboard() -> None:
    """Print a Grafana dashboard: import it under Dashboards, New, Import."""
    click.echo(_file("dashboard.json"), nl=False)


@metrics.command()
def alerts() -> None:
    """Print alert rules for Prometheus: `watcherd metrics alerts > /etc/prometheus/rules/watcherd.yml`."""
    click.echo(_file("alerts.yml"), nl=False)


def _file(name: str) -> str:
    return (files("watcherd.telemetry") / "monitoring" / name).read_text(encoding="utf-8")
