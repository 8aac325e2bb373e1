"""What an upload is, as data."""

import re
import uuid
from datetime import datetime
from enum import StrEnum
from typing import NewType

from pydantic import BaseModel, ConfigDict

from core.errors import UnsupportedUrl
from core.jobs import Job

UploadId = NewType("UploadId", str)

UPLOAD_SCHEME = "upload://"
UPLOAD_ID_PATTERN = "^[0-9a-f]{32}$"


class UploadState(StrEnum):
    """An upload waits for its file, has it, or is on its way out and no longer of use to anybody."""

    WAITING = "waiting"
    READY = "ready"
    LEAVING = "leaving"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Multipart(_Record):
    """An upload in parts that has been begun: the bucket's name for it, and how large its parts are."""

    token: str
    part_bytes: int


class Upload(_Record):
    """
    A file that a client was told where to put. Sizes in bytes.

    `announced_bytes` and `sha256` are what the client said beforehand, `bytes` is what has arrived. Once no job uses
    the upload, `kept_until` says how long it stays.
    """

    id: UploadId
    tenant: str
    created_at: datetime
    kept_until: datetime
    max_bytes: int
    announced_bytes: int | None = None
    sha256: str | None = None
    multipart: Multipart | None = None
    state: UploadState = UploadState.WAITING
    bytes: int | None = None

    @property
    def url(self) -> str:
        """What a job names it by."""
        return f"{UPLOAD_SCHEME}{self.id}"

    @property
    def key(self) -> str:
        """Where its file lies in storage."""
        return upload_key(self.id)

    @property
    def counted_bytes(self) -> int:
        """What it takes of its tenant's quota: what is there, or else what was announced."""
        return self.bytes if self.bytes is not None else self.announced_bytes or 0


def new_upload_id() -> UploadId:
    """An id nobody can guess."""
    return UploadId(uuid.uuid4().hex)


def upload_id_of(url: str) -> UploadId:
    """The id in an upload:// URL. UnsupportedUrl if it cannot be one of ours."""
    upload_id = url.removeprefix(UPLOAD_SCHEME)
    if not url.startswith(UPLOAD_SCHEME) or not re.fullmatch(UPLOAD_ID_PATTERN, upload_id):
        raise UnsupportedUrl("This is not an upload:// id from POST /uploads.")
    return UploadId(upload_id)


def upload_key(upload_id: UploadId) -> str:
    """The storage key of an upload's file."""
    return f"uploads/{upload_id}"


def uploads_of(job: Job) -> tuple[UploadId, ...]:
    """The uploads that a job reads, each once."""
    urls = dict.fromkeys(job.input_urls)
    return tuple(upload_id_of(url) for url in urls if url.startswith(UPLOAD_SCHEME))
