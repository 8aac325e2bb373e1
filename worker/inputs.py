"""Brings a job's inputs into its scratch folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from core.errors import ChecksumMismatch, InputTooLarge, UploadNotFound
from core.storage import ObjectNotFound, StoredObject
from core.uploads import UPLOAD_SCHEME, upload_id_of, upload_key
from worker.bench import Download


class InputStorage(Protocol):
    """The part of a storage that fetching uses."""

    def stat(self, key: str) -> StoredObject: ...  # noqa: D102
    def fetch_file(self, key: str, path: Path) -> StoredObject: ...  # noqa: D102


def fetch_input(
    url: str,
    path: Path,
    *,
    storage: InputStorage,
    download: Download,
    max_bytes: int,
    check: Callable[[], None],
    wanted_sha256: str | None = None,
) -> str:
    """
    Bring what `url` names to `path`, and return its sha256: `upload://ID` from storage, http(s) from its server.

    `check` is called as data arrives and raises to stop. With `wanted_sha256` the file must be that one.
    Raises UploadNotFound, InputTooLarge, ChecksumMismatch, StorageUnavailable, and the errors of
    `core.outgoing.download`.
    """
    if url.startswith(UPLOAD_SCHEME):
        sha256 = _fetch_upload(url, path, storage, max_bytes)
    else:
        sha256 = download(url, path, lambda received, total: check()).sha256
    if wanted_sha256 not in (None, sha256):
        raise ChecksumMismatch(f"The file has the sha256 {sha256}, and {wanted_sha256} was announced.")
    return sha256


def _fetch_upload(url: str, path: Path, storage: InputStorage, max_bytes: int) -> str:
    try:
        stored = storage.stat(upload_key(upload_id_of(url)))
        if stored.bytes > max_bytes:
            raise InputTooLarge(f"The upload has {stored.bytes} bytes; {max_bytes} are allowed.")
        fetched = storage.fetch_file(stored.key, path)
    except ObjectNotFound as error:
        raise UploadNotFound(f"There is no file behind {url} any more.") from error
    assert fetched.sha256 is not None  # noqa: S101  fetch_file has read the file
    return fetched.sha256
