"""`watcherd service install|uninstall`."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from watcherd.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from watcherd.service.places import Places
    from watcherd.service.plan import Facts, Package, Step
    from watcherd.settings import Settings

_user = click.option("--user", is_flag=True, help="A service of your own instead of the machine's; needs no root.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group()
def service() -> None:
    """Run watcherd under systemd, or have it no more."""


@service.command()
@_user
@click.option("--watch", metavar="DIR", multiple=True, help="Watch this folder; may be given several times.")
@_dry_run
def install(*, user: bool, watch: Sequence[str], dry_run: bool) -> None:
    """Install and start the service, and say each thing that is done.

    An account, the configuration from the example with these folders in it, the limits of inotify, the unit and what
    the folders need of it, manual pages, shell completion. A configuration that is there keeps what it says and gets
    the folders that it lacks. Doing it twice is the same as once.
    """
    from watcherd.service import plan  # noqa: PLC0415 - not for --help

    places, package = _places(user=user, dry_run=dry_run), _package()
    facts = _facts(places, package, watch)
    try:
        steps = plan.installation(facts, package)
    except plan.Refused as error:
        raise Stop(Exit.CONFIGURATION, str(error)) from error
    _do(steps, dry_run=dry_run, nothing="nothing to do: the service is installed and runs")


@service.command()
@_user
@click.option("--keep-data", is_flag=True, help="Leave configuration, state and account for a later installation.")
@_dry_run
def uninstall(*, user: bool, keep_data: bool, dry_run: bool) -> None:
    """Stop the service and take away everything that `service install` made; what it found stays.

    Derivatives stay. The configuration goes, also after changes, and so does what is known of the uploads, unless
    --keep-data is given.
    """
    from watcherd.service import plan  # noqa: PLC0415 - not for --help

    places, package = _places(user=user, dry_run=dry_run), _package()
    facts = _facts(places, package, ())
    try:
        steps = plan.removal(facts, keep_data=keep_data)
    except plan.Refused as error:
        raise Stop(Exit.CONFIGURATION, str(error)) from error
    _do(steps, dry_run=dry_run, nothing=f"nothing to do: {places.record} is not there, so nothing was installed")


def _places(*, user: bool, dry_run: bool) -> "Places":
    from watcherd.service.places import MACHINE, of_user  # noqa: PLC0415 - not for --help

    if not user:
        if os.geteuid() != 0 and not dry_run:
            raise Stop(Exit.USAGE, "a service of the machine needs root: use sudo, or --user for one of your own")
        return MACHINE
    home = os.path.expanduser("~")
    config_home = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    state_home = os.environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    return of_user(config_home=config_home, state_home=state_home, home=home)


def _package() -> "Package":
    from watcherd.cli import completing, manual  # noqa: PLC0415 - not for --help
    from watcherd.config import example  # noqa: PLC0415 - as above
    from watcherd.service.files import systemd_files  # noqa: PLC0415 - as above
    from watcherd.service.plan import Package  # noqa: PLC0415 - as above

    return Package(
        example=example(),
        systemd=systemd_files(),
        man_pages=(manual.command_page(), manual.configuration_page()),
        completions=completing.scripts(),
    )


def _facts(places: "Places", package: "Package", watch: Sequence[str]) -> "Facts":
    from watcherd.service import facts, texts  # noqa: PLC0415 - not for --help

    settings = _settings(places.config)
    configured = [os.path.realpath(root.path) for root in settings.roots]
    roots = dict.fromkeys((*configured, *(_root(path) for path in watch)))
    keys = texts.kernel_settings(package.systemd["60-watcherd-inotify.conf"])
    written = [os.path.dirname(os.path.realpath(settings.metrics.textfile))] if settings.metrics.textfile else []
    needs = texts.Needs(written=tuple(facts.folder(path) for path in written), port=settings.metrics.port != 0)
    return facts.look(places, program=_program(), configured=configured, roots=roots, kernel_keys=keys, needs=needs)


def _settings(file: str) -> "Settings":
    """Those of a configuration that is there, which has to be right; else the defaults."""
    from watcherd.settings import Settings  # noqa: PLC0415 - not for --help

    if not os.path.exists(file):
        return Settings()
    from watcherd.config import load  # noqa: PLC0415 - slow to import, and not always needed

    return load(file)


def _root(path: str) -> str:
    resolved = os.path.realpath(path)
    if not os.path.isdir(resolved):
        raise Stop(Exit.CONFIGURATION, f"--watch: {path} is not a folder")
    try:
        resolved.encode()
    except UnicodeEncodeError as error:
        raise Stop(Exit.CONFIGURATION, f"--watch: the name of {resolved!r} is not UTF-8") from error
    return resolved


def _program() -> str:
    """The command beside the interpreter that runs now: the one of this virtual environment."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "watcherd")
    return beside if os.path.exists(beside) else os.path.abspath(sys.argv[0])


def _do(steps: "Sequence[Step]", *, dry_run: bool, nothing: str) -> None:
    from watcherd.service.carry import Stopped, carry_out  # noqa: PLC0415 - not for --help

    if not steps:
        click.echo(nothing, err=True)
        return
    if dry_run:
        for step in steps:
            click.echo(str(step))
        return
    try:
        carry_out(steps, click.echo)
    except Stopped as error:
        raise Stop(Exit.FAILED, str(error)) from error
