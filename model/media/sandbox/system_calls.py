"""A seccomp filter that refuses the system calls decoding has no use for.

The filter is classic BPF over `struct seccomp_data` (linux/seccomp.h): a refused call fails with EPERM. It holds in
containers too, for nobody needs a privilege to narrow what they may call. What it refuses: sockets, opening or changing
any file by name, starting programs and processes, reaching into other processes or having the kernel signal them, and
memory that the limit does not count. Other calls on what is already open go on working, and so do threads.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "open": 2, "mmap": 9, "ioctl": 16, "shmget": 29, "shmat": 30, "shmctl": 31, "socket": 41, "connect": 42,
        "accept": 43, "bind": 49, "listen": 50, "socketpair": 53, "clone": 56, "fork": 57, "vfork": 58, "execve": 59,
        "kill": 62, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68, "msgsnd": 69, "msgrcv": 70, "msgctl": 71,
        "fcntl": 72, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86,
        "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101,
        "rt_sigqueueinfo": 129, "mknod": 133, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
        "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "tkill": 200, "sched_setaffinity": 203,
        "semtimedop": 220, "tgkill": 234, "mq_open": 240, "mq_unlink": 241, "add_key": 248, "request_key": 249,
        "keyctl": 250, "ioprio_set": 251, "migrate_pages": 256, "openat": 257, "mkdirat": 258, "mknodat": 259,
        "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268,
        "unshare": 272, "move_pages": 279, "utimensat": 280, "accept4": 288, "rt_tgsigqueueinfo": 297,
        "perf_event_open": 298, "prlimit64": 302, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "sched_setattr": 314, "renameat2": 316,
        "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323,
    },
    "aarch64": {
        "fcntl": 25, "ioctl": 29, "ioprio_set": 30, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36,
        "linkat": 37, "renameat": 38, "umount2": 39, "mount": 40, "pivot_root": 41, "truncate": 45, "ftruncate": 46,
        "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56, "utimensat": 88,
        "unshare": 97, "ptrace": 117, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122,
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "setpriority": 140, "mq_open": 180,
        "mq_unlink": 181, "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "semget": 190, "semctl": 191,
        "semtimedop": 192, "semop": 193, "shmget": 194, "shmctl": 195, "shmat": 196, "socket": 198, "socketpair": 199,
        "bind": 200, "listen": 201, "accept": 202, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219,
        "clone": 220, "execve": 221, "mmap": 222, "migrate_pages": 238, "move_pages": 239, "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241, "accept4": 242, "prlimit64": 261, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "sched_setattr": 274,
        "renameat2": 276, "memfd_create": 279, "bpf": 280, "execveat": 281, "userfaultfd": 282,
    },
}  # fmt: skip
"""What is refused, by architecture (asm/unistd_64.h, asm-generic/unistd.h), but for the calls that `_filter` guards
and those of `_REFUSED_ARGUMENTS`, which are refused with some arguments only."""

_NUMBERS_EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "pidfd_open": 434,
    "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440, "memfd_secret": 447,
    "process_mrelease": 448, "fchmodat2": 452,
}  # fmt: skip

"""Calls younger than 2019 have one number on all architectures."""

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FIRST_FOREIGN_NUMBER = 0x40000000
"""From here on x86-64 counts the calls of its 32 bit twin."""

_CLONE_THREAD = 0x00010000
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOASYNC, _FIOSETOWN, _SIOCSPGRP = 0x5452, 0x8901, 0x8902
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x100

_WHOLE = 0xFFFFFFFF
_REFUSED_ARGUMENTS = (
    ("fcntl", 1, _WHOLE, (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)),
    ("ioctl", 1, _WHOLE, (_FIOSETOWN, _SIOCSPGRP, _FIOASYNC)),
    ("mmap", 3, _MAP_SHARED | _MAP_ANONYMOUS, (_MAP_SHARED | _MAP_ANONYMOUS,)),
    ("mmap", 3, _MAP_GROWSDOWN, (_MAP_GROWSDOWN,)),
)
"""Call, number of the argument from 0, its bits that count, and what they may not be.

A descriptor with another owner has the kernel signal that process. The limit on memory (RLIMIT_DATA) counts neither
shared mappings nor stacks; the ring is a shared mapping of a file.
"""

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_FAIL = 0x00050000

_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16
_ARGUMENT_BYTES = 8

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2


@dataclass(frozen=True, slots=True)
class _Step:
    """One BPF instruction: jumps count the steps that are skipped."""

    code: int
    value: int
    if_so: int = 0
    if_not: int = 0

    def packed(self) -> bytes:
        return struct.pack("HBBI", self.code, self.if_so, self.if_not, self.value)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def filter_system_calls() -> bool:
    """Install the filter for every thread to come; False where the system has none. Needs "no new privileges"."""
    machine = platform.machine()
    if machine not in _NUMBERS:
        return False
    steps = b"".join(step.packed() for step in _filter(machine, os.getpid()))
    program = _Program(len(steps) // 8, steps)
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str, own_pid: int) -> list[_Step]:
    guarded = {
        "clone": (_JUMP_ANY_BIT, _CLONE_THREAD),
        "tgkill": (_JUMP_EQUAL, own_pid),  # abort() signals its own process
        "prlimit64": (_JUMP_EQUAL, 0),  # 0 is the caller
    }
    steps = [
        _Step(_LOAD, _AT_ARCHITECTURE),
        _Step(_JUMP_EQUAL, _AUDIT_ARCHITECTURE[machine], if_so=1),
        _Step(_RETURN, _KILL),
        _Step(_LOAD, _AT_NUMBER),
        _Step(_JUMP_AT_LEAST, _FIRST_FOREIGN_NUMBER, if_not=1),
        _Step(_RETURN, _FAIL | errno.EPERM),
    ]
    refused_arguments = {name for name, *_ in _REFUSED_ARGUMENTS}
    for name, number in {**_NUMBERS[machine], **_NUMBERS_EVERYWHERE}.items():
        if name in refused_arguments:
            continue
        if name in guarded:
            steps += _allow_if(number, *guarded[name])
        else:  # clone3 hides its flags from filters: told that there is none, the C library uses clone
            steps += _fail_on(number, errno.ENOSYS if name == "clone3" else errno.EPERM)
    for name, argument, bits, values in _REFUSED_ARGUMENTS:
        steps += _fail_if(_NUMBERS[machine][name], argument, bits, values)
    return [*steps, _Step(_RETURN, _ALLOW)]


def _fail_on(number: int, error: int) -> list[_Step]:
    return [_Step(_JUMP_EQUAL, number, if_not=1), _Step(_RETURN, _FAIL | error)]


def _allow_if(number: int, test: int, value: int) -> list[_Step]:
    """Refuse a call unless its first argument passes a test."""
    return [
        _Step(_JUMP_EQUAL, number, if_not=4),
        _Step(_LOAD, _AT_FIRST_ARGUMENT),
        _Step(test, value, if_so=1),
        _Step(_RETURN, _FAIL | errno.EPERM),
        _Step(_RETURN, _ALLOW),
    ]


def _fail_if(number: int, argument: int, bits: int, values: Sequence[int]) -> list[_Step]:
    """Refuse a call if these bits of an argument have one of some values."""
    tests = [
        _Step(_LOAD, _AT_FIRST_ARGUMENT + argument * _ARGUMENT_BYTES),
        _Step(_AND, bits),
        *(step for value in values for step in _fail_on(value, errno.EPERM)),
        _Step(_LOAD, _AT_NUMBER),
    ]
    return [_Step(_JUMP_EQUAL, number, if_not=len(tests)), *tests]
