"""The verbs `prune` and `discard` of a running daemon, in a played world."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.verbs.test_requests import Client
from tests.daemon.world import World
from watcherd.daemon.control import Request
from watcherd.daemon.effects import AskHands
from watcherd.daemon.verbs.requests import Verbs
from watcherd.daemon.verbs.upkeep import Upkeep
from watcherd.model import PREVIEW, THUMBNAIL
from watcherd.settings import DaemonSettings, Settings
from watcherd.watch.hands.hands import Fault, Remove
from watcherd.watch.hands.orphans import FindOrphans, Orphan, OrphansFound

SETTINGS = Settings(daemon=DaemonSettings(brake_share=0.1, brake_floor=0))


@dataclass
class Asked:
    """A request that a client makes, served until its last frame."""

    world: World
    body: dict[str, Any]
    client: Client = field(default_factory=Client)

    def run(self) -> list[dict[str, Any]]:
        upkeep = Upkeep(self.world.core, lambda effect: self.world.carry_out([effect]))
        verbs = Verbs(self.world.core, upkeep)
        self.world.carry_out(verbs.requested(Request(connection=self.client, body=self.body), self.world.moment))
        for _ in range(50):
            upkeep.due(self.world.moment)
            self.world.settle_down()
        return self.client.answers


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, settings=SETTINGS, now=1000.125) as world:
        for name in (b"a.jpg", b"b.jpg"):
            world.put(name, b"picture " + name)
        world.run()
        yield world


def restart(world: World, *variants: Any) -> None:
    world.die()
    world.variants = variants
    world.start()


def found(answers: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [tuple(answer["finding"].values()) for answer in answers if "finding" in answer]


def test_variants_that_were_taken_out_are_pruned(world: World) -> None:
    restart(world, PREVIEW)

    answers = Asked(world, {"verb": "prune"}).run()

    assert found(answers) == [
        ("/photos/a.jpg.thumbnail.jpg", "variant_removed", "done"),
        ("/photos/b.jpg.thumbnail.jpg", "variant_removed", "done"),
    ]
    assert answers[-1] == {"skipped": [], "failed": 0, "last": True}
    assert set(world.disk) == {b"a.jpg", b"a.jpg.preview.jpg", b"b.jpg", b"b.jpg.preview.jpg"}
    assert [made.variant for made in world.entry(b"a.jpg").derivatives] == ["preview"]


def test_a_dry_run_touches_nothing(world: World) -> None:
    restart(world, PREVIEW)
    before = dict(world.disk)

    answers = Asked(world, {"verb": "prune", "dry_run": True}).run()

    assert {fate for _, _, fate in found(answers)} == {"dry_run"}
    assert world.disk == before


def test_what_the_brake_holds_goes_after_a_last_look(world: World) -> None:
    files = dict(world.disk)
    world.delete(b"a.jpg")
    world.delete(b"b.jpg")
    world.run(120)
    assert b"a.jpg.preview.jpg" in world.disk
    world.disk[b"b.jpg"] = files[b"b.jpg"]  # back, and nobody has noticed

    answers = Asked(world, {"verb": "prune"}).run()
    world.run(120)

    assert {why for _, why, _ in found(answers)} == {"source_gone"}
    assert set(world.disk) == {b"b.jpg", b"b.jpg.thumbnail.jpg", b"b.jpg.preview.jpg"}
    assert world.entry(b"b.jpg").gone_at_s is None


def test_orphans_are_removed_but_not_what_the_ledger_knows(world: World) -> None:
    def answer(asked: AskHands) -> object:
        if not isinstance(asked.request, FindOrphans):
            return None
        orphan = Orphan(path=b"x.jpg.thumbnail.jpg", source=b"x.jpg", size_bytes=1, mtime_ns=1)
        known = Orphan(path=b"a.jpg.thumbnail.jpg", source=b"a.jpg", size_bytes=1, mtime_ns=1)
        return OrphansFound(root=asked.root, ticket=asked.request.ticket, orphans=(orphan, known), folders=())

    world.hook = answer

    assert found(Asked(world, {"verb": "prune"}).run()) == [("/photos/x.jpg.thumbnail.jpg", "orphan", "done")]
    assert b"a.jpg.thumbnail.jpg" in world.disk


def test_what_cannot_be_removed_is_told_of_and_still_known(world: World) -> None:
    restart(world, PREVIEW)
    world.hook = lambda asked: (
        Fault(root=asked.root, ticket=asked.request.ticket, path=b"", errno=30, operation="unlink")
        if isinstance(asked.request, Remove)
        else None
    )

    answers = Asked(world, {"verb": "prune"}).run()

    assert answers[-1] == {"skipped": ["/photos"], "failed": 2, "last": True}
    assert len(world.entry(b"a.jpg").derivatives) == 2


def test_a_client_that_has_gone_ends_its_pruning(world: World) -> None:
    restart(world, PREVIEW)
    asked = Asked(world, {"verb": "prune"})
    asked.client.closed = True
    asked.run()

    assert b"a.jpg.thumbnail.jpg" in world.disk


def test_a_damaged_derivative_is_removed_and_made_again(world: World) -> None:
    damaged = world.disk[b"a.jpg.preview.jpg"]
    damaged.content = b"noise"

    answers = Asked(world, {"verb": "discard", "paths": ["/photos/a.jpg"], "variants": [["preview"]]}).run()
    world.run()

    assert answers == [{"discarded": 1, "last": True}]
    assert world.disk[b"a.jpg.preview.jpg"].content == b"picture of picture a.jpg"
    assert [made.variant for made in world.entry(b"a.jpg").derivatives] == ["thumbnail", "preview"]
    assert world.variants == (THUMBNAIL, PREVIEW)


@pytest.mark.parametrize("variants", [None, [], [["a"], ["b"]]])
def test_a_discard_without_its_variants_is_refused(world: World, variants: object) -> None:
    (answer,) = Asked(world, {"verb": "discard", "paths": ["/photos/a.jpg"], "variants": variants}).run()

    assert "which derivatives" in answer["error"]
