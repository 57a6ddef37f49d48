"""Workers find the very package that starts them, wherever it was found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import watcherd
from watcherd.pool.environment import search_path

PROGRAM = """
from watcherd import ImageProcessingPool
with ImageProcessingPool(1) as pool:
    print(pool.submit(b"no picture").exception(60))
"""


@pytest.mark.parametrize(
    ("inherited", "packages", "expected"),
    [
        ("", "/venv/site-packages", ""),
        ("/a:/b", "/venv/site-packages", "/a:/b"),
        ("/a::/b:/a", "/venv/site-packages", "/a:/b"),
        ("", "/clone", "/clone"),
        ("/a:/clone", "/clone", "/clone:/a"),
    ],
)
def test_the_path_of_a_worker_leads_to_our_package_and_keeps_what_was_there(
    inherited: str, packages: str, expected: str
) -> None:
    assert search_path(inherited, packages, {"/venv/site-packages"}) == expected


def test_a_relative_path_means_the_same_in_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert search_path(".:lib", "/site", {"/site"}) == f"{tmp_path}:{tmp_path}/lib"


@pytest.mark.parametrize("path", ["", "."])
def test_a_program_that_has_the_package_in_its_own_folder_has_workers(tmp_path: Path, path: str) -> None:
    shutil.copytree(Path(watcherd.__file__).parent, tmp_path / "watcherd")
    program = tmp_path / "watcherd" / "pool" / "worker.py"
    beginning = 'if __name__ == "__main__":\n'
    text = program.read_text()
    assert beginning in text
    program.write_text(text.replace(beginning, beginning + '    raise SystemExit("the copy")\n'))
    environment = {**os.environ, "PYTHONPATH": path}

    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert "the copy" in done.stdout, done.stderr
