"""`watcherd prune` without a daemon: what is not needed any more goes, and nothing else."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.kept import Kept, kept_in
from tests.places import RIGHT, picture, write
from watcherd.cli import watcherd
from watcherd.cli.exits import Exit
from watcherd.model import Source

THUMBNAIL_ONLY = '[[roots]]\npath = "photos"\n[variants.thumbnail]\npreset = "thumbnail"\n'
ALL = {"a.jpg", "a.jpg.thumbnail.jpg", "a.jpg.web.jpg", "b.jpg", "b.jpg.thumbnail.jpg", "b.jpg.web.jpg"}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "config.toml").write_text(THUMBNAIL_ONLY)
    return kept_in(tmp_path)


def prune(kept: Kept, *arguments: str) -> Result:
    command = ["prune", *arguments, "--state-dir", str(kept.state)]
    return CliRunner().invoke(watcherd, command, standalone_mode=False)


def with_config(kept: Kept, *arguments: str) -> Result:
    return prune(kept, "--config", str(kept.folder / "config.toml"), *arguments)


def variants(kept: Kept, name: bytes) -> list[str]:
    with kept.ledger() as ledger:
        (root,) = ledger.roots()
        entry = ledger.entry(Source(root, name))
        return [made.variant for made in entry.derivatives] if entry else []


def test_derivatives_of_a_variant_that_was_taken_out_go(kept: Kept) -> None:
    result = with_config(kept)

    assert (result.exception, result.return_value) == (None, Exit.OK)
    assert kept.names() == ALL - {"a.jpg.web.jpg", "b.jpg.web.jpg"}
    assert variants(kept, b"a.jpg") == ["thumbnail"]
    assert "a.jpg.web.jpg: removed: its variant is not configured any more" in result.output


def test_a_dry_run_tells_the_same_and_removes_nothing(kept: Kept) -> None:
    result = with_config(kept, "--dry-run", "--json")

    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [(os.path.basename(line["path"]), line["why"], line["fate"]) for line in lines[:-1]] == [
        ("a.jpg.web.jpg", "variant_removed", "dry_run"),
        ("b.jpg.web.jpg", "variant_removed", "dry_run"),
    ]
    assert lines[-1] == {"v": 1, "message_type": "summary", "fates": {"dry_run": 2}, "skipped_roots": []}
    assert kept.names() == ALL
    assert variants(kept, b"a.jpg") == ["thumbnail", "web"]


def test_without_a_configuration_no_variant_counts_as_taken_out(kept: Kept) -> None:
    result = prune(kept)

    assert result.return_value == Exit.OK
    assert kept.names() == ALL


def test_what_somebody_edited_is_kept_and_told_of(kept: Kept) -> None:
    write(kept.photos, b"a.jpg.web.jpg", b"a person's picture")

    result = with_config(kept)

    assert kept.names() == ALL - {"b.jpg.web.jpg"}
    assert "a.jpg.web.jpg: kept: it is not as watcherd wrote it" in result.output
    assert variants(kept, b"a.jpg") == ["thumbnail"]


def test_orphans_go_also_in_folders_that_the_ledger_does_not_know(kept: Kept) -> None:
    (kept.photos / "sub").mkdir()
    write(kept.photos, b"sub/gone.jpg.thumbnail.jpg", picture(RIGHT))
    write(kept.photos, b"sub/lookalike.jpg.thumbnail.jpg", picture(None))

    result = prune(kept)

    assert os.listdir(kept.photos / "sub") == ["lookalike.jpg.thumbnail.jpg"]
    assert "sub/gone.jpg.thumbnail.jpg: removed: no source is there or known" in result.output
    assert kept.names() == {*ALL, "sub"}


def test_derivatives_of_a_source_that_is_gone_and_still_waited_for_are_no_orphans(kept: Kept) -> None:
    with kept.ledger() as ledger:
        kept.add(ledger, b"c.jpg", "thumbnail", gone_at_s=5.0)
        ledger.commit()

    prune(kept)

    assert kept.names() == {*ALL, "c.jpg.thumbnail.jpg"}


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_brake_holds_back_is_confirmed(kept: Kept, *, dry_run: bool) -> None:
    with kept.ledger() as ledger:
        kept.add(ledger, b"c.jpg", "thumbnail", gone_at_s=5.0)
        ledger.set_held_since(ledger.root_id(os.fsencode(kept.photos)), 6.0)
        ledger.commit()

    result = prune(kept, *(["--dry-run"] if dry_run else []))

    assert "c.jpg.thumbnail.jpg" in result.output
    assert ("c.jpg.thumbnail.jpg" in kept.names()) is dry_run
    with kept.ledger() as ledger:
        (root,) = ledger.roots()
        assert (ledger.held_since_s(root) is not None, ledger.count_gone(root)) == (dry_run, int(dry_run))


def test_a_source_that_is_back_keeps_its_derivatives_when_the_brake_is_confirmed(kept: Kept) -> None:
    with kept.ledger() as ledger:
        kept.add(ledger, b"c.jpg", "thumbnail", gone_at_s=5.0)
        ledger.set_held_since(ledger.root_id(os.fsencode(kept.photos)), 6.0)
        ledger.commit()
    write(kept.photos, b"c.jpg", b"source c.jpg")

    prune(kept)

    assert "c.jpg.thumbnail.jpg" in kept.names()


def test_a_root_that_is_not_watched_any_more_loses_its_derivatives_and_is_forgotten(kept: Kept) -> None:
    result = prune(kept, "--root", str(kept.photos))

    assert result.return_value == Exit.OK
    assert kept.names() == {"a.jpg", "b.jpg"}
    with kept.ledger() as ledger:
        assert ledger.roots() == {}


def test_a_root_that_was_never_watched_is_refused(kept: Kept) -> None:
    result = prune(kept, "--root", str(kept.folder))

    assert "was never watched" in str(result.exception)
    assert kept.names() == ALL


def test_a_root_that_is_not_there_is_told_of_and_not_forgotten(kept: Kept) -> None:
    kept.photos.rename(kept.folder / "elsewhere")

    result = prune(kept, "--root", str(kept.photos))

    assert result.return_value == Exit.FAILED
    assert f"{kept.photos} is not there" in result.output
    with kept.ledger() as ledger:
        assert len(ledger.roots()) == 1


def test_a_disk_that_will_not_come_back_is_given_up_by_its_folder(kept: Kept) -> None:
    with kept.ledger() as ledger:
        (root,) = ledger.roots()
        ledger.set_mount(root, b"card", "uuid=1")
        ledger.commit()
    card = str(kept.photos / "card")

    assert f"{card}: what lay on the disk there would count" in prune(kept, "--root", card, "--dry-run").output
    with kept.ledger() as ledger:
        assert ledger.mounts(root) == {b"card": "uuid=1"}
    result = prune(kept, "--root", card)
    assert (result.exception, result.return_value) == (None, Exit.OK)
    with kept.ledger() as ledger:
        assert ledger.mounts(root) == {}
    assert kept.names() == ALL
