"""What every storage promises."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from core.errors import StorageUnavailable

CHUNK_BYTES = 1024 * 1024
_SAFE_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,7}")


OnChunk = Callable[[], None]
"""Called at each chunk of a transfer; may raise to end it."""


def go_on() -> None:
    """The OnChunk of whoever lets a transfer run to its end."""


class ObjectNotFound(LookupError):
    """There is no object with this key. What that means is the caller's to say."""


class ObjectDamaged(StorageUnavailable):
    """What arrived is not what was stored. Another try may bring it whole; when none does, it lies there damaged."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it lies there. `sha256` is None for what a client has put straight into a bucket."""

    key: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Where and how a client puts a file."""

    url: str
    method: str = "PUT"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartTarget:
    """Where a client puts one part of a file, of exactly so many bytes. `number` is 1 for the first."""

    number: int
    url: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MultipartTarget:
    """A file that goes up in parts, in any order. `token` is the storage's name for what has been begun."""

    token: str
    part_bytes: int
    parts: tuple[PartTarget, ...]


class PartsStorage(Protocol):
    """The side of a storage that takes one object in parts. Every method may raise StorageUnavailable."""

    def begin(self, key: str, ttl_s: int, size: int) -> MultipartTarget:
        """Where a client may put the parts of an object of `size` bytes, for so many seconds."""

    def finish(self, key: str, token: str, size: int, part_bytes: int) -> None:
        """
        Make the object of its parts; may be repeated. Raises UploadIncomplete, and changes nothing, unless all are
        there in the size that was asked for.
        """

    def abort(self, key: str, token: str) -> None:
        """Remove the parts that came, if any."""


class Storage(Protocol):
    """
    Keeps files under keys such as `jobs/ID/attempt-1/result.mp4`.

    Every method may raise StorageUnavailable: not there, full, or our credentials are refused. Objects appear whole
    or not at all. A key that is not made of plain path parts is a ValueError: keys are ours, not the user's.
    """

    def prepare(self) -> None:
        """Make the bucket or folder, once, when a process starts; waits for a server that is still starting."""

    def check(self) -> None:
        """Return when the storage can be used: the probe behind `/readyz`."""

    def put_file(self, key: str, path: Path, content_type: str, on_chunk: OnChunk = go_on) -> StoredObject:
        """
        Store the file, replacing what was there, and verify that it has arrived. When `on_chunk` ends it, that
        exception or StorageUnavailable is raised: S3's client may put its own in place.
        """

    def fetch_file(self, key: str, path: Path, on_chunk: OnChunk = go_on) -> StoredObject:
        """Copy the object to a new local file, verified by size and sha256. Raises ObjectNotFound, ObjectDamaged."""

    def open_stream(self, key: str) -> Iterator[bytes]:
        """The content, in chunks of at most 1 MiB. Raises ObjectNotFound, at the first chunk."""

    def stat(self, key: str) -> StoredObject:
        """Facts about the object. Raises ObjectNotFound."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys in this folder (`jobs/ID`), at any depth, in order."""

    def delete_prefix(self, prefix: str) -> None:
        """Delete this object or everything in this folder; nothing there is fine."""

    def download_url(self, key: str, ttl_s: int, filename: str) -> str:
        """A link for clients that saves the object under this name, for so many seconds."""

    def upload_url(self, key: str, ttl_s: int, max_bytes: int, sha256: str | None = None) -> UploadTarget:
        """
        Where a client may put this object, for so many seconds; with `sha256` in hexadecimal, nothing else than that.
        S3 cannot hold it to `max_bytes`, and not every S3 to `sha256`: whoever takes the object into use looks.
        """

    @property
    def parts(self) -> PartsStorage | None:
        """For objects in parts; None when this storage takes any size in one piece."""

    def read_start(self, key: str, length: int) -> bytes:
        """The first bytes of an object, fewer than `length` if it has not as many. Raises ObjectNotFound."""

    def children(self, folder: str, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """The names of objects and folders right in this folder, in order, behind the name `after`."""

    def sweep_incomplete(self, is_wanted: Callable[[str], bool], older_than_s: float, limit: int) -> int:
        """
        Remove what was begun longer ago and never finished, and is not going on for a key that `is_wanted`. Returns
        how many, at most `limit`.
        """


def checked_key(key: str) -> str:
    """The key, or ValueError when it could mean anything but a place of ours."""
    if not _SAFE_KEY.fullmatch(key):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def write_verified(
    chunks: Iterator[bytes], expected: StoredObject, path: Path, on_chunk: OnChunk = go_on
) -> StoredObject:
    """
    Write the chunks to `path` and return what arrived, with its digest.

    Raises ObjectDamaged, and leaves no file, when that is not what was stored. Errors of the local disk pass as
    they are (OSError): they are not the storage's.
    """
    digest = hashlib.sha256()
    written = 0
    file = path.open("xb")
    try:
        with file:
            for chunk in chunks:
                digest.update(chunk)
                written += file.write(chunk)
                on_chunk()
        if written != expected.bytes or expected.sha256 not in (None, digest.hexdigest()):
            raise ObjectDamaged(f"{expected.key} arrived damaged: {written} of {expected.bytes} bytes.")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return StoredObject(expected.key, written, digest.hexdigest())


def sha256_of(path: Path, on_chunk: OnChunk = go_on) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of_chunks(iter(partial(file.read, CHUNK_BYTES), b""), on_chunk)


def sha256_of_chunks(chunks: Iterable[bytes], on_chunk: OnChunk = go_on) -> str:
    """The sha256 of all chunks one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        on_chunk()
    return digest.hexdigest()
