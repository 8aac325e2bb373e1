"""What was uploaded, by whom, for which jobs, and until when: the books beside the storage that holds the files."""

from core.uploads.memory import MemoryUploadStore
from core.uploads.protocol import UploadStore
from core.uploads.records import (
    UPLOAD_SCHEME,
    Multipart,
    Upload,
    UploadId,
    UploadState,
    new_upload_id,
    upload_id_of,
    upload_key,
    uploads_of,
)
from core.uploads.redis_store import RedisUploadStore

__all__ = [
    "UPLOAD_SCHEME",
    "MemoryUploadStore",
    "Multipart",
    "RedisUploadStore",
    "Upload",
    "UploadId",
    "UploadState",
    "UploadStore",
    "new_upload_id",
    "upload_id_of",
    "upload_key",
    "uploads_of",
]
