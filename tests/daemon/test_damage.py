"""A damaged ledger: noticed when it is opened or after a run that failed, set aside, and another is begun."""

import os
from pathlib import Path

import pytest

from watcherd.cli import main
from watcherd.cli.exits import Exit, Stop
from watcherd.cli.holding import hold
from watcherd.daemon.damage import open_ledger, set_aside_if_damaged
from watcherd.daemon.statedir import StateDirectory
from watcherd.ledger.errors import LedgerDamaged, LedgerError
from watcherd.ledger.ledger import Ledger
from watcherd.model import Entry, Source, State

PAGE_BYTES = 4_096


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    """With a ledger of 500 sources."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        ledger.root_id(b"/photos")
        for number in range(500):
            ledger.record(Entry(source=Source(1, b"%d.jpg" % number), state=State.REJECTED, detail="x" * 40))
        ledger.commit()
    return StateDirectory(str(tmp_path))


def damage_inside(path: str) -> None:
    """What opening does not read: all but the first 30 pages."""
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: 30 * PAGE_BYTES] + b"\xa5" * (len(whole) - 30 * PAGE_BYTES))


def asides(state: StateDirectory) -> int:
    return len(list(Path(state.path).glob("ledger.db.damaged-*Z")))


def test_damage_that_opening_does_not_meet_is_found_after_a_run_that_failed(state: StateDirectory) -> None:
    damage_inside(state.ledger)
    open_ledger(state).close()
    assert asides(state) == 0
    assert set_aside_if_damaged(state.ledger)
    assert asides(state) == 1
    with open_ledger(state) as ledger:
        assert ledger.counts() == {}


def test_a_whole_ledger_stays_after_a_run_that_failed(state: StateDirectory) -> None:
    assert not set_aside_if_damaged(state.ledger)
    os.unlink(state.ledger)
    assert not set_aside_if_damaged(state.ledger)
    assert asides(state) == 0


def test_a_verb_that_meets_damage_sets_it_aside_and_says_so(state: StateDirectory) -> None:
    with pytest.raises(Stop, match="it was set aside") as stopped, hold(state.path):
        raise LedgerDamaged("cannot read the ledger")
    assert stopped.value.exit_code == Exit.FAILED
    assert asides(state) == 1


def test_a_query_that_meets_damage_is_an_error_and_no_traceback(
    state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_inside(state.ledger)
    with pytest.raises(SystemExit) as ended:
        main(["status", "--state-dir", state.path])
    assert ended.value.code == Exit.FAILED
    assert capsys.readouterr().err.startswith("Error: cannot read the ledger")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_set_aside(tmp_path: Path, make: object) -> None:
    assert callable(make)
    state = StateDirectory(str(tmp_path))
    make(state.ledger)
    with pytest.raises(LedgerDamaged):
        Ledger.open(state.ledger, read_only=True)
    open_ledger(state).close()
    assert os.path.isfile(state.ledger)
    assert asides(state) == 1


def test_a_link_to_a_disk_that_is_away_is_left_alone(tmp_path: Path) -> None:
    state = StateDirectory(str(tmp_path))
    os.symlink("/nowhere/ledger.db", state.ledger)
    with pytest.raises(LedgerError, match="which is not there; see whether its disk is mounted"):
        open_ledger(state)
    assert os.path.islink(state.ledger)
