"""The storage in a local folder: whole objects or none, and troubles of the disk by their right name."""

import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import InputTooLarge, StorageUnavailable
from core.settings import Settings
from core.storage import LocalStorage, ObjectNotFound, make_storage
from tests.core.storage.conftest import SECRET

KEY = "uploads/u1"


def incoming_files(storage: LocalStorage) -> list[Path]:
    return [path for path in storage.root.rglob("*") if path.is_file() and "incoming" in path.parts]


def receive(storage: LocalStorage, *chunks: bytes, max_bytes: int = 10**8, then: Exception | None = None) -> None:
    """Somebody uploads these chunks, and perhaps goes away in the middle."""
    with storage.receive(KEY, max_bytes) as incoming:
        for chunk in chunks:
            incoming.write(chunk)
        if then:
            raise then


def test_the_settings_name_the_folder(tmp_path: Path) -> None:
    settings = Settings(secret_key=SECRET, storage_url=f"file://{tmp_path}/with%20space")
    storage = make_storage(settings)
    assert isinstance(storage, LocalStorage)
    storage.prepare()
    assert (tmp_path / "with space").is_dir()


def test_a_received_object_appears_when_it_is_whole(local: LocalStorage) -> None:
    with local.receive(KEY, max_bytes=6) as incoming:
        incoming.write(b"abc")
        assert not local.exists(KEY)
        incoming.write(b"def")
    assert local.local_path(KEY).read_bytes() == b"abcdef"
    assert incoming_files(local) == []


def test_a_broken_upload_leaves_nothing_and_keeps_what_was_there(local: LocalStorage) -> None:
    receive(local, b"old")

    with pytest.raises(ConnectionError):
        receive(local, b"new", then=ConnectionError())

    assert local.local_path(KEY).read_bytes() == b"old"
    assert incoming_files(local) == []


def test_an_upload_beyond_its_limit_is_cut_off(local: LocalStorage) -> None:
    with pytest.raises(InputTooLarge):
        receive(local, b"abc", b"def", max_bytes=5)
    assert not local.exists(KEY)
    assert incoming_files(local) == []


def test_writers_of_one_key_do_not_mix(local: LocalStorage, tmp_path: Path) -> None:
    """Given many writers and readers of one key, the object is always there, and always one of theirs as a whole."""
    receive(local, b"0")

    def write_and_read(number: int) -> None:
        receive(local, bytes([number]) * 1000 * number)
        fetched = tmp_path / f"fetched-{number}"
        stored = local.fetch_file(KEY, fetched)
        assert stored.bytes == len(fetched.read_bytes())
        assert len(set(fetched.read_bytes())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_read, range(1, 25)))


@pytest.mark.parametrize("damage", [b"a fil", b"A film", b"a film!"], ids=["short", "changed", "long"])
def test_a_damaged_object_is_not_handed_out(local: LocalStorage, tmp_path: Path, damage: bytes) -> None:
    receive(local, b"a film")
    local.local_path(KEY).write_bytes(damage)

    with pytest.raises(StorageUnavailable, match="damaged"):
        local.fetch_file(KEY, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_an_object_without_facts_was_never_finished(local: LocalStorage) -> None:
    half = local.root / "objects" / KEY
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    with pytest.raises(ObjectNotFound):
        local.local_path(KEY)


def test_a_folder_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    storage = LocalStorage(tmp_path / "file", "http://x", SECRET)
    for call in (storage.prepare, storage.check, lambda: storage.delete_prefix("jobs/j1")):
        with pytest.raises(StorageUnavailable):
            call()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1 MB: the system refuses the write, as it does when the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_unavailable_and_leaves_nothing_half(local: LocalStorage, full_disk: None) -> None:
    with pytest.raises(StorageUnavailable):
        receive(local, *[b"x" * 700_000] * 3)
    assert not local.exists(KEY)
    assert incoming_files(local) == []


def test_a_full_scratch_disk_is_not_the_storages_fault(
    local: LocalStorage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    receive(local, b"x" * 2_000_000)
    request.getfixturevalue("full_disk")
    with pytest.raises(OSError, match="large"):
        local.fetch_file(KEY, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_an_abandoned_upload_is_swept_a_fresh_one_is_not(local: LocalStorage) -> None:
    old, new = local.root / "incoming" / "old", local.root / "incoming" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))

    assert local.sweep_incomplete(lambda key: True, 24 * 3600, 10) == 1

    assert incoming_files(local) == [new]


def test_what_has_lost_its_facts_is_still_seen_and_can_be_removed(local: LocalStorage) -> None:
    half = local.root / "objects" / "jobs" / "j1" / "half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")

    assert local.children("jobs") == ("j1",)
    local.delete_prefix("jobs/j1")

    assert local.children("jobs") == ()
