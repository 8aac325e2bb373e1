"""Backups of a real Redis and real storages, and what is refused. That the service goes on after one: tests/e2e."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from core.backup import BackupFacts, BackupRefused, back_up, restore
from core.redis_client import connect
from core.settings import Settings
from core.storage import LocalStorage, ObjectNotFound, S3Storage, Storage
from tests.servers import MotoServer, RedisServer, wait_until

KEY, UPLOAD = "jobs/one/attempt-1/result.mp4", "uploads/two"
MADE_AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECRET = "a key for tests, long enough by far"


class Place:
    """Redis and storage of an installation."""

    def __init__(self, server: RedisServer, database: int, storage: Storage) -> None:
        self.url = server.url.replace("/0", f"/{database}")
        self.redis = Redis.from_url(self.url)
        self.storage = storage
        self.storage.prepare()

    def back_up(self, folder: Path) -> BackupFacts:
        return back_up(self.url, self.storage, folder, lambda: MADE_AT)

    def restore(self, folder: Path, *, force: bool = False) -> BackupFacts:
        return restore(self.url, self.storage, folder, force=force)

    def put(self, key: str, content: bytes, folder: Path) -> None:
        (folder / "file").write_bytes(content)
        self.storage.put_file(key, folder / "file", "video/mp4")

    def content(self, key: str) -> bytes:
        return b"".join(self.storage.open_stream(key))

    def is_empty(self) -> bool:
        return not self.redis.dbsize() and not self.storage.children("jobs") and not self.storage.children("uploads")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def here(server: RedisServer, tmp_path: Path) -> Place:
    """An installation with something in it."""
    Redis.from_url(server.url).flushall()
    place = Place(server, 0, LocalStorage(tmp_path / "here", "http://127.0.0.1", SECRET))
    place.redis.hset("highsync:job:one", mapping={"status": "succeeded", "sealed": b"\x00\xff"})
    place.redis.set("highsync:idempotency:x", "answer", ex=1000)
    place.redis.xadd("highsync:changes", {"job": "one"})
    place.put(KEY, b"a result", tmp_path)
    place.put(UPLOAD, b"an upload" * 100_000, tmp_path)
    return place


@pytest.fixture
def there(server: RedisServer, tmp_path: Path) -> Place:
    """An empty installation."""
    return Place(server, 1, LocalStorage(tmp_path / "there", "http://127.0.0.1", SECRET))


def test_what_is_restored_is_what_was_backed_up(here: Place, there: Place, tmp_path: Path) -> None:
    facts = here.back_up(tmp_path / "backup")
    assert there.restore(tmp_path / "backup") == facts
    assert (facts.records, facts.objects, facts.bytes, facts.made_at) == (3, 2, 8 + 900_000, MADE_AT)
    assert there.redis.hgetall("highsync:job:one") == {b"status": b"succeeded", b"sealed": b"\x00\xff"}
    assert there.redis.xrange("highsync:changes") == here.redis.xrange("highsync:changes")
    assert 900 < int(str(there.redis.ttl("highsync:idempotency:x"))) <= 1000
    assert there.content(KEY) == b"a result"
    assert there.content(UPLOAD) == here.content(UPLOAD)


def test_a_bucket_is_restored_into_a_folder_and_back(
    here: Place, server: RedisServer, moto_server: MotoServer, tmp_path: Path
) -> None:
    settings = Settings(
        secret_key=SECRET,
        storage_url="s3://backup-trial/some/prefix",
        s3_endpoint=moto_server.url,
        s3_access_key="GKtest",
        s3_secret_key="unguessable enough",
    )
    bucket = Place(server, 1, S3Storage.from_settings(settings))
    here.back_up(tmp_path / "backup")
    bucket.restore(tmp_path / "backup")
    assert list(bucket.storage.list("jobs")) == [KEY]
    bucket.back_up(tmp_path / "of the bucket")
    folder = Place(server, 2, LocalStorage(tmp_path / "back", "http://127.0.0.1", SECRET))
    folder.restore(tmp_path / "of the bucket")
    assert folder.content(UPLOAD) == here.content(UPLOAD)
    assert folder.redis.hgetall("highsync:job:one") == here.redis.hgetall("highsync:job:one")


def test_records_that_change_together_are_backed_up_together(here: Place, there: Place, tmp_path: Path) -> None:
    # Given many keys, and somebody who changes the first and the last at once, without pause
    here.redis.mset({f"highsync:x:{number}": number for number in range(20_000)})
    over = threading.Event()
    rounds: list[int] = []

    def change() -> None:
        redis = Redis.from_url(here.url)
        while not over.is_set():
            with redis.pipeline(transaction=True) as pipe:
                pipe.incr("highsync:a")
                pipe.incr("highsync:z")
                rounds.append(pipe.execute()[0])

    writer = threading.Thread(target=change)
    writer.start()
    wait_until(lambda: len(rounds) > 10, what="the writer")
    # When
    here.back_up(tmp_path / "backup")
    during = len(rounds)
    wait_until(lambda: len(rounds) > during, what="the writer going on")
    over.set()
    writer.join()
    # Then
    there.restore(tmp_path / "backup")
    assert there.redis.get("highsync:a") == there.redis.get("highsync:z") != here.redis.get("highsync:a")


def test_what_is_removed_meanwhile_is_not_missed(here: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Purged(LocalStorage):
        def list(self, prefix: str) -> Iterator[str]:
            for key in super().list(prefix):
                if key == KEY:
                    self.delete_prefix(KEY)
                yield key

    here.storage = Purged(tmp_path / "here", "http://127.0.0.1", SECRET)
    assert here.back_up(tmp_path / "backup").objects == 1


def test_other_files_of_the_folder_are_part_of_the_backup(here: Place, there: Place, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    (folder / ".env").write_text("HIGHSYNC_SECRET_KEY=x")
    here.back_up(folder)
    (folder / ".env").write_text("HIGHSYNC_SECRET_KEY=y")
    with pytest.raises(BackupRefused, match=r"\.env"):
        there.restore(folder)


@pytest.mark.parametrize("name", ["records.jsonl.gz", "backup.json", f"objects/{KEY}", "SHA256SUMS"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_backup_changes_nothing(here: Place, there: Place, tmp_path: Path, name: str, harm: str) -> None:
    here.back_up(tmp_path / "backup")
    file = tmp_path / "backup" / name
    content = file.read_bytes()
    middle = len(content) // 2
    if harm == "gone":
        file.unlink()
    elif harm == "flipped":
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        file.write_bytes(content[: content.find(b"\n") + 1])
    with pytest.raises(BackupRefused, match=r"damaged|not whole"):
        there.restore(tmp_path / "backup", force=True)
    assert there.is_empty()


@pytest.mark.parametrize("key", ["highsync:job:two", "highsync:upload:two", "highsync:keys"])
def test_records_of_an_installation_are_not_replaced(here: Place, there: Place, tmp_path: Path, key: str) -> None:
    here.back_up(tmp_path / "backup")
    there.redis.hset(key, "status", "queued")
    with pytest.raises(BackupRefused, match="--force"):
        there.restore(tmp_path / "backup")
    assert there.redis.keys() == [key.encode()]
    assert not there.storage.children("jobs")


def test_files_of_an_installation_are_not_replaced(here: Place, there: Place, tmp_path: Path) -> None:
    here.back_up(tmp_path / "backup")
    there.put("uploads/three", b"mine", tmp_path)
    with pytest.raises(BackupRefused, match="--force"):
        there.restore(tmp_path / "backup")
    assert not there.redis.dbsize()
    assert there.content("uploads/three") == b"mine"


def test_with_force_they_are(here: Place, there: Place, tmp_path: Path) -> None:
    here.back_up(tmp_path / "backup")
    there.put("uploads/three", b"mine", tmp_path)
    there.redis.hset("highsync:job:two", "status", "queued")
    there.restore(tmp_path / "backup", force=True)
    assert sorted(there.redis.keys()) == sorted(here.redis.keys())
    with pytest.raises(ObjectNotFound):
        there.storage.stat("uploads/three")


def test_what_an_installation_has_that_was_only_started_is_in_nobodys_way(
    here: Place, there: Place, tmp_path: Path
) -> None:
    here.back_up(tmp_path / "backup")
    there.redis.set("highsync:lock:janitor", "x")
    there.redis.sadd("_kombu.binding.highsync", "x")
    there.restore(tmp_path / "backup")
    assert sorted(there.redis.keys()) == sorted(here.redis.keys())


def test_nothing_is_restored_under_a_running_service(here: Place, there: Place, tmp_path: Path) -> None:
    here.back_up(tmp_path / "backup")
    service = connect(there.url)
    service.ping()
    with pytest.raises(BackupRefused, match="running"):
        there.restore(tmp_path / "backup", force=True)
    service.close()
    there.restore(tmp_path / "backup")


def test_a_database_that_is_needed_on_the_way_is_not_emptied(
    here: Place, there: Place, server: RedisServer, tmp_path: Path
) -> None:
    here.back_up(tmp_path / "backup")
    somebodys = Redis.from_url(server.url.replace("/0", "/15"))
    somebodys.set("x", "y")
    with pytest.raises(BackupRefused, match="Database 15"):
        there.restore(tmp_path / "backup", force=True)
    assert somebodys.get("x") == b"y"
    assert there.is_empty()


def test_a_restore_that_breaks_off_leaves_nothing(here: Place, there: Place, tmp_path: Path) -> None:
    class Full(LocalStorage):
        def put_file(self, key: str, path: Path, content_type: str, on_chunk: object = None) -> object:
            if key == UPLOAD:
                raise KeyboardInterrupt
            return super().put_file(key, path, content_type)

    here.back_up(tmp_path / "backup")
    there.storage = Full(tmp_path / "there", "http://127.0.0.1", SECRET)
    with pytest.raises(KeyboardInterrupt):
        there.restore(tmp_path / "backup")
    assert there.is_empty()
    there.storage = LocalStorage(tmp_path / "there", "http://127.0.0.1", SECRET)
    there.restore(tmp_path / "backup")


def test_no_backup_is_written_over_another(here: Place, tmp_path: Path) -> None:
    here.back_up(tmp_path / "backup")
    with pytest.raises(BackupRefused, match="new folder"):
        here.back_up(tmp_path / "backup")
