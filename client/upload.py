"""From a local file to an upload of the service: whole, or in parts when it is large and the storage takes parts."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from client.models import UploadTicket
from client.wire import Wire

PARTS_FROM_BYTES = 64 * 1024**2
"""From here on a fault shall not cost the whole file; and S3 takes no more than 5 GB in one piece."""

_CHUNK_BYTES = 1024**2


def upload(wire: Wire, file: Path) -> str:
    """
    Bring the file to the service; its `upload://` id. What broke is sent again: the file, or one part of it.

    Its sha256 goes ahead, so that another file than this one is never rendered.
    """
    size = file.stat().st_size
    wanted = {"filename": file.name, "bytes": size, "sha256": _sha256_of(file), "multipart": size >= PARTS_FROM_BYTES}
    ticket = UploadTicket.model_validate_json(wire.ask("POST", "/uploads", json=wanted).content)
    if ticket.url is not None:
        _put(wire, ticket, ticket.url, file, 0, size)
        return ticket.id
    start = 0
    for part in ticket.parts:
        _put(wire, ticket, part.url, file, start, part.bytes)
        start += part.bytes
    wire.ask("POST", f"/uploads/{ticket.id.removeprefix('upload://')}/complete")
    return ticket.id


def _put(wire: Wire, ticket: UploadTicket, url: str, file: Path, start: int, size: int) -> None:
    headers = {**ticket.headers, "Content-Length": str(size)}

    def put(storage: httpx.Client) -> httpx.Response:
        return storage.request(ticket.method, url, content=_piece_of(file, start, size), headers=headers)

    wire.put(put)


def _piece_of(file: Path, start: int, size: int) -> Iterator[bytes]:
    with file.open("rb") as content:
        content.seek(start)
        while size > 0 and (chunk := content.read(min(size, _CHUNK_BYTES))):
            size -= len(chunk)
            yield chunk


def _sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
