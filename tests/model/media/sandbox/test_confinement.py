"""What a decoder cannot do, tried from within one: a process that has confined itself as decoders do.

Not every system grants every measure; tests of one that is not granted are skipped, or fail where
HIGHSYNC_REQUIRE_CONFINEMENT is set, as CI does.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.media.sandbox.decoder import Decoder, confinement
from model.media.sandbox.wire import Confinement, Operation, Request
from model.plan import MediaLimits

PROLOGUE = """
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, struct, sys, threading, time
from dataclasses import replace
from pathlib import Path
from model.media.sandbox import confinement
from model.media.sandbox.system_calls import filter_system_calls
from model.plan import MediaLimits

LIBC = ctypes.CDLL(None, use_errno=True)
PORT, FILE = int(sys.argv[1]), sys.argv[2]

def reached():
    try:
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", PORT))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "reached"

def tried(deed):
    try:
        return deed() or "done"
    except OSError as error:
        return errno.errorcode[error.errno]
    except MemoryError:
        return "MemoryError"
"""


@pytest.fixture(scope="module")
def allowed() -> Confinement:
    """What this system allows."""
    return confinement(MediaLimits())


def require(granted: bool, what: str) -> None:
    """Go on where the system grants a measure."""
    if granted:
        return
    if os.environ.get("HIGHSYNC_REQUIRE_CONFINEMENT"):
        pytest.fail(f"HIGHSYNC_REQUIRE_CONFINEMENT is set, but this system does not grant {what}")
    pytest.skip(f"this system does not grant {what}")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port on this machine where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def confined(program: str, port: int = 0, file: str = __file__) -> dict[str, object]:
    """What a program prints as JSON, in a fresh process."""
    command = [sys.executable, "-c", PROLOGUE + program, str(port), file]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_a_measure_that_is_not_granted_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIGHSYNC_REQUIRE_CONFINEMENT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="a filter"):
        require(False, "a filter")

    monkeypatch.setenv("HIGHSYNC_REQUIRE_CONFINEMENT", "1")
    with pytest.raises(pytest.fail.Exception, match="does not grant a filter"):
        require(False, "a filter")


def test_the_listener_is_reached_without_confinement(port: int) -> None:
    assert confined("print(json.dumps({'way out': reached()}))", port) == {"way out": "reached"}


def test_a_decoder_reaches_no_network(port: int, allowed: Confinement) -> None:
    require(allowed.reaches_no_network, "a network namespace or a system call filter")

    answer = confined("confinement.confine(MediaLimits()); print(json.dumps({'way out': reached()}))", port)

    assert answer["way out"] != "reached"


def test_the_namespace_alone_cuts_the_network(port: int, allowed: Confinement) -> None:
    require(allowed.network_cut, "a network namespace")

    answer = confined("assert confinement._leave_network(); print(json.dumps({'way out': reached()}))", port)

    assert answer["way out"] == "ENETUNREACH"


def test_the_filter_alone_cuts_the_network(port: int, allowed: Confinement) -> None:
    require(allowed.calls_filtered, "a system call filter")

    answer = confined(
        "assert LIBC.prctl(38, 1, 0, 0, 0) == 0 and filter_system_calls(); print(json.dumps({'way out': reached()}))",
        port,
    )

    assert answer["way out"] == "EPERM"


def test_a_decoder_opens_starts_and_signals_nothing(allowed: Confinement) -> None:
    require(allowed.calls_filtered, "a system call filter")

    answer = confined(
        """
parent = os.getppid()
pair = socket.socketpair()
confinement.confine(MediaLimits())
process = struct.pack("i", parent)
deeds = {
    "read": lambda: os.open(FILE, os.O_RDONLY),
    "write": lambda: os.open(FILE + ".new", os.O_WRONLY | os.O_CREAT),
    "remove": lambda: os.unlink(FILE),
    "program": lambda: os.execv(sys.executable, [sys.executable]),
    "process": os.fork,
    "signal": lambda: os.kill(parent, signal.SIGTERM),
    "signal to a thread": lambda: LIBC.syscall(234 if os.uname().machine == "x86_64" else 131, parent, parent, 15)
    and (_ for _ in ()).throw(OSError(ctypes.get_errno(), "")),
    "limits of others": lambda: resource.prlimit(parent, resource.RLIMIT_CORE),
    "priority of others": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
    "owner of a descriptor": lambda: fcntl.fcntl(pair[0], fcntl.F_SETOWN, parent),
    "owner by kind": lambda: fcntl.fcntl(pair[0], 15, struct.pack("ii", 1, parent)),
    "signal of a descriptor": lambda: fcntl.fcntl(pair[0], fcntl.F_SETSIG, signal.SIGUSR1),
    "owner by ioctl": lambda: fcntl.ioctl(pair[0], 0x8901, process),
    "owner of a socket": lambda: fcntl.ioctl(pair[0], 0x8902, process),
    "signals by ioctl": lambda: fcntl.ioctl(pair[0], 0x5452, struct.pack("i", 1)),
    "shared memory": lambda: mmap.mmap(-1, 3 << 30),
    "a second stack": lambda: mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100),
    "a file of memory": lambda: os.memfd_create("x"),
}
print(json.dumps({name: tried(deed) for name, deed in deeds.items()}))
"""
    )

    assert answer == dict.fromkeys(answer, "EPERM")
    assert len(answer) == 18


def test_a_decoder_may_still_have_threads_and_abort(allowed: Confinement) -> None:
    answer = confined(
        """
confinement.confine(MediaLimits())
seen = []
thread = threading.Thread(target=lambda: seen.append(1))
thread.start(); thread.join()
print(json.dumps({"seen": seen}))
"""
    )

    assert answer == {"seen": [1]}


def test_a_decoder_has_the_limits_it_was_given() -> None:
    answer = confined(
        """
pipe = os.pipe()
confinement.confine(replace(MediaLimits(), decoder_memory_bytes=512 << 20, decoder_cpu_seconds=77))
print(json.dumps({
    "memory": tried(lambda: bytearray(600 << 20)),
    "some memory": tried(lambda: bytearray(100 << 20) and None),
    "a place to read": tried(lambda: mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=1)),
    "cpu": resource.getrlimit(resource.RLIMIT_CPU),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "file": resource.getrlimit(resource.RLIMIT_FSIZE),
    "open files": tried(lambda: [os.dup(0) for _ in range(100)] and None),
}))
"""
    )

    assert answer == {
        "memory": "MemoryError",
        "some memory": "done",
        "a place to read": "ENOMEM",
        "cpu": [77, 79],
        "core": [0, 0],
        "file": [0, 0],
        "open files": "EMFILE",
    }


def test_a_decoder_has_no_privileges(allowed: Confinement) -> None:
    require(allowed.privileges_dropped, "to drop privileges")

    answer = confined(
        """
status = open("/proc/self/status")
confinement.confine(MediaLimits())
fields = dict(line.split(":", 1) for line in status.read().splitlines())
print(json.dumps({"capabilities": int(fields["CapEff"], 16) | int(fields["CapPrm"], 16), "uid": os.getuid()}))
"""
    )

    assert answer["capabilities"] == 0
    assert answer["uid"] != 0


def test_a_decoder_knows_no_secret_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHSYNC_SECRET_KEY", "x" * 40)

    with Decoder(Path(os.devnull), Request(Operation.CONFINEMENT, MediaLimits())) as decoder:
        decoder.confinement()
        environment = Path(f"/proc/{decoder._process.pid}/environ").read_bytes()

    assert b"PYTHONPATH" in environment
    assert b"xxxx" not in environment
