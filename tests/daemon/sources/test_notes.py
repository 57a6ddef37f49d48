"""Error notes: beside what cannot be done, and only there and then."""

from dataclasses import replace

import pytest

from tests.daemon.outside import FULL
from tests.daemon.world import World
from watcherd.daemon.sources.notes import ADVICE, note_text
from watcherd.model import Entry, Failed, Reason, Rejected, Source, State
from watcherd.naming import NOTE_MARK, note_path
from watcherd.watch.hands.hands import Annotate, Fault
from watcherd.watch.ignore import why_ignored
from watcherd.watch.roots import RootState

DAMAGED = Rejected(reason=Reason.DAMAGED, detail="it is torn")


def noting(world: World, *, wanted: bool = True) -> None:
    root = world.core.roots[world.root]
    world.core.roots[world.root] = replace(root, settings=replace(root.settings, error_notes=wanted))


def notes(world: World) -> dict[bytes, bytes]:
    return {path: file.content for path, file in world.disk.items() if path.endswith(b".watcherd-error.txt")}


def test_a_source_that_is_rejected_gets_a_note(world: World) -> None:
    noting(world)
    world.plays[b"bad"] = DAMAGED
    world.put(b"sub/a.jpg", b"bad")
    world.run(5)
    (text,) = notes(world).values()

    assert list(notes(world)) == [b"sub/a.jpg.watcherd-error.txt"]
    assert b"a.jpg" in text
    assert b"Reason: damaged: it is torn\n" in text
    assert world.core.notes.asked == 0


def test_no_root_has_notes_that_did_not_ask_for_them(world: World) -> None:
    world.plays[b"bad"] = DAMAGED
    world.put(b"a.jpg", b"bad")
    world.run(5)

    assert notes(world) == {}


def test_a_source_in_quarantine_gets_a_note_after_its_last_attempt(world: World) -> None:
    noting(world)
    world.plays[b"bad"] = Failed(reason=Reason.DECODER_ERROR, detail="it went wrong")
    world.put(b"a.jpg", b"bad")
    world.run(2)
    assert notes(world) == {}
    world.run(2_000)

    assert world.entry(b"a.jpg").state is State.QUARANTINED
    assert len(notes(world)) == 1


def test_the_note_goes_when_the_source_is_replaced_by_a_good_one(world: World) -> None:
    noting(world)
    world.plays[b"bad"] = DAMAGED
    world.put(b"a.jpg", b"bad")
    world.run(5)
    assert len(notes(world)) == 1
    world.put(b"a.jpg", b"a good one")
    world.run(5)

    assert notes(world) == {}


def test_the_note_goes_with_its_source(world: World) -> None:
    noting(world)
    world.plays[b"bad"] = DAMAGED
    world.put(b"a.jpg", b"bad")
    world.run(5)
    world.delete(b"a.jpg")
    world.run(200)

    assert world.disk == {}


def test_what_failed_before_the_notes_were_wanted_gets_one_with_the_first_comparison_and_loses_it_when_not_wanted(
    world: World,
) -> None:
    world.plays[b"bad"] = DAMAGED
    world.put(b"a.jpg", b"bad")
    world.run(5)
    noting(world)
    world.carry_out(world.core.notes.bring(world.root))
    world.run(1)
    assert len(notes(world)) == 1
    assert world.core.notes.bring(world.root) == []
    noting(world, wanted=False)
    world.carry_out(world.core.notes.switched(world.root))
    world.run(1)

    assert notes(world) == {}


def test_a_note_that_cannot_be_written_pauses_what_the_disk_is_to_blame_for_and_nothing_else(world: World) -> None:
    noting(world)
    world.plays[b"bad"] = DAMAGED
    full: list[object] = []

    def refuse(asked: object) -> object:
        if not isinstance(asked.request, Annotate) or full:  # type: ignore[attr-defined]
            return None
        full.append(asked)
        return Fault(root=world.root, ticket=asked.request.ticket, path=b"", errno=FULL, operation="note")  # type: ignore[attr-defined]

    world.hook = refuse
    world.put(b"a.jpg", b"bad")
    world.run(1)

    assert world.core.conditions.state(world.root) is RootState.PAUSED
    assert world.core.notes.asked == 0
    assert world.entry(b"a.jpg").state is State.REJECTED


def test_there_is_advice_for_every_reason() -> None:
    assert set(ADVICE) == set(Reason)


@pytest.mark.parametrize("name", [b"a.jpg", b"\xff\n\x1b[31m.jpg", b"x" * 255])
def test_a_note_is_text_whatever_the_file_is_called(name: bytes) -> None:
    entry = Entry(source=Source(1, b"sub/" + name), state=State.REJECTED, reason=Reason.DAMAGED, detail="\x1b \ud800")
    text = note_text(entry)

    assert text.endswith(NOTE_MARK + b"\n")
    assert b"\x1b" not in text.split(b"Reason")[0]
    assert len(note_path(entry.source.path).rpartition(b"/")[2]) <= 255


@pytest.mark.parametrize("path", [b"a.jpg.watcherd-error.txt", b"sub/A.JPG.WATCHERD-ERROR.TXT", note_path(b"y" * 250)])
def test_a_note_is_never_an_input(path: bytes) -> None:
    assert why_ignored(path) == "note"


def test_the_folder_is_the_sources() -> None:
    assert note_path(b"a.jpg") == b"a.jpg.watcherd-error.txt"
    assert note_path(b"sub/dir/a.jpg") == b"sub/dir/a.jpg.watcherd-error.txt"
