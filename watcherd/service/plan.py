"""What has to be done to install the service: from what is there to a list of steps.

A pure module: values in, steps out. Carried out in order, the steps of an installation lead to a machine for which the
plan is empty. Not responsible for: the way back (`removal.py`), looking (`facts.py`), doing (`carry.py`), the texts of
the files (`texts.py`).
"""

import shlex
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from watcherd.service import texts
from watcherd.service.places import NAME, Places
from watcherd.service.steps import Link, MakeFolder, Note, Run, SetKernel, Step, WriteFile
from watcherd.service.texts import Folder, Needs

ACCOUNT, STATE, LINK, CONFIGURATION = "account", "state", "link", "configuration"
"""What the record says was made, besides folders."""


class Refused(Exception):  # noqa: N818 - not an error of the program: the machine is not as it would have to be
    """There is no plan: the text says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What the package brings: texts of files by their names in `systemd/`, pages, completions by shell."""

    example: str
    systemd: Mapping[str, str]
    man_pages: tuple[str, str]
    completions: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is there. `files` has the text of each of the places' files, None where there is none."""

    places: Places
    program: str
    program_barrier: str = ""
    files: Mapping[str, str | None] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    link: str | None = None
    has_account: bool = False
    has_state: bool = False
    shells: frozenset[str] = frozenset()
    kernel: Mapping[str, int] = field(default_factory=dict)
    kernel_is_writable: bool = True
    configured: tuple[str, ...] = ()
    wanted: tuple[Folder, ...] = ()
    """Every folder that the service shall watch: those of the configuration, then those that were asked for."""
    needs: Needs = field(default_factory=Needs)
    systemd_runs: bool = True
    is_enabled: bool = False
    is_active: bool = False
    has_failed: bool = False
    other_configurations: tuple[str, ...] = ()
    """Those of instances that were made by hand."""
    other_records: Mapping[str, str] = field(default_factory=dict)
    """What the installations of other instances, or of the machine's service, have noted, by path."""

    def made_by_others(self) -> frozenset[str]:
        """What these have made."""
        return frozenset(one for text in self.other_records.values() for one in texts.parse_record(text)[0])


# ------------------------------------------------------------------------------------------------------------ install


def installation(facts: Facts, package: Package) -> tuple[Step, ...]:
    """What is missing of a running service. Empty where nothing is.

    Raises Refused where it could not run as things are.
    """
    _refuse(facts)
    files = dict(_wanted_files(facts, package))
    changes = {path: text for path, text in files.items() if facts.files.get(path) != text}
    _refuse_to_overwrite(facts, changes)
    folders = [*_missing_folders(facts, changes)]
    new = [path for path in changes if facts.files.get(path) is None and path != facts.places.config]
    made = [*(f"folder {path}" for path in folders), *map(file_made, new), *_made(facts)]
    raised = _raised(facts, package)
    note = _record(facts, made, raised)
    if note != facts.files.get(facts.places.record):
        changes = {facts.places.record: note, **changes}
        folders = [*_missing_folders(facts, changes)]
    steps: list[Step] = [MakeFolder(path=path) for path in folders]
    for path, text in changes.items():
        steps.append(WriteFile(path=path, content=text, what=_what(facts.places, path)))
        steps += _after_file(facts.places, path)
    steps += _kernel(facts, raised)
    steps += _link(facts)
    ending = _start(facts, changed=not changes.keys().isdisjoint(_restarting(facts.places)))
    # Before the start: where that fails, one of them may be the reason.
    return (*steps, *(_notes(facts) if steps or ending else ()), *ending)


def _refuse(facts: Facts) -> None:
    if not facts.wanted:
        raise Refused("there is nothing to watch: name a folder with --watch DIR")
    if facts.program_barrier and not facts.places.is_users:
        venv = "python3 -m venv /opt/watcherd"
        raise Refused(
            f"the account {NAME} could not run {facts.program}: {facts.program_barrier}; "
            f"install the program where everybody can read it ({venv}) and run the install from there"
        )


def _refuse_to_overwrite(facts: Facts, changes: Iterable[str]) -> None:
    """What somebody else has put there is somebody else's. Only the configuration is added to."""
    there = (path for path in changes if facts.files.get(path) is not None and path != facts.places.config)
    foreign = [path for path in there if not _is_ours(facts, path)]
    if foreign:
        raise Refused(
            f"{', '.join(foreign)}: there already, not from an installation, and not what it would write; move it away "
            f"(changes of your own to a unit belong in a drop-in, see `systemctl edit`) and run this again"
        )


