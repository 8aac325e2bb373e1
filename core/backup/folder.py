"""
A backup is a folder:

    records.jsonl.gz    the database of Redis, see `core.backup.records`
    objects/KEY         every file of the storage
    backup.json         when and by which version it was made, and how much it holds
    SHA256SUMS          of all of them, for `sha256sum --check` too; written last, so that without it there is no backup

Records come first and files afterwards: a result is stored before its record says so, so no record points to a file
that came too late. Back it goes the other way round: files first, and then all records in one step.
"""

import gzip
import mimetypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

from core import __version__
from core.backup.errors import BackupRefused
from core.backup.records import Loading, check_is_free, dump
from core.redis_client import connect
from core.storage import ObjectNotFound, Storage
from core.storage.protocol import sha256_of

_FORMAT = 1
_RECORDS, _FACTS, _SUMS, _OBJECTS = "records.jsonl.gz", "backup.json", "SHA256SUMS", "objects/"
_FOLDERS = ("jobs", "uploads")
"""Where the service keeps files; see `core.janitor`."""


class BackupFacts(BaseModel):
    """What `backup.json` says: `records` are keys of Redis, `bytes` those of the `objects`."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str
    made_at: datetime
    records: int
    objects: int
    bytes: int


def back_up(redis_url: str, storage: Storage, folder: Path, now: Callable[[], datetime]) -> BackupFacts:
    """
    Write a backup into the folder, which is made if need be. Files that lie there already become part of it.

    Raises BackupRefused when there is one already; QueueUnavailable, StorageUnavailable, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    others = sorted(path.name for path in folder.iterdir())
    if {_RECORDS, _FACTS, _SUMS, _OBJECTS.rstrip("/")} & set(others):
        raise BackupRefused(f"There is a backup in {folder}, or the beginning of one. Name a new folder.")
    storage.check()
    made_at = now()
    records = _write_records(connect(redis_url, decoded=False), folder / _RECORDS)
    sums, size = _fetch_objects(storage, folder)
    facts = BackupFacts(
        format=_FORMAT, version=__version__, made_at=made_at, records=records, objects=len(sums), bytes=size
    )
    (folder / _FACTS).write_text(facts.model_dump_json(indent=2) + "\n")
    sums |= {name: sha256_of(folder / name) for name in (*others, _RECORDS, _FACTS)}
    os.sync()  # before the folder calls itself whole
    (folder / _SUMS).write_text("".join(f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items())))
    os.sync()
    return facts


def _write_records(redis: Redis, path: Path) -> int:
    taken = dump(redis)
    with gzip.open(path, "xt", encoding="utf-8", compresslevel=6) as file:
        file.writelines(taken.lines())
    return len(taken.keys)


def _fetch_objects(storage: Storage, folder: Path) -> tuple[dict[str, str], int]:
    """The sha256 of each file by its name in the backup, and how many bytes they have together."""
    sums: dict[str, str] = {}
    size = 0
    for key in (key for place in _FOLDERS for key in storage.list(place)):
        path = folder / _OBJECTS / key
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            stored = storage.fetch_file(key, path)
        except ObjectNotFound:  # removed by its owner, or by the janitor, since it was listed
            continue
        sums[_OBJECTS + key] = stored.sha256 or sha256_of(path)
        size += stored.bytes
    return sums, size


def restore(redis_url: str, storage: Storage, folder: Path, *, force: bool = False) -> BackupFacts:
    """
    Bring an installation back to what it was. All of the backup is read and compared before anything is changed.

    Raises BackupRefused when the backup is damaged, the service is running, or, without `force`, when the installation
    has something already; QueueUnavailable, StorageUnavailable. The installation is empty after any of the latter.
    """
    facts, sums = _checked(folder)
    check_is_free(connect(redis_url, decoded=False), force=force)
    storage.prepare()
    if not force and any(storage.children(place, limit=1) for place in _FOLDERS):
        raise BackupRefused("This installation has files of its own; --force removes them.")
    loading = Loading(redis_url)
    loading.check_is_possible()
    if force:
        loading.clear_own()
        _remove_objects(storage)
    with _nothing_left_behind(loading, storage):
        _store_objects(storage, folder, sums)
        with gzip.open(folder / _RECORDS, "rt", encoding="utf-8") as lines:
            loaded = loading.load(lines)
        if loaded != facts.records:
            raise BackupRefused(f"{_RECORDS} has {loaded} records and not {facts.records}.")
        loading.put_in_place()
    loading.clear()
    return facts


def _checked(folder: Path) -> tuple[BackupFacts, dict[str, str]]:
    """The facts, and the sha256 of all files by name, each as it should be."""
    try:
        lines = (folder / _SUMS).read_text().splitlines()
        sums = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
        for name, sha256 in sums.items():
            if sha256_of(folder / name) != sha256:
                raise BackupRefused(f"The backup is damaged: {name} is not what was written.")
        facts = BackupFacts.model_validate_json((folder / _FACTS).read_bytes())
    except FileNotFoundError as error:
        raise BackupRefused(f"The backup is not whole: {error.filename} is missing.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise BackupRefused(f"The backup is damaged: {_FACTS} or {_SUMS} cannot be read.") from error
    if facts.format != _FORMAT:
        raise BackupRefused(f"Version {facts.version} made this backup. Restore it with that version or a later one.")
    if {_RECORDS, _FACTS} - sums.keys() or facts.objects != sum(name.startswith(_OBJECTS) for name in sums):
        raise BackupRefused(f"The backup is damaged: {_SUMS} does not name all of its files.")
    return facts, sums


def _store_objects(storage: Storage, folder: Path, sums: dict[str, str]) -> None:
    for name, sha256 in sums.items():
        if name.startswith(_OBJECTS):
            content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
            stored = storage.put_file(name.removeprefix(_OBJECTS), folder / name, content_type)
            if stored.sha256 != sha256:
                raise BackupRefused(f"The backup is damaged: {name} has changed since it was compared.")


def _remove_objects(storage: Storage) -> None:
    for place in _FOLDERS:
        storage.delete_prefix(place)


@contextmanager
def _nothing_left_behind(loading: Loading, storage: Storage) -> Iterator[None]:
    """However the block fails, or is broken off: no half of a backup stays."""
    try:
        yield
    except BaseException:
        _remove_objects(storage)
        loading.clear()
        loading.clear_own()
        raise
