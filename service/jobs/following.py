"""GET /jobs/{id} and GET /jobs/{id}/events: following a job, by looking, by waiting, or by listening."""

import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from core.errors import ErrorCode, HighSyncError
from core.jobs import EVENT_ID_PATTERN, Job, JobEvent, JobId
from service.access import Caller, Reader, check_again
from service.errors import problems
from service.jobs.changes import ChangeWatch, Watch
from service.jobs.endpoints import RETRY_AFTER_HEADER, KnownId, Presenter, ask_again
from service.jobs.outlook import with_outlook
from service.jobs.presenter import JobPresenter, version_of
from service.jobs.schemas import EXAMPLE_ID, FollowQuery, JobEventView, JobView
from service.services import Needed, Services

HEARTBEAT_S = 15.0
"""A quiet stream says something this often, so that nothing on the way takes it for dead."""

COME_AGAIN_MS = 2000
"""When a client whose stream has broken off is asked to come again, in milliseconds."""

router = APIRouter(prefix="/jobs", tags=["jobs"])

_EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "One server-sent event.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": {"$ref": "#/components/schemas/JobEventType"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobEventView"},
        },
    },
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """A job as it was seen at one moment."""

    job: Job
    view: JobView
    version: str

    @property
    def headers(self) -> dict[str, str]:
        """Those of the answer, changed or not."""
        return {"ETag": f'W/"{self.version}"', "Cache-Control": "private, no-cache"}


def _look(job_id: JobId, caller: Caller, services: Services, presenter: JobPresenter) -> _Look:
    check_again(caller, services)
    job = services.store.get(job_id, caller.tenant)
    view = with_outlook(presenter.view(job), job, services)
    return _Look(job, view, version_of(view))


@router.get(
    "/{job_id}",
    response_model=JobView,
    summary="Follow a job",
    responses={
        200: {
            "headers": {
                "ETag": {
                    "description": "The version of the job, for `If-None-Match`. Fresh links alone make no new one.",
                    "schema": {"type": "string"},
                },
                **RETRY_AFTER_HEADER,
            }
        },
        304: {"description": "The job is as `If-None-Match` says, and stayed so for the time of `wait`."},
        **problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.UNKNOWN_OPTION,
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.TOO_MANY_FOLLOWERS,
            ErrorCode.STORAGE_UNAVAILABLE,
            ErrorCode.QUEUE_UNAVAILABLE,
        ),
    },
)
async def get_job(
    caller: Reader,
    job_id: KnownId,
    services: Needed,
    presenter: Presenter,
    watch: Watch,
    response: Response,
    query: Annotated[FollowQuery, Query()],
    if_none_match: Annotated[
        str | None, Header(description="The `ETag` of an earlier answer: `304`, without a body, while it still holds.")
    ] = None,
) -> JobView | Response:
    """Status and progress; in the end, the result or the error."""
    known = _versions(if_none_match)
    look_now = partial(_look, job_id, caller, services, presenter)
    with watch.seats.taken_by(caller.tenant) if query.wait else nullcontext():
        look = await _look_when_changed(look_now, job_id, known, query.wait, watch)
    ask_again(look.job, response)
    response.headers.update(look.headers)
    if look.version in known:
        return Response(status_code=304, headers=dict(response.headers))
    return look.view


async def _look_when_changed(
    look: "partial[_Look]", job_id: JobId, known: frozenset[str], wait_s: float, watch: ChangeWatch
) -> _Look:
    """The first look that shows something new, or the last one before time is up."""
    seen = await run_in_threadpool(look)
    if wait_s == 0:
        return seen
    known = known or frozenset({seen.version})
    deadline = time.monotonic() + wait_s
    with watch.listen(job_id) as waiter:
        while True:
            seen = await run_in_threadpool(look)  # again: what came before the listening is not told
            left_s = deadline - time.monotonic()
            is_news = seen.version not in known or seen.job.status.is_terminal
            if is_news or watch.is_closing or not await waiter.rung(left_s):
                return seen


def _versions(if_none_match: str | None) -> frozenset[str]:
    """`W/"a", "b"` → a and b. What is not an entity tag matches nothing."""
    tags = (if_none_match or "").split(",")
    return frozenset(tag.strip().removeprefix("W/").strip('"') for tag in tags if tag.strip())


async def _has_seat(caller: Reader, watch: Watch) -> AsyncIterator[None]:
    """A seat until the stream has ended, however it ends: FastAPI leaves a dependency when all is sent."""
    with watch.seats.taken_by(caller.tenant):
        yield


@router.get(
    "/{job_id}/events",
    summary="Listen to a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The events so far, of progress only the latest, and then each as it happens. "
            "The stream ends with the job.",
            "content": {
                "text/event-stream": {
                    "schema": _EVENT_SCHEMA,
                    "example": (
                        f"retry: {COME_AGAIN_MS}\n\nid: 1795600000000-0\nevent: started\n"
                        f'data: {{"job_id":"{EXAMPLE_ID}","type":"started","status":"running",'
                        '"at":"2026-11-25T10:26:40Z","attempt":1,"progress":null}\n\n'
                    ),
                }
            },
        },
        204: {"description": "The job is over, and `Last-Event-ID` was its last event: do not come again."},
        **problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.TOO_MANY_FOLLOWERS,
            ErrorCode.QUEUE_UNAVAILABLE,
        ),
    },
    dependencies=[Depends(_has_seat)],
)
async def listen_to_job(
    caller: Reader,
    job_id: KnownId,
    services: Needed,
    watch: Watch,
    last_event_id: Annotated[
        str | None,
        Header(pattern=EVENT_ID_PATTERN, description="Go on behind this event. An EventSource sends it by itself."),
    ] = None,
) -> Response:
    """Server-sent events. While nothing happens a comment comes every 15 seconds."""

    def is_all_told() -> bool:
        job = services.store.get(job_id, caller.tenant)
        return job.status.is_terminal and not services.store.history(job_id, last_event_id)

    if await run_in_threadpool(is_all_told):
        return Response(status_code=204)
    stream = _tell(job_id, last_event_id, caller, services, watch)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx: pass each event on at once
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _tell(
    job_id: JobId, told: str | None, caller: Caller, services: Services, watch: ChangeWatch
) -> AsyncIterator[str]:
    """
    The stream. It breaks off when Redis is away, the job is purged, the key revoked or the process ends: the client
    comes again.
    """

    def look() -> tuple[JobEvent, ...]:
        check_again(caller, services)
        return services.store.history(job_id, told)

    yield f"retry: {COME_AGAIN_MS}\n\n"
    with watch.listen(job_id) as waiter:
        while not watch.is_closing:
            try:
                events = await run_in_threadpool(look)
            except HighSyncError as error:
                log.warning("stream_broken_off", job_id=job_id, code=error.code, reason=error.message)
                return
            for event in events:
                yield _as_text(event)
                told = event.id
                if event.type.status.is_terminal:
                    return
            while not await waiter.rung(HEARTBEAT_S):
                yield ": nothing new\n\n"


def _as_text(event: JobEvent) -> str:
    data: dict[str, Any] = event.model_dump(exclude={"id"}) | {"status": event.type.status, "at": event.at}
    return f"id: {event.id}\nevent: {event.type}\ndata: {JobEventView(**data).model_dump_json()}\n\n"
