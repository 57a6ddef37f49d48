"""`watcherd service install|uninstall`."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME

if TYPE_CHECKING:
    from watcherd.service.places import Places
    from watcherd.service.plan import Facts, Package
    from watcherd.service.steps import Step
    from watcherd.settings import Settings

_user = click.option("--user", is_flag=True, help="A service of your own instead of the machine's; needs no root.")
_instance = click.option(
    "--instance",
    metavar="NAME",
    help="A further service of the machine, watcherd@NAME: with a configuration (/etc/watcherd/NAME.toml), folders and "
    "a state of its own.",
)
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group()
def service() -> None:
    """Run watcherd under systemd, or have it no more."""


@service.command()
@_user
@_instance
@click.option("--watch", metavar="DIR", type=NAME, multiple=True, help="Watch this folder; may be given several times.")
@_dry_run
def install(*, user: bool, instance: str | None, watch: Sequence[str], dry_run: bool) -> None:
    """Install and start the service, and say each thing that is done.

    An account, the configuration from the example with these folders in it, the limits of inotify, the unit and what
    the folders need of it, manual pages, shell completion. A configuration that is there keeps what it says and gets
    the folders that it lacks. Doing it twice is the same as once.
    """
    from watcherd.service import plan  # noqa: PLC0415 - not for --help

    places, package = _places(user=user, instance=instance, dry_run=dry_run), _package()
    there = _configured(places.config)
    facts = _facts(places, package, there, _with_folders(there, places, watch))
    try:
        steps = plan.installation(facts, package)
    except plan.Refused as error:
        raise Stop(Exit.CONFIGURATION, str(error)) from error
    _do(steps, dry_run=dry_run, nothing="nothing to do: the service is installed and runs")


@service.command()
@_user
@_instance
@click.option("--keep-data", is_flag=True, help="Leave configuration, state and account for a later installation.")
@_dry_run
def uninstall(*, user: bool, instance: str | None, keep_data: bool, dry_run: bool) -> None:
    """Stop the service and take away everything that `service install` made; what it found stays.

    Derivatives stay. The configuration goes, also after changes, and so does what is known of the uploads, unless
    --keep-data is given.
    """
    from watcherd.service import plan, removal  # noqa: PLC0415 - not for --help
    from watcherd.settings import Settings  # noqa: PLC0415 - as above

    places, package = _places(user=user, instance=instance, dry_run=dry_run), _package()
    facts = _facts(places, package, Settings(), Settings())  # a configuration can go whatever is wrong with it
    try:
        steps = removal.removal(facts, keep_data=keep_data)
    except plan.Refused as error:
        raise Stop(Exit.CONFIGURATION, str(error)) from error
    _do(steps, dry_run=dry_run, nothing=f"nothing to do: {places.record} is not there, so nothing was installed")


def _places(*, user: bool, instance: str | None, dry_run: bool) -> "Places":
    from watcherd.service.places import MACHINE, of_instance, of_user  # noqa: PLC0415 - not for --help

    if instance is not None and user:
        raise Stop(Exit.USAGE, "--instance is for services of the machine; a user has one service")

    if not user:
        if os.geteuid() != 0 and not dry_run:
            raise Stop(Exit.USAGE, "a service of the machine needs root: use sudo, or --user for one of your own")
        try:
            return MACHINE if instance is None else of_instance(instance)
        except ValueError as error:
            raise Stop(Exit.USAGE, f"--instance: {error}") from error
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


def _facts(places: "Places", package: "Package", there: "Settings", settings: "Settings") -> "Facts":
    """What is there, for a service that has `there` as its configuration and shall have `settings`."""
    from watcherd.service import facts, texts  # noqa: PLC0415 - not for --help

    return facts.look(
        places,
        program=_program(),
        configured=[os.path.realpath(root.path) for root in there.roots],
        roots=[root.path for root in settings.roots],
        kernel_keys=texts.kernel_settings(package.systemd["60-watcherd-inotify.conf"]),
        needs=texts.Needs(
            written=tuple(facts.folder(path) for path in _written(settings)), port=settings.metrics.port != 0
        ),
    )


def _written(settings: "Settings") -> list[str]:
    """The folders besides the roots that the service writes to."""
    textfile = settings.metrics.textfile
    mirrors = [root.mirror for root in settings.roots if root.mirror]
    return [*mirrors, *([os.path.dirname(os.path.realpath(textfile))] if textfile else [])]


def _with_folders(settings: "Settings", places: "Places", watch: Sequence[str]) -> "Settings":
    """The settings that the service will have: those of the configuration that is there, and the folders asked for.

    Raises ConfigError where the daemon would not start with them.
    """
    from watcherd.config import from_command_line, validate  # noqa: PLC0415 - not for --help

    known = {os.path.realpath(root.path) for root in settings.roots}
    asked = dict.fromkeys(path for path in map(os.path.realpath, watch) if path not in known)
    odd = [path for path in asked if not path.isprintable()]
    if odd:
        raise Stop(Exit.CONFIGURATION, f"--watch: a configuration cannot say the name of {odd[0]!r}")
    file = places.config if known else None
    return validate(from_command_line(list(asked), settings), places.state, file=file, may_be_missing=known)


def _configured(file: str) -> "Settings":
    """Those of a configuration that is there, which has to be right; else the defaults."""
    from watcherd.settings import Settings  # noqa: PLC0415 - not for --help

    if not os.path.exists(file):
        return Settings()
    from watcherd.config import load  # noqa: PLC0415 - slow to import, and not always needed

    return load(file)


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
