"""Real servers for tests: each is a child process on a free loopback port, with its data in a folder of the test."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S = 20.0


def free_port() -> int:
    """A loopback TCP port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = START_TIMEOUT_S, *, what: str = "condition") -> None:
    """Poll until the condition holds. TimeoutError when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and that live."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


class ServerProcess:
    """A child process that can be started, stopped, killed, frozen and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """The command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server takes requests."""
        raise NotImplementedError

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running child."""
        assert self._process is not None, "the server is not running"
        return self._process

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._ready, what=f"{type(self).__name__} on port {self.port}, see {self.folder}/server.log")
        return self

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.command()[0]} ended: {(self.folder / 'server.log').read_text()[-2000:]}")
        return self.answers()

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as in a power cut."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as in a network that drops packets."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        self._process.wait(START_TIMEOUT_S)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class RedisServer(ServerProcess):
    """redis-server with the durability of our compose file: AOF, fsync on every write, nothing evicted."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.options = options

    @property
    def url(self) -> str:
        """The address for `HIGHSYNC_REDIS_URL`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """The command line."""
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return ["redis-server", *place, *durable, *self.options]

    def answers(self) -> bool:
        """PING → PONG, without any client library."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


class MotoServer(ServerProcess):
    """moto's S3 in a process of its own. It does not check credentials nor the expiry of links."""

    @property
    def url(self) -> str:
        """The address for `HIGHSYNC_S3_ENDPOINT`."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        """Whether moto's own state page is there."""
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=2) as reply:
                return int(reply.status) == 200
        except (OSError, urllib.error.URLError):
            return False