def _is_ours(facts: Facts, path: str) -> bool:
    made, _ = texts.parse_record(facts.files.get(facts.places.record) or "")
    return file_made(path) in {*made, *facts.made_by_others()}


def _wanted_files(facts: Facts, package: Package) -> Iterator[tuple[str, str]]:
    places, systemd = facts.places, package.systemd
    if not places.is_users:
        yield places.sysusers, systemd["watcherd.sysusers"]
        yield places.tmpfiles, systemd["watcherd.tmpfiles"]
    yield places.config, _configuration(facts, package.example)
    if places.is_users:
        yield places.unit, texts.unit(systemd["user/watcherd.service"], facts.program)
    else:
        limits = _limits(facts, package)
        if limits or _is_ours(facts, places.sysctl):
            yield places.sysctl, texts.sysctl(systemd["60-watcherd-inotify.conf"], limits)
        if places.unit:
            yield places.unit, texts.unit(systemd["watcherd.service"], facts.program)
        yield places.template, texts.unit(systemd["watcherd@.service"], facts.program)
        yield places.drop_in, _drop_in(facts)
    yield from zip(places.man_pages, package.man_pages, strict=True)
    for shell, path in places.completions:
        if shell in facts.shells:
            yield path, package.completions[shell]


def _drop_in(facts: Facts) -> str:
    return texts.drop_in(
        facts.wanted,
        facts.needs,
        program=facts.program,
        config=facts.places.config,
        service=facts.places.service,
        earlier=facts.files.get(facts.places.drop_in) or "",
        known={*facts.configured, *(folder.path for folder in facts.needs.written)},
    )


def _configuration(facts: Facts, example: str) -> str:
    there = facts.files.get(facts.places.config)
    if there is None:
        return texts.first_configuration(example, [folder.path for folder in facts.wanted])
    added = [one.path for one in facts.wanted if one.path not in facts.configured]
    text = texts.with_more_roots(there, added)
    if added:
        _refuse_broken(text, facts.places.config, added)
    return text


def _refuse_broken(text: str, config: str, added: list[str]) -> None:
    """TOML lets no table follow where the roots were written as one list, `roots = [...]`."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(
            f"{config} would be broken by these folders behind what it says ({error}); add them by hand to its roots, "
            f"and run this again without --watch: {', '.join(added)}"
        ) from error


def _missing_folders(facts: Facts, changes: Mapping[str, str]) -> Iterator[str]:
    """The folders above some files that are not there, each once, from the top down."""
    link = () if facts.link == facts.program else (facts.places.link,)
    seen = set(facts.folders)
    for path in (*changes, *link, facts.places.state):
        parts = path.split("/")[1:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:depth])
            if folder not in seen:
                seen.add(folder)
                yield folder


def _made(facts: Facts) -> Iterator[str]:
    """What will be ours besides the folders, because it is not there yet."""
    if not facts.has_account and not facts.places.is_users:
        yield ACCOUNT
    if not facts.has_state or f"folder {facts.places.state}" in facts.made_by_others():
        yield STATE
    if facts.link is None:
        yield LINK
    if facts.files.get(facts.places.config) is None:
        yield CONFIGURATION


def _record(facts: Facts, made: list[str], raised: Mapping[str, int]) -> str:
    """The record with what is made now added to what was made before."""
    earlier, kernel = texts.parse_record(facts.files.get(facts.places.record) or "")
    before = {key: facts.kernel[key] for key in raised if facts.kernel_is_writable}
    made = [*made, *(set_to(key, raised[key]) for key in before)]
    return texts.record([*earlier, *(one for one in made if one not in earlier)], {**before, **kernel})


def _raised(facts: Facts, package: Package) -> dict[str, int]:
    """The kernel settings that are lower than the service wants them. None is ever lowered."""
    if facts.places.is_users:
        return {}
    wanted = texts.kernel_settings(package.systemd["60-watcherd-inotify.conf"])
    return {key: value for key, value in wanted.items() if facts.kernel.get(key, value) < value}


def _limits(facts: Facts, package: Package) -> set[str]:
    """The kernel settings that are written for the next boot: those that are too low, or were before we set them.

    What is more by itself, or by somebody's own file, stays so: ours could be read after that file.
    """
    wanted = texts.kernel_settings(package.systemd["60-watcherd-inotify.conf"])
    written = texts.kernel_settings(facts.files.get(facts.places.sysctl) or "")
    before = {
        key
        for text in (facts.files.get(facts.places.record) or "", *facts.other_records.values())
        for key in texts.parse_record(text)[1]
    }
    found = {key: facts.kernel[key] for key in wanted if key in facts.kernel}
    is_ours = {*written, *before}
    return {key for key, value in found.items() if value < wanted[key] or (value == wanted[key] and key in is_ours)}


def file_made(path: str) -> str:
    """The word in the record for a file that an installation has made."""
    return f"file {path}"


def set_to(key: str, value: int) -> str:
    """The word in the record for a kernel setting that an installation has set."""
    return f"set {key} {value}"


def _kernel(facts: Facts, raised: Mapping[str, int]) -> list[Step]:
    return [SetKernel(key=key, value=value) for key, value in raised.items()] if facts.kernel_is_writable else []


def _link(facts: Facts) -> list[Step]:
    """The command on everybody's path, unless something else has that name."""
    return [Link(path=facts.places.link, target=facts.program)] if facts.link is None else []


