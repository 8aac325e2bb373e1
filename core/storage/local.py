"""Storage in a local folder: objects are plain files, and links are signed by us and served by the API."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from core.errors import InputTooLarge, StorageUnavailable
from core.metrics import measured
from core.settings import Settings
from core.storage.links import LinkSigner
from core.storage.protocol import (
    CHUNK_BYTES,
    ObjectNotFound,
    OnChunk,
    StoredObject,
    UploadTarget,
    checked_key,
    go_on,
    write_verified,
)

_MIN_FREE_BYTES = 64 * 1024**2


@contextmanager
def _os_errors_translated() -> Iterator[None]:
    """The folder is the storage: whatever the system says about it is the storage's state."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"The storage folder: {error.strerror}.") from error


class IncomingFile:
    """An object on its way in, chunk by chunk. It appears when the `receive` block ends well."""

    def __init__(self, file: FileIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, chunk: bytes) -> None:
        """Take one chunk. Raises InputTooLarge beyond the limit."""
        self.bytes += len(chunk)
        if self.bytes > self._max_bytes:
            raise InputTooLarge(f"The file has more than {self._max_bytes} bytes.")
        self._digest.update(chunk)
        rest = memoryview(chunk)
        with _os_errors_translated():
            while rest:
                rest = rest[self._file.write(rest) :]

    @property
    def sha256(self) -> str:
        """The digest of what has been written."""
        return self._digest.hexdigest()


