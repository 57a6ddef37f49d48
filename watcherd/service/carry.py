"""Carrying out a plan: each step said, then done.

Responsible for: files, folders, links, kernel settings and programs of the system. Not responsible for: what is to be
done (`plan.py`, `removal.py`).
"""

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable
from typing import assert_never

from watcherd.service.steps import (
    Link,
    MakeFolder,
    Note,
    RemoveFile,
    RemoveFolder,
    Run,
    SetKernel,
    Step,
    WriteFile,
)


class Stopped(Exception):  # noqa: N818 - says where a plan stopped; what was done before it stays
    """A step could not be done. The text says which, why, and what helps."""


def carry_out(steps: Iterable[Step], say: Callable[[str], object]) -> None:
    """Do one step after the other. What is done may be asked for again: a second try goes on where this one stopped.

    Raises Stopped.
    """
    for step in steps:
        say(str(step))
        try:
            _do(step, say)
        except OSError as error:
            hint = "mend that and run the same again; it goes on from there"
            raise Stopped(f"could not {step}: {error.strerror or error}; {hint}") from error


def _do(step: Step, say: Callable[[str], object]) -> None:
    match step:
        case MakeFolder():
            os.makedirs(step.path, mode=0o755, exist_ok=True)
        case WriteFile():
            _write(step.path, step.content)
        case Link():
            os.symlink(step.target, step.path)
        case SetKernel():
            with open("/proc/sys/" + step.key.replace(".", "/"), "w", encoding="ascii") as file:
                file.write(str(step.value))
        case Run():
            _run(step)
        case RemoveFile():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(step.path)
        case RemoveFolder():
            _remove_folder(step, say)
        case Note():
            pass
        case _:
            assert_never(step)


def _write(path: str, content: str) -> None:
    """Replace a file as a whole: nobody ever reads half of a unit.

    What is there keeps its owner and mode, and links stay links to it. A new file can be read by all.
    """
    path = os.path.realpath(path)
    there = _file(path)
    temporary = f"{path}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            if there:
                os.fchown(descriptor, there.st_uid, there.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(there.st_mode) if there else 0o644)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _file(path: str) -> os.stat_result | None:
    """What is to be replaced, None where nothing is. Raises OSError where that is no file, like /dev/null."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EEXIST, f"{path} is there and is no file")
    return there


def _run(step: Run) -> None:
    done = subprocess.run(step.command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        cause = said[-1] if said else "it said nothing"
        raise Stopped(f"could not {step}: it ended with {done.returncode}: {cause}; {_hint(step)}")


def _hint(step: Run) -> str:
    if "start" in step.command or "restart" in step.command:
        name = step.command[-1]
        return f"its log: journalctl -e -u {name} (for a user: journalctl --user -e -u {name})"
    return "mend that and run the same again; it goes on from there"


def _clear(path: str, keep: tuple[str, ...]) -> None:
    for entry in list(os.scandir(path)):
        if entry.name in keep:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


def _remove_folder(step: RemoveFolder, say: Callable[[str], object]) -> None:
    if step.keep:
        _clear(step.path, step.keep)
    elif step.with_content:
        shutil.rmtree(step.path)
    elif os.path.isdir(step.path) and os.listdir(step.path):
        say(f"{step.path} is not empty and stays")
    elif os.path.isdir(step.path):
        os.rmdir(step.path)
