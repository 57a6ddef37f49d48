import errno
import os
from pathlib import Path

import pytest

from tests.places import place_at
from watcherd.model import Disturbed, Failed, Reason, Rejected, Vanished
from watcherd.watch.hands.place import Fault, Place, Refused, Steps


def reached(path: Path, operation: str) -> Place:
    place = place_at(path)
    place.steps.at(operation)
    return place


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENOMEM]
)
def test_what_concerns_the_file_system_is_a_fault(tmp_path: Path, number: int) -> None:
    reply = reached(tmp_path, "write").failure(9, b"a.jpg", OSError(number, ""), Reason.WRITE_ERROR)
    assert reply == Fault(root=3, ticket=9, path=b"a.jpg", errno=number, operation="write")


def test_an_absent_root_is_a_fault_and_never_a_vanished_source(tmp_path: Path) -> None:
    reply = reached(tmp_path, "open_root").failure(9, b"a.jpg", FileNotFoundError(errno.ENOENT, ""), Reason.READ_ERROR)
    assert reply == Fault(root=3, ticket=9, path=b"a.jpg", errno=errno.ENOENT, operation="open_root")


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (errno.ENOENT, Vanished()),
        (errno.ENOTDIR, Vanished()),
        (errno.ELOOP, Vanished()),
        (errno.EAGAIN, Disturbed()),
        (errno.EIO, Failed(reason=Reason.READ_ERROR, detail="read: Input/output error")),
        (errno.EUCLEAN, Failed(reason=Reason.READ_ERROR, detail="read: Structure needs cleaning")),
    ],
)
def test_what_concerns_one_file_is_its_outcome(tmp_path: Path, number: int, outcome: object) -> None:
    reply = reached(tmp_path, "read").failure(9, b"a.jpg", OSError(number, ""), Reason.READ_ERROR)
    assert reply == Refused(root=3, ticket=9, outcome=outcome, errno=number)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL])
def test_a_derivative_that_cannot_bear_its_name_is_a_failure_with_a_reason(tmp_path: Path, number: int) -> None:
    reply = reached(tmp_path, "rename").failure(9, b"a.jpg", OSError(number, ""), Reason.WRITE_ERROR)
    outcome = Failed(reason=Reason.WRITE_ERROR, detail=f"rename: {os.strerror(number)}")
    assert reply == Refused(root=3, ticket=9, outcome=outcome, errno=number)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_a_folder_that_is_gone_while_a_derivative_is_written_took_the_source_with_it(
    tmp_path: Path, number: int
) -> None:
    reply = reached(tmp_path, "create").failure(9, b"a.jpg", OSError(number, ""), Reason.WRITE_ERROR)
    assert reply == Refused(root=3, ticket=9, outcome=Vanished(), errno=number)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_missing_permission_names_the_call_and_the_user(tmp_path: Path, number: int) -> None:
    reply = reached(tmp_path, "create").failure(9, b"a.jpg", OSError(number, ""), Reason.WRITE_ERROR)
    detail = f"create: {os.strerror(number)} (this process is user {os.geteuid()}, group {os.getegid()})"
    outcome = Rejected(reason=Reason.NOT_PERMITTED, detail=detail)
    assert reply == Refused(root=3, ticket=9, outcome=outcome, errno=number)


def test_a_step_starts_the_time_anew() -> None:
    times = iter([5.0, 8.0])
    steps = Steps(lambda: next(times))
    seen = [(steps.operation, steps.since_s)]
    steps.at("read")
    seen.append((steps.operation, steps.since_s))
    steps.at("write")
    seen.append((steps.operation, steps.since_s))
    steps.rest()
    assert [*seen, steps.since_s] == [("", None), ("read", 5.0), ("write", 8.0), None]
