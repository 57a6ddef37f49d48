"""The plan: carried out it leads to a machine that needs nothing, and taken back to the machine as it was."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.config import example
from watcherd.service import texts
from watcherd.service.files import systemd_files
from watcherd.service.places import MACHINE, Places, of_user
from watcherd.service.plan import Facts, Package, Refused, installation
from watcherd.service.removal import removal
from watcherd.service.steps import (
    Link,
    MakeFolder,
    Note,
    RemoveFile,
    RemoveFolder,
    Run,
    SetKernel,
    Step,
    WriteFile,
)
from watcherd.service.texts import Folder

USERS = of_user(config_home="/home/ann/.config", state_home="/home/ann/.local/state", home="/home/ann")
PACKAGE = Package(
    example=example(),
    systemd=systemd_files(),
    man_pages=(".TH 1\n", ".TH 5\n"),
    completions={"bash": "b\n", "zsh": "z\n", "fish": "f\n"},
)
WATCHES = "fs.inotify.max_user_watches"
UPLOADS = Folder(path="/srv/uploads", mount_point="/")
THERE = frozenset(
    ("/etc", "/etc/systemd", "/etc/systemd/system", "/etc/sysctl.d", "/etc/tmpfiles.d", "/usr", "/usr/local")
)
BARE = Facts(
    places=MACHINE,
    program="/opt/watcherd/bin/watcherd",
    folders=THERE | {"/home", "/home/ann", "/usr/local/bin"},
    shells=frozenset(("bash",)),
    kernel={WATCHES: 8_192, "fs.inotify.max_user_instances": 128, "fs.inotify.max_queued_events": 999_999},
    wanted=(UPLOADS,),
)  # fmt: skip


STATES = ("link", "has_account", "has_state", "is_enabled", "is_active", "has_failed")
EFFECTS: dict[str, dict[str, bool]] = {
    "systemd-sysusers": {"has_account": True},
    "systemd-tmpfiles": {"has_state": True},
    "userdel": {"has_account": False},
    "start": {"is_active": True, "has_state": True},
    "restart": {"is_active": True},
    "stop": {"is_active": False},
    "enable": {"is_enabled": True},
    "disable": {"is_enabled": False},
    "daemon-reload": {},
    "reset-failed": {"has_failed": False},
}


class Model:
    """A machine in the mind: what the shell and the programs of the system would make of each step."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.files = dict(facts.files)
        self.folders = set(facts.folders)
        self.kernel = dict(facts.kernel)
        self.state = {name: getattr(facts, name) for name in STATES}

    def do(self, step: Step) -> None:
        match step:
            case MakeFolder() | WriteFile():
                above = step.path.rpartition("/")[0]
                assert above in self.folders | {""}, f"{step} comes before what is above it"
                if isinstance(step, WriteFile):
                    self.files[step.path] = step.content
                else:
                    self.folders.add(step.path)
            case Link():
                self.state["link"] = step.target
            case SetKernel():
                self.kernel[step.key] = step.value
            case RemoveFile() | RemoveFolder():
                self.remove(step)
            case Run():
                self.run(step.command)

    def remove(self, step: RemoveFile | RemoveFolder) -> None:
        if isinstance(step, RemoveFile):
            self.state["link"] = None if step.path == self.facts.places.link else self.state["link"]
            self.files.pop(step.path, None)
        elif step.with_content:
            self.state["has_state"] = False
        elif not any(path.startswith(step.path + "/") for path in (*self.files, *self.folders)):
            self.folders.discard(step.path)

    def run(self, command: tuple[str, ...]) -> None:
        words = [word for word in command if not word.startswith("--")]
        if words[0] in {"systemd-sysusers", "systemd-tmpfiles"}:
            assert words[1] in self.files
        if words[0] == "systemd-tmpfiles":
            assert self.state["has_account"]
        if words[0] == "userdel":
            assert not self.state["is_active"]
        self.state |= EFFECTS[words[1] if words[0] == "systemctl" else words[0]]


def after(facts: Facts, steps: Sequence[Step]) -> Facts:
    """The machine after these steps."""
    model = Model(facts)
    for step in steps:
        model.do(step)
    configured = tuple(folder.path for folder in facts.wanted) if facts.places.config in model.files else ()
    return dataclasses.replace(
        facts,
        files=model.files,
        folders=frozenset(model.folders),
        kernel=model.kernel,
        configured=configured,
        **model.state,
    )


def known(facts: Facts) -> tuple[object, ...]:
    """All that an installation changes."""
    files = {path: text for path, text in facts.files.items() if text is not None}
    rest = (facts.link, facts.has_account, facts.has_state, facts.is_enabled, facts.is_active)
    return files, facts.folders, dict(facts.kernel), rest


