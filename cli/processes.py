"""Child processes of the embedded stack: each in a session of its own, with a log file, and an end that is certain."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from cli.console import CommandFailed

LOG_TAIL_LINES = 20
POLL_S = 0.05


class StackError(CommandFailed):
    """The embedded stack cannot start or run on."""


class ManagedProcess:
    """A child that is ours from start to end.

    Its own session keeps a Ctrl-C in the terminal away from it: the stack stops its parts itself, in order.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log_path: Path,
        stdin: bytes | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  argv is ours, no shell
                argv, env=dict(env), stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
        assert self._process.stdin is not None  # noqa: S101  asked for above
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(stdin or b"")

    @property
    def pid(self) -> int:
        """The process id; also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready` says so. StackError, with the end of the log, if that takes too long or the child ends."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.returncode is not None:
                raise StackError(f"{self.name} ended with status {self.returncode}.\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} was not ready within {timeout_s:.0f} s.\n{self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        """The last lines of its log, with the log's place."""
        with self.log_path.open(errors="replace") as log:
            lines = deque(log, LOG_TAIL_LINES)
        return f"The end of {self.log_path}:\n{''.join(lines)}"

    def stop(self, grace_s: float) -> None:
        """Ask it to end; after `grace_s` seconds, make it. Whatever it has started ends with it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """End it and all of its process group at once, as a crash of the machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def free_port() -> int:
    """A loopback TCP port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a GET is answered with 200. Proxies of the environment are not asked: the address is our own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5.0) as reply:
            return bool(reply.status == HTTPStatus.OK)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
