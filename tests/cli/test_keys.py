"""`highsync keys`: made, listed and revoked by an operator who can reach Redis."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from core.api_keys import KeyLimits, RedisKeyStore, Scope, authenticate
from core.errors import InvalidApiKey
from tests.servers import RedisServer, free_port

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisKeyStore:
    monkeypatch.setenv("HIGHSYNC_REDIS_URL", redis.url)
    monkeypatch.setenv("HIGHSYNC_SECRET_KEY", "a key for tests, long enough by far")
    return RedisKeyStore.connect(redis.url)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def made(*arguments: object) -> dict[str, Any]:
    result = run("create", *arguments, "--json")
    assert result.exit_code == 0, result.output
    record: dict[str, Any] = json.loads(result.stdout)
    return record


def test_a_new_key_alone_is_printed_and_opens_the_door(store: RedisKeyStore) -> None:
    result = run("create", "studio-a")

    assert result.exit_code == 0, result.output
    (text,) = result.stdout.splitlines()
    key = authenticate(store, text)
    assert (key.tenant, key.scopes, key.limits) == ("studio-a", {Scope.SUBMIT, Scope.READ}, KeyLimits())
    assert key.id in result.stderr
    assert text not in result.stderr


def test_scopes_and_limits_are_what_was_said(store: RedisKeyStore) -> None:
    limits = {"max_running": 2, "max_queued": 100, "requests_per_minute": 600, "storage_bytes": 10**12}
    options = [part for name, value in limits.items() for part in (f"--{name.replace('_', '-')}", value)]
    record = made("studio-a", "--scope", "read", "--retention-s", 86400, *options)

    key = authenticate(store, record["key"])

    assert record["scopes"] == ["read"]
    assert key.scopes == {Scope.READ}
    assert key.limits == KeyLimits(retention_s=86400, **limits)


def test_the_list_shows_every_key_and_opens_no_door(store: RedisKeyStore) -> None:
    record = made("studio-b", "--max-running", 3)

    listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    table = run("list").stdout

    (ours,) = [entry for entry in listed if entry["id"] == record["id"]]
    assert (ours["tenant"], ours["limits"]["max_running"], ours["revoked_at"]) == ("studio-b", 3, None)
    for word in (record["id"], "studio-b", "read", "submit", "max"):
        assert word in table
    secret = record["key"].rpartition("_")[2]
    assert secret not in table + json.dumps(listed)
    assert "sha256" not in json.dumps(listed)


def test_a_revoked_key_is_dead_and_listed_as_such(store: RedisKeyStore) -> None:
    record = made("studio-c")

    assert run("revoke", record["id"]).exit_code == 0

    with pytest.raises(InvalidApiKey):
        authenticate(store, record["key"])
    listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [entry["id"] for entry in listed if entry["revoked_at"] is not None] == [record["id"]]


@pytest.mark.parametrize(
    "arguments", [("revoke", "0" * 12), ("create", "Studio A"), ("create", "a:b"), ("create", "ada", "--scope", "root")]
)
def test_what_cannot_be_is_refused_in_one_line(store: RedisKeyStore, arguments: tuple[str, ...]) -> None:
    before = store.list()
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert store.list() == before


def test_without_redis_one_line_says_so(store: RedisKeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHSYNC_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: queue_unavailable")


def test_a_folder_without_a_stack_is_named(tmp_path: Path) -> None:
    """That the keys of a stack are found by its folder is shown by tests/e2e."""
    result = run("list", "--data", tmp_path)
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr


def test_neither_worker_nor_model_is_needed() -> None:
    program = "import sys, cli.keys; sys.exit(any(n.split('.')[0] in ('worker', 'model') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