def notes(facts: Facts) -> list[str]:
    return [step.text for step in installation(facts, PACKAGE) if isinstance(step, Note)]


def commands(steps: Sequence[Step]) -> list[str]:
    return [" ".join(step.command) for step in steps if isinstance(step, Run)]


@st.composite
def machines(draw: st.DrawFn) -> Facts:
    """Machines that have had all kinds of pasts."""
    places: Places = draw(st.sampled_from([MACHINE, USERS]))
    there = draw(st.booleans())
    files = {}
    if there:
        files = {places.config: '[[roots]]\npath = "/srv/old"\n'}
    if places is MACHINE and draw(st.booleans()):  # put there by somebody, as the README allows
        files[places.tmpfiles] = PACKAGE.systemd["watcherd.tmpfiles"]
    folders = set(BARE.folders)
    for path in files:
        parts = path.split("/")[1:-1]
        folders |= {"/" + "/".join(parts[: depth + 1]) for depth in range(len(parts))}
    old = (Folder(path="/srv/old", mount_point="/"),) if there else ()
    return dataclasses.replace(
        BARE,
        places=places,
        files=files,
        folders=frozenset(folders),
        configured=tuple(folder.path for folder in old),
        wanted=(*old, UPLOADS),
        link=draw(st.sampled_from([None, "/usr/share/other"])),
        has_account=places is MACHINE and draw(st.booleans()),
        has_state=draw(st.booleans()),
        shells=frozenset(draw(st.sets(st.sampled_from(["bash", "zsh", "fish"])))),
        kernel_is_writable=draw(st.booleans()),
    )


@given(machines())
def test_twice_is_the_same_as_once(facts: Facts) -> None:
    done = after(facts, installation(facts, PACKAGE))
    assert (done.is_enabled, done.is_active) == (True, True)
    assert installation(done, PACKAGE) == ()


@given(machines())
def test_what_was_there_is_there_again_and_nothing_else(facts: Facts) -> None:
    there = dict(facts.files)
    done = after(facts, installation(facts, PACKAGE))
    end = after(done, removal(done))
    with_roots = {**there}
    if facts.places.config in there:  # somebody's own: it stays, with the folder that was added to it
        with_roots[facts.places.config] = texts.with_more_roots(there[facts.places.config] or "", ["/srv/uploads"])
    before = dataclasses.replace(facts, files=with_roots)
    assert known(end) == known(before)
    assert removal(end) == ()


@given(machines())
def test_kept_data_is_found_again_and_goes_with_the_last_removal(facts: Facts) -> None:
    facts = dataclasses.replace(facts, files={}, configured=(), wanted=(UPLOADS,))
    done = after(facts, installation(facts, PACKAGE))
    kept = after(done, removal(done, keep_data=True))
    assert kept.files[facts.places.config] == done.files[facts.places.config]
    assert (kept.has_state, kept.has_account) == (done.has_state, done.has_account)
    assert (kept.is_enabled, kept.is_active, facts.places.unit in kept.files) == (False, False, False)
    again = after(kept, installation(kept, PACKAGE))
    assert known(after(again, removal(again))) == known(facts)


def test_no_kernel_setting_is_lowered_and_all_go_back() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    assert done.kernel == {
        WATCHES: 1_048_576,
        "fs.inotify.max_user_instances": 512,
        "fs.inotify.max_queued_events": 999_999,
    }
    assert after(done, removal(done)).kernel == BARE.kernel


INSTANCES, EVENTS = "fs.inotify.max_user_instances", "fs.inotify.max_queued_events"


def limits(facts: Facts) -> dict[str, int]:
    """What the next boot sets."""
    return texts.kernel_settings(facts.files.get(MACHINE.sysctl) or "")


def test_no_boot_lowers_a_kernel_setting_either() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    assert limits(done) == {WATCHES: 1_048_576, INSTANCES: 512}
    generous = dataclasses.replace(BARE, kernel=dict.fromkeys((WATCHES, INSTANCES, EVENTS), 2_000_000))
    assert MACHINE.sysctl not in after(generous, installation(generous, PACKAGE)).files


@pytest.mark.parametrize("kernel_is_writable", [True, False])
def test_what_the_boot_sets_is_still_set_by_the_next_one(*, kernel_is_writable: bool) -> None:
    facts = dataclasses.replace(BARE, kernel_is_writable=kernel_is_writable)
    done = after(facts, installation(facts, PACKAGE))
    booted = dataclasses.replace(done, kernel=dict(done.kernel) | limits(done))
    assert installation(booted, PACKAGE) == ()


