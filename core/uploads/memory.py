"""The upload store as a fake: one process, nothing durable, the same behaviour (one contract test suite for both)."""

import threading
import time
from collections.abc import Callable

from core.errors import UploadInUse, UploadNotFound, UploadQuotaExceeded
from core.jobs import JobId
from core.uploads.protocol import UploadStore
from core.uploads.records import Upload, UploadId, UploadState

TELL_AGAIN_S = 60.0
"""How long an upload that leaves is left to whoever was told to remove its file, in seconds."""


class MemoryUploadStore(UploadStore):
    """Upload records in a dict. `clock` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._uploads: dict[UploadId, Upload] = {}
        self._holders: dict[UploadId, set[JobId]] = {}
        self._unused_until: dict[UploadId, float] = {}
        self._doubtful: dict[tuple[UploadId, JobId], float] = {}

    def create(self, upload: Upload, keep_s: float, quota_bytes: int) -> None:
        """See UploadStore."""
        with self._lock:
            self._check_quota(upload.tenant, upload.counted_bytes, quota_bytes)
            self._uploads[upload.id] = upload
            self._holders[upload.id] = set()
            self._unused_until[upload.id] = self._clock() + keep_s

    def get(self, upload_id: UploadId) -> Upload:
        """See UploadStore."""
        with self._lock:
            upload = self._uploads.get(upload_id)
            if upload is None or upload.state is UploadState.LEAVING:
                raise UploadNotFound("There is no upload with this id.")
            return upload

    def receive(self, upload_id: UploadId, size: int, quota_bytes: int) -> Upload:
        """See UploadStore."""
        with self._lock:
            upload = self.get(upload_id)
            self._check_quota(upload.tenant, size - upload.counted_bytes, quota_bytes)
            self._uploads[upload_id] = upload.model_copy(update={"state": UploadState.READY, "bytes": size})
            return self._uploads[upload_id]

    def used_bytes(self, tenant: str) -> int:
        """See UploadStore."""
        with self._lock:
            return sum(upload.counted_bytes for upload in self._uploads.values() if upload.tenant == tenant)

    def hold(self, upload_id: UploadId, job_id: JobId) -> None:
        """See UploadStore."""
        with self._lock:
            self.get(upload_id)
            self._holders[upload_id].add(job_id)
            self._unused_until.pop(upload_id, None)
            self._doubtful[upload_id, job_id] = self._clock()

    def release(self, upload_id: UploadId, job_id: JobId) -> Upload | None:
        """See UploadStore."""
        with self._lock:
            self._doubtful.pop((upload_id, job_id), None)
            holders = self._holders.get(upload_id, set())
            if job_id not in holders:
                return None
            holders.remove(job_id)
            return None if holders else self._leave(upload_id)

    def let_go(self, upload_id: UploadId, job_id: JobId, keep_s: float) -> None:
        """See UploadStore."""
        with self._lock:
            self._doubtful.pop((upload_id, job_id), None)
            holders = self._holders.get(upload_id, set())
            if job_id in holders:
                holders.remove(job_id)
                if not holders:
                    self._unused_until[upload_id] = self._clock() + keep_s

    def take_doubtful_holds(self, age_s: float, limit: int) -> tuple[tuple[UploadId, JobId], ...]:
        """See UploadStore."""
        with self._lock:
            old = [hold for hold, at in self._doubtful.items() if at <= self._clock() - age_s][:limit]
            for hold in old:
                del self._doubtful[hold]
            return tuple(old)

    def take_unused(self, limit: int) -> tuple[Upload, ...]:
        """See UploadStore."""
        with self._lock:
            over = [upload_id for upload_id, until in self._unused_until.items() if until <= self._clock()][:limit]
            return tuple(self._leave(upload_id) for upload_id in over)

    def withdraw(self, upload_id: UploadId) -> Upload:
        """See UploadStore."""
        with self._lock:
            self.get(upload_id)
            if self._holders[upload_id]:
                raise UploadInUse("A job uses this upload.")
            return self._leave(upload_id)

    def forget(self, upload_id: UploadId) -> None:
        """See UploadStore."""
        with self._lock:
            for kept in (self._uploads, self._holders, self._unused_until):
                kept.pop(upload_id, None)

    def _leave(self, upload_id: UploadId) -> Upload:
        self._uploads[upload_id] = self._uploads[upload_id].model_copy(update={"state": UploadState.LEAVING})
        self._unused_until[upload_id] = self._clock() + TELL_AGAIN_S
        return self._uploads[upload_id]

    def _check_quota(self, tenant: str, more_bytes: int, quota_bytes: int) -> None:
        if quota_bytes and more_bytes > 0 and self.used_bytes(tenant) + more_bytes > quota_bytes:
            raise UploadQuotaExceeded(f"Uploads may have {quota_bytes} bytes in all.")
