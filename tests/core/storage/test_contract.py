"""What a storage promises, for both of them."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import StorageUnavailable
from core.storage import ObjectNotFound, Storage, StoredObject

KEY = "jobs/j1/attempt-1/result.mp4"
BIG_BYTES = 40 * 1024**2 + 1  # three parts of a multipart upload


def given_file(folder: Path, content: bytes) -> Path:
    path = folder / "source.bin"
    path.write_bytes(content)
    return path


def put(storage: Storage, folder: Path, key: str = KEY, content: bytes = b"a film") -> StoredObject:
    return storage.put_file(key, given_file(folder, content), "video/mp4")


@pytest.mark.parametrize("content", [b"", b"a film", bytes(range(256)) * (BIG_BYTES // 256) + b"!"], ids=len)
def test_what_was_put_is_fetched(storage: Storage, tmp_path: Path, content: bytes) -> None:
    stored = put(storage, tmp_path, content=content)

    assert stored == StoredObject(KEY, len(content), hashlib.sha256(content).hexdigest())
    assert storage.stat(KEY) == stored
    assert storage.fetch_file(KEY, tmp_path / "fetched") == stored
    assert (tmp_path / "fetched").read_bytes() == content
    assert b"".join(storage.open_stream(KEY)) == content


class Stop(Exception):
    """Somebody has had enough."""


def stop() -> None:
    raise Stop


@pytest.mark.parametrize("content", [b"a film", b"x" * BIG_BYTES], ids=len)
def test_whoever_looks_on_can_end_a_transfer(storage: Storage, tmp_path: Path, content: bytes) -> None:
    with pytest.raises((Stop, StorageUnavailable)):
        storage.put_file(KEY, given_file(tmp_path, content), "video/mp4", stop)
    assert not storage.exists(KEY)
    put(storage, tmp_path, content=content)
    with pytest.raises(Stop):
        storage.fetch_file(KEY, tmp_path / "fetched", stop)
    assert not (tmp_path / "fetched").exists()


def test_whoever_looks_on_sees_every_few_megabytes(storage: Storage, tmp_path: Path) -> None:
    seen: list[str] = []
    storage.put_file(KEY, given_file(tmp_path, b"x" * BIG_BYTES), "video/mp4", lambda: seen.append("put"))
    storage.fetch_file(KEY, tmp_path / "fetched", lambda: seen.append("fetch"))
    assert min(seen.count("put"), seen.count("fetch")) >= BIG_BYTES // (8 * 1024**2)


def test_a_stream_comes_in_small_chunks(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, content=b"x" * 3_000_000)
    assert max(map(len, storage.open_stream(KEY))) <= 1024**2


def test_putting_again_replaces(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, content=b"old")
    stored = put(storage, tmp_path, content=b"newer")
    assert storage.stat(KEY) == stored
    assert b"".join(storage.open_stream(KEY)) == b"newer"


def test_a_fetch_never_overwrites(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(FileExistsError):
        storage.fetch_file(KEY, taken)
    assert taken.read_text() == "mine"


def test_what_is_not_there_is_not_found(storage: Storage, tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.stat("uploads/u1"),
        lambda: storage.fetch_file("uploads/u1", tmp_path / "fetched"),
        lambda: next(storage.open_stream("uploads/u1")),
    ]
    for call in calls:
        with pytest.raises(ObjectNotFound):
            call()
    assert not storage.exists("uploads/u1")
    assert not (tmp_path / "fetched").exists()


def test_a_folder_is_not_an_object(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path)
    assert not storage.exists("jobs/j1")
    with pytest.raises(ObjectNotFound):
        storage.stat("jobs/j1")


def test_keys_are_listed_by_folder(storage: Storage, tmp_path: Path) -> None:
    keys = ["jobs/j1/plan.json", "jobs/j1/segments/0.mkv", "jobs/j1/segments/1.mkv", "jobs/j10/plan.json"]
    for key in reversed(keys):
        put(storage, tmp_path, key)

    assert list(storage.list("jobs/j1")) == keys[:3]
    assert list(storage.list("jobs")) == keys
    assert list(storage.list("jobs/j1/segments")) == keys[1:3]
    assert list(storage.list("nothing")) == []


def test_a_folder_is_deleted_with_all_in_it_and_nothing_beside_it(storage: Storage, tmp_path: Path) -> None:
    for key in ("jobs/j1/plan.json", "jobs/j1/segments/0.mkv", "jobs/j10/plan.json", "jobs/j2"):
        put(storage, tmp_path, key)

    storage.delete_prefix("jobs/j1")
    storage.delete_prefix("jobs/j1")

    assert list(storage.list("jobs")) == ["jobs/j10/plan.json", "jobs/j2"]
    assert not storage.exists("jobs/j1/plan.json")


def test_a_single_object_is_deleted_too(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, "uploads/u1")
    storage.delete_prefix("uploads/u1")
    assert not storage.exists("uploads/u1")


def test_the_names_in_a_folder_come_in_pages(storage: Storage, tmp_path: Path) -> None:
    for key in ("jobs/j1/plan.json", "jobs/j1/segments/0.mkv", "jobs/j2", "jobs/j3/a/b", "jobs/j4/a", "other/j5"):
        put(storage, tmp_path, key)

    assert storage.children("jobs") == ("j1", "j2", "j3", "j4")
    assert storage.children("jobs", limit=2) == ("j1", "j2")
    assert storage.children("jobs", "j1", 2) == ("j2", "j3")
    assert storage.children("jobs", "j4") == ()
    assert storage.children("nothing") == ()


def test_the_start_of_an_object_can_be_read(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path, content=b"a film")
    put(storage, tmp_path, "jobs/empty", b"")

    assert storage.read_start(KEY, 3) == b"a f"
    assert storage.read_start(KEY, 100) == b"a film"
    assert storage.read_start("jobs/empty", 100) == b""
    with pytest.raises(ObjectNotFound):
        storage.read_start("jobs/nothing", 100)


def test_whole_objects_are_never_swept(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path)

    assert storage.sweep_incomplete(lambda key: False, -10.0, 100) == 0
    assert storage.exists(KEY)


BAD_KEYS = ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", ".hidden", "a/.b", "a b", "a\nb", "ä", "a\\b", "a\x00"]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_could_lead_elsewhere_is_refused(storage: Storage, tmp_path: Path, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: put(storage, tmp_path, key),
        lambda: storage.stat(key),
        lambda: storage.exists(key),
        lambda: next(storage.open_stream(key)),
        lambda: list(storage.list(key)),
        lambda: storage.delete_prefix(key),
        lambda: storage.read_start(key, 1),
        lambda: storage.children(key),
        lambda: storage.download_url(key, 60, "x"),
        lambda: storage.upload_url(key, 60, 1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not a storage key"):
            call()


def test_preparing_twice_is_harmless(storage: Storage, tmp_path: Path) -> None:
    put(storage, tmp_path)
    storage.prepare()
    storage.check()
    assert storage.exists(KEY)
