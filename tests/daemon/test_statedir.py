"""The state directory: one holder at a time, and a name that outlives the ledger."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from watcherd.daemon.statedir import Busy, Holder, StateDirectory, claim


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


def test_who_holds_it_is_told_without_taking_it(state: StateDirectory) -> None:
    assert state.holder() is None
    lock = state.take()
    assert state.holder() == str(os.getpid())
    os.close(lock)
    assert state.holder() is None


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


OTHERS = frozenset({os.geteuid() + 1})
LISTENING = """
import os, socket, sys
os.setuid(65534)
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0" + sys.argv[1])
listener.listen()
print(flush=True)
sys.stdin.read()
"""


def name_of(root: bytes) -> str:
    return "watcherd-root-" + hashlib.sha256(root).hexdigest()[:32]


def test_who_is_not_trusted_keeps_nobody_out_and_is_named(tmp_path: Path) -> None:
    root, inside = bytes(tmp_path), bytes(tmp_path / "a")
    us = frozenset({Holder(pid=os.getpid(), uid=os.geteuid())})
    for first, second in ((root, root), (root, inside), (inside, root)):
        with claim(first) as claimed, claim(second, trusted=OTHERS) as contested:
            assert (claimed.strangers, contested.strangers) == (frozenset(), us)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_s_process_is_a_stranger(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTENING, name_of(bytes(tmp_path))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        with claim(bytes(tmp_path)) as claimed:
            assert claimed.strangers == {Holder(pid=other.pid, uid=65534)}
        other.communicate()


def test_a_name_on_which_nobody_listens_keeps_nobody_out(tmp_path: Path) -> None:
    root = bytes(tmp_path)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other_kind:
        silent.bind(f"\0{name_of(root)}")
        other_kind.bind(f"\0{name_of(bytes(tmp_path.parent))}")
        with claim(root) as claimed:
            assert claimed.strangers == {Holder()}


def test_however_often_it_is_asked_a_claim_stands(tmp_path: Path) -> None:
    with claim(bytes(tmp_path)):
        for _ in range(40):
            with pytest.raises(Busy):
                claim(bytes(tmp_path))
