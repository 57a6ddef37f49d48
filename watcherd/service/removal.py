"""What has to be done to take the service away again: from what is there to a list of steps.

A pure module: values in, steps out. Carried out in order, the steps lead to the machine as it was before its
installation. Not responsible for: the way there (`plan.py`), looking (`facts.py`), doing (`carry.py`).
"""

from collections.abc import Iterator, Mapping

from watcherd.service import texts
from watcherd.service.places import NAME, RECORD
from watcherd.service.plan import ACCOUNT, CONFIGURATION, LINK, STATE, Facts, Refused, file_made, set_to, systemctl_of
from watcherd.service.steps import Note, RemoveFile, RemoveFolder, Run, SetKernel, Step, WriteFile


def removal(facts: Facts, *, keep_data: bool = False) -> tuple[Step, ...]:
    """What takes an installation away again. Empty where there is none. `keep_data`: configuration, state, account.

    Only what an installation has made goes; what it found stays. What other installations on the machine use as well
    stays with them: the last one takes it away. Raises Refused where instances live on it that were made by hand.
    """
    places = facts.places
    note = facts.files.get(places.record)
    if note is None:
        return ()
    _refuse(facts, keep_data=keep_data)
    made, kernel = texts.parse_record(note)
    kept = _kept(facts, made, keep_data=keep_data)
    steps: list[Step] = [*_stop(facts)]
    if facts.other_records and not keep_data:  # before anything that goes: a second try has to find it noted somewhere
        steps += _hand_over(facts, made, kernel)
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
    if not {places.unit, places.drop_in, places.template}.isdisjoint(gone) and facts.systemd_runs:
        steps.append(Run(command=(*systemctl_of(places), "daemon-reload"), why="systemd forgets the unit"))
    return tuple(steps)


def _refuse(facts: Facts, *, keep_data: bool) -> None:
    """The state of the machine's service holds those of all instances, and the last one takes the rest away."""
    if not facts.other_configurations or keep_data or (facts.places.instance and facts.other_records):
        return
    names = ", ".join(facts.other_configurations)
    raise Refused(
        f"other instances are configured: {names}; remove these files (and what `systemctl list-units "
        f"'{NAME}@*'` shows), or keep configuration, state and account with --keep-data"
    )


def _kept(facts: Facts, made: tuple[str, ...], *, keep_data: bool) -> set[str]:
    """The files and folders that stay. Other instances have their unit, limits and command from here."""
    places = facts.places
    others = {*places.shared(), places.link, *facts.other_records} if facts.other_records else set[str]()
    if keep_data:
        if facts.other_configurations:
            others |= {places.template, places.sysctl, places.link}
        return {places.record, places.config, places.sysusers, places.tmpfiles, places.state, *others}
    return others if CONFIGURATION in made else {places.config, *others}


def _hand_over(facts: Facts, made: tuple[str, ...], kernel: Mapping[str, int]) -> Iterator[Step]:
    """Another installation notes what stays as its own, to be taken away with it."""
    places = facts.places
    own = {*map(file_made, (places.config, places.unit, places.drop_in)), CONFIGURATION, STATE}
    state = [f"folder {places.state}"] if STATE in made and not places.instance else []
    heir, text = min(facts.other_records.items())
    earlier, before = texts.parse_record(text)
    passed_on = [one for one in (*made, *state) if one not in own and one not in earlier]
    merged = texts.record([*earlier, *passed_on], {**kernel, **before})
    if merged != text:
        yield WriteFile(path=heir, content=merged, what="what others need stays, and goes with the last of them")


def _folders_to_remove(facts: Facts, made: tuple[str, ...], kept: set[str]) -> list[str]:
    """The folders that an installation has made, from the bottom up."""
    there = {one.removeprefix("folder ") for one in made if one.startswith("folder ")} & facts.folders
    no_files = (facts.places.state, facts.places.link, *facts.other_records)
    needed = [path for path in kept if facts.files.get(path) is not None or path in no_files]
    needed += [f"{facts.places.state.rpartition('/')[0]}/."] if facts.places.instance and facts.other_records else []
    return sorted((one for one in there if not any(path.startswith(one + "/") for path in needed)), reverse=True)


def _stop(facts: Facts) -> Iterator[Step]:
    systemctl, name = systemctl_of(facts.places), facts.places.service
    unit = facts.places.unit or facts.places.drop_in
    if facts.files.get(unit) is not None and facts.systemd_runs:  # active or not: it may be about to start
        yield Run(command=(*systemctl, "stop", name), why="what runs is finished first")
    if facts.is_enabled:
        yield Run(command=(*systemctl, "disable", name), why="it does not start by itself any more")


def _limits(facts: Facts, made: tuple[str, ...], before: Mapping[str, int]) -> Iterator[Step]:
    """The kernel settings that still are what they were set to; another value is somebody else's."""
    if facts.other_records:
        return
    for key, value in before.items():
        if facts.kernel_is_writable and key in facts.kernel and set_to(key, facts.kernel[key]) in made:
            yield SetKernel(key=key, value=value)


def _data(facts: Facts, made: tuple[str, ...]) -> Iterator[Step]:
    if facts.has_state and STATE in made:
        keep = () if facts.places.instance else _instances(facts)
        yield RemoveFolder(path=facts.places.state, with_content=True, keep=keep)
    if facts.has_account and ACCOUNT in made and not facts.other_records:
        yield Run(command=("userdel", facts.places.account), why="nothing runs as this account any more")
        yield Note(text="the derivatives stay where they are; they belong to an account that is gone")


def _instances(facts: Facts) -> tuple[str, ...]:
    """The names of the other instances, which are those of their folders in the machine's state."""
    names = (path.rpartition("/")[2].removeprefix(f"{RECORD}@") for path in facts.other_records)
    return tuple(sorted(names))
