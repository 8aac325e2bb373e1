"""Takes away from this process what decoding does not need. Everything here is done once and cannot be undone.

Each measure stands alone, because no system grants all: containers often forbid namespaces and allow system call
filters, other systems the reverse. What was granted is told; see `wire.Confinement`.
"""

import ctypes
import os
import resource
from pathlib import Path

from model.media.sandbox.ring import largest_ring_bytes
from model.media.sandbox.system_calls import filter_system_calls
from model.media.sandbox.wire import Confinement
from model.plan import MediaLimits

_NOBODY = 65_534
_MOST_OPEN_FILES = 64
_RESERVED_BYTES = 256 << 20
"""Address space for the heaps of threads: the C library reserves 128 MiB for each; see MALLOC_ARENA_MAX."""

_SECONDS_TO_DIE = 2
"""Of processor time, between the signal that tells why and the one that cannot be ignored."""

_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522


def confine(limits: MediaLimits) -> Confinement:
    """Confine this process, which must have one thread only and all its modules loaded."""
    limits_set = _set_limits(limits)
    network_cut = _leave_network()
    privileges_dropped = _drop_privileges()
    return Confinement(
        limits_set=limits_set,
        network_cut=network_cut,
        calls_filtered=filter_system_calls(),
        privileges_dropped=privileges_dropped,
    )


def _set_limits(limits: MediaLimits) -> bool:
    """Memory counts what a process may write to alone: libraries and the frames it shares with its parent are free.

    The address space as a whole may grow by that, those frames, and what the C library reserves and does not use. This
    bounds what the first limit does not count, stacks for one.
    """
    try:
        growth = limits.decoder_memory_bytes + largest_ring_bytes(limits.max_pixels) + _RESERVED_BYTES
        _set_limit(resource.RLIMIT_AS, _address_space_bytes() + growth)
        _set_limit(resource.RLIMIT_DATA, limits.decoder_memory_bytes)
        _set_limit(resource.RLIMIT_CPU, limits.decoder_cpu_seconds, then=_SECONDS_TO_DIE)
        _set_limit(resource.RLIMIT_NOFILE, _MOST_OPEN_FILES)
        _set_limit(resource.RLIMIT_FSIZE, 0)
        _set_limit(resource.RLIMIT_CORE, 0)
    except (OSError, ValueError):
        return False
    return True


def _address_space_bytes() -> int:
    """All that this process has mapped by now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _set_limit(kind: int, most: int, then: int = 0) -> None:
    """Lower a limit for good; the hard one to `then` more, where reaching the soft one is told by a signal."""
    allowed = resource.getrlimit(kind)[1]
    hard = most + then if allowed == resource.RLIM_INFINITY else min(most + then, allowed)
    resource.setrlimit(kind, (min(most, hard), hard))


def _leave_network() -> bool:
    """Move to a network without a device: as root at once, as anybody else within a user namespace."""
    return _unshare(_CLONE_NEWNET | _CLONE_NEWIPC) or _unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)


def _unshare(namespaces: int) -> bool:
    return bool(_libc().unshare(ctypes.c_int(namespaces)) == 0)


def _drop_privileges() -> bool:
    """Become nobody, where that is possible, and give up every capability for good."""
    libc = _libc()
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none_at_all = (ctypes.c_uint32 * 6)()
    return not (
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        or libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        or libc.capset(header, none_at_all)
    )


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
