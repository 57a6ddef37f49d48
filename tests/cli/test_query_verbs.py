"""Queries and wishes without a daemon: what the ledger says, and what a wish leaves in it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watcherd.cli import watcherd
from watcherd.cli.exits import Exit, Stop
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, JobClass, Reason, Source, Stamp, State, Verdict

DIGEST = bytes(range(32))
STAMP = Stamp(10, 1, 2, 3, 1)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory whose ledger knows one done, one failed and one quarantined source."""
    folder = tmp_path / "state"
    folder.mkdir()
    root_path = tmp_path / "photos"
    root_path.mkdir()
    with Ledger.open(str(folder / "ledger.db")) as ledger:
        root = ledger.root_id(bytes(root_path))
        ledger.record(Entry(source=Source(root, b"done.jpg"), state=State.DONE, stamp=STAMP))
        ledger.record(
            Entry(
                source=Source(root, b"sub/\xff\n.jpg"),
                state=State.QUARANTINED,
                stamp=STAMP,
                digest=DIGEST,
                reason=Reason.CRASHED,
                detail="its worker crashed (SIGSEGV)",
                faults=3,
            )
        )
        ledger.record(
            Entry(source=Source(root, b"failed.jpg"), state=State.FAILED, stamp=STAMP, reason=Reason.READ_ERROR)
        )
        verdict = Verdict(digest=DIGEST, seen_by=1, quarantined=True, reason=Reason.CRASHED, detail="")
        ledger.put_verdict(verdict)
        ledger.commit()
    return folder


def ask(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(watcherd, [*arguments, "--state-dir", str(state)], standalone_mode=False)


def test_the_status_counts_every_state_and_names_the_failures(state: Path) -> None:
    told = json.loads(ask(state, "status", "--json").stdout)

    assert told["sources"] == {
        **dict.fromkeys(("pending", "ignored", "incomplete", "rejected"), 0),
        **dict.fromkeys(("done", "failed", "quarantined"), 1),
    }
    assert told["daemon"] is None
    assert {row["state"] for row in told["failures"]} == {"failed", "quarantined"}


def test_the_status_for_people_escapes_names(state: Path) -> None:
    text = ask(state, "status").stdout

    assert "\\udcff\\n.jpg: crashed: its worker crashed (SIGSEGV)" in text


def test_a_files_status_says_why_it_is_not_done(state: Path, tmp_path: Path) -> None:
    told = json.loads(ask(state, "status", str(tmp_path / "photos" / "failed.jpg"), "--json").stdout)

    assert (told["state"], told["reason"]) == ("failed", "read_error")
    assert "watcherd retry" in told["explanation"]


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("derivative", "it is a derivative of another file"),
        ("empty", "it has no content"),
        ("no_picture", "it is no picture"),
        ("symlink", "it is no picture (symlink)"),
    ],
)
def test_a_files_status_says_why_it_is_ignored(state: Path, tmp_path: Path, detail: str, expected: str) -> None:
    with Ledger.open(str(state / "ledger.db")) as ledger:
        root = ledger.root_id(os.fsencode(tmp_path / "photos"))
        ledger.record(Entry(source=Source(root, b"other.jpg"), state=State.IGNORED, stamp=STAMP, detail=detail))
        ledger.commit()
    told = json.loads(ask(state, "status", str(tmp_path / "photos" / "other.jpg"), "--json").stdout)
    assert told["explanation"] == expected


def test_a_file_that_is_not_known_is_said_to_be_so(state: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "never.jpg").touch()
    assert "it was never seen" in said(state, tmp_path / "photos" / "never.jpg")


def said(state: Path, file: Path) -> str:
    result = ask(state, "status", str(file))
    assert isinstance(result.exception, Stop)
    return result.exception.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nothing.jpg", "there is no such file"),
        (".hidden/a.jpg", "is a hidden one"),
        ("a.jpg.part", "is that of an unfinished upload"),
        ("Thumbs.db", "what systems leave behind"),
        ("left/out.jpg", "a .watcherdignore leaves it out"),
        ("link.jpg", "it is a symbolic link"),
        ("folder", "it is a folder"),
        ("done.jpg.thumbnail.jpg", "it has the name of a derivative of done.jpg"),
        ("../outside.jpg", "it is not below any folder"),
    ],
)
def test_a_file_that_will_not_be_known_is_told_why(state: Path, tmp_path: Path, name: str, expected: str) -> None:
    with Ledger.open(str(state / "ledger.db")) as ledger:
        ledger.note_variants([("thumbnail", "jpg")])
        ledger.commit()
    photos = tmp_path / "photos"
    (photos / ".hidden").mkdir()
    (photos / "left").mkdir()
    (photos / "folder").mkdir()
    (photos / ".watcherdignore").write_text("left/\n")
    for file in (".hidden/a.jpg", "a.jpg.part", "Thumbs.db", "left/out.jpg", "done.jpg.thumbnail.jpg"):
        (photos / file).touch()
    (photos / "link.jpg").symlink_to("done.jpg")
    assert expected in said(state, photos / name)


def test_the_queue_belongs_to_a_running_daemon(state: Path) -> None:
    result = ask(state, "status", "--queue")

    assert result.exception is not None
    assert result.exception.exit_code == Exit.UNREACHABLE  # type: ignore[attr-defined]


def test_the_quarantine_lists_what_is_in_it(state: Path) -> None:
    (row,) = json.loads(ask(state, "quarantine", "list", "--json").stdout)["quarantined"]

    assert row["reason"] == "crashed"
    assert row["source"].endswith("sub/\udcff\n.jpg")


@pytest.mark.parametrize("wish", [("retry", "--failed"), ("quarantine", "release", "--all")])
def test_a_wish_without_a_daemon_waits_in_the_ledger(state: Path, wish: tuple[str, ...]) -> None:
    result = ask(state, *wish)
    assert result.exception is None, result.exception

    with Ledger.open(str(state / "ledger.db"), read_only=True) as ledger:
        entry = ledger.entry(Source(1, b"sub/\xff\n.jpg"))
        assert entry is not None
        assert (entry.state, entry.job_class, entry.faults) == (State.PENDING, JobClass.MANUAL, 0)
        assert ledger.verdict(DIGEST) is None
        assert [one.source.path for one in ledger.failures(limit=-1)] == ([] if wish[0] == "retry" else [b"failed.jpg"])


@pytest.mark.parametrize(
    "arguments", [("retry",), ("retry", "a.jpg", "--failed"), ("quarantine", "release"), ("scan", "--nonsense", ".")]
)
def test_wrong_usage_is_exit_2(state: Path, arguments: tuple[str, ...]) -> None:
    result = ask(state, *arguments)

    assert result.exception is not None
    assert result.exception.exit_code == Exit.USAGE  # type: ignore[attr-defined]


def test_without_a_ledger_that_is_said(tmp_path: Path) -> None:
    result = ask(tmp_path, "status")

    assert result.exception is not None
    assert "nothing ran with this state directory yet" in result.exception.format_message()  # type: ignore[attr-defined]
