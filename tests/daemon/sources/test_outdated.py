"""Derivatives that show what is not there any more go, recorded or not."""

import hashlib
from dataclasses import replace

from tests.daemon.outside import File
from tests.daemon.world import World
from watcherd.model import Reason, Rejected, State
from watcherd.naming import Mark

BAD = Rejected(reason=Reason.DAMAGED, detail="cut")
NAME = b"a.jpg.thumbnail.jpg"


def test_a_rejected_content_leaves_nothing_of_the_one_before_though_the_ledger_knows_none(world: World) -> None:
    world.plays[b"damaged"] = BAD
    mark = Mark(variant="thumbnail", digest=b"\x01" * 32, fingerprint=5)
    world.disk[NAME] = File(b"of another content", world.stamp_of(b"of another content"), mark)
    world.put(b"a.jpg", b"damaged")
    world.run()

    assert world.entry(b"a.jpg").state is State.REJECTED
    assert set(world.disk) == {b"a.jpg"}


def test_what_was_made_of_this_very_content_stays(world: World) -> None:
    world.put(b"a.jpg", b"picture")
    world.run()
    made = world.disk[NAME]
    assert made.mark is not None
    world.plays[b"damaged"] = BAD
    world.put(b"b.jpg", b"damaged")
    other = replace(made.mark, digest=hashlib.sha256(b"damaged").digest())
    world.disk[b"b.jpg.thumbnail.jpg"] = File(b"of this content", world.stamp_of(b"of this content"), other)
    world.run()

    assert world.entry(b"b.jpg").state is State.REJECTED
    assert b"b.jpg.thumbnail.jpg" in world.disk


def test_a_strangers_file_stays_beside_a_rejected_source(world: World) -> None:
    world.plays[b"damaged"] = BAD
    world.disk[NAME] = File(b"mine", world.stamp_of(b"mine"))
    world.put(b"a.jpg", b"damaged")
    world.run()

    assert NAME in world.disk