def test_a_kernel_setting_that_was_raised_since_is_somebody_elses() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    raised = dataclasses.replace(done, kernel=dict(done.kernel) | {WATCHES: 4_000_000})
    assert limits(after(raised, installation(raised, PACKAGE))) == {INSTANCES: 512}
    assert after(raised, removal(raised)).kernel == dict(BARE.kernel) | {WATCHES: 4_000_000}


def test_where_the_kernel_cannot_be_set_that_is_said() -> None:
    steps = installation(dataclasses.replace(BARE, kernel_is_writable=False), PACKAGE)
    assert [step for step in steps if isinstance(step, SetKernel)] == []
    assert any("inotify" in step.text for step in steps if isinstance(step, Note))


def test_a_new_folder_changes_configuration_and_drop_in_and_restarts_the_service() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    more = dataclasses.replace(done, wanted=(UPLOADS, Folder(path="/srv/more", mount_point="/", group="ftp")))
    steps = installation(more, PACKAGE)
    assert {step.path for step in steps if isinstance(step, WriteFile)} == {MACHINE.config, MACHINE.drop_in}
    assert commands(steps) == ["systemctl daemon-reload", "systemctl restart watcherd"]


@pytest.mark.parametrize(
    ("path", "mount_point"),
    [("/mnt/photos", "/mnt/photos"), ("/media/ann/stick/DCIM", "/media/ann/stick"), ("/data", "/data")],
)
def test_a_disk_that_is_away_changes_nothing_of_what_the_unit_may_do(path: str, mount_point: str) -> None:
    disk = Folder(path=path, mount_point=mount_point)
    facts = dataclasses.replace(BARE, wanted=(UPLOADS, disk))
    done = after(facts, installation(facts, PACKAGE))
    away = dataclasses.replace(done, wanted=(UPLOADS, dataclasses.replace(disk, mount_point="/")))
    assert installation(away, PACKAGE) == ()
    more = dataclasses.replace(away, wanted=(*away.wanted, Folder(path="/srv/more", mount_point="/")))
    drop_in = after(more, installation(more, PACKAGE)).files[MACHINE.drop_in] or ""
    assert "ReadWritePaths=-/srv/more" in drop_in
    assert f"ReadWritePaths=-{path}" not in drop_in


def test_a_service_that_was_stopped_is_started_and_nothing_else() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    assert commands(installation(dataclasses.replace(done, is_active=False), PACKAGE)) == ["systemctl start watcherd"]


def test_a_service_that_has_failed_is_started_without_its_failures() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    steps = installation(dataclasses.replace(done, is_active=False, has_failed=True), PACKAGE)
    assert commands(steps) == ["systemctl reset-failed watcherd", "systemctl start watcherd"]


def test_a_service_that_is_about_to_start_again_is_stopped_before_it_is_removed() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    assert commands(removal(dataclasses.replace(done, is_active=False)))[0] == "systemctl stop watcherd"


def test_without_systemd_nothing_is_started_and_that_is_said() -> None:
    steps = installation(dataclasses.replace(BARE, systemd_runs=False), PACKAGE)
    assert "systemctl enable watcherd" in commands(steps)
    assert [command for command in commands(steps) if "start" in command or "reload" in command] == []
    assert any("does not run here" in step.text for step in steps if isinstance(step, Note))


def test_a_users_service_touches_nothing_outside_of_the_users_home() -> None:
    facts = dataclasses.replace(BARE, places=USERS)
    steps = installation(facts, PACKAGE)
    paths = {step.path for step in steps if isinstance(step, WriteFile | MakeFolder | Link)}
    assert [path for path in paths if not path.startswith("/home/ann/")] == []
    assert all(command.startswith("systemctl --user") for command in commands(steps))


@pytest.mark.parametrize(
    "changes",
    [{"wanted": ()}, {"program_barrier": "/root may not be entered by others"}],
    ids=["nothing to watch", "a program that the account cannot reach"],
)
def test_what_could_not_run_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Refused):
        installation(dataclasses.replace(BARE, **changes), PACKAGE)


@pytest.mark.parametrize("roots", ['roots = [{ path = "/srv/a" }]\n', "roots = []\n"])
def test_a_configuration_is_not_broken_by_what_is_added(roots: str) -> None:
    facts = dataclasses.replace(BARE, files={MACHINE.config: roots}, folders=BARE.folders | {"/etc/watcherd"})
    with pytest.raises(Refused, match=r"by hand.*/srv/uploads"):
        installation(facts, PACKAGE)
    by_hand = dataclasses.replace(facts, configured=("/srv/uploads",))
    assert after(by_hand, installation(by_hand, PACKAGE)).files[MACHINE.config] == roots


IN_THE_FOLDER = "setfacl -R -m u:watcherd:rwX,d:u:watcherd:rwX '/home/ann/my photos'"
ON_THE_WAY = "setfacl -m u:watcherd:x /home/ann"


