"""seccomp: the system calls that a worker never needs end with EPERM, for all its threads.

Responsible for: the list, and the filter made of it, written by hand: a library for so little would be one more thing
that can be wrong. Not responsible for: what files are within reach (`landlock.py` says: none), memory, time.

It is a list of what is denied, not of what is allowed: decoders and the C library change the calls that they live on
with every release, and a fence that kills innocent workers after an update is soon switched off. Calls that are
younger than the list do not exist for a worker. Numbers are those of the kernel's asm/unistd.h, the filter's language
is that of linux/filter.h and linux/seccomp.h; see seccomp(2).
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# name, number on x86_64, number on aarch64
_DENIED = """
# programs, and other processes
execve 59 221; execveat 322 281; fork 57 -; vfork 58 -; ptrace 101 117; process_vm_readv 310 270;
process_vm_writev 311 271; process_madvise 440 440; process_mrelease 448 448; pidfd_open 434 434;
pidfd_getfd 438 438; pidfd_send_signal 424 424; rt_sigqueueinfo 129 138; rt_tgsigqueueinfo 297 240; kcmp 312 272;
setns 308 268; unshare 272 97
# sockets: the one to the daemon is open
socket 41 198; socketpair 53 199; connect 42 203; bind 49 200; listen 50 201; accept 43 202; accept4 288 242
# files by name, and their attributes
open 2 -; openat 257 56; openat2 437 437; creat 85 -; open_by_handle_at 304 265; name_to_handle_at 303 264;
truncate 76 45; rename 82 -; renameat 264 38; renameat2 316 276; link 86 -; linkat 265 37; symlink 88 -;
symlinkat 266 36; unlink 87 -; unlinkat 263 35; mkdir 83 -; mkdirat 258 34; rmdir 84 -; mknod 133 -; mknodat 259 33;
chmod 90 -; fchmod 91 52; fchmodat 268 53; fchmodat2 452 452; chown 92 -; fchown 93 55; lchown 94 -;
fchownat 260 54; setxattr 188 5; lsetxattr 189 6; fsetxattr 190 7; removexattr 197 14; lremovexattr 198 15;
fremovexattr 199 16; utime 132 -; utimes 235 -; utimensat 280 88; futimesat 261 -; inotify_init 253 -;
inotify_init1 294 26; fanotify_init 300 262; quotactl 179 60; quotactl_fd 443 443
# mounts
chroot 161 51; pivot_root 155 41; mount 165 40; umount2 166 39; open_tree 428 428; move_mount 429 429;
fsopen 430 430; fsconfig 431 431; fsmount 432 432; fspick 433 433; mount_setattr 442 442; swapon 167 224;
swapoff 168 225
# other ways into the kernel, and to others on this machine
io_uring_setup 425 425; io_uring_enter 426 426; io_uring_register 427 427; bpf 321 280; perf_event_open 298 241;
userfaultfd 323 282; add_key 248 217; request_key 249 218; keyctl 250 219; shmget 29 194; msgget 68 186;
semget 64 190; mq_open 240 180; init_module 175 105; finit_module 313 273; delete_module 176 106;
kexec_load 246 104; kexec_file_load 320 294; reboot 169 142; syslog 103 116; acct 163 89; settimeofday 164 170;
clock_settime 227 112; clock_adjtime 305 266; adjtimex 159 171; sethostname 170 161; setdomainname 171 162;
iopl 172 -; ioperm 173 -; modify_ldt 154 -; personality 135 92
# identity
setuid 105 146; setgid 106 144; setreuid 113 145; setregid 114 143; setresuid 117 147; setresgid 119 149;
setgroups 116 159; setfsuid 122 151; setfsgid 123 152; capset 126 91
"""
_YOUNGEST = 462
"""The highest number that was looked at (mseal, Linux 6.10); since 424 it is the same one on every machine."""
_CLONE, _CLONE3 = (56, 220), (435, 435)
_FIRST, _SECOND = 0, 1
_CLONE_THREAD = 0x10000
_PR = (1, 4, 35, 36, 0x59616D61)  # death signal, dumpable, memory map, sub-reaper, tracer
_F_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: signals to others through a descriptor
_IO_OWNER_OR_INPUT = (0x8901, 0x8902, 0x5412)  # FIOSETOWN, SIOCSPGRP, TIOCSTI


@dataclass(frozen=True, slots=True)
class _Machine:
    """`audit` is its AUDIT_ARCH; `column` its place in the tables; `seccomp` the number of that call."""

    audit: int
    column: int
    seccomp: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0, 317), "aarch64": _Machine(0xC00000B7, 1, 277)}

_LOAD, _RETURN, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

Instruction = tuple[int, int, int, int]
"""What to do, how many instructions to jump over if it is so, and if not, with which number."""


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def close() -> bool:
    """Close the filter for this process, for good. False where this machine or kernel has none.

    Wants no_new_privs to be set.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return False
    instructions = b"".join(_INSTRUCTION.pack(*instruction) for instruction in program(machine, os.getpid()))
    filled = _Program(len(instructions) // _INSTRUCTION.size, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(filled)) == 0)


def program(machine: _Machine, pid: int) -> list[Instruction]:
    """The filter of the process with that id."""
    return [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, machine.audit),
        _error(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _YOUNGEST + 1),  # so are the calls of the x32 ABI
        _error(errno.ENOSYS),
        (_IF_EQUAL, 0, 1, _CLONE3[machine.column]),
        _error(
            errno.ENOSYS
        ),  # its flags lie in memory, where no filter can see them; the C library falls back to clone
        *_denied(machine),
        *_conditional(machine, pid),
        (_RETURN, 0, 0, _ALLOW),
    ]


