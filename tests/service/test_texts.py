"""The texts of an installation: what the folders need of the unit, the first configuration, the record."""

import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.config import example
from watcherd.service.texts import (
    Folder,
    Needs,
    drop_in,
    first_configuration,
    kernel_settings,
    parse_record,
    record,
    unit,
    with_more_roots,
    writable_path,
)
from watcherd.settings import RootSettings

OPT = "/opt/watcherd/bin/watcherd"


def settings(*folders: Folder, program: str = OPT, needs: Needs | None = None) -> list[str]:
    text = drop_in(folders, needs or Needs(), program=program, config="/etc/watcherd/config.toml")
    assert text.count("[Service]\n") == 1
    return [line for line in text.splitlines() if line and not line.startswith(("#", "["))]


@pytest.mark.parametrize(
    ("path", "mount_point", "expected"),
    [
        ("/srv/uploads", "/", "/srv/uploads"),
        ("/mnt/disk", "/mnt/disk", "/mnt"),
        ("/mnt/disk/photos", "/mnt/disk", "/mnt"),
        ("/media/ann/stick/DCIM", "/media/ann/stick", "/media/ann"),
        ("/data", "/data", "/"),
        ("/home/ann/photos", "/home", "/home/ann/photos"),
        ("/var/ftp", "/var", "/var/ftp"),
        ("/srv", "/srv", "/"),
    ],
)
def test_what_holds_the_mount_point_is_writable_unless_the_disk_stays_anyway(
    path: str, mount_point: str, expected: str
) -> None:
    assert writable_path(Folder(path=path, mount_point=mount_point)) == expected


def test_a_plain_folder_needs_nothing_but_to_be_writable() -> None:
    assert settings(Folder(path="/srv/uploads", mount_point="/")) == ["ReadWritePaths=-/srv/uploads"]


def test_a_disk_directly_below_the_root_leaves_all_but_the_system_writable() -> None:
    assert settings(Folder(path="/data", mount_point="/data")) == ["ProtectSystem=full"]


def test_homes_and_temporary_folders_are_opened_only_for_who_lies_there() -> None:
    assert "ProtectHome=read-only" in settings(Folder(path="/home/ann/photos", mount_point="/"))
    assert "PrivateTmp=no" in settings(Folder(path="/tmp/photos", mount_point="/"))
    assert "ProtectHome=read-only" in settings(Folder(path="/srv/a", mount_point="/"), program="/home/ann/bin/watcherd")
    assert settings(Folder(path="/homework", mount_point="/")) == ["ReadWritePaths=-/homework"]


def test_the_groups_of_the_folders_are_named_once() -> None:
    folders = [
        Folder(path=f"/srv/{name}", mount_point="/", group=group)
        for name, group in {"a": "ftp", "b": "x", "c": "ftp"}.items()
    ]
    assert settings(*folders)[-1] == "SupplementaryGroups=ftp x"


def test_a_port_and_a_file_of_the_metrics_are_let_through() -> None:
    textfile = Folder(path="/var/lib/prometheus/node-exporter", mount_point="/", group="prometheus")
    assert settings(Folder(path="/srv/a", mount_point="/"), needs=Needs(written=(textfile,), port=True)) == [
        "ReadWritePaths=-/srv/a",
        "ReadWritePaths=-/var/lib/prometheus/node-exporter",
        "SupplementaryGroups=prometheus",
        "RestrictAddressFamilies=AF_INET",
        "IPAddressAllow=localhost",
    ]


def test_names_reach_systemd_as_they_are() -> None:
    odd = Folder(path='/srv/my "100%" photos\\new', mount_point="/")
    assert settings(odd) == ['ReadWritePaths="-/srv/my \\"100%%\\" photos\\\\new"']


def test_the_unit_starts_the_program_where_it_lies() -> None:
    text = f"ExecStart={OPT} run --config /etc/watcherd/%i.toml\nExecReload={OPT} reload\n"
    assert unit(text, OPT) == text
    assert unit(text, "/srv/my venv/bin/watcherd") == (
        'ExecStart="/srv/my venv/bin/watcherd" run --config /etc/watcherd/%i.toml\n'
        'ExecReload="/srv/my venv/bin/watcherd" reload\n'
    )


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1), min_size=1, max_size=4))
def test_the_first_configuration_is_the_example_with_the_folders(names: list[str]) -> None:
    roots = [f"/srv/{name}" for name in names]
    made = tomllib.loads(first_configuration(example(), roots))
    assert [root["path"] for root in made["roots"]] == roots
    assert {key: value for key, value in made.items() if key != "roots"} == tomllib.loads(example())


def test_the_first_configuration_keeps_the_examples_comments() -> None:
    made = first_configuration(example(), ["/srv/a"])
    lost = set(example().splitlines()) - set(made.splitlines())
    settings = tuple(f"# {field.name} = " for field in fields(RootSettings))
    assert [line for line in lost if not ("[[roots]]" in line or line.startswith((*settings, "#   ")))] == []


def test_folders_are_added_behind_a_configuration_that_is_there() -> None:
    text = '[[roots]]\npath = "/srv/a"\n\n[pool]\nworkers = 3  # mine\n'
    made = with_more_roots(text, ["/srv/b"])
    assert made.startswith(text)
    assert tomllib.loads(made) == {"roots": [{"path": "/srv/a"}, {"path": "/srv/b"}], "pool": {"workers": 3}}


def test_nothing_to_add_changes_no_byte() -> None:
    assert with_more_roots("[pool]\n\n", []) == "[pool]\n\n"


def test_a_record_is_read_as_it_was_written() -> None:
    made, kernel = ("folder /etc/watcherd", "account"), {"fs.inotify.max_user_watches": 8192}
    assert parse_record(record(made, kernel)) == (made, kernel)
    assert parse_record("") == ((), {})


def test_kernel_settings_are_read_from_their_file() -> None:
    assert kernel_settings("# a = 1\nfs.x = 3\nfs.y=4\n") == {"fs.x": 3, "fs.y": 4}
