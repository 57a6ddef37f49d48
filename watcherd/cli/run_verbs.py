"""`watcherd run`."""

import os
from collections.abc import Sequence

import click

from watcherd.cli.exits import Exit, Stop
from watcherd.cli.options import NAME, config_option, state_dir_option, state_directory


@click.command()
@config_option
@click.option(
    "--watch", metavar="DIR", type=NAME, multiple=True, help="Watch this folder too; may be given several times."
)
@state_dir_option
def run(config: str | None, watch: Sequence[str], state_dir: str | None) -> int:
    """Watch folders and write derivatives until told to stop.

    Without a configuration file, each picture gets a `thumbnail` (within 200x200) and a `preview` (within 1200x1200).
    SIGTERM or Ctrl-C finishes what is running and ends; a second one ends at once. SIGHUP reads the configuration file
    again, as `watcherd reload` does.
    """
    from watcherd.cli.holding import hold, seen_mirrors, seen_roots  # noqa: PLC0415 - not for --help
    from watcherd.daemon import lifecycle  # noqa: PLC0415 - as above
    from watcherd.daemon.reload.origin import Origin  # noqa: PLC0415 - as above
    from watcherd.telemetry.log import configure, get_logger  # noqa: PLC0415 - as above

    if not config and not watch:
        raise Stop(Exit.USAGE, "nothing to watch: give a folder with --watch DIR, or a file with --config FILE")
    folder = state_directory(state_dir)
    origin = Origin(file=config, watch=tuple(watch), state_dir=folder)
    settings = origin.read(seen=seen_roots(folder) | seen_mirrors(folder))
    configure(settings.log)
    with hold(folder) as state:
        if config:
            names = [variant.name for variant in settings.variants]
            log = get_logger()
            log.info("config.loaded", file=os.path.abspath(config), roots=len(settings.roots), variants=names)
        return lifecycle.run(settings, state, origin)
