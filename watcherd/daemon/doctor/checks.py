"""All checks of the doctor, in their order."""

import shlex
from collections.abc import Iterator, Sequence

from watcherd.config import ConfigError, from_command_line, load
from watcherd.daemon.doctor import installation, state, system
from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.doctor.roots import roots
from watcherd.daemon.statedir import StateDirectory
from watcherd.settings import Settings


def checks(folder: str, config: str | None = None, watch: Sequence[str] = ()) -> Iterator[Check]:
    """All checks, each made when it is asked for. `folder` is the state directory; `watch` adds roots."""
    settings, said = _settings(config)
    settings = from_command_line(watch, settings)
    yield installation.versions()
    yield from installation.pictures()
    yield said
    yield system.environment()
    folders = state.folders_of((root.path for root in settings.roots), state.known_folders(folder))
    yield system.inotify(folders)
    yield system.open_files(len(settings.roots))
    yield system.clock(StateDirectory(folder).ledger)
    yield state.state_directory(folder)
    yield state.ledger(folder)
    running = state.instance(folder)
    yield running
    yield from roots(settings.roots, in_use=bool(running.items))


def _settings(config: str | None) -> tuple[Settings, Check]:
    if config is None:
        detail = "none was given (--config): the defaults hold"
        return Settings(), Check(name="configuration", finding=Finding.OK, detail=detail)
    try:
        settings = load(config)
    except ConfigError as error:
        mend = f"watcherd config check {shlex.quote(config)}"
        return Settings(), Check(name="configuration", finding=Finding.FAIL, detail=str(error), mend=mend)
    return settings, Check(name="configuration", finding=Finding.OK, detail=f"{config}: no errors")
