"""One file from a server of files that never change, known by its hash, going on where an earlier attempt broke off."""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # of its HTTP library
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]  # it loads lazily

from model.errors import WeightsError
from model.hashes import announced_hash

PAUSES_S = (1.0, 5.0, 20.0, 60.0)
"""How long to wait before each further attempt. Whenever bytes have come, they begin anew."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch. digest: its SHA-256, or 40 digits of what git calls it, in hex."""

    name: str
    url: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a file is. is_start: of an attempt, which may have bytes of an earlier one. fault: why it pauses."""

    file: RemoteFile
    received_bytes: int
    is_start: bool = False
    fault: str | None = None


Tell = Callable[[Transfer], None]


def tell_nobody(transfer: Transfer) -> None:
    """For downloads that nobody watches."""


class _Part(io.BufferedWriter):
    """A file that grows, and tells at every block."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._tell = tell

    def write(self, block: object) -> int:
        written = super().write(block)  # type: ignore[arg-type]  # whatever the HTTP library gives
        self._tell(self.tell())
        return written


def fetch(
    file: RemoteFile, target: Path, headers: dict[str, str], tell: Tell, pauses_s: Sequence[float] = PAUSES_S
) -> None:
    """
    Download into `target`, which is there only when it is complete and has its hash. What is left of an attempt that
    was ended stays beside it for the next one.

    Raises WeightsError for another content, HTTPError and OSError when the server or the disk gives up.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    with disable_progress_bars():
        _receive(file, part, headers, tell, pauses_s)
    found = announced_hash(part, file.digest)
    if found != file.digest:
        part.unlink()
        raise WeightsError(f"{file.name} is not what was announced: its hash is {found}, not {file.digest}.")
    part.replace(target)


def _receive(file: RemoteFile, part: Path, headers: dict[str, str], tell: Tell, pauses_s: Sequence[float]) -> None:
    """Ask again, from where it broke off, until the part has all bytes."""
    pauses, most = list(pauses_s), 0
    while True:
        resumed = _usable_bytes(part, file)
        tell(Transfer(file, resumed, is_start=True))
        try:
            with _Part(part, lambda received: tell(Transfer(file, received))) as out:
                http_get(file.url, out, resume_size=resumed, headers=dict(headers), expected_size=file.size_bytes)
            return
        except (HTTPError, OSError) as error:
            received = part.stat().st_size
            if received > most:
                pauses, most = list(pauses_s), received
            if not _may_pass(error) or not pauses:
                raise
            tell(Transfer(file, received, fault=str(error)))
            time.sleep(pauses.pop(0))


def _usable_bytes(part: Path, file: RemoteFile) -> int:
    """Bytes that an earlier attempt has left; a part that is longer than the file is thrown away."""
    size = part.stat().st_size if part.exists() else 0
    if size > file.size_bytes:
        part.unlink()
        return 0
    return size


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later. A plain OSError is the disk's, or too few bytes from the server."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return isinstance(error, HTTPError) or not error.errno  # type: ignore[attr-defined]
