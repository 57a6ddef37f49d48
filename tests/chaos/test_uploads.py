"""Uploads as they really come: in pieces, replaced while they are read, cut off and completed later."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.audit import audit, derivative_of, half_made, sha256
from tests.chaos.harness import Daemon, eventually
from tests.chaos.pictures import jpeg, padded, put

GRACE_S = 4.0
SHORT_GRACE = f"""
[settle]
incomplete_grace_s = {GRACE_S}
open_quiet_s = 0.5
"""


def _derivatives(source: Path) -> list[Path]:
    path = os.fsencode(source)
    return [Path(os.fsdecode(derivative_of(path, variant))) for variant in ("thumbnail", "preview")]


def _is_of_now(source: Path) -> bool:
    """Whether both derivatives are there and say that they were made from what the source holds now."""
    digest = sha256(os.fsencode(source)).encode()
    return all(path.exists() and digest in path.read_bytes()[:65_536] for path in _derivatives(source))


def _pieces(data: bytes, count: int) -> list[bytes]:
    step = -(-len(data) // count)
    return [data[at : at + step] for at in range(0, len(data), step)]


def test_a_file_written_in_pieces_is_rendered_once_when_it_is_whole(watched: Path, plain_daemon: Daemon) -> None:
    daemon = plain_daemon
    daemon.start()
    source = watched / "slow.jpg"
    with source.open("wb", buffering=0) as file:
        for piece in _pieces(jpeg(1, (1600, 1200)), 10):
            file.write(piece)
            time.sleep(0.35)
            assert not any(path.exists() for path in _derivatives(source))
    daemon.rested(sources=1)
    assert audit(watched, daemon.state).problems == []
    assert daemon.rendered() == {str(source): 1}


def test_a_file_that_is_closed_after_each_piece_has_no_derivative_of_a_part(
    watched: Path, plain_daemon: Daemon
) -> None:
    daemon = plain_daemon
    daemon.start()
    source = watched / "resumed.jpg"
    for piece in _pieces(jpeg(1, (1600, 1200)), 5):
        assert not any(path.exists() for path in _derivatives(source))
        with source.open("ab") as file:
            file.write(piece)
        time.sleep(1.2)
    eventually(lambda: _is_of_now(source), within_s=15, what="the derivatives of the whole file")
    daemon.rested(sources=1)
    assert audit(watched, daemon.state).problems == []
    assert daemon.rendered() == {str(source): 1}


def test_a_file_is_right_in_the_end_however_often_it_is_replaced_meanwhile(
    watched: Path, place: Path, daemon: Daemon, chance: random.Random
) -> None:
    daemon.start()
    sources = [watched / f"busy{number}.jpg" for number in range(3)]
    for step in range(40):
        source, data = sources[step % 3], padded(jpeg(step, (800, 600)), chance.choice([20_000, 30_000_000]))
        if chance.random() < 0.5:
            os.rename(put(place / "outside.jpg", data), source)
        else:
            put(source, data)
        time.sleep(chance.uniform(0.0, 0.4))
        assert half_made(watched) == []
    eventually(lambda: all(map(_is_of_now, sources)), within_s=20, what="the derivatives of the last contents")
    daemon.rested(sources=3)
    assert audit(watched, daemon.state).problems == []
    print(dict(daemon.outcomes()))


def test_a_file_written_to_while_it_is_read_is_read_again(watched: Path, daemon: Daemon) -> None:
    """The writer keeps changing bytes in place until an attempt has met it, then leaves a whole picture."""
    daemon.start()
    source = watched / "moving.jpg"
    put(source, padded(jpeg(1, (800, 600)), 60_000_000))
    final = padded(jpeg(2, (800, 600)), 60_000_000)
    with source.open("r+b", buffering=0) as file:
        for number in range(30):
            os.pwrite(file.fileno(), bytes([number]), 30_000)
            time.sleep(0.1)
            assert not any(path.exists() for path in _derivatives(source))
    put(source, final)
    eventually(lambda: _is_of_now(source), within_s=20, what="the derivatives of the last content")
    daemon.rested(sources=1)
    assert audit(watched, daemon.state).problems == []


def test_a_cut_off_upload_waits_and_is_done_when_the_rest_has_come(
    watched: Path, daemon_at: Callable[..., Daemon]
) -> None:
    daemon = daemon_at(watched, config=SHORT_GRACE.replace(str(GRACE_S), "60")).start()
    source, data = watched / "cut.jpg", jpeg(1, (1600, 1200))
    put(source, data[: len(data) // 2])
    counts = daemon.rested(sources=1)
    told = daemon.status_of(source)
    assert (counts["incomplete"], told["reason"]) == (1, "truncated")
    assert told["detail"]
    assert not any(path.exists() for path in _derivatives(source))
    with source.open("ab") as file:
        file.write(data[len(data) // 2 :])
    eventually(lambda: _is_of_now(source), within_s=15, what="the derivatives of the whole file")
    assert daemon.rested(sources=1)["done"] == 1
    assert audit(watched, daemon.state).problems == []


def test_a_cut_off_upload_is_taken_up_again_by_the_next_run(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    daemon = daemon_at(watched, config=SHORT_GRACE.replace(str(GRACE_S), "600")).start()
    source, data = watched / "cut.jpg", jpeg(1, (1600, 1200))
    put(source, data[: len(data) // 2])
    assert daemon.rested(sources=1)["incomplete"] == 1
    assert daemon.stop() == 0
    put(source, data)
    daemon.start()
    eventually(lambda: _is_of_now(source), within_s=15, what="the derivatives of the whole file")
    assert daemon.rested(sources=1)["done"] == 1


@pytest.mark.parametrize("kept", [0.98, 0.5, 0.02])
def test_a_cut_off_upload_ends_with_a_reason_when_nothing_more_comes(
    watched: Path, daemon_at: Callable[..., Daemon], kept: float
) -> None:
    daemon = daemon_at(watched, config=SHORT_GRACE).start()
    source, data = watched / "cut.jpg", jpeg(1, (1600, 1200))
    put(source, data[: int(len(data) * kept)])
    started = time.monotonic()
    eventually(lambda: daemon.state_of(source) not in {"", "pending"}, within_s=10, what="it is looked at", every_s=0.5)
    assert not any(path.exists() for path in _derivatives(source))
    told = eventually(
        lambda: (t := daemon.status_of(source)) and t["state"] in {"done", "rejected"} and t,
        within_s=GRACE_S + 10,
        what="the end of its grace",
        every_s=0.5,
    )
    print(f"{kept}: {told['state']} after {time.monotonic() - started:.1f} s: {told['explanation']}")
    assert time.monotonic() - started >= GRACE_S
    assert told["detail"]
    assert told["state"] == "rejected" or kept > 0.9


def test_reserved_space_is_not_taken_for_a_picture(watched: Path, daemon_at: Callable[..., Daemon]) -> None:
    """A writer that reserves the whole file first, then fills it from the beginning (and closes in between)."""
    daemon = daemon_at(watched, config=SHORT_GRACE.replace(str(GRACE_S), "60")).start()
    source, data = watched / "reserved.jpg", jpeg(1, (1600, 1200))
    with source.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(data))
        file.write(data[: len(data) // 2])
    assert daemon.rested(sources=1)["incomplete"] == 1
    assert daemon.status_of(source)["reason"] in {"zero_tail", "holes", "truncated"}
    assert not any(path.exists() for path in _derivatives(source))
    with source.open("r+b") as file:
        file.write(data)
    eventually(lambda: _is_of_now(source), within_s=15, what="the derivatives of the whole file")
