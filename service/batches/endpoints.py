"""POST, GET, DELETE /batches."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response

from core.batches import BATCH_ID_PATTERN, BATCH_PREFIX, MAX_JOBS, Batch
from core.errors import BatchNotFound, ErrorCode, InvalidBatch, JobNotFound, TooManyQueued
from core.janitor import purge
from core.jobs import BatchId, Job, JobId, new_job_id
from core.metrics import record_finished
from core.private_urls import PrivateUrls
from core.tracing import current_trace
from service.access import Caller, Reader, Submitter
from service.batches.lines import Line, WrongLines, check_addresses, errors_in, read_lines
from service.batches.presenter import batch_view
from service.batches.schemas import BatchCheck, BatchView, NewBatch, NewBatchQuery
from service.errors import problems
from service.idempotency import REPLAYED_HEADER, AtMostOnce
from service.jobs.endpoints import ASK_AGAIN_S, RETRY_AFTER_HEADER
from service.jobs.intake import announce, check_address, job_of
from service.jobs.schemas import NewJob
from service.services import Needed, Services
from service.uploads.inputs import hold_inputs, let_inputs_go

PATH = "/batches"
JSON_LINES = ("application/x-ndjson", "application/jsonl")
_PURGED_AT_ONCE = 8

router = APIRouter(prefix=PATH, tags=["batches"])

log = structlog.get_logger(__name__)


async def _body(request: Request) -> bytes:
    """The body as it came. Only these types: no page of another site can send them unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in JSON_LINES:
        raise InvalidBatch(f"The Content-Type is none of {', '.join(JSON_LINES)}.")
    return await request.body()


def _batch_id(batch_id: Annotated[str, Path(description="The id that POST /batches gave.")]) -> BatchId:
    if not re.fullmatch(BATCH_ID_PATTERN, batch_id):
        raise BatchNotFound("There is no batch with this id.")
    return BatchId(batch_id)


KnownId = Annotated[BatchId, Depends(_batch_id)]

_LINES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"One body of POST /jobs per line, at most {MAX_JOBS} lines. Blank lines are passed over.",
        "content": {
            kind: {
                "schema": {"type": "string"},
                "example": '{"video_url": "https://media.example.com/s1.mp4", "audio_url": "upload://…"}\n',
            }
            for kind in JSON_LINES
        },
    }
}
_AWAY = (ErrorCode.STORAGE_UNAVAILABLE, ErrorCode.QUEUE_UNAVAILABLE)


@router.post(
    "",
    status_code=202,
    summary="Submit many jobs at once",
    openapi_extra=_LINES,
    responses={
        200: {"model": BatchCheck, "description": "What the dry run has found."},
        202: {
            "model": BatchView,
            "headers": {
                "Location": {"description": "The batch.", "schema": {"type": "string"}},
                **RETRY_AFTER_HEADER,
                **REPLAYED_HEADER,
            },
        },
        **problems(
            ErrorCode.INVALID_BATCH,
            ErrorCode.REQUEST_TOO_LARGE,
            ErrorCode.INVALID_REQUEST,
            ErrorCode.UNKNOWN_OPTION,
            ErrorCode.UNSUPPORTED_URL,
            ErrorCode.ADDRESS_BLOCKED,
            ErrorCode.UPLOAD_NOT_FOUND,
            ErrorCode.TOO_MANY_QUEUED,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.IDEMPOTENCY_KEY_IN_USE,
            *_AWAY,
        ),
    },
)
def create_batch(
    caller: Submitter,
    query: Annotated[NewBatchQuery, Query()],
    body: Annotated[bytes, Depends(_body)],
    services: Needed,
    once: AtMostOnce,
    background: BackgroundTasks,
    response: Response,
) -> BatchView | BatchCheck:
    """All lines or none: one that is wrong and nothing is made. Once this answers 202 all the jobs are kept."""
    if query.webhook_url is not None:
        check_address("webhook_url", query.webhook_url, caller.tenant, services)
    lines = read_lines(body)
    if query.dry_run or errors_in(lines):
        lines = check_addresses(lines, caller.tenant, services)
    if query.dry_run:
        response.status_code = 200
        return BatchCheck(jobs=len(lines), errors=errors_in(lines))
    wanted = NewBatch(jobs=_jobs_in(lines), webhook_url=query.webhook_url)
    view = once.answer(BatchView, wanted, lambda made: _accept(made, lines, wanted, caller, services, background))
    response.headers["Location"] = view.links.self
    _ask_again(view, response)
    return view


def _jobs_in(lines: Sequence[Line]) -> list[NewJob]:
    """The jobs of lines that are all right. WrongLines."""
    if errors := errors_in(lines):
        raise WrongLines(errors)
    return [line.job for line in lines if line.job is not None]


