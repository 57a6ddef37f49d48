"""Pruning a folder that is not watched any more while the daemon works elsewhere: by other hands, on real files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.kept import Kept, kept_in
from tests.daemon.reload.running import Running, running
from tests.daemon.verbs.test_requests import Client
from watcherd.daemon.control import Request
from watcherd.daemon.effects import AskHands
from watcherd.daemon.statedir import claim
from watcherd.daemon.verbs.former import Former
from watcherd.daemon.verbs.refusal import Refusal
from watcherd.daemon.verbs.upkeep import Upkeep
from watcherd.watch.hands.hands import Remove

ALL = {"a.jpg", "a.jpg.thumbnail.jpg", "a.jpg.web.jpg", "b.jpg", "b.jpg.thumbnail.jpg", "b.jpg.web.jpg"}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return kept_in(tmp_path)


@pytest.fixture
def daemon(tmp_path: Path, kept: Kept) -> Iterator[Running]:
    """A daemon that watches another folder than the one that its ledger knows as well."""
    (tmp_path / "elsewhere").mkdir()
    with running(kept.folder, roots={"path": str(tmp_path / "elsewhere")}) as one:
        yield one


def former(daemon: Running) -> Former:
    return Former(daemon.parts)


def prune(daemon: Running, *roots: Path, dry_run: bool = False) -> list[dict[str, Any]]:
    """What a client is told, to its last frame."""
    upkeep = Upkeep(daemon.core, daemon.parts.loop.carry_out, lambda: former(daemon))
    client = Client()
    body = {"verb": "prune", "roots": [str(root) for root in roots], "dry_run": dry_run}
    upkeep.prune(Request(connection=client, body=body))
    for _ in range(1_000):
        upkeep.due(daemon.moment)
        if client.answers and client.answers[-1]["last"]:
            return client.answers
        if upkeep.waits():
            daemon.report_all(daemon.heard())
        daemon.settle_down()
    raise AssertionError("it does not come to an end")


def known(daemon: Running) -> set[bytes]:
    return set(daemon.ledger.roots().values())


def test_its_derivatives_go_and_it_is_forgotten(daemon: Running, kept: Kept) -> None:
    answers = prune(daemon, kept.photos)

    assert kept.names() == {"a.jpg", "b.jpg"}
    assert {answer["finding"]["why"] for answer in answers[:-1]} == {"root_removed"}
    assert answers[-1] == {"skipped": [], "failed": 0, "last": True}
    assert str(kept.photos).encode() not in known(daemon)
    claim(str(kept.photos).encode()).close()


def test_a_dry_run_says_so_and_changes_nothing(daemon: Running, kept: Kept) -> None:
    answers = prune(daemon, kept.photos, dry_run=True)

    assert len(answers) == 5
    assert kept.names() == ALL
    assert str(kept.photos).encode() in known(daemon)


def test_what_lies_in_a_folder_that_is_watched_stays(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    (kept.photos / "new").mkdir()
    with kept.ledger() as ledger:
        kept.add(ledger, b"new/c.jpg", "thumbnail")
        ledger.commit()
    with running(tmp_path, roots={"path": str(kept.photos / "new")}) as daemon:
        prune(daemon, kept.photos)

        assert kept.names() == {"a.jpg", "b.jpg", "new"}
        assert (kept.photos / "new" / "c.jpg.thumbnail.jpg").exists()
        assert known(daemon) == {str(kept.photos / "new").encode()}


def test_an_emptied_folder_is_told_of_and_not_forgotten(daemon: Running, kept: Kept) -> None:
    """So looks the mount point of a disk that is not mounted."""
    kept.photos.rename(kept.folder / "the disk")
    kept.photos.mkdir()

    assert prune(daemon, kept.photos)[-1]["skipped"] == [str(kept.photos)]
    assert str(kept.photos).encode() in known(daemon)


def test_a_folder_that_is_not_there_is_told_of(daemon: Running, kept: Kept) -> None:
    kept.photos.rename(kept.folder / "the disk")

    assert prune(daemon, kept.photos)[-1]["skipped"] == [str(kept.photos)]


def test_a_folder_that_is_watched_or_was_never_is_refused(daemon: Running, kept: Kept) -> None:
    with pytest.raises(Refusal, match="is watched: take it out"):
        former(daemon).open([str(kept.photos).encode(), *(root.path for root in daemon.core.roots.values())])
    with pytest.raises(Refusal, match="never watched"):
        former(daemon).open([b"/nowhere"])
    claim(str(kept.photos).encode()).close()  # nothing was kept of the one that could be had


def test_a_folder_where_another_daemon_works_now_is_refused(daemon: Running, kept: Kept) -> None:
    with claim(str(kept.photos).encode()), pytest.raises(Refusal, match="photos"):
        former(daemon).open([str(kept.photos).encode()])


def test_a_client_that_leaves_ends_it(daemon: Running, kept: Kept) -> None:
    upkeep = Upkeep(daemon.core, daemon.parts.loop.carry_out, lambda: former(daemon))
    client = Client()
    upkeep.prune(Request(connection=client, body={"roots": [str(kept.photos)]}))
    client.closed = True
    upkeep.due(daemon.moment)

    assert kept.names() == ALL
    claim(str(kept.photos).encode()).close()


def test_a_root_that_a_reload_takes_out_meanwhile_holds_nobody_up(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        effects: list[Any] = []
        upkeep = Upkeep(daemon.core, effects.append)
        client = Client()
        daemon.put(b"a.jpg", b"picture")
        daemon.run()
        daemon.reload(roots={"variants": ("preview",)})
        upkeep.prune(Request(connection=client, body={}))
        upkeep.due(daemon.moment)
        assert [type(one.request) for one in effects if isinstance(one, AskHands)] == [Remove]
        (tmp_path / "other").mkdir()
        daemon.reload(roots={"path": str(tmp_path / "other")})
        for _ in range(5):
            upkeep.due(daemon.moment)

        assert client.answers[-1] == {"skipped": [daemon.photos], "failed": 0, "last": True}
