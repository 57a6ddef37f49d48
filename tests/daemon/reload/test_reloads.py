"""Reloads: read in a thread, applied in the loop's, answered whatever comes of it. The inbox is a list here."""

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.verbs.test_requests import Client
from watcherd.daemon.effects import AskScanner, Effect, Moment
from watcherd.daemon.reload.origin import Origin
from watcherd.daemon.reload.refitting import Refitted
from watcherd.daemon.reload.reloads import READING_LIMIT_S, Read, Reloads
from watcherd.daemon.statedir import Busy
from watcherd.settings import Settings
from watcherd.telemetry.notify import Notifier

NOW = Moment(now=10.0, wall_s=1_800_000_000.0)
EFFECT = AskScanner(root=1, directory=b"")


class Shell:
    """What lies around the reloads: a file, a settings' taker, an inbox to wait at."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.file = folder / "config.toml"
        self.write("")
        self.applied: list[Settings] = []
        self.busy = False
        self._came: list[object] = []
        self._has_come = threading.Semaphore(0)
        origin = Origin(file=str(self.file), watch=(), state_dir=str(folder / "state"))
        self.reloads = Reloads(
            origin=origin,
            apply=self._apply,
            post=self._post,
            notifier=Notifier({}),
            summary=lambda: "all is well",
            seen=frozenset,
        )

    def write(self, text: str) -> None:
        self.file.write_text(f'[[roots]]\npath = "{self.root}"\n{text}', encoding="utf-8")

    def ask(self) -> Client:
        client = Client()
        self.reloads.ask(client, NOW)
        return client

    def take(self, moment: Moment = NOW) -> list[Effect]:
        assert self._has_come.acquire(timeout=30)
        return self.reloads.came(self._came.pop(0), moment)

    def _post(self, item: object) -> None:
        self._came.append(item)
        self._has_come.release()

    def _apply(self, settings: Settings, _: Moment) -> Refitted:
        if self.busy:
            raise Busy("another watcherd works in /there")
        self.applied.append(settings)
        return Refitted(
            added=(b"/new",), removed=(), rescanned=(), changed=(), restart=("pool.sandbox",), effects=(EFFECT,)
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_right_file_is_applied_and_answered(shell: Shell) -> None:
    shell.write("[pool]\nworkers = 3\n")
    client = shell.ask()
    effects = shell.take()

    assert effects == [EFFECT]
    assert [settings.pool.workers for settings in shell.applied] == [3]
    assert [(answer["added"], answer["restart"], answer["last"]) for answer in client.answers] == [
        (["/new"], ["pool.sandbox"], True)
    ]
    assert shell.reloads.last is not None
    assert shell.reloads.last.errors == ()


def test_a_wrong_file_changes_nothing_and_every_error_is_told_with_its_line(shell: Shell) -> None:
    shell.write("[pool]\nworkers = -1\nwrokers = 2\n")
    client = shell.ask()

    assert shell.take() == []
    assert shell.applied == []
    assert [text.split(" ")[0] for text in client.answers[0]["errors"]] == [f"{shell.file}:4:", f"{shell.file}:5:"]
    assert shell.reloads.last is not None
    assert len(shell.reloads.last.errors) == 2


def test_a_file_that_is_gone_changes_nothing(shell: Shell) -> None:
    shell.file.unlink()
    client = shell.ask()
    shell.take()

    assert shell.applied == []
    assert "cannot be read" in client.answers[0]["error"]


def test_a_root_that_another_daemon_has_is_an_error_of_the_reload(shell: Shell) -> None:
    shell.busy = True
    client = shell.ask()
    shell.take()

    assert "another watcherd works in /there" in client.answers[0]["error"]


def test_who_asks_while_the_file_is_read_gets_a_reading_of_his_own(shell: Shell) -> None:
    first = shell.ask()
    shell.write("[pool]\nworkers = 5\n")
    second, third = shell.ask(), shell.ask()
    shell.take()
    assert (len(first.answers), len(second.answers)) == (1, 0)
    shell.take()

    assert (len(second.answers), len(third.answers)) == (1, 1)
    assert shell.applied[-1].pool.workers == 5


def test_a_reading_that_takes_too_long_is_given_up_and_its_end_is_ignored(shell: Shell) -> None:
    client = shell.ask()
    late = Moment(now=NOW.now + READING_LIMIT_S, wall_s=NOW.wall_s)
    deadline = shell.reloads.due(NOW)
    shell.reloads.due(late)
    shell.take(late)

    assert deadline == late.now
    assert shell.applied == []
    assert "did not answer" in client.answers[0]["error"]


def test_an_old_reading_means_nothing(shell: Shell) -> None:
    stranger: Any = Read(number=7, settings=None)

    assert shell.reloads.came(stranger, NOW) == []
    assert shell.reloads.last is None


def test_roots_are_resolved_as_at_the_start(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(shell.root)
    shell.file.write_text(f'[[roots]]\npath = "{tmp_path / "link"}"\n', encoding="utf-8")
    shell.ask()
    shell.take()

    assert [root.path for root in shell.applied[0].roots] == [str(shell.root)]
