"""What every upload store promises."""

from typing import Protocol

from core.jobs import JobId
from core.uploads.records import Upload, UploadId


class UploadStore(Protocol):
    """
    Keeps the records of uploads, and which jobs hold them. Every method may raise QueueUnavailable.

    An upload that a job holds stays. One that nobody holds leaves when its time is over; an upload that leaves is to
    everybody but `take_unused` and `forget` as if it were not there. Times are by the clock of the store.
    """

    def create(self, upload: Upload, keep_s: float, quota_bytes: int) -> None:
        """
        Keep a new record, for `keep_s` seconds unless a job holds it by then. Its announced bytes count at once.

        Raises UploadQuotaExceeded when its tenant's uploads would have more than `quota_bytes` bytes (0: no limit).
        """

    def get(self, upload_id: UploadId) -> Upload:
        """The record as it is now. Raises UploadNotFound."""

    def receive(self, upload_id: UploadId, size: int, quota_bytes: int) -> Upload:
        """
        The file is there and has so many bytes, which count instead of those announced. Repeating it is harmless.

        Raises UploadNotFound, and UploadQuotaExceeded: then nothing has changed, and the file must go.
        """

    def used_bytes(self, tenant: str) -> int:
        """What the tenant's uploads take of its quota."""

    def hold(self, upload_id: UploadId, job_id: JobId) -> None:
        """Keep the upload for this job: called before the job is created. Raises UploadNotFound."""

    def release(self, upload_id: UploadId, job_id: JobId) -> Upload | None:
        """
        This job needs the upload no longer. When it was the last one, the upload leaves: it is returned, and the
        caller removes its file and calls `forget`. None when other jobs need it, or when it is gone.
        """

    def let_go(self, upload_id: UploadId, job_id: JobId, keep_s: float) -> None:
        """This job was not created after all. If no other job holds the upload, it stays for `keep_s` more seconds."""

    def take_doubtful_holds(self, age_s: float, limit: int) -> tuple[tuple[UploadId, JobId], ...]:
        """
        Holds older than `age_s` seconds whose job has not been seen to exist yet: each is told once. The caller looks,
        and releases those whose job was never created.
        """

    def take_unused(self, limit: int) -> tuple[Upload, ...]:
        """
        Uploads that no job holds and whose time is over. They leave now: the caller removes their files and calls
        `forget`. What was not forgotten is told again a minute later.
        """

    def withdraw(self, upload_id: UploadId) -> Upload:
        """Let an upload leave before its time; likewise. Raises UploadNotFound, and UploadInUse when a job holds it."""

    def forget(self, upload_id: UploadId) -> None:
        """Remove the record of an upload that leaves. Nothing there is fine."""
