"""POST /uploads; GET, DELETE /uploads/{id}; POST /uploads/{id}/complete."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Response
from starlette.exceptions import HTTPException

from core.errors import ErrorCode, InputTooLarge, UnsupportedUrl, UploadIncomplete, UploadNotFound, UploadQuotaExceeded
from core.janitor import remove_upload
from core.storage import MultipartTarget, UploadTarget
from core.uploads import UPLOAD_SCHEME, Multipart, Upload, UploadState, new_upload_id, upload_id_of
from service.access import Reader, Submitter
from service.errors import problems
from service.services import Needed, Services
from service.strict_json import StrictJsonRoute
from service.uploads.inputs import find_upload, note_joined, quota_of
from service.uploads.schemas import NewUpload, UploadLinks, UploadPart, UploadTicket, UploadView

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=StrictJsonRoute)

log = structlog.get_logger(__name__)


UploadPath = Annotated[str, Path(description="What follows `upload://` in the upload's `id`.")]


def _find(upload_id: str, tenant: str, services: Services) -> Upload:
    try:
        return find_upload(upload_id_of(f"{UPLOAD_SCHEME}{upload_id}"), tenant, services)
    except (UnsupportedUrl, UploadNotFound) as error:
        raise HTTPException(404, "There is no upload with this id.") from error


@router.post(
    "",
    status_code=201,
    summary="Ask where to put a file",
    responses=problems(
        ErrorCode.MALFORMED_JSON,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
        ErrorCode.REQUEST_TOO_LARGE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_OPTION,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def create_upload(caller: Submitter, wanted: NewUpload, services: Needed) -> UploadTicket:
    """PUT the file to `url` with `headers`; then use `id` as `video_url` or `audio_url` of as many jobs as you like."""
    settings, quota_bytes = services.settings, quota_of(caller.tenant, services)
    now = services.store.now().replace(microsecond=0)
    upload = Upload(
        id=new_upload_id(),
        tenant=caller.tenant,
        created_at=now,
        kept_until=now + timedelta(seconds=settings.upload_ttl_s),
        max_bytes=_most_bytes(wanted, caller.tenant, quota_bytes, services),
        announced_bytes=wanted.bytes,
        sha256=wanted.sha256,
    )
    upload, parts = _begin_parts(upload, wanted, services)
    target = services.storage.upload_url(upload.key, settings.link_ttl_s, upload.max_bytes, upload.sha256)
    services.uploads.create(upload, settings.upload_ttl_s, quota_bytes)
    log.info("upload_expected", upload_id=upload.id, filename=wanted.filename, bytes=wanted.bytes)
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=settings.link_ttl_s)  # as it was signed
    return _ticket(_view(upload, services), target, parts, wanted.content_type, expires_at)


def _most_bytes(wanted: NewUpload, tenant: str, quota: int, services: Services) -> int:
    """How large the file may be: as announced, or as large as any input, or what is left of the quota."""
    limit = services.settings.input_max_bytes
    if wanted.bytes is not None:
        if wanted.bytes > limit:
            raise InputTooLarge(f"At most {limit} bytes are taken.")
        return wanted.bytes
    if not quota:
        return limit
    left = quota - services.uploads.used_bytes(tenant)
    if left <= 0:
        raise UploadQuotaExceeded(f"Uploads may have {quota} bytes in all.")
    return min(limit, left)


def _begin_parts(upload: Upload, wanted: NewUpload, services: Services) -> tuple[Upload, tuple[UploadPart, ...]]:
    """Begin an upload in parts, if that is wanted and can be. What nobody finishes, the janitor removes."""
    if not wanted.multipart or services.storage.parts is None:
        return upload, ()
    begun: MultipartTarget = services.storage.parts.begin(upload.key, services.settings.link_ttl_s, upload.max_bytes)
    parts = tuple(UploadPart(number=part.number, url=part.url, bytes=part.bytes) for part in begun.parts)
    multipart = Multipart(token=begun.token, part_bytes=begun.part_bytes)
    return upload.model_copy(update={"multipart": multipart}), parts


def _ticket(
    view: UploadView,
    target: UploadTarget,
    parts: tuple[UploadPart, ...],
    content_type: str | None,
    expires_at: datetime,
) -> UploadTicket:
    headers = {"Content-Type": content_type} if content_type else {}
    return UploadTicket(
        **dict(view),
        method=target.method,
        url=None if parts else target.url,
        parts=list(parts),
        headers={} if parts else headers | dict(target.headers),
        expires_at=expires_at,
    )


@router.get(
    "/{upload_id}",
    summary="Look at an upload",
    responses=problems(
        ErrorCode.NOT_FOUND,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def get_upload(caller: Reader, upload_id: UploadPath, services: Needed) -> UploadView:
    """
    Whether its file is there, and a link to get it back. A file larger than it may be is removed, and the answer is the
    error that says so.
    """
    upload = _find(upload_id, caller.tenant, services)
    view = _view(upload, services)
    if upload.state is not UploadState.READY:
        return view
    link = services.storage.download_url(upload.key, services.settings.link_ttl_s, f"highsync-{upload.id}")
    return view.model_copy(update={"file_url": link})


@router.post(
    "/{upload_id}/complete",
    summary="Say that the file is there",
    responses=problems(
        ErrorCode.NOT_FOUND,
        ErrorCode.UPLOAD_INCOMPLETE,
        ErrorCode.CHECKSUM_MISMATCH,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def complete_upload(caller: Submitter, upload_id: UploadPath, services: Needed) -> UploadView:
    """
    Makes one file of the parts, and reads it through if its `sha256` was announced. Needed for an upload in parts only,
    harmless for others. May be repeated.
    """
    upload = _find(upload_id, caller.tenant, services)
    if upload.state is UploadState.WAITING and upload.multipart is not None and services.storage.parts is not None:
        multipart = upload.multipart
        services.storage.parts.finish(upload.key, multipart.token, upload.max_bytes, multipart.part_bytes)
        upload = note_joined(upload, services)
    if upload.state is UploadState.WAITING:
        raise UploadIncomplete("The file was not PUT yet.")
    return _view(upload, services)


@router.delete(
    "/{upload_id}",
    status_code=204,
    summary="Remove an upload, or break it off",
    responses=problems(
        ErrorCode.NOT_FOUND,
        ErrorCode.UPLOAD_IN_USE,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def delete_upload(caller: Submitter, upload_id: UploadPath, services: Needed) -> Response:
    """Its file goes, whether it has come whole, in part or not at all. One that a job uses leaves with that job."""
    upload = _find(upload_id, caller.tenant, services)
    remove_upload(services.uploads.withdraw(upload.id), services.uploads, services.storage)
    return Response(status_code=204)


def _view(upload: Upload, services: Services) -> UploadView:
    here = f"{services.settings.public_url.rstrip('/')}/uploads/{upload.id}"
    return UploadView(
        id=upload.url,
        state=upload.state,
        bytes=upload.bytes,
        max_bytes=upload.max_bytes,
        sha256=upload.sha256,
        created_at=upload.created_at,
        kept_until=upload.kept_until,
        links=UploadLinks(self=here, complete=f"{here}/complete"),
    )
