"""`watcherd duplicates`: copies and what looks alike, from the ledger alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from watcherd.cli import main
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, Stamp, State

LOOKS = 0xC29838E61F5D660F


@dataclass
class Library:
    """A ledger filled by hand, and the verb asked about it."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    ledger: Ledger
    roots: dict[bytes, int] = field(default_factory=dict)

    def add(self, root: bytes, path: bytes, content: bytes, phash: int | None = None, **fields: Any) -> None:
        number = self.roots.setdefault(root, self.ledger.root_id(root))
        entry = Entry(
            source=Source(number, path),
            state=State.DONE,
            stamp=Stamp(1000, 1, 1, 1, 1),
            digest=content.ljust(32, b"."),
            phash=phash,
            dhash=phash,
            **fields,
        )
        self.ledger.record(entry)
        self.ledger.commit()

    def ask(self, *arguments: str) -> tuple[int, list[Any], str]:
        """Exit code, the lines of --json, standard error."""
        with pytest.raises(SystemExit) as ended:
            main(["duplicates", "--state-dir", str(self.folder), "--json", *arguments])
        out, err = self.capsys.readouterr()
        return int(ended.value.code or 0), [json.loads(line) for line in out.splitlines()], err

    def text(self, *arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["duplicates", "--state-dir", str(self.folder), *arguments])
        return self.capsys.readouterr().out


@pytest.fixture
def library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Library]:
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Library(tmp_path, capsys, ledger)


def names(line: dict[str, Any]) -> list[str]:
    return [source["source"] for source in line["sources"]]


def test_copies_are_found_wherever_they_lie(library: Library) -> None:
    library.add(b"/one", b"a.jpg", b"same")
    library.add(b"/one", b"deep/er/b.jpg", b"same")
    library.add(b"/two", b"c.jpg", b"same")
    library.add(b"/two", b"d.jpg", b"another")
    code, lines, _ = library.ask()
    assert code == 0
    assert [names(line) for line in lines[:-1]] == [["/one/a.jpg", "/one/deep/er/b.jpg", "/two/c.jpg"]]
    assert lines[-1] == {
        "v": 1,
        "message_type": "summary",
        "sources": 4,
        "exact_groups": 1,
        "without_hash": 4,
    }


def test_equal_beginnings_of_digests_are_not_equal_contents(library: Library) -> None:
    for number in range(4):
        library.add(b"/one", b"%d.jpg" % number, b"12345678" + b"ab"[number % 2 : number % 2 + 1])
    _, lines, _ = library.ask()
    assert sorted(names(line) for line in lines[:-1]) == [["/one/0.jpg", "/one/2.jpg"], ["/one/1.jpg", "/one/3.jpg"]]


def test_what_looks_alike_is_listed_by_distance_and_copies_in_it_are_marked(library: Library) -> None:
    library.add(b"/one", b"a.jpg", b"a", LOOKS)
    library.add(b"/one", b"far.jpg", b"f", LOOKS ^ 0xFFFF0000)
    library.add(b"/one", b"c.jpg", b"c", LOOKS ^ 0b111)
    library.add(b"/one", b"b.jpg", b"b", LOOKS ^ 0b1)
    library.add(b"/one", b"a2.jpg", b"a", LOOKS)
    _, lines, _ = library.ask("--near", "3")
    exact, near, summary = lines
    assert (exact["message_type"], names(exact)) == ("exact", ["/one/a.jpg", "/one/a2.jpg"])
    assert near["message_type"] == "near"
    told = [(source["source"], source["distance"], source["copy"]) for source in near["sources"]]
    assert told == [
        ("/one/a.jpg", 0, False),
        ("/one/a2.jpg", 0, True),
        ("/one/b.jpg", 1, False),
        ("/one/c.jpg", 3, False),
    ]
    assert summary["near_groups"] == 1
    assert len(library.ask("--near", "0")[1]) == 2


def test_equal_hashes_of_other_bytes_look_alike_at_distance_0(library: Library) -> None:
    library.add(b"/one", b"a.jpg", b"a", LOOKS)
    library.add(b"/one", b"b.jpg", b"b", LOOKS)
    _, lines, _ = library.ask("--near", "0")
    assert names(lines[0]) == ["/one/a.jpg", "/one/b.jpg"]
    assert [source["phash"] for source in lines[0]["sources"]] == ["c29838e61f5d660f"] * 2


def test_copies_alone_do_not_look_alike(library: Library) -> None:
    library.add(b"/one", b"a.jpg", b"a", LOOKS)
    library.add(b"/one", b"b.jpg", b"a", LOOKS)
    _, lines, _ = library.ask("--near", "8")
    assert [line["message_type"] for line in lines] == ["exact", "summary"]


@pytest.mark.parametrize("flat", [0, 1 << 63])
def test_pictures_of_one_colour_do_not_look_alike(library: Library, flat: int) -> None:
    library.add(b"/one", b"white.jpg", b"a", flat)
    library.add(b"/one", b"black.jpg", b"b", flat)
    assert len(library.ask("--near", "4")[1]) == 1


def test_what_has_gone_is_left_out(library: Library) -> None:
    library.add(b"/one", b"a.jpg", b"a", LOOKS)
    library.add(b"/one", b"b.jpg", b"a", LOOKS, gone_at_s=1.0)
    _, lines, _ = library.ask("--near", "4")
    assert lines[-1]["sources"] == 1
    assert len(lines) == 1


def test_a_folder_narrows_it(library: Library, tmp_path: Path) -> None:
    root = str(tmp_path).encode()
    library.add(root, b"x/a.jpg", b"a")
    library.add(root, b"x/y/b.jpg", b"a")
    library.add(root, b"z/c.jpg", b"a")
    library.add(root, b"xx/d.jpg", b"a")
    here = str(tmp_path)
    assert names(library.ask(f"{here}/x")[1][0]) == [f"{here}/x/a.jpg", f"{here}/x/y/b.jpg"]
    assert len(names(library.ask(here)[1][0])) == 4
    assert len(names(library.ask(str(tmp_path.parent))[1][0])) == 4
    code, lines, err = library.ask("/nowhere")
    assert (code, lines) == (1, [])
    assert "the ledger knows nothing of /nowhere" in err


def test_names_cannot_move_the_cursor(library: Library) -> None:
    library.add(b"/one", b"a\x1b[2J\n\xff.jpg", b"a")
    library.add(b"/one", b"b.jpg", b"a")
    out = library.text()
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3
    json.dumps(library.ask()[1])


def test_many_sources_are_read_in_pages(library: Library) -> None:
    number = library.ledger.root_id(b"/one")
    for count in range(2500):
        source = Source(number, b"%d.jpg" % count)
        library.ledger.record(Entry(source=source, state=State.DONE, digest=b"same".ljust(32, b".")))
    library.ledger.commit()
    assert len(names(library.ask()[1][0])) == 2500


def test_without_a_ledger_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["duplicates", "--state-dir", str(tmp_path / "none")])
    assert ended.value.code == 1
    assert "there is no ledger" in capsys.readouterr().err
