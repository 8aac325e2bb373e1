"""`make backup` and `make restore`, with a compose that runs the container's command on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from core.storage import LocalStorage
from tests.deploy.conftest import ROOT
from tests.servers import RedisServer

COMPOSE = f"""#!/usr/bin/env bash
# run [OPTION]... --volume HOST:/backup[:ro] api python -m cli COMMAND /backup [--force]
echo "$*" >>compose.log
[ "$1" = run ] || exit 0
while [ "$1" != api ]; do [ "$1" != --volume ] || host=${{2%%:*}}; shift; done
shift 2
set -a; . ./.env; set +a
exec {sys.executable} "${{@/#\\/backup/$host}}"
"""
KEY = "uploads/" + "1" * 32


class Installation:
    """A folder with the stack's files, whose Redis and storage run on this machine."""

    def __init__(self, folder: Path, server: RedisServer, database: int) -> None:
        self.folder = folder
        self.redis_url = server.url.replace("/0", f"/{database}")
        self.redis = Redis.from_url(self.redis_url)
        self.storage = LocalStorage(folder / "files", "http://127.0.0.1", "x" * 32)
        self.storage.prepare()
        (folder / "compose").write_text(COMPOSE)
        (folder / "compose").chmod(0o755)

    def make(self, target: str, backup: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "HIGHSYNC_REDIS_URL": self.redis_url,
            "HIGHSYNC_STORAGE_URL": self.storage.root.as_uri(),
        }
        words = ["make", "-s", target, f"ARGS={backup}", "COMPOSE=./compose"]
        words += [f"{name}={value}" for name, value in variables.items()]
        return subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture
def used(checkout: Path, redis_server: RedisServer) -> Installation:
    """An installation with a job and a file."""
    (checkout / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    installation = Installation(checkout, redis_server, 0)
    installation.redis.hset("highsync:job:one", "status", "queued")
    (checkout / "file").write_bytes(b"a voice")
    installation.storage.put_file(KEY, checkout / "file", "audio/wav")
    return installation


@pytest.fixture
def new(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation on another machine, which has no .env yet."""
    folder = tmp_path_factory.mktemp("new")
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    return Installation(folder, redis_server, 1)


@pytest.fixture
def backup(used: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups") / "monday"
    done = used.make("backup", folder)
    assert done.returncode == 0, done.stderr
    assert "1 records and 1 files" in done.stdout
    return folder


def test_a_backup_is_the_owners_alone_and_has_the_secrets(used: Installation, backup: Path) -> None:
    assert {path.name for path in backup.iterdir()} == {
        ".env", "SHA256SUMS", "backup.json", "objects", "records.jsonl.gz",
    }  # fmt: skip
    assert [path for path in (backup, *backup.iterdir()) if path.stat().st_mode & 0o077] == []
    assert (backup / ".env").read_bytes() == (used.folder / ".env").read_bytes()
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=backup, check=True)
    assert list(backup.parent.iterdir()) == [backup]


def test_nothing_that_runs_is_touched_by_a_backup(used: Installation, backup: Path) -> None:
    (call,) = (used.folder / "compose.log").read_text().splitlines()
    assert call.startswith(f"run --rm --no-deps -T --user {os.getuid()}:{os.getgid()} --volume ")
    assert call.endswith(":/backup api python -m cli backup /backup")


def test_a_backup_that_fails_leaves_no_folder(used: Installation, redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.stop()
    done = used.make("backup", tmp_path / "backups" / "tuesday")
    assert done.returncode != 0
    assert "queue_unavailable" in done.stderr
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_backup_is_not_written_over_another(used: Installation, backup: Path) -> None:
    before = (backup / "SHA256SUMS").read_bytes()
    assert "exists already" in used.make("backup", backup).stderr
    assert (backup / "SHA256SUMS").read_bytes() == before


def test_a_new_machine_gets_all_of_it_and_the_secrets(used: Installation, new: Installation, backup: Path) -> None:
    done = new.make("restore", backup)
    assert done.returncode == 0, done.stderr
    assert "make up" in done.stdout
    assert new.redis.hgetall("highsync:job:one") == {b"status": b"queued"}
    assert b"".join(new.storage.open_stream(KEY)) == b"a voice"
    assert (new.folder / ".env").read_bytes() == (used.folder / ".env").read_bytes()
    assert (new.folder / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", [".env", "records.jsonl.gz"])
def test_of_a_damaged_backup_nothing_is_restored(new: Installation, backup: Path, name: str) -> None:
    with (backup / name).open("ab") as file:
        file.write(b"x")
    done = new.make("restore", backup)
    assert done.returncode != 0
    assert "not whole" in done.stderr or "damaged" in done.stderr
    assert not new.redis.dbsize()
    assert not (new.folder / ".env").exists()


def test_an_installation_in_use_is_replaced_only_by_force(used: Installation, backup: Path) -> None:
    used.redis.hset("highsync:job:two", "status", "queued")
    assert "--force" in used.make("restore", backup).stderr
    assert used.redis.exists("highsync:job:two")
    assert used.make("restore", backup, FORCE="1").returncode == 0
    assert used.redis.keys() == [b"highsync:job:one"]


def test_a_backup_that_the_secrets_do_not_open_is_refused(new: Installation, backup: Path) -> None:
    subprocess.run([new.folder / "scripts" / "init.sh"], check=True, capture_output=True)
    assert "another HIGHSYNC_SECRET_KEY" in new.make("restore", backup).stderr
    assert not new.redis.dbsize()


def test_the_scripts_are_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", *sorted((ROOT / "scripts").glob("*.sh"))], check=True)
