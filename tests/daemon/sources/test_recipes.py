"""The daemon's core in a played world: the settings of variants change between two runs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.world import File, World
from watcherd.model import PREVIEW, THUMBNAIL, JobClass, OutputFormat, State

WEBP = replace(THUMBNAIL, format=OutputFormat.WEBP)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        world.put(b"a.jpg", b"picture a")
        world.run()
        yield world


def restart(world: World, *variants: object) -> None:
    world.die()
    world.variants = variants  # type: ignore[assignment]
    world.start()


def test_only_the_variant_whose_settings_changed_is_made_again_and_others_go_first(world: World) -> None:
    restart(world, THUMBNAIL, replace(PREVIEW, quality=70))
    preview = world.disk[b"a.jpg.preview.jpg"]
    thumbnail = world.disk[b"a.jpg.thumbnail.jpg"]
    world.scan(b"a.jpg")
    world.pass_()
    (job,) = world.core.queue.upcoming(5) or [attempt.job for attempt in world.core.attempts.under_way()]
    assert job.job_class is JobClass.RECIPE

    world.run()
    assert world.disk[b"a.jpg.thumbnail.jpg"] is thumbnail
    assert world.disk[b"a.jpg.preview.jpg"] is not preview
    assert world.core.queue.depth()[JobClass.UPLOAD] == 0


def test_the_file_in_the_old_format_goes_when_the_new_one_is_there(world: World) -> None:
    restart(world, WEBP, PREVIEW)
    world.scan(b"a.jpg")
    world.run()

    assert set(world.disk) == {b"a.jpg", b"a.jpg.thumbnail.webp", b"a.jpg.preview.jpg"}
    assert [made.variant for made in world.entry(b"a.jpg").derivatives] == ["preview", "thumbnail"]
    assert world.entry(b"a.jpg").state is State.DONE


def test_there_and_back_leaves_one_file_of_a_variant(world: World) -> None:
    for variant, extension in ((WEBP, b"webp"), (THUMBNAIL, b"jpg"), (WEBP, b"webp")):
        restart(world, variant, PREVIEW)
        world.scan(b"a.jpg")
        world.run()

        assert set(world.disk) == {b"a.jpg", b"a.jpg.thumbnail." + extension, b"a.jpg.preview.jpg"}


def test_nothing_is_asked_to_be_removed_where_no_format_changed(world: World) -> None:
    restart(world, THUMBNAIL, replace(PREVIEW, quality=70))
    asked: list[str] = []
    world.hook = lambda effect: asked.append(type(effect.request).__name__)
    world.scan(b"a.jpg")
    world.run()

    assert "Publish" in asked
    assert "Remove" not in asked


def test_a_variant_that_was_taken_out_keeps_its_file_until_it_is_pruned(world: World) -> None:
    restart(world, PREVIEW)
    world.scan(b"a.jpg")
    world.run(4000)

    assert set(world.disk) == {b"a.jpg", b"a.jpg.thumbnail.jpg", b"a.jpg.preview.jpg"}
    assert isinstance(world.disk[b"a.jpg.thumbnail.jpg"], File)
    assert world.rendered == [b"picture a"]
