"""A seccomp filter that refuses the system calls decoding has no use for.

The filter is classic BPF over `struct seccomp_data` (linux/seccomp.h): a refused call fails with EPERM. It holds in
containers too, for nobody needs a privilege to narrow what they may call. What it refuses: sockets, opening or changing
any file by name, starting programs and processes, and reaching into other processes. Calls on what is already open go
on working, and so do threads.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "open": 2, "shmget": 29, "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "socketpair": 53,
        "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "semget": 64, "msgget": 68, "truncate": 76,
        "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "rt_sigqueueinfo": 129,
        "mknod": 133, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "tkill": 200, "tgkill": 234,
        "mq_open": 240, "add_key": 248, "request_key": 249, "keyctl": 250, "openat": 257, "mkdirat": 258,
        "mknodat": 259, "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
        "fchmodat": 268, "unshare": 272, "utimensat": 280, "accept4": 288, "rt_tgsigqueueinfo": 297,
        "perf_event_open": 298, "prlimit64": 302, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "renameat2": 316, "bpf": 321, "execveat": 322,
        "userfaultfd": 323,
    },
    "aarch64": {
        "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39,
        "mount": 40, "pivot_root": 41, "truncate": 45, "ftruncate": 46, "chroot": 51, "fchmod": 52, "fchmodat": 53,
        "fchownat": 54, "fchown": 55, "openat": 56, "utimensat": 88, "unshare": 97, "ptrace": 117, "kill": 129,
        "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "mq_open": 180, "msgget": 186, "semget": 190,
        "shmget": 194, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201, "accept": 202, "connect": 203,
        "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "execve": 221, "rt_tgsigqueueinfo": 240,
        "perf_event_open": 241, "accept4": 242, "prlimit64": 261, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "renameat2": 276, "bpf": 280, "execveat": 281,
        "userfaultfd": 282,
    },
}  # fmt: skip
"""What is refused, by architecture (asm/unistd_64.h, asm-generic/unistd.h), but for the calls that `_filter` guards."""

_NUMBERS_EVERYWHERE = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "pidfd_open": 434,
    "clone3": 435, "openat2": 437, "pidfd_getfd": 438,
}  # fmt: skip

"""Calls younger than 2019 have one number on all architectures."""

_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FIRST_FOREIGN_NUMBER = 0x40000000
"""From here on x86-64 counts the calls of its 32 bit twin."""

_CLONE_THREAD = 0x00010000

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_FAIL = 0x00050000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16

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
    for name, number in {**_NUMBERS[machine], **_NUMBERS_EVERYWHERE}.items():
        if name in guarded:
            steps += _allow_if(number, *guarded[name])
        else:  # clone3 hides its flags from filters: told that there is none, the C library uses clone
            steps += _fail_on(number, errno.ENOSYS if name == "clone3" else errno.EPERM)
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