def _accept(
    reserved_id: JobId,
    lines: Sequence[Line],
    wanted: NewBatch,
    caller: Caller,
    services: Services,
    background: BackgroundTasks,
) -> BatchView:
    """Keep the batch and announce its jobs; harmless when repeated with the same id."""
    batch_id = BatchId(BATCH_PREFIX + reserved_id)
    with suppress(BatchNotFound):  # kept already, by a request that was cut off before its answer
        return batch_view(services.store.get_batch(batch_id), services.settings)
    _jobs_in(check_addresses(lines, caller.tenant, services))
    now, trace = services.store.now(), current_trace()
    batch = Batch(
        id=batch_id,
        tenant=caller.tenant,
        created_at=now,
        traceparent=trace.traceparent if trace else None,
        webhook_url=wanted.webhook_url and PrivateUrls(services.settings.secret_key).seal(wanted.webhook_url),
        size=len(wanted.jobs),
    )
    jobs = [hold_inputs(job_of(new_job_id(), new, caller, services, now, batch.id), services) for new in wanted.jobs]
    try:
        services.store.create_batch(batch, jobs, caller.limits.max_queued)
    except TooManyQueued:
        for job in jobs:
            let_inputs_go(job, services)
        raise
    log.info("batch_accepted", tenant=batch.tenant, batch_id=batch.id, size=batch.size)
    background.add_task(announce, jobs, services)  # a thousand messages take a while, and the jobs are kept
    return batch_view(services.store.get_batch(batch.id), services.settings)


@router.get(
    "/{batch_id}",
    summary="Follow a batch",
    responses={
        200: {"headers": RETRY_AFTER_HEADER},
        **problems(ErrorCode.BATCH_NOT_FOUND, ErrorCode.QUEUE_UNAVAILABLE),
    },
)
def get_batch(caller: Reader, batch_id: KnownId, services: Needed, response: Response) -> BatchView:
    """How many of its jobs are in each state. The jobs themselves: `GET /jobs?batch=`."""
    return _answer(services.store.get_batch(batch_id, caller.tenant), services, response)


@router.post(
    "/{batch_id}/cancel",
    summary="Cancel all jobs of a batch",
    responses={
        202: {"model": BatchView, "description": "Some of its jobs run, and will stop."},
        **problems(ErrorCode.BATCH_NOT_FOUND, ErrorCode.QUEUE_UNAVAILABLE),
    },
)
def cancel_batch(caller: Submitter, batch_id: KnownId, services: Needed, response: Response) -> BatchView:
    """Queued jobs are canceled at once, running ones as soon as their workers notice. What is over stays as it is."""
    return _cancel(services.store.get_batch(batch_id, caller.tenant), services, response)


@router.delete(
    "/{batch_id}",
    summary="Cancel all jobs of a batch, or purge one that is over",
    responses={
        200: {"model": BatchView, "description": "None of its jobs ran: all are canceled."},
        202: {"model": BatchView, "description": "Some of its jobs run, and will stop."},
        204: {"description": "It was over, and is purged with all its jobs and their files."},
        **problems(ErrorCode.BATCH_NOT_FOUND, *_AWAY),
    },
)
def delete_batch(caller: Submitter, batch_id: KnownId, services: Needed, response: Response) -> BatchView | None:
    """What is not over is canceled. What is over is purged, each job as by `DELETE /jobs/{id}`."""
    batch = services.store.get_batch(batch_id, caller.tenant)
    if batch.finished_at is None:
        return _cancel(batch, services, response)
    with ThreadPoolExecutor(_PURGED_AT_ONCE, thread_name_prefix="purge") as pool:
        jobs = services.store.list(limit=batch.size, batch_id=batch.id).jobs
        list(pool.map(lambda job: _purge(job, services), jobs))
    response.status_code = 204
    return None


def _cancel(batch: Batch, services: Services, response: Response) -> BatchView:
    for job in services.store.cancel_batch(batch.id):
        record_finished(job)
    batch = services.store.get_batch(batch.id)
    response.status_code = 200 if batch.finished_at is not None else 202
    return _answer(batch, services, response)


def _purge(job: Job, services: Services) -> None:
    with suppress(JobNotFound):  # somebody else has
        purge(job, services.store, services.uploads, services.storage)


def _answer(batch: Batch, services: Services, response: Response) -> BatchView:
    view = batch_view(batch, services.settings)
    _ask_again(view, response)
    return view


def _ask_again(view: BatchView, response: Response) -> None:
    if view.finished_at is None:
        response.headers["Retry-After"] = str(ASK_AGAIN_S)
