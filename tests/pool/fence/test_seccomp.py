"""The filter as a program: run here by a few lines of our own, for machines that are not this one as well."""

import errno
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from watcherd.pool.fence.seccomp import _DENIED, _MACHINES, Instruction, denied, program

PID = 4_321
ALLOWED, EPERM, ENOSYS = 0, errno.EPERM, errno.ENOSYS
COLUMNS = {name: machine.column for name, machine in _MACHINES.items()}
CALLS: Mapping[str, tuple[int, int]] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "mmap": (9, 222), "mprotect": (10, 226), "brk": (12, 214),
    "futex": (202, 98), "sendmsg": (46, 211), "recvmsg": (47, 212), "memfd_create": (319, 279), "fcntl": (72, 25),
    "exit_group": (231, 94), "getrandom": (318, 278), "ftruncate": (77, 46), "clone": (56, 220), "clone3": (435, 435),
    "kill": (62, 129), "tgkill": (234, 131), "tkill": (200, 130), "prctl": (157, 167), "prlimit64": (302, 261),
    "ioctl": (16, 29), "rt_sigreturn": (15, 139), "sched_yield": (24, 124), "clock_nanosleep": (230, 115),
}  # fmt: skip
HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}
every_machine = pytest.mark.parametrize("name", sorted(_MACHINES))


def verdict(
    instructions: list[Instruction], audit: int, number: int, arguments: tuple[int, ...] = (0, 0, 0, 0, 0, 0)
) -> int:
    """What the kernel would answer: 0 for allowed, else the error number. The language of linux/filter.h, in part."""
    words = {0: number, 4: audit}
    for index, argument in enumerate(arguments):
        words[16 + 8 * index] = argument & 0xFFFFFFFF
    at, value = 0, 0
    while True:
        code, then, otherwise, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                value = words[operand]
            case 0x06:
                assert operand & 0xFFFF0000 in {0x7FFF0000, 0x00050000}
                return ALLOWED if operand == 0x7FFF0000 else operand & 0xFFFF
            case 0x15:
                at += then if value == operand else otherwise
            case 0x35:
                at += then if value >= operand else otherwise
            case 0x45:
                at += then if value & operand else otherwise
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


def asked(name: str, call: str, *arguments: int) -> int:
    machine = _MACHINES[name]
    padded = (*arguments, *[0] * (6 - len(arguments)))
    return verdict(program(machine, PID), machine.audit, CALLS[call][machine.column], padded)


@every_machine
def test_what_is_denied_is_denied_whatever_its_arguments(name: str) -> None:
    machine = _MACHINES[name]
    instructions = program(machine, PID)
    calls = denied(machine.column)
    assert len(calls) > 80
    answers = {
        call: verdict(instructions, machine.audit, number, arguments)
        for call, number in calls.items()
        for arguments in ((0,) * 6, (PID,) * 6, (2**64 - 1,) * 6)
    }
    assert {call for call, answer in answers.items() if answer != EPERM} == set()


@every_machine
def test_what_a_worker_lives_on_is_allowed(name: str) -> None:
    free = sorted(set(CALLS) - {"clone", "clone3", "kill", "tkill", "tgkill"})
    assert {call: asked(name, call) for call in free} == dict.fromkeys(free, ALLOWED)


@every_machine
def test_every_other_call_that_was_looked_at_is_allowed(name: str) -> None:
    machine = _MACHINES[name]
    instructions = program(machine, PID)
    known = {numbers[machine.column] for numbers in CALLS.values()} | set(denied(machine.column).values())
    others = set(range(463)) - known
    assert {verdict(instructions, machine.audit, number) for number in others} == {ALLOWED}


@every_machine
def test_calls_that_are_younger_than_the_list_do_not_exist(name: str) -> None:
    machine = _MACHINES[name]
    instructions = program(machine, PID)
    for number in (463, 500, 0x4000_0000, 0x4000_0000 + 59, 0xFFFF_FFFF):
        assert verdict(instructions, machine.audit, number) == ENOSYS