@pytest.mark.parametrize(
    ("closed", "commands"),
    [
        (("/home/ann/my photos",), IN_THE_FOLDER),
        (("/home/ann",), ON_THE_WAY),
        (("/home/ann", "/home/ann/my photos"), f"{ON_THE_WAY} && {IN_THE_FOLDER}"),
    ],
)
def test_a_folder_that_the_account_may_not_enter_is_named_with_what_helps(
    closed: tuple[str, ...], commands: str
) -> None:
    folder = Folder(path="/home/ann/my photos", mount_point="/", barrier="it cannot", closed=closed)
    assert notes(dataclasses.replace(BARE, wanted=(folder,))) == [
        f"it cannot; a way to let it (with the package acl): {commands}"
    ]


def test_nothing_is_proposed_for_a_folder_that_is_away() -> None:
    away = Folder(path="/mnt/photos", mount_point="/", barrier="/mnt/photos is not there now")
    assert notes(dataclasses.replace(BARE, wanted=(away,))) == ["/mnt/photos is not there now"]


def test_a_port_that_a_users_unit_does_not_let_through_is_told() -> None:
    facts = dataclasses.replace(BARE, places=USERS, needs=texts.Needs(port=True))
    assert any("RestrictAddressFamilies=AF_INET" in note for note in notes(facts))
    assert not any("AF_INET" in note for note in notes(dataclasses.replace(facts, needs=texts.Needs())))
    assert not any("AF_INET" in note for note in notes(dataclasses.replace(facts, places=MACHINE)))


FOREIGN = ("template", "sysctl", "unit", "drop_in")


@pytest.mark.parametrize("place", FOREIGN)
def test_a_file_of_somebody_elses_is_not_overwritten(place: str) -> None:
    path = getattr(MACHINE, place)
    folders = BARE.folders | {path.rpartition("/")[0]}
    facts = dataclasses.replace(BARE, files={path: "# mine\n"}, folders=folders)
    with pytest.raises(Refused, match=f"{path}.*move it away"):
        installation(facts, PACKAGE)
    away = dataclasses.replace(facts, files={})
    assert installation(after(away, installation(away, PACKAGE)), PACKAGE) == ()


def test_limits_of_somebody_elses_stay_where_ours_are_not_needed() -> None:
    generous = dict.fromkeys((WATCHES, INSTANCES, EVENTS), 2_000_000)
    facts = dataclasses.replace(BARE, kernel=generous, files={MACHINE.sysctl: f"{WATCHES} = 2000000\n"})
    done = after(facts, installation(facts, PACKAGE))
    assert after(done, removal(done)).files == facts.files


@pytest.mark.parametrize("place", FOREIGN)
def test_a_file_of_an_installation_is_brought_up_to_date(place: str) -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    path = getattr(MACHINE, place)
    older = dataclasses.replace(done, files={**done.files, path: "# of an earlier version\n"})
    assert after(older, installation(older, PACKAGE)).files[path] == done.files[path]


def test_something_else_with_the_commands_name_stays() -> None:
    facts = dataclasses.replace(BARE, link="/usr/local/bin/watcherd")
    done = after(facts, installation(facts, PACKAGE))
    assert done.link == facts.link
    assert after(done, removal(done)).link == facts.link


def test_other_instances_keep_what_they_live_on() -> None:
    done = after(BARE, installation(BARE, PACKAGE))
    with_others = dataclasses.replace(done, other_configurations=("/etc/watcherd/photos.toml",))
    with pytest.raises(Refused, match=r"photos\.toml"):
        removal(with_others)
    kept = after(with_others, removal(with_others, keep_data=True))
    assert (kept.has_state, kept.has_account, kept.link) == (True, True, BARE.program)
    for path in (MACHINE.template, MACHINE.sysctl):
        assert kept.files[path] == done.files[path]
    assert (MACHINE.unit in kept.files, kept.is_active) == (False, False)


def test_the_folder_of_the_command_that_others_need_stays_as_well() -> None:
    facts = dataclasses.replace(BARE, folders=BARE.folders - {"/usr/local/bin"})
    done = after(facts, installation(facts, PACKAGE))
    with_others = dataclasses.replace(done, other_configurations=("/etc/watcherd/photos.toml",))
    assert "/usr/local/bin" not in [
        step.path for step in removal(with_others, keep_data=True) if isinstance(step, RemoveFolder)
    ]


def test_where_nothing_was_installed_nothing_is_removed() -> None:
    by_hand = dataclasses.replace(BARE, has_state=True, has_account=True, files={MACHINE.config: "", MACHINE.unit: ""})
    assert removal(by_hand) == ()
