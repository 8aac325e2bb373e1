"""The embedded stack and its processes. That it serves jobs is shown by tests/e2e."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.console import EXIT_INTERRUPTED
from cli.embedded_stack import EmbeddedStack
from cli.processes import ManagedProcess, StackError
from core.errors import AddressBlocked
from core.outgoing import FetchPolicy
from core.settings import Settings
from tests.servers import free_port, wait_until

ROOT = Path(__file__).parents[2]
STUBBORN_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(program: str, log_path: Path) -> ManagedProcess:
    return ManagedProcess("part", [sys.executable, "-c", program], env=os.environ, log_path=log_path)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_part_that_ends_too_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    part = start("import sys; sys.exit('the reason')", tmp_path / "part.log")
    with pytest.raises(StackError, match=r"part ended with status 1(.|\n)*the reason"):
        part.wait_until(lambda: False, 20.0)


def test_a_part_that_is_not_ready_in_time_is_reported(tmp_path: Path) -> None:
    part = start("import time; time.sleep(60)", tmp_path / "part.log")
    with pytest.raises(StackError, match="not ready within"):
        part.wait_until(lambda: False, 0.2)
    part.kill()


def test_a_part_that_does_not_want_to_end_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    part = start(STUBBORN_FAMILY, log)
    part.wait_until(lambda: bool(log.read_text().strip()), 20.0)
    grandchild = int(log.read_text())
    part.stop(grace_s=0.2)
    assert part.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(grandchild), what="the end of the grandchild")


def test_without_redis_server_the_user_is_told_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="apt-get install redis-server"), EmbeddedStack(tmp_path / "data"):
        pass


def test_secrets_are_made_once_per_data_folder_and_for_their_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a stack that ends before Redis, twice
    monkeypatch.setenv("PATH", str(tmp_path))
    secrets = tmp_path / "data" / "secrets.json"
    with pytest.raises(StackError), EmbeddedStack(tmp_path / "data"):
        pass
    first = secrets.read_text()
    with pytest.raises(StackError), EmbeddedStack(tmp_path / "data"):
        pass
    # Then
    assert secrets.read_text() == first
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_its_own_ports_are_closed_to_inputs_even_where_loopback_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the environment of a stack's processes
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HIGHSYNC_FETCH_DENY", raising=False)
    stack = EmbeddedStack(tmp_path / "data")
    with pytest.raises(StackError), stack:
        pass
    environment = stack.environment()
    # When the operator opens loopback on all of its ports, and on another one
    own, other = (stack.port, stack.redis_port, stack.worker_metrics_port), free_port()
    settings = Settings(
        secret_key="x" * 32,
        redis_url=environment["HIGHSYNC_REDIS_URL"],
        fetch_allow=",".join(f"127.0.0.0/8:{port}" for port in (*own, other)),
        fetch_deny=environment["HIGHSYNC_FETCH_DENY"],
    )
    policy = FetchPolicy.from_settings(settings)
    # Then only the other one can be reached
    assert policy.addresses("127.0.0.1", other)
    for port in own:
        with pytest.raises(AddressBlocked):
            policy.addresses("127.0.0.1", port)


@pytest.mark.e2e
def test_serve_is_ready_and_leaves_nothing_running_when_it_is_told_to_end(tmp_path: Path) -> None:
    # Given the whole service in the foreground
    port = free_port()
    command = [sys.executable, "-m", "cli", "serve", "--port", str(port), "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        while f":{port}/docs" not in (line := serve.stdout.readline()):
            assert line, serve.stderr and serve.stderr.read()
        parts = _children(serve.pid)
        assert len(parts) == 3
        # When it is told to end
        started = time.monotonic()
        serve.terminate()
        assert serve.wait(60) == EXIT_INTERRUPTED
    # Then everything it had started is gone, within seconds
    assert time.monotonic() - started < 30
    assert not [pid for pid in parts if is_alive(pid)]


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]