@every_machine
def test_calls_in_another_machines_numbers_are_denied(name: str) -> None:
    instructions = program(_MACHINES[name], PID)
    for audit in {0x40000003, *(machine.audit for machine in _MACHINES.values())} - {_MACHINES[name].audit}:
        assert {verdict(instructions, audit, number) for number in range(500)} == {EPERM}


@every_machine
def test_threads_may_be_made_and_processes_not(name: str) -> None:
    thread, signal_of_a_fork = 0x3D0F00, 17
    assert asked(name, "clone", thread) == ALLOWED
    assert asked(name, "clone", signal_of_a_fork) == EPERM
    assert asked(name, "clone", 0x4111) == EPERM  # a vfork
    assert asked(name, "clone3") == ENOSYS


@every_machine
@pytest.mark.parametrize("call", ["kill", "tkill", "tgkill"])
def test_a_worker_may_signal_itself_and_nobody_else(name: str, call: str) -> None:
    assert asked(name, call, PID, PID, 6) == ALLOWED
    for other in (0, 1, PID + 1, 2**64 - 1, 2**64 - PID):
        assert asked(name, call, other, PID, 9) == EPERM


@every_machine
def test_only_its_own_limits_can_be_looked_at(name: str) -> None:
    assert asked(name, "prlimit64", 0) == ALLOWED
    assert asked(name, "prlimit64", 1) == EPERM


@every_machine
def test_what_would_reach_others_through_an_option_is_denied(name: str) -> None:
    denied_options = {"prctl": (1, 4, 36), "fcntl": (8, 10, 15), "ioctl": (0x8901, 0x8902, 0x5412)}
    for call, options in denied_options.items():
        first = call == "prctl"
        assert {asked(name, call, *((o,) if first else (3, o))) for o in options} == {EPERM}
    assert asked(name, "prctl", 15) == ALLOWED  # the name of a thread
    assert asked(name, "fcntl", 8, 1033) == ALLOWED  # seals; the first argument is a descriptor
    assert asked(name, "ioctl", 0x8901, 0x5401) == ALLOWED


@every_machine
def test_the_program_is_one_that_the_kernel_takes(name: str) -> None:
    instructions = program(_MACHINES[name], PID)
    assert len(instructions) <= 4_096
    for index, (code, then, otherwise, operand) in enumerate(instructions):
        assert index + 1 + max(then, otherwise) < len(instructions) or code == 0x06
        assert (then < 256, otherwise < 256, operand < 2**32) == (True, True, True)
    assert instructions[-1][0] == 0x06


@every_machine
def test_the_numbers_are_those_of_the_kernels_headers(name: str) -> None:
    header = Path(HEADERS[name])
    if not header.exists():
        pytest.skip(f"the kernel's headers are not installed: {header}")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    there = {call: int(number) for call, number in found}
    ours = denied(COLUMNS[name]) | {call: numbers[COLUMNS[name]] for call, numbers in CALLS.items()}
    assert {call: number for call, number in ours.items() if there.get(call, number) != number} == {}
    assert len(set(ours) & set(there)) > 80


def test_every_row_of_the_table_is_in_force() -> None:
    rows = re.findall(r"(\w+) (\d+|-) (\d+|-)(?=;|\n)", _DENIED)
    for column in COLUMNS.values():
        assert set(denied(column)) == {row[0] for row in rows if row[1 + column] != "-"}
    assert {"execve", "socket", "openat", "chroot", "io_uring_setup", "setuid"} <= set(denied(0)) & set(denied(1))


def test_nothing_is_listed_twice() -> None:
    for column in COLUMNS.values():
        numbers = list(denied(column).values())
        assert [n for n, group in itertools.groupby(sorted(numbers)) if len(list(group)) > 1] == []
