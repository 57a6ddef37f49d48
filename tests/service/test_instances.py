"""The service and further instances on one machine: whoever comes and goes, in whatever order, nothing is left."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.test_plan import BARE, PACKAGE, Model, commands
from watcherd.service import texts
from watcherd.service.places import MACHINE, RECORD, Places, of_instance
from watcherd.service.plan import Facts, Refused, installation
from watcherd.service.removal import removal
from watcherd.service.steps import RemoveFolder, Step, WriteFile
from watcherd.service.texts import Folder

ALL = (MACHINE, of_instance("photos"), of_instance("scans-2"))
PHOTOS = ALL[1]


class Machine:
    """A machine in the mind, with what several services share on it, and what each has for itself."""

    def __init__(self) -> None:
        self.files: dict[str, str | None] = {}
        self.folders = set(BARE.folders)
        self.kernel = dict(BARE.kernel)
        self.link: str | None = None
        self.has_account = False
        self.states: set[str] = set()
        self.running: set[str] = set()

    def facts(self, places: Places) -> Facts:
        """As `facts.look` would tell them of one service."""
        root = Folder(path=f"/srv/{places.service}", mount_point="/")
        prefix = f"/etc/watcherd/{RECORD}"
        records = {
            path: text
            for path, text in self.files.items()
            if path.startswith(prefix) and path != places.record and text
        }
        return dataclasses.replace(
            BARE,
            places=places,
            files={path: text for path in places.files() if (text := self.files.get(path)) is not None},
            folders=frozenset(self.folders | self.states),
            kernel=dict(self.kernel),
            link=self.link,
            has_account=self.has_account,
            has_state=places.state in self.states | self.folders,
            configured=(root.path,) if self.files.get(places.config) else (),
            wanted=(root,),
            is_enabled=places.service in self.running,
            is_active=places.service in self.running,
            other_records=records,
        )

    def install(self, places: Places) -> Sequence[Step]:
        facts = self.facts(places)
        steps = installation(facts, PACKAGE)
        self._carry_out(facts, steps)
        return steps

    def uninstall(self, places: Places, *, keep_data: bool = False) -> Sequence[Step]:
        facts = self.facts(places)
        steps = removal(facts, keep_data=keep_data)
        self._carry_out(facts, steps)
        return steps

    def _carry_out(self, facts: Facts, steps: Sequence[Step]) -> None:
        model, places = Model(facts), facts.places
        for step in steps:
            model.do(step)
            if isinstance(step, RemoveFolder) and step.with_content:
                below = {path for path in self.states if path.startswith(step.path + "/")}
                kept = {f"{step.path}/{name}" for name in step.keep}
                assert below <= kept, "the state of another goes with it"
                model.folders -= set() if step.keep else {step.path}
        was_running = places.service in self.running
        self.files = {path: text for path, text in self.files.items() if path not in facts.files} | model.files
        self.states &= model.folders
        self.folders = set(model.folders) - {places.state} - self.states
        self.kernel, self.link, self.has_account = model.kernel, model.state["link"], bool(model.state["has_account"])
        if model.state["is_active"]:
            assert self.has_account
            assert places.unit in self.files if places.unit else places.template in self.files
            self.states.add(places.state)
        if was_running and not model.state["is_active"]:
            assert not model.state["is_enabled"]
        self.running = self.running - {places.service} | ({places.service} if model.state["is_active"] else set())
        for service in self.running:  # whoever runs has what it runs from
            of = next(one for one in ALL if one.service == service)
            assert self.files.get(of.unit or of.template), f"{service} has lost its unit"
            assert self.has_account
            assert of.state in self.states
            assert self.link

    def left(self) -> dict[str, object]:
        """All that is not as it was at first."""
        files = {path for path, text in self.files.items() if text is not None}
        rest = (self.kernel == dict(BARE.kernel), self.link, self.has_account)
        return {"files": files, "folders": self.folders - BARE.folders, "states": self.states, "rest": rest}


NOTHING = {"files": set(), "folders": set(), "states": set(), "rest": (True, None, False)}


@given(st.permutations(ALL), st.permutations(ALL), st.sets(st.sampled_from(ALL), max_size=2))
def test_in_whatever_order_they_come_and_go_nothing_is_left(
    coming: list[Places], going: list[Places], kept_at_first: set[Places]
) -> None:
    machine = Machine()
    for places in coming:
        machine.install(places)
    assert machine.running == {"watcherd", "watcherd@photos", "watcherd@scans-2"}
    for places in ALL:
        assert machine.install(places) == ()
    for places in kept_at_first:
        machine.uninstall(places, keep_data=True)
        assert machine.files[places.config]
        assert places.state in machine.states
    for places in going:
        machine.uninstall(places)
        assert machine.uninstall(places) == ()
    assert machine.left() == NOTHING


@given(st.lists(st.sampled_from(ALL), max_size=8))
def test_who_comes_back_finds_all_that_it_needs(changing: list[Places]) -> None:
    machine = Machine()
    for places in changing:
        if places.service in machine.running:
            machine.uninstall(places)
        else:
            machine.install(places)
    for places in ALL:
        machine.uninstall(places)
    assert machine.left() == NOTHING


def test_an_instance_has_a_configuration_a_state_a_drop_in_and_a_service_of_its_own() -> None:
    machine = Machine()
    machine.install(MACHINE)
    steps = machine.install(PHOTOS)

    written = {step.path for step in steps if isinstance(step, WriteFile)}
    assert written == {
        "/etc/watcherd/installed@photos",
        "/etc/watcherd/photos.toml",
        "/etc/systemd/system/watcherd@photos.service.d/10-roots.conf",
    }
    drop_in = machine.files["/etc/systemd/system/watcherd@photos.service.d/10-roots.conf"] or ""
    assert "ReadWritePaths=-/srv/watcherd@photos\n" in drop_in
    assert "systemctl edit watcherd@photos" in drop_in
    assert commands(steps) == [
        "systemctl daemon-reload",
        "systemctl enable watcherd@photos",
        "systemctl start watcherd@photos",
    ]
    gone = machine.uninstall(PHOTOS)
    assert commands(gone) == [
        "systemctl stop watcherd@photos",
        "systemctl disable watcherd@photos",
        "systemctl daemon-reload",
    ]
    assert machine.running == {"watcherd"}


def test_the_machines_service_leaves_the_states_of_instances_alone() -> None:
    machine = Machine()
    machine.install(MACHINE)
    machine.install(PHOTOS)
    (removed,) = [step for step in machine.uninstall(MACHINE) if isinstance(step, RemoveFolder) and step.with_content]
    assert str(removed) == "remove what is in the folder /var/lib/watcherd, but for photos"


def test_kernel_limits_that_are_passed_on_go_back_with_the_last() -> None:
    machine = Machine()
    machine.install(MACHINE)
    machine.install(PHOTOS)
    machine.uninstall(MACHINE)
    assert machine.kernel != dict(BARE.kernel)
    machine.uninstall(PHOTOS)
    assert machine.kernel == dict(BARE.kernel)


def test_an_instance_that_was_made_by_hand_is_not_left_without_its_unit() -> None:
    machine = Machine()
    machine.install(PHOTOS)
    facts = dataclasses.replace(machine.facts(PHOTOS), other_configurations=("/etc/watcherd/hand.toml",))
    with pytest.raises(Refused, match=r"hand\.toml"):
        removal(facts)
    machine.install(MACHINE)
    facts = dataclasses.replace(machine.facts(PHOTOS), other_configurations=("/etc/watcherd/hand.toml",))
    assert removal(facts)


def test_a_file_that_another_installation_made_is_brought_up_to_date() -> None:
    machine = Machine()
    machine.install(MACHINE)
    machine.files[MACHINE.template] = "# of an earlier version\n"
    machine.install(PHOTOS)
    assert machine.files[MACHINE.template] == texts.unit(PACKAGE.systemd["watcherd@.service"], BARE.program)
    machine.files[MACHINE.template] = "# mine\n"
    machine.files[MACHINE.record] = machine.files[PHOTOS.record] = ""
    with pytest.raises(Refused, match="move it away"):
        machine.install(PHOTOS)


@pytest.mark.parametrize("name", ["", "config", "installed", "a/b", "a b", "-a", ".", "é", "x" * 61, "a@b", "a%n"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no instance's name"):
        of_instance(name)
