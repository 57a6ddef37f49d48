"""What opening a ledger costs: what is imported for it, and what is not."""

import os
import subprocess
import sys
from pathlib import Path

OPENED = """
import sys
from watcherd.ledger.ledger import Ledger
Ledger.open(sys.argv[1]).close()
print(*sorted({"numpy", "sqlite_utils"} & sys.modules.keys()))
"""


def imported_by_opening(path: Path) -> str:
    command = [sys.executable, "-c", OPENED, os.fspath(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_new_ledger_is_made_by_sqlite_utils_without_numpy_and_one_that_is_up_to_date_is_opened_without_either(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    assert (imported_by_opening(path), imported_by_opening(path)) == ("sqlite_utils", "")
