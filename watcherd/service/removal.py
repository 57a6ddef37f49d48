"""What has to be done to take the service away again: from what is there to a list of steps.

A pure module: values in, steps out. Carried out in order, the steps lead to the machine as it was before its
installation. Not responsible for: the way there (`plan.py`), looking (`facts.py`), doing (`carry.py`).
"""

from collections.abc import Iterator, Mapping

from watcherd.service import texts
from watcherd.service.places import NAME
from watcherd.service.plan import ACCOUNT, CONFIGURATION, LINK, STATE, Facts, Refused, file_made, set_to, systemctl_of
from watcherd.service.steps import Note, RemoveFile, RemoveFolder, Run, SetKernel, Step


def removal(facts: Facts, *, keep_data: bool = False) -> tuple[Step, ...]:
    """What takes an installation away again. Empty where there is none. `keep_data`: configuration, state, account.

    Only what an installation has made goes; what it found stays. Raises Refused where other instances live on it.
    """
    places = facts.places
    note = facts.files.get(places.record)
    if note is None:
        return ()
    if facts.other_configurations and not keep_data:
        names = ", ".join(facts.other_configurations)
        raise Refused(
            f"other instances are configured: {names}; remove these files (and what `systemctl list-units "
            f"'{NAME}@*'` shows), or keep configuration, state and account with --keep-data"
        )
    made, kernel = texts.parse_record(note)
    kept = _kept(facts, made, keep_data=keep_data)
    steps: list[Step] = [*_stop(facts)]
    ours = [path for path in reversed(places.files()) if path == places.config or file_made(path) in made]
    gone = [path for path in ours if facts.files.get(path) is not None and path not in kept]
    steps += [RemoveFile(path=path) for path in gone]
    if LINK in made and facts.link == facts.program and places.link not in kept:
        steps.append(RemoveFile(path=places.link))
    if not keep_data:
        steps += _limits(facts, made, kernel)
        steps += _data(facts, made)
        steps.append(
            RemoveFile(path=places.record)
        )  # so late that a second try, after a step that failed, knows it all
    steps += [RemoveFolder(path=path) for path in _folders_to_remove(facts, made, kept)]
    if places.unit in gone and facts.systemd_runs:
        steps.append(Run(command=(*systemctl_of(places), "daemon-reload"), why="systemd forgets the unit"))
    return tuple(steps)


def _kept(facts: Facts, made: tuple[str, ...], *, keep_data: bool) -> set[str]:
    """The files and folders that stay. Other instances have their unit, limits and command from here."""
    places = facts.places
    if keep_data:
        others = {places.template, places.sysctl, places.link} if facts.other_configurations else set[str]()
        return {places.record, places.config, places.sysusers, places.tmpfiles, places.state, *others}
    return set() if CONFIGURATION in made else {places.config}


def _folders_to_remove(facts: Facts, made: tuple[str, ...], kept: set[str]) -> list[str]:
    """The folders that an installation has made, from the bottom up."""
    there = {one.removeprefix("folder ") for one in made if one.startswith("folder ")} & facts.folders
    no_files = (facts.places.state, facts.places.link)
    needed = [path for path in kept if facts.files.get(path) is not None or path in no_files]
    return sorted((one for one in there if not any(path.startswith(one + "/") for path in needed)), reverse=True)


def _stop(facts: Facts) -> Iterator[Step]:
    systemctl = systemctl_of(facts.places)
    if facts.files.get(facts.places.unit) is not None and facts.systemd_runs:  # active or not: it may be about to start
        yield Run(command=(*systemctl, "stop", NAME), why="what runs is finished first")
    if facts.is_enabled:
        yield Run(command=(*systemctl, "disable", NAME), why="it does not start by itself any more")


def _limits(facts: Facts, made: tuple[str, ...], before: Mapping[str, int]) -> Iterator[Step]:
    """The kernel settings that still are what they were set to; another value is somebody else's."""
    for key, value in before.items():
        if facts.kernel_is_writable and key in facts.kernel and set_to(key, facts.kernel[key]) in made:
            yield SetKernel(key=key, value=value)


def _data(facts: Facts, made: tuple[str, ...]) -> Iterator[Step]:
    if facts.has_state and STATE in made:
        yield RemoveFolder(path=facts.places.state, with_content=True)
    if facts.has_account and ACCOUNT in made:
        yield Run(command=("userdel", facts.places.account), why="nothing runs as this account any more")
        yield Note(text="the derivatives stay where they are; they belong to an account that is gone")
