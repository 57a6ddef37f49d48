"""The state directory: one holder at a time, and a name that outlives the ledger."""

import os
from pathlib import Path

import pytest

from watcherd.daemon.statedir import Busy, StateDirectory, claim


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(str(tmp_path / "deep" / "state"))
    state.make()
    return state


def test_the_second_holder_is_told_who_the_first_one_is(state: StateDirectory) -> None:
    lock = state.take()
    with pytest.raises(Busy, match=f"in use by process {os.getpid()}"):
        state.take()
    os.close(lock)


def test_the_lock_ends_with_its_descriptor(state: StateDirectory) -> None:
    os.close(state.take())
    os.close(state.take())

    assert (Path(state.path) / "lock").read_text() == f"{os.getpid()}\n"


def test_the_instances_name_stays(state: StateDirectory) -> None:
    first = state.instance()

    assert len(first) == 8
    assert first == state.instance()


def test_a_damaged_name_is_replaced(state: StateDirectory) -> None:
    (Path(state.path) / "instance").write_text("nonsense!")

    assert len(state.instance()) == 8
    assert state.instance() == state.instance()


def test_strangers_have_no_business_there(state: StateDirectory) -> None:
    assert os.stat(state.path).st_mode & 0o007 == 0


def test_a_root_is_one_process_s_alone_until_it_lets_go(tmp_path: Path) -> None:
    root = bytes(tmp_path)
    with claim(root), pytest.raises(Busy, match="another watcherd works in"):
        claim(root)

    claim(root).close()


def test_a_root_inside_another_s_root_is_refused_both_ways_round(tmp_path: Path) -> None:
    root, inside, beside = bytes(tmp_path), bytes(tmp_path / "a" / "b"), bytes(tmp_path) + b"-beside"
    with claim(root):
        with pytest.raises(Busy, match="a folder that holds"):
            claim(inside)
        claim(beside).close()
    with claim(inside):
        with pytest.raises(Busy, match="a folder inside"):
            claim(root)
        with claim(bytes(tmp_path / "a" / "c")), claim(bytes(tmp_path / "a" / "bb")):
            pass
    with claim(root):
        pass


def test_a_refused_claim_leaves_nothing_behind(tmp_path: Path) -> None:
    inside = bytes(tmp_path / "a")
    with claim(inside), pytest.raises(Busy):
        claim(bytes(tmp_path))
    claim(bytes(tmp_path)).close()