def _after_file(places: Places, path: str) -> list[Step]:
    if path == places.sysusers:
        return [Run(command=("systemd-sysusers", path), why=f"the account {NAME}")]
    if path == places.tmpfiles:
        return [Run(command=("systemd-tmpfiles", "--create", path), why=f"the folder {places.state}")]
    return []


def _restarting(places: Places) -> set[str]:
    return {places.unit or places.template, places.drop_in, places.config}


def _start(facts: Facts, *, changed: bool) -> list[Step]:
    systemctl, name = systemctl_of(facts.places), facts.places.service
    steps: list[Step] = []
    if changed and facts.systemd_runs:
        steps.append(Run(command=(*systemctl, "daemon-reload"), why="systemd reads the unit"))
    if not facts.is_enabled:
        steps.append(Run(command=(*systemctl, "enable", name), why="it starts by itself from now on"))
    if facts.has_failed:
        steps.append(Run(command=(*systemctl, "reset-failed", name), why="its failures so far are counted no more"))
    if facts.systemd_runs and not facts.is_active:
        steps.append(Run(command=(*systemctl, "start", name), why="it runs, and says when it is ready"))
    elif facts.systemd_runs and changed:
        steps.append(Run(command=(*systemctl, "restart", name), why="it runs with what has changed"))
    return steps


def _notes(facts: Facts) -> Iterator[Note]:
    for folder in (*facts.wanted, *facts.needs.written):
        if folder.barrier and not facts.places.is_users:
            grants = " && ".join(_grant(folder, closed) for closed in folder.closed)
            way = f"; a way to let it (with the package acl): {grants}" if grants else ""
            yield Note(text=f"{folder.barrier}{way}")
    if facts.link not in (None, facts.program):
        yield Note(text=f"{facts.places.link} is something else and stays; the command is {facts.program}")
    if not facts.places.is_users and not facts.kernel_is_writable:
        yield Note(text="the limits of inotify cannot be set here (a container?): set them on the machine itself")
    if facts.places.is_users and facts.needs.port:
        yield Note(
            text="a user's unit lets no port through: for that of the metrics, `systemctl --user edit watcherd` and "
            "write [Service] and below it RestrictAddressFamilies=AF_INET"
        )
    if facts.places.is_users:
        yield Note(text="it ends when you log out, unless you run: loginctl enable-linger")
        yield Note(text="a user cannot raise the limits of inotify; `watcherd doctor` says whether they suffice")
    if not facts.systemd_runs:
        yield Note(text="systemd does not run here, so nothing was started; it will be at the next boot")


def _grant(folder: Folder, closed: str) -> str:
    """The command that lets the account in: through a folder on the way, or at all that is in the folder itself."""
    if closed != folder.path:
        return f"setfacl -m u:{NAME}:x {shlex.quote(closed)}"
    return f"setfacl -R -m u:{NAME}:rwX,d:u:{NAME}:rwX {shlex.quote(closed)}"


def systemctl_of(places: Places) -> tuple[str, ...]:
    """The command that speaks with the service manager of these places."""
    return ("systemctl", "--user") if places.is_users else ("systemctl",)


def _what(places: Places, path: str) -> str:
    words = {
        places.record: "what is made here, for the end of it",
        places.sysusers: "the account",
        places.tmpfiles: "the folders",
        places.config: "the configuration",
        places.sysctl: "the limits of inotify, also after the next boot",
        places.unit: "the unit",
        places.template: "the template for further instances",
        places.drop_in: "what the folders need of the unit",
        places.man_pages[0]: "the manual of the command",
        places.man_pages[1]: "the manual of the configuration",
    }
    return words.get(path, "what the shell completes")
