"""Jobs: submit, list, cancel and purge them; POST /preflight. Following one is in `service.jobs.following`."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Path, Query, Response

from core.errors import (
    ErrorCode,
    HighSyncError,
    JobNotCancelable,
    JobNotFound,
    JobNotRetryable,
    TooManyQueued,
)
from core.janitor import purge
from core.jobs import JOB_ID_PATTERN, BatchId, Job, JobId, JobStatus
from core.metrics import record_finished
from core.private_urls import PrivateUrls
from core.tracing import current_trace
from service.access import Caller, Reader, Submitter
from service.errors import problems
from service.idempotency import REPLAYED_HEADER, AtMostOnce
from service.jobs.intake import addresses_of, announce, check_address, job_of, later, retention_s
from service.jobs.presenter import JobPresenter
from service.jobs.schemas import AcceptedJob, JobList, JobQuery, JobView, NewJob, NewPreflight, NewRetry
from service.services import Needed, Services
from service.strict_json import StrictJsonRoute
from service.uploads.inputs import hold_inputs, let_inputs_go

ASK_AGAIN_S = 2
"""What a client that follows a job is asked to wait between two looks, in seconds."""

RETRY_AFTER_HEADER: dict[str, Any] = {
    "Retry-After": {
        "description": "Seconds until the next look is worth it; absent when it is over.",
        "schema": {"type": "integer"},
    }
}
"""For the `headers` of an answer in the OpenAPI document."""

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictJsonRoute)
preflight_router = APIRouter(prefix="/preflight", tags=["jobs"], route_class=StrictJsonRoute)


async def _presenter_of(services: Needed) -> JobPresenter:
    return JobPresenter(services.storage, services.settings)


async def _job_id(job_id: Annotated[str, Path(description="The id that POST /jobs gave.")]) -> JobId:
    if not re.fullmatch(JOB_ID_PATTERN, job_id):
        raise JobNotFound("There is no job with this id.")
    return JobId(job_id)


Presenter = Annotated[JobPresenter, Depends(_presenter_of)]
KnownId = Annotated[JobId, Depends(_job_id)]


_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "Location": {"description": "The job.", "schema": {"type": "string"}},
            **RETRY_AFTER_HEADER,
            **REPLAYED_HEADER,
        }
    },
    **problems(
        ErrorCode.MALFORMED_JSON,
        ErrorCode.REQUEST_TOO_LARGE,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.IDEMPOTENCY_KEY_REUSED,
        ErrorCode.IDEMPOTENCY_KEY_IN_USE,
        ErrorCode.UNKNOWN_OPTION,
        ErrorCode.INVALID_SEGMENTS,
        ErrorCode.UNSUPPORTED_OUTPUT,
        ErrorCode.UNSUPPORTED_URL,
        ErrorCode.ADDRESS_BLOCKED,
        ErrorCode.UPLOAD_NOT_FOUND,
        ErrorCode.UPLOAD_QUOTA_EXCEEDED,
        ErrorCode.NOT_MEDIA,
        ErrorCode.TOO_MANY_QUEUED,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
}
"""How POST /jobs and POST /preflight answer."""


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    responses=_ACCEPTED,
)
def create_job(
    caller: Submitter, new: NewJob, services: Needed, presenter: Presenter, once: AtMostOnce, response: Response
) -> AcceptedJob:
    """Dub `video_url` with `audio_url`. Once this answers 202 the job is kept, whatever happens to any process."""
    accepted = once.answer(AcceptedJob, new, lambda job_id: _accept(job_id, new, caller, services, presenter))
    response.headers["Location"] = accepted.links.self
    ask_again(accepted, response)
    return accepted


@preflight_router.post("", status_code=202, summary="Look at a video before dubbing it", responses=_ACCEPTED)
def create_preflight(
    caller: Submitter, new: NewPreflight, services: Needed, presenter: Presenter, once: AtMostOnce, response: Response
) -> AcceptedJob:
    """Media facts, shots, faces with thumbnails and track ids, and what may go wrong. No network runs.

    It waits its turn in the same queue and holds a worker while it looks; `options.priority` `high` helps.
    It is a job like any other, with `options.preflight_only`: follow it, and read `preflight` when it has succeeded.
    """
    return create_job(caller, new, services, presenter, once, response)


def _accept(job_id: JobId, new: NewJob, caller: Caller, services: Services, presenter: JobPresenter) -> AcceptedJob:
    """Keep the job and announce it; harmless when repeated with the same id."""
    for field, url in addresses_of(new):
        _check_address(field, url, caller.tenant, services)
    return _keep(job_of(job_id, new, caller, services, services.store.now()), caller, services, presenter)


def _keep(job: Job, caller: Caller, services: Services, presenter: JobPresenter) -> AcceptedJob:
    """The record first of all; then a worker may know of it."""
    job = hold_inputs(job, services)
    try:
        services.store.create(job, caller.limits.max_queued)
    except TooManyQueued:
        let_inputs_go(job, services)
        raise
    announce([job], services)
    return presenter.accepted(job)


def _check_address(field: str, url: str, tenant: str, services: Services) -> None:
    """Refuse what can be refused before a worker looks. The error names the field."""
    try:
        check_address(field, url, tenant, services)
    except HighSyncError as error:
        error.message = f"{field}: {error.message}"
        raise


@router.get(
    "",
    summary="List jobs, newest first",
    responses=problems(
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_OPTION,
        ErrorCode.BATCH_NOT_FOUND,
        ErrorCode.STORAGE_UNAVAILABLE,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def list_jobs(caller: Reader, query: Annotated[JobQuery, Query()], services: Needed, presenter: Presenter) -> JobList:
    """Pages stay in step while jobs come and go: `next_cursor` goes on behind the last job of this page."""
    batch_id = BatchId(query.batch) if query.batch else None
    if batch_id is not None:
        services.store.get_batch(batch_id, caller.tenant)
    page = services.store.list(query.status, query.cursor, query.limit, tenant=caller.tenant, batch_id=batch_id)
    return JobList(jobs=[presenter.listed(job) for job in page.jobs], next_cursor=page.next_cursor)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses={
        202: {"model": JobView, "description": "It runs, and will stop.", "headers": RETRY_AFTER_HEADER},
        **problems(
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.JOB_NOT_CANCELABLE,
            ErrorCode.STORAGE_UNAVAILABLE,
            ErrorCode.QUEUE_UNAVAILABLE,
        ),
    },
)
def cancel_job(
    caller: Submitter, job_id: KnownId, services: Needed, presenter: Presenter, response: Response
) -> JobView:
    """A queued job is canceled at once, a running one as soon as its worker notices. Repeating it changes nothing."""
    return _cancel(services.store.get(job_id, caller.tenant), services, presenter, response)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Try a job again",
    responses=_ACCEPTED | problems(ErrorCode.JOB_NOT_FOUND, ErrorCode.JOB_NOT_RETRYABLE, ErrorCode.SECRET_KEY_CHANGED),
)
def retry_job(
    caller: Submitter,
    job_id: KnownId,
    services: Needed,
    presenter: Presenter,
    once: AtMostOnce,
    response: Response,
    wishes: Annotated[NewRetry, Body(default_factory=NewRetry)],
) -> AcceptedJob:
    """A new job with the same inputs, options, receiver and metadata. The deadlines count anew.

    Only of a job that failed, was canceled or expired; that one stays as it is.
    """
    old = services.store.get(job_id, caller.tenant)
    accepted = once.answer(AcceptedJob, wishes, lambda new_id: _retry(old, new_id, wishes, caller, services, presenter))
    response.headers["Location"] = accepted.links.self
    ask_again(accepted, response)
    return accepted


def _retry(
    old: Job, new_id: JobId, wishes: NewRetry, caller: Caller, services: Services, presenter: JobPresenter
) -> AcceptedJob:
    if not old.status.is_terminal or old.status is JobStatus.SUCCEEDED:
        raise JobNotRetryable(f"The job is {old.status}.")
    urls, now, trace = PrivateUrls(services.settings.secret_key), services.store.now(), current_trace()
    for field, url in addresses_of(old):
        _check_address(field, urls.open(url), caller.tenant, services)
    new = old.again(new_id, now)
    changes = {
        "traceparent": trace.traceparent if trace else None,
        "retention_s": retention_s(caller, services.settings),
        "start_deadline_at": later(now, wishes.start_deadline_s) or new.start_deadline_at,
        "deadline_at": later(now, wishes.deadline_s) or new.deadline_at,
    }
    return _keep(new.model_copy(update=changes), caller, services, presenter)


@router.delete(
    "/{job_id}",
    summary="Cancel a job, or purge one that is over",
    responses={
        200: {"model": JobView, "description": "It was queued, and is canceled."},
        202: {"model": JobView, "description": "It runs, and will stop.", "headers": RETRY_AFTER_HEADER},
        204: {"description": "It was over, and is purged: record, files, and uploads that no other job uses."},
        **problems(
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.JOB_NOT_CANCELABLE,
            ErrorCode.STORAGE_UNAVAILABLE,
            ErrorCode.QUEUE_UNAVAILABLE,
        ),
    },
)
def delete_job(
    caller: Submitter, job_id: KnownId, services: Needed, presenter: Presenter, response: Response
) -> JobView | None:
    """What is not over is canceled. What is over is purged; its files go first, so that none is left behind."""
    job = services.store.get(job_id, caller.tenant)
    if not job.status.is_terminal:
        return _cancel(job, services, presenter, response)
    purge(job, services.store, services.uploads, services.storage)
    response.status_code = 204
    return None


def _cancel(before: Job, services: Services, presenter: JobPresenter, response: Response) -> JobView:
    job = services.store.request_cancel(before.id)
    if job.status.is_terminal and job.status is not JobStatus.CANCELED:
        raise JobNotCancelable(f"The job is {job.status}.")
    if before.status is JobStatus.QUEUED and job.status is JobStatus.CANCELED:
        record_finished(job)
    response.status_code = 200 if job.status.is_terminal else 202
    ask_again(job, response)
    return presenter.view(job)


def ask_again(job: Job | AcceptedJob, response: Response) -> None:
    """Say when to look at the job again, unless it is over."""
    if not job.status.is_terminal:
        response.headers["Retry-After"] = str(ASK_AGAIN_S)
