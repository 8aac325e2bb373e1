"""What a webhook is about: a job, or a batch of them."""

from core.batches import Batch, BatchEvent, is_batch_id
from core.job_store import JobStore
from core.jobs import BatchId, Job, JobId, WebhookEvent

Event = WebhookEvent | BatchEvent
SubjectId = JobId | BatchId
Subject = Job | Batch


def find_subject(store: JobStore, about: SubjectId, tenant: str | None = None) -> Subject:
    """The job or batch as it is now. Raises JobNotFound or BatchNotFound, also for what is not this tenant's."""
    if is_batch_id(about):
        return store.get_batch(BatchId(about), tenant)
    return store.get(JobId(about), tenant)