class LocalStorage:
    """
    Files below `root/objects`, and beside them, below `root/facts`, the size and sha256 of each as JSON.

    An object counts when its facts are there: they are removed before it is replaced and written after it.
    """

    def __init__(self, root: Path, base_url: str, secret: str, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self.links = LinkSigner(base_url, secret, clock)
        self._objects = root / "objects"
        self._facts = root / "facts"
        self._incoming = root / "incoming"

    @classmethod
    def from_settings(cls, settings: Settings) -> "LocalStorage":
        """The folder of `storage_url` (file:///folder)."""
        root = Path(url2pathname(urlsplit(settings.storage_url).path))
        return cls(root, settings.public_url, settings.secret_key.get_secret_value())

    def prepare(self) -> None:
        """See Storage."""
        with _os_errors_translated():
            for folder in (self._objects, self._facts, self._incoming):
                folder.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """See Storage."""
        with _os_errors_translated(), tempfile.TemporaryFile(dir=self._incoming):
            free = shutil.disk_usage(self._incoming).free
        if free < _MIN_FREE_BYTES:
            raise StorageUnavailable(f"The storage folder: only {free} bytes are free.")

    @measured("put")
    def put_file(self, key: str, path: Path, content_type: str, on_chunk: OnChunk = go_on) -> StoredObject:
        """See Storage. The content type follows from the link's filename when the object is served."""
        with path.open("rb") as source, self.receive(key, path.stat().st_size) as incoming:
            while chunk := source.read(CHUNK_BYTES):
                incoming.write(chunk)
                on_chunk()
        return StoredObject(key, incoming.bytes, incoming.sha256)

    @contextmanager
    def receive(self, key: str, max_bytes: int) -> Iterator[IncomingFile]:
        """Write an object chunk by chunk. Nothing appears when the block ends with an exception."""
        checked_key(key)
        with _os_errors_translated():
            handle, name = tempfile.mkstemp(dir=self._incoming)
        temporary = Path(name)
        try:
            with FileIO(handle, "wb") as file:  # unbuffered: no write is left to fail when it is closed
                incoming = IncomingFile(file, max_bytes)
                yield incoming
            self._commit(temporary, StoredObject(key, incoming.bytes, incoming.sha256))
        finally:
            temporary.unlink(missing_ok=True)

    @measured("fetch")
    def fetch_file(self, key: str, path: Path, on_chunk: OnChunk = go_on) -> StoredObject:
        """See Storage."""
        stored, file = self._open(key)
        with file:
            return write_verified(_chunks(file), stored, path, on_chunk)

    def open_stream(self, key: str) -> Iterator[bytes]:
        """See Storage."""
        _, file = self._open(key)
        with file:
            yield from _chunks(file)

    def local_path(self, key: str) -> Path:
        """The object as a file, to be served by range and never to be written. Raises ObjectNotFound."""
        self.stat(key)
        return self._objects / key

    def stat(self, key: str) -> StoredObject:
        """See Storage."""
        with _os_errors_translated(), self._locked(fcntl.LOCK_SH):
            return self._stat(key)

    def exists(self, key: str) -> bool:
        """See Storage."""
        try:
            self.stat(key)
        except ObjectNotFound:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """See Storage."""
        folder = self._facts / checked_key(prefix)
        with _os_errors_translated(), self._locked(fcntl.LOCK_SH):
            found = sorted(folder.rglob("*.json"))
        for facts in found:
            yield facts.relative_to(self._facts).as_posix().removesuffix(".json")

    @measured("delete")
    def delete_prefix(self, prefix: str) -> None:
        """See Storage."""
        with _os_errors_translated(), self._locked(fcntl.LOCK_EX):
            self._facts_file(prefix).unlink(missing_ok=True)
            for place in (self._facts / prefix, self._objects / prefix):
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)

    def download_url(self, key: str, ttl_s: int, filename: str) -> str:
        """See Storage."""
        return self.links.download_url(checked_key(key), ttl_s, filename)

    def upload_url(self, key: str, ttl_s: int, max_bytes: int, sha256: str | None = None) -> UploadTarget:
        """See Storage. The link itself carries `max_bytes`; whoever receives the file checks its sha256 on the way."""
        return UploadTarget(self.links.upload_url(checked_key(key), ttl_s, max_bytes))

    @property
    def parts(self) -> None:
        """See Storage: one piece will do."""
        return

    def read_start(self, key: str, length: int) -> bytes:
        """See Storage."""
        _, file = self._open(key)
        with file, _os_errors_translated():
            return file.read(length)

    def children(self, folder: str, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """See Storage. Also what has lost its facts, or has nothing else."""
        names: set[str] = set()
        with _os_errors_translated():
            for place, suffix in ((self._objects, ""), (self._facts, ".json")):
                with suppress(FileNotFoundError):
                    names.update(path.name.removesuffix(suffix) for path in (place / checked_key(folder)).iterdir())
        return tuple(sorted(name for name in names if name > after)[:limit])

    def sweep_incomplete(self, is_wanted: Callable[[str], bool], older_than_s: float, limit: int) -> int:
        """See Storage. A file that is going on is written to, so its age since the last write is enough to know."""
        removed = 0
        with _os_errors_translated():
            for file in self._incoming.iterdir():
                if removed < limit and self._is_older(file, older_than_s):
                    file.unlink(missing_ok=True)
                    removed += 1
        return removed

    @staticmethod
    def _is_older(file: Path, age_s: float) -> bool:
        try:
            return file.stat().st_mtime < time.time() - age_s
        except FileNotFoundError:  # finished this moment
            return False

    def _facts_file(self, key: str) -> Path:
        return self._facts / f"{checked_key(key)}.json"

    def _stat(self, key: str) -> StoredObject:
        try:
            facts = json.loads(self._facts_file(key).read_text())
        except FileNotFoundError as error:
            raise ObjectNotFound(key) from error
        return StoredObject(key, facts["bytes"], facts["sha256"])

    def _open(self, key: str) -> tuple[StoredObject, FileIO]:
        """The object and its own facts. What is open stays whole, even when the object is replaced meanwhile."""
        with _os_errors_translated(), self._locked(fcntl.LOCK_SH):
            return self._stat(key), FileIO(self._objects / key)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Over all processes: nobody sees an object beside the facts of another. Held for moments only."""
        with (self.root / "lock").open("ab") as lock:
            fcntl.flock(lock, how)
            yield

    def _commit(self, temporary: Path, stored: StoredObject) -> None:
        content, facts = self._objects / stored.key, self._facts_file(stored.key)
        with _os_errors_translated():
            _sync(temporary)  # the part that takes time, before the lock
            with self._locked(fcntl.LOCK_EX):
                facts.unlink(missing_ok=True)
                self._move_in(temporary, content)
                temporary.write_text(json.dumps({"bytes": stored.bytes, "sha256": stored.sha256}))
                _sync(temporary)
                self._move_in(temporary, facts)

    def _move_in(self, temporary: Path, target: Path) -> None:
        """Rename, and let the rename and the folders it needed survive a power cut."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        for folder in target.relative_to(self.root).parents:
            _sync(self.root / folder)


def _chunks(file: FileIO) -> Iterator[bytes]:
    while True:
        with _os_errors_translated():
            chunk = file.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _sync(path: Path) -> None:
    """Have the file, or the entries of the folder, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
