"""On which addresses the API may be served, and to whom."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.api import may_listen
from core.api_keys import KeyLimits, Keyring, RedisKeyStore, Scope
from core.job_store import RedisJobStore
from core.settings import Settings
from tests.servers import RedisServer, free_port, wait_until

SECRET_KEY = "a key for tests, long enough by far"
ANYWHERE = ("0.0.0.0", "::", "192.0.2.1", "studio.example.com", "127.0.0.1.example.com")

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(redis_server: RedisServer) -> Settings:
    return Settings(secret_key=SECRET_KEY, redis_url=redis_server.url)


def make_key(settings: Settings) -> str:
    keyring = Keyring(RedisKeyStore.connect(settings.redis_url), RedisJobStore.connect(settings.redis_url))
    return keyring.create("ada", [Scope.READ], KeyLimits())[1].get_secret_value()


def test_without_keys_only_this_machine(settings: Settings) -> None:
    assert all(may_listen(host, settings) for host in ("127.0.0.1", "::1", "localhost"))
    assert not any(may_listen(host, settings) for host in ANYWHERE)


def test_with_keys_anywhere(settings: Settings) -> None:
    make_key(settings)
    assert all(may_listen(host, settings) for host in ANYWHERE)


def test_anywhere_if_the_operator_insists(settings: Settings) -> None:
    insisting = settings.model_copy(update={"allow_unauthenticated": True})
    assert all(may_listen(host, insisting) for host in ANYWHERE)


def test_an_api_that_starts_before_redis_waits_for_it(settings: Settings, redis_server: RedisServer) -> None:
    redis_server.kill()
    assert may_listen("0.0.0.0", settings)


@pytest.fixture
def served(redis_server: RedisServer, tmp_path: Path) -> Iterator[str]:
    """The API on all addresses of this machine, started while Redis was away, by an operator who allowed nothing."""
    port = free_port()
    environment = os.environ | {
        "HIGHSYNC_REDIS_URL": redis_server.url,
        "HIGHSYNC_SECRET_KEY": SECRET_KEY,
        "HIGHSYNC_STORAGE_URL": (tmp_path / "storage").as_uri(),
    }
    redis_server.kill()
    command = [sys.executable, "-m", "cli", "api", "--host", "0.0.0.0", "--port", str(port)]
    with (tmp_path / "api.log").open("wb") as log:
        api = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: status(f"{url}/livez") == 200, 60, what="the API")
        redis_server.start()
        yield url
    finally:
        api.terminate()
        api.wait(30)


def status(url: str, key: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        return httpx.get(url, headers=headers, trust_env=False, timeout=10).status_code
    except httpx.TransportError:
        return 0


def test_real_connections_are_told_apart(served: str, settings: Settings) -> None:
    """A house without keys, by the loopback address and by another of this machine; and then one with a key."""
    elsewhere = served.replace("127.0.0.1", own_address())
    assert status(f"{served}/jobs") == 200
    assert status(f"{elsewhere}/livez") == 200
    assert status(f"{elsewhere}/jobs") == 401

    key = make_key(settings)

    assert [status(f"{url}/jobs") for url in (served, elsewhere)] == [401, 401]
    assert [status(f"{url}/jobs", key) for url in (served, elsewhere)] == [200, 200]


def own_address() -> str:
    """An address of this machine that is not loopback."""
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for address in addresses:
        if ":" not in address:
            return address
    pytest.skip("this machine has no address but loopback")
