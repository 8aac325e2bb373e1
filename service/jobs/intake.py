"""From a request for a job to its record, and to the message that announces it. For single jobs and for batches."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from core.errors import QueueUnavailable
from core.jobs import BatchId, Job, JobId
from core.metrics import JOBS_SUBMITTED
from core.outgoing import check_url
from core.private_urls import PrivateUrls
from core.settings import Settings
from core.tracing import current_trace, span
from core.uploads import UPLOAD_SCHEME
from service.access import Caller
from service.jobs.schemas import NewJob
from service.services import Services
from service.uploads.inputs import check_upload

ADDRESSES = ("video_url", "audio_url", "webhook_url")
"""The fields of a job that lead elsewhere, besides those of its segments."""

log = structlog.get_logger(__name__)


def addresses_of(asked: NewJob | Job) -> Iterator[tuple[str, str]]:
    """Every URL of a job, each with its field."""
    for field in ADDRESSES:
        if (url := getattr(asked, field)) is not None:
            yield field, url
    for number, segment in enumerate(asked.options.segments):
        if segment.audio_url is not None:
            yield f"options.segments.{number}.audio_url", segment.audio_url


def check_address(field: str, url: str, tenant: str, services: Services) -> None:
    """
    Refuse what can be refused of an address of this tenant's before a worker looks.

    Raises UnsupportedUrl, AddressBlocked, UploadNotFound, InputTooLarge, UploadQuotaExceeded, NotMedia, and what
    storage and queue raise when they are away.
    """
    if url.startswith(UPLOAD_SCHEME) and field != "webhook_url":
        check_upload(url, tenant, services)
    else:
        check_url(url, services.policy)


def job_of(
    job_id: JobId, new: NewJob, caller: Caller, services: Services, now: datetime, batch_id: BatchId | None = None
) -> Job:
    """The record of a job of this caller's that is accepted now, with its addresses sealed."""
    trace, urls = current_trace(), PrivateUrls(services.settings.secret_key)
    sealed: dict[str, Any] = {"options": new.options.with_urls(urls.seal)}
    sealed |= {field: urls.seal(url) for field in ADDRESSES if (url := getattr(new, field)) is not None}
    return Job(
        id=job_id,
        tenant=caller.tenant,
        batch_id=batch_id,
        created_at=now,
        traceparent=trace.traceparent if trace else None,
        start_deadline_at=later(now, new.start_deadline_s),
        deadline_at=later(now, new.deadline_s),
        retention_s=retention_s(caller, services.settings),
        **{name: sealed.get(name, value) for name, value in new if name not in ("start_deadline_s", "deadline_s")},
    )


def retention_s(caller: Caller, settings: Settings) -> float | None:
    """How long after its end a job of this caller's is kept, in seconds; None: for good."""
    return caller.limits.retention_s or settings.retention_s or None


def later(now: datetime, seconds: float | None) -> datetime | None:
    """So many seconds from now; None: never."""
    return None if seconds is None else now + timedelta(seconds=seconds)


def announce(jobs: Sequence[Job], services: Services) -> None:
    """Say that these jobs wait, now that their records are kept."""
    for job in jobs:
        log.info("job_accepted", job_id=job.id, tenant=job.tenant)
    JOBS_SUBMITTED.inc(len(jobs))
    for job in jobs:
        try:
            with span("enqueue", kind="producer", job_id=job.id):
                services.queue.enqueue(job.id)
        except QueueUnavailable as error:  # the reconciler will announce this one and the rest
            log.warning("enqueue_failed", job_id=job.id, reason=error.message)
            break
