"""`watcherd verify`: what is not as it was written is told of; what somebody edited is left alone."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.cli.kept import Kept, kept_in
from tests.places import RIGHT, picture, read, write
from watcherd.cli import watcherd
from watcherd.cli.exits import Exit
from watcherd.model import Source


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return kept_in(tmp_path)


def verify(kept: Kept, *arguments: str) -> Result:
    command = ["verify", *arguments, "--state-dir", str(kept.state), "--json"]
    return CliRunner().invoke(watcherd, command, standalone_mode=False)


def conditions(result: Result) -> dict[str, str]:
    lines = [json.loads(line) for line in result.output.splitlines()]
    return {os.path.basename(line["path"]): line["condition"] for line in lines if line["message_type"] == "derivative"}


def test_what_is_as_it_was_written_is_right(kept: Kept) -> None:
    result = verify(kept)

    assert (result.exception, result.return_value) == (None, Exit.OK)
    assert json.loads(result.output) == {
        "v": 1,
        "message_type": "summary",
        "checked": 4,
        "conditions": {},
        "made_again": 0,
    }


def test_what_is_missing_cut_off_outdated_or_edited_is_told_apart(kept: Kept) -> None:
    (kept.photos / "a.jpg.thumbnail.jpg").unlink()
    write(kept.photos, b"a.jpg.web.jpg", read(kept.photos, b"a.jpg.web.jpg")[:-100])
    write(kept.photos, b"b.jpg.thumbnail.jpg", picture(RIGHT))
    write(kept.photos, b"b.jpg.web.jpg", b"a person's picture")

    result = verify(kept, "--dry-run")

    assert result.return_value == Exit.SOME_FAILED
    assert conditions(result) == {
        "a.jpg.thumbnail.jpg": "missing",
        "a.jpg.web.jpg": "damaged",
        "b.jpg.thumbnail.jpg": "outdated",
        "b.jpg.web.jpg": "edited",
    }


def test_an_edit_that_kept_the_mark_is_an_edit(kept: Kept) -> None:
    content = read(kept.photos, b"a.jpg.web.jpg")
    write(kept.photos, b"a.jpg.web.jpg", content[:-2] + b"\x55" * 50 + content[-2:])

    assert conditions(verify(kept)) == {"a.jpg.web.jpg": "edited"}


@pytest.mark.parametrize(
    ("place", "found"), [("a.jpg", {"a.jpg.web.jpg"}), ("b.jpg", set[str]()), ("", {"a.jpg.web.jpg"})]
)
def test_only_what_lies_below_the_given_paths_is_looked_at(kept: Kept, place: str, found: set[str]) -> None:
    (kept.photos / "a.jpg.web.jpg").unlink()

    assert set(conditions(verify(kept, "--dry-run", str(kept.photos / place)))) == found


def test_a_path_that_nobody_watched_is_refused(kept: Kept) -> None:
    assert "not below any folder" in str(verify(kept, "/usr").exception)


def test_without_a_daemon_and_a_configuration_nothing_is_made(kept: Kept) -> None:
    (kept.photos / "a.jpg.web.jpg").unlink()

    result = verify(kept)

    assert "--config" in str(result.exception)
    assert not (kept.photos / "a.jpg.web.jpg").exists()


def test_deep_finds_what_no_decoder_takes_and_what_has_other_sides(kept: Kept) -> None:
    """The derivatives of the other tests are no pictures: only one is made a real one here, of the wrong size."""
    with kept.ledger() as ledger:
        (root,) = ledger.roots()
        entry = ledger.entry(Source(root, b"a.jpg"))
        assert entry is not None
        comment = read(kept.photos, b"a.jpg.web.jpg").split(b"watcherd/1")[1].split(b"\xff\xda")[0]
        encoded = io.BytesIO()
        Image.new("RGB", (40, 30)).save(encoded, "JPEG", comment=b"watcherd/1" + comment)
        stamp = write(kept.photos, b"a.jpg.web.jpg", encoded.getvalue())
        web = replace(entry.derivatives[1], size_bytes=stamp.size_bytes, mtime_ns=stamp.mtime_ns, width=40, height=30)
        ledger.record(replace(entry, derivatives=(entry.derivatives[0], web)))
        ledger.commit()

    assert conditions(verify(kept, "--deep", "--dry-run", str(kept.photos / "a.jpg"))) == {
        "a.jpg.thumbnail.jpg": "damaged"
    }
    with kept.ledger() as ledger:
        ledger.record(replace(entry, derivatives=(entry.derivatives[0], replace(web, width=41))))
        ledger.commit()
    assert conditions(verify(kept, "--deep", "--dry-run", str(kept.photos / "a.jpg"))) == {
        "a.jpg.thumbnail.jpg": "damaged",
        "a.jpg.web.jpg": "damaged",
    }
