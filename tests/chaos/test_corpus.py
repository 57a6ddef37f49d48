"""Malformed and unusual files of others: each ends with a reason, nothing hangs, nobody dies."""

import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.audit import audit
from tests.chaos.harness import Daemon, command, summary_of


@pytest.mark.timeout(240)
@pytest.mark.parametrize("folder", ["bad", "formats"])
def test_every_file_ends_somewhere_with_a_reason(watched: Path, daemon: Daemon, corpus: Path, folder: str) -> None:
    shutil.copytree(corpus / folder, watched / folder, copy_function=shutil.copyfile)
    count = sum(file.is_file() for file in (watched / folder).iterdir())
    daemon.start()
    counts = daemon.rested(sources=count, within_s=150)
    report = audit(watched, daemon.state)
    print({state: number for state, number in counts.items() if number}, dict(report.reasons))
    assert report.problems == []
    assert sum(counts.values()) == count
    assert daemon.lines("worker.exited") == []
    assert daemon.stop() == 0


@pytest.mark.timeout(240)
def test_a_scan_of_bad_files_does_not_wait_for_incomplete_ones(watched: Path, place: Path, corpus: Path) -> None:
    shutil.copytree(corpus / "bad", watched / "bad", copy_function=shutil.copyfile)
    started = time.monotonic()
    done = command("scan", watched, "--state-dir", place / "state", "--json", within_s=150)
    summary = summary_of(done)
    print(f"{time.monotonic() - started:.1f} s", summary)
    assert done.returncode == 3
    assert summary["incomplete"] > 0
    again = summary_of(command("scan", watched, "--state-dir", place / "state", "--json", within_s=150))
    assert (again["rendered"], again["derivatives"]) == (0, 0)
    ends = Counter({key: summary[key] for key in ("ignored", "incomplete", "rejected", "quarantined", "failed")})
    assert ends == Counter({key: again[key] for key in ends})
    assert again["unchanged"] == summary["rendered"] + summary["reused"] + summary["unchanged"]
