"""All checks of the doctor, in their order."""

import shlex
from collections.abc import Container, Iterator, Sequence

from watcherd.config import ConfigError, from_command_line, load
from watcherd.daemon.doctor import installation, state, system
from watcherd.daemon.doctor.check import Check, Finding
from watcherd.daemon.doctor.roots import roots
from watcherd.daemon.reload.origin import Origin
from watcherd.daemon.statedir import StateDirectory
from watcherd.settings import Settings


def checks(
    folder: str, config: str | None = None, watch: Sequence[str] = (), *, seen: Container[str] = ()
) -> Iterator[Check]:
    """All checks, each made when it is asked for. `folder` is the state directory; `watch` adds roots.

    `seen`: the roots and mirrors that an earlier run knew; those may be away.
    """
    settings, said = _settings(Origin(file=config, watch=tuple(watch), state_dir=folder), seen)
    yield installation.versions()
    yield from installation.pictures()
    yield said
    yield system.environment()
    folders = state.folders_of((root.path for root in settings.roots), state.known_folders(folder))
    yield system.inotify(folders, len(settings.roots))
    yield system.open_files(len(settings.roots))
    yield system.clock(StateDirectory(folder).ledger)
    yield state.state_directory(folder)
    yield state.ledger(folder)
    running = state.instance(folder)
    yield running
    yield from roots(settings.roots, in_use=bool(running.items))


def _settings(origin: Origin, seen: Container[str]) -> tuple[Settings, Check]:
    """The settings as `run` would have them; where it would refuse them, as far as they can be read."""
    file = origin.file
    try:
        settings = origin.read(seen=seen)
    except ConfigError as error:
        mend = f"watcherd config check {shlex.quote(file)}" if file else "other folders with --watch or --state-dir"
        return _readable(origin), Check(name="configuration", finding=Finding.FAIL, detail=str(error), mend=mend)
    detail = f"{file}: no errors" if file else "none was given (--config): the defaults hold"
    return settings, Check(name="configuration", finding=Finding.OK, detail=detail)


def _readable(origin: Origin) -> Settings:
    try:
        return from_command_line(origin.watch, load(origin.file) if origin.file else Settings())
    except ConfigError:
        return from_command_line(origin.watch, Settings())
