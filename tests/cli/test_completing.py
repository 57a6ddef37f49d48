"""Completion as the shells ask for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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


ASKS = {
    "bash": """
        source "$1"
        complete -p watcherd
        COMP_WORDS=(watcherd ser); COMP_CWORD=1
        _watcherd_completion watcherd ser watcherd
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        autoload -U compinit && compinit -D -u
        source "$1"
        print -r -- "$_comps[watcherd]"
        compadd() { print -r -- "$@" }; _describe() { print -rl -- ${(P)3} }
        words=(watcherd ser); CURRENT=2
        _watcherd_completion
    """,
    "fish": """
        source $argv[1]
        complete --command watcherd
        complete --do-complete "watcherd ser"
    """,
}
"""Each shell loads the script, says that it completes the command, and what it offers for `watcherd ser`."""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_loads_its_script_and_offers_what_the_program_says(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(scripts()[shell])
    command = tmp_path / "bin" / "watcherd"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable} -P\nfrom watcherd.cli import main\nmain()\n")
    command.chmod(0o755)
    no_settings = {"bash": ("--norc", "--noprofile"), "zsh": ("-f",), "fish": ("--no-config",)}[shell]
    arguments = [program, *no_settings, "-c", ASKS[shell]]
    arguments += [str(tmp_path / "script")] if shell == "fish" else [shell, str(tmp_path / "script")]
    environ = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
    first, *offered = done.stdout.splitlines()
    assert "watcherd" in first
    assert any("service" in line for line in offered), done.stdout
