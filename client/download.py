"""Brings a result to a file: goes on where it was broken off, and is done only when the sha256 is right."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from client.errors import DownloadDamaged, NotAllowed, ServiceUnavailable, Unreachable
from client.models import Result
from client.wire import Wire


def download(wire: Wire, find: Callable[[], Result], out: Path) -> Path:
    """
    Bring the result to `out`, which appears whole or not at all. `find` reads the job for a fresh link.

    What has arrived stays beside `out` when this ends early, and the next call goes on from there.
    Raises DownloadDamaged, Unreachable, and what the storage answers.
    """
    result = find()
    part = out.with_name(f".{out.name}.{result.sha256[:16]}.part")
    patience = wire.patience()
    while (size := _size(part)) != result.bytes:
        try:
            _fetch_rest(wire, result.url, part, size if size < result.bytes else 0)
        except NotAllowed as error:  # the link may have expired meanwhile
            patience.pause_after(error)
            result = find()
        except (Unreachable, ServiceUnavailable) as error:
            if _size(part) > size:
                patience.renew()
            patience.pause_after(error)
        else:
            break
    _check(part, result)
    part.replace(out)
    return out


def _fetch_rest(wire: Wire, url: str, part: Path, offset: int) -> None:
    """Append what is missing from `offset` (bytes) on; a server that knows no ranges sends it all."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with wire.stream(url, headers) as reply:
        resumed = offset > 0 and reply.status_code == 206
        with part.open("r+b" if resumed else "wb") as file:
            file.seek(offset if resumed else 0)
            for chunk in reply.iter_bytes():
                file.write(chunk)


def _check(part: Path, result: Result) -> None:
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != result.sha256:
        size = _size(part)
        part.unlink()
        raise DownloadDamaged(f"{size} bytes arrived with sha256 {digest}; the service names {result.sha256}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
