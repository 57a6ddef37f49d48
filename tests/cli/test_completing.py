"""Completion as the shells ask for it."""

import os
import shutil
import subprocess
import sys

import pytest

from watcherd.cli.completing import scripts

MAIN = (sys.executable, "-P", "-c", "from watcherd.cli import main; main()")


def offered(*words: str) -> list[tuple[str, str]]:
    """(Kind, value) of what bash is offered for the last word."""
    asked = {"COMP_WORDS": " ".join(("watcherd", *words)), "COMP_CWORD": str(len(words))}
    environ = {**os.environ, **asked, "_WATCHERD_COMPLETE": "bash_complete"}
    done = subprocess.run(MAIN, env=environ, capture_output=True, text=True, check=True)
    return [(kind, value) for kind, _, value in (line.partition(",") for line in done.stdout.splitlines())]


def test_verbs_and_options_are_offered() -> None:
    assert offered("ser") == [("plain", "service")]
    assert ("plain", "uninstall") in offered("service", "unin")
    assert offered("run", "--wat") == [("plain", "--watch")]
    assert ("plain", "watcherd.toml") in offered("man", "watcherd.")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--config", "/etc/"),
        ("run", "--watch", "/srv/"),
        ("scan", "pho"),
        ("status", "a"),
        ("config", "check", "c"),
    ],
)
def test_file_names_are_offered_where_a_verb_takes_files(words: tuple[str, ...]) -> None:
    assert ("file", words[-1]) in offered(*words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_this_program(shell: str) -> None:
    text = scripts()[shell]
    assert f"_WATCHERD_COMPLETE={shell}_complete" in text
    program = shutil.which(shell)
    if program is not None:
        done = subprocess.run([program, "-n"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