def denied(column: int) -> Mapping[str, int]:
    """What is always denied on one kind of machine."""
    lines = [line for line in _DENIED.splitlines() if not line.startswith("#")]
    rows = [row.split() for line in lines for row in line.split(";") if row.strip()]
    return {name: int(numbers[column]) for name, *numbers in rows if numbers[column] != "-"}


def _denied(machine: _Machine) -> Iterator[Instruction]:
    for number in denied(machine.column).values():
        yield (_IF_EQUAL, 0, 1, number)
        yield _error(errno.EPERM)


def _conditional(machine: _Machine, pid: int) -> Iterator[Instruction]:
    """What depends on an argument: threads but no processes, signals to itself, limits of its own."""
    only_threads = [(_IF_ANY_BIT, 1, 0, _CLONE_THREAD), _error(errno.EPERM)]
    yield from _if_called(_CLONE[machine.column], _FIRST, only_threads)
    for call in ((62, 129), (200, 130), (234, 131)):  # kill, tkill, tgkill
        yield from _if_called(call[machine.column], _FIRST, [(_IF_EQUAL, 1, 0, pid), _error(errno.EPERM)])
    own_limits = [(_IF_EQUAL, 1, 0, 0), _error(errno.EPERM)]
    yield from _if_called((302, 261)[machine.column], _FIRST, own_limits)  # prlimit64
    for call, argument, wrong in (
        ((157, 167), _FIRST, _PR),  # prctl
        ((72, 25), _SECOND, _F_OWNER),  # fcntl
        ((16, 29), _SECOND, _IO_OWNER_OR_INPUT),  # ioctl
    ):
        refusals = [part for value in wrong for part in ((_IF_EQUAL, 0, 1, value), _error(errno.EPERM))]
        yield from _if_called(call[machine.column], argument, refusals)


def _if_called(number: int, argument: int, checks: Sequence[Instruction]) -> Iterator[Instruction]:
    """Checks on the lower half of one argument, where a call is this one; what passes them all is allowed."""
    yield (_IF_EQUAL, 0, len(checks) + 2, number)
    yield (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)
    yield from checks
    yield (_RETURN, 0, 0, _ALLOW)


def _error(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | number)
