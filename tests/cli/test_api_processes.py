"""`highsync api` with HIGHSYNC_API_PROCESSES above 1: several processes, one API to whoever asks or stops it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.config import STARTUP_FAILURE

from tests.servers import RedisServer, ServerProcess, children_of, wait_until

PROCESSES = 2

pytestmark = pytest.mark.e2e


class SeveralApis(ServerProcess):
    """The API of two processes, on a Redis of the test's."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        super().__init__(folder)
        self.redis = redis

    def command(self) -> list[str]:
        settings = {
            "HIGHSYNC_API_PROCESSES": str(PROCESSES),
            "HIGHSYNC_REDIS_URL": self.redis.url,
            "HIGHSYNC_SECRET_KEY": "a key for tests, long enough by far",
            "HIGHSYNC_STORAGE_URL": (self.folder / "storage").as_uri(),
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *words, sys.executable, "-m", "cli", "api", "--port", str(self.port)]

    def answers(self) -> bool:
        return self.started() == PROCESSES

    def started(self) -> int:
        """How many processes have begun to take connections so far."""
        return (self.folder / "server.log").read_text().count("Application startup complete.")

    def serving(self) -> set[int]:
        """Its children that serve, or are about to."""
        return {pid for pid in children_of(self.process.pid) if "spawn_main" in command_of(pid)}

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=10)

    def requests_counted(self, route: str) -> float:
        samples = (
            sample
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
            if sample.name == "http_requests_total" and sample.labels["handler"] == route
        )
        return sum(sample.value for sample in samples)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_alive(pid: int) -> bool:
    return command_of(pid) != ""


@pytest.fixture
def api(redis_server: RedisServer, tmp_path: Path) -> Iterator[SeveralApis]:
    server = SeveralApis(tmp_path / "api", redis_server).start()
    try:
        yield server
    finally:
        server.kill()


def test_whichever_process_is_asked_answers_for_all(api: SeveralApis) -> None:
    for _ in range(20):
        assert api.get("/errors").status_code == 200

    assert {api.requests_counted("/errors") for _ in range(8)} == {20}
    assert "highsync_worker_up" not in api.get("/metrics").text


def test_a_killed_process_is_replaced_and_nobody_waits_for_it(api: SeveralApis) -> None:
    victim, survivor = api.serving()
    os.kill(victim, signal.SIGKILL)

    assert all(api.get("/errors").status_code == 200 for _ in range(5))
    wait_until(lambda: api.started() == PROCESSES + 1, what="a replacement")
    assert survivor in api.serving()
    assert victim not in api.serving()
    assert api.requests_counted("/errors") == 5


def test_all_end_when_they_are_asked_to(api: SeveralApis) -> None:
    serving = api.serving()
    api.process.terminate()

    assert api.process.wait(20) == 0
    assert not any(map(is_alive, serving))


def test_all_end_when_their_parent_is_killed(api: SeveralApis) -> None:
    serving = api.serving()
    api.kill()

    wait_until(lambda: not any(map(is_alive, serving)), what="the end of orphans")


def test_what_keeps_one_from_starting_ends_all(redis_server: RedisServer, tmp_path: Path) -> None:
    api = SeveralApis(tmp_path / "api", redis_server)
    api.folder.mkdir()
    (api.folder / "storage").write_text("a file where the folder would have to be")

    ended = subprocess.run(api.command(), capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == STARTUP_FAILURE, ended.stderr
