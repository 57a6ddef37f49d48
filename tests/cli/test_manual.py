"""The manual pages: everything that there is stands in them, and nothing else can."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from watcherd.cli import VERBS, watcherd
from watcherd.cli.exits import Exit
from watcherd.cli.manual import command_page, configuration_page
from watcherd.config.reading import SECTIONS, VARIANT_KEYS
from watcherd.settings import RootSettings


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every verb with its whole name."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            below = click.Context(inner, parent=context, info_name=name)
            yield below.command_path.removeprefix("watcherd "), inner
            yield from commands(inner, below)


ALL = list(commands(watcherd, click.Context(watcherd, info_name="watcherd")))


def plain(page: str) -> str:
    return page.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "").replace("\\fB", "").replace("\\fR", "")


def section(page: str, name: str) -> str:
    found = re.search(rf"^\.S[HS] {re.escape(name)}\b.*?(?=^\.S[HS] |\Z)", plain(page), re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {name}"
    return found[0]


@pytest.mark.parametrize("path", [path for path, _ in ALL])
def test_each_verb_has_its_section_with_all_its_options(path: str) -> None:
    text = section(command_page(), path)
    command = dict(ALL)[path]
    for option in command.params:
        for name in option.opts if isinstance(option, click.Option) else []:
            assert name in text
            assert option.help
            assert " ".join(option.help.split()) in text


def test_every_verb_of_the_table_is_there() -> None:
    assert {path.split()[0] for path, _ in ALL} == set(VERBS)


def test_each_exit_code_is_explained() -> None:
    text = section(command_page(), "EXIT STATUS")
    assert [int(code) for code in re.findall(r"^\.TP\n(\d+)$", text, re.MULTILINE)] == [int(code) for code in Exit]


def test_each_setting_is_a_term_of_the_configurations_page() -> None:
    terms = re.findall(r"^\.TP\n([a-z_]+) = ", plain(configuration_page()), re.MULTILINE)
    wanted = [field.name for kind in SECTIONS.values() for field in fields(kind)]
    wanted += [*(field.name for field in fields(RootSettings)), *VARIANT_KEYS]
    assert sorted(terms) == sorted(wanted)


def test_each_setting_stands_in_its_section_with_its_explanation() -> None:
    page = configuration_page()
    for name, kind in SECTIONS.items():
        text = section(page, name.upper())
        for field in fields(kind):
            found = re.search(rf"^{field.name} = .*\n(.+)$", text, re.MULTILINE)
            assert found, field.name
            assert len(found[1]) > 5, field.name


@pytest.mark.parametrize("page", [command_page, configuration_page])
def test_the_formatter_has_nothing_to_complain_of(page: object) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    assert callable(page)
    done = subprocess.run(
        [groff, "-Kutf8", "-man", "-Tutf8", "-ww", "-z"], input=page(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_verb_prints_the_pages() -> None:
    run = CliRunner()
    assert run.invoke(watcherd, ["man"]).output == command_page()
    assert run.invoke(watcherd, ["man", "watcherd.toml"]).output == configuration_page()
