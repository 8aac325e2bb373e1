"""GET and PUT /files: the two things that a signed link may permit."""

import mimetypes
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core.errors import ChecksumMismatch, ErrorCode, InputTooLarge, UploadNotFound
from core.storage import Link, LocalStorage, ObjectNotFound
from core.uploads import Upload, UploadId
from service.errors import problems
from service.files.responses import StoredFile
from service.services import Needed, Services
from service.uploads.inputs import note_arrival

PATH = "/files/"

router = APIRouter(prefix="/files", tags=["files"])

log = structlog.get_logger(__name__)


def _local_storage(services: Needed) -> LocalStorage:
    if not isinstance(services.storage, LocalStorage):
        raise HTTPException(404, "The files of this service are in a bucket.")
    return services.storage


Local = Annotated[LocalStorage, Depends(_local_storage)]


def _permission(
    key: Annotated[str, Path(description="Part of a signed link.")], request: Request, storage: Local
) -> Link:
    return storage.links.verify(request.method, key, request.query_params)


Permission = Annotated[Link, Depends(_permission)]


@router.get(
    "/{key:path}",
    summary="Download a file",
    response_class=StoredFile,
    responses=problems(
        ErrorCode.LINK_INVALID, ErrorCode.NOT_FOUND, ErrorCode.RANGE_NOT_SATISFIABLE, ErrorCode.STORAGE_UNAVAILABLE
    ),
)
@router.head("/{key:path}", include_in_schema=False)
def get_file(storage: Local, link: Permission) -> StoredFile:
    """The address is a job's `result.url`. Ranges are served, so a broken download can go on where it stopped."""
    try:
        path, stored = storage.local_path(link.key), storage.stat(link.key)
    except ObjectNotFound as error:
        raise HTTPException(404, "This file has been deleted.") from error
    media_type = mimetypes.guess_type(link.filename)[0] or "application/octet-stream"
    headers = {"ETag": f'"{stored.sha256}"', "Cache-Control": "private"}
    return StoredFile(path, headers=headers, media_type=media_type, filename=link.filename)


@router.put(
    "/{key:path}",
    status_code=204,
    summary="Upload a file",
    responses=problems(
        ErrorCode.LINK_INVALID,
        ErrorCode.NOT_FOUND,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.CHECKSUM_MISMATCH,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
async def put_file(request: Request, services: Needed, storage: Local, link: Permission) -> Response:
    """The address is the `url` that POST /uploads gave. The file appears whole or not at all."""
    upload = await run_in_threadpool(_expected, link, services)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > link.max_bytes:
        raise InputTooLarge(f"The file has more than {link.max_bytes} bytes.")
    try:
        async with contextmanager_in_threadpool(storage.receive(link.key, link.max_bytes)) as incoming:
            async for chunk in request.stream():
                await run_in_threadpool(incoming.write, chunk)
            if upload.sha256 not in (None, incoming.sha256):
                raise ChecksumMismatch(f"The file has the sha256 {incoming.sha256}, and {upload.sha256} was announced.")
    except ClientDisconnect:  # nobody is left to read an answer
        log.info("upload_broken_off", key=link.key)
        return Response(status_code=400)
    await run_in_threadpool(note_arrival, upload, services)
    log.info("upload_received", key=link.key, bytes=incoming.bytes)
    return Response(status_code=204, headers={"ETag": f'"{incoming.sha256}"'})


def _expected(link: Link, services: Services) -> Upload:
    """The upload whose file this is. It may have been removed while its link is still good."""
    try:
        return services.uploads.get(UploadId(link.key.rpartition("/")[2]))
    except UploadNotFound as error:
        raise HTTPException(404, "This upload has been removed.") from error
