"""The `webhooks` section of the OpenAPI document: what we send, described as a receiver would implement it."""

from collections.abc import Callable
from typing import Annotated

from fastapi import FastAPI, Header

from core.batches import BatchEvent
from core.jobs import WebhookEvent
from core.webhooks import Event
from service.batches.schemas import BatchMessage
from service.webhooks.schemas import WebhookMessage

_SUMMARIES = {
    WebhookEvent.CREATED: "A job is accepted",
    WebhookEvent.STARTED: "A worker has started a job, or started it again",
    WebhookEvent.PROGRESS: "A job has got further",
    WebhookEvent.SUCCEEDED: "A job has its result",
    WebhookEvent.FAILED: "A job has failed",
    WebhookEvent.CANCELED: "A job is canceled",
    WebhookEvent.EXPIRED: "A job has missed its deadline",
}
_BATCH_SUMMARIES = {BatchEvent.COMPLETED: "All jobs of a batch are over"}
_RESPONSES: dict[int | str, dict[str, str]] = {
    410: {"description": "Nothing more of this job or batch is sent."},
    "default": {"description": "It is sent again later; `Retry-After` is honoured. Redirects are not followed."},
}


def describe_webhooks(app: FastAPI) -> None:
    """Add one entry per event. They are a description, not routes of ours."""
    for event, summary in _SUMMARIES.items():
        _describe(app, event, summary, _receive)
    for batch_event, summary in _BATCH_SUMMARIES.items():
        _describe(app, batch_event, summary, _receive_about_batch)


def _describe(app: FastAPI, event: Event, summary: str, receive: Callable[..., None]) -> None:
    app.webhooks.add_api_route(
        event,
        receive,
        methods=["POST"],
        summary=summary,
        operation_id=event.replace(".", "_"),
        status_code=204,
        response_description="It has arrived. Any 2xx will do.",
        responses=_RESPONSES,
    )


_Id = Annotated[str, Header(description="The same for every attempt to tell this event.")]
_Timestamp = Annotated[int, Header(description="When this attempt was made, in seconds since 1970.")]
_Signature = Annotated[
    str | None, Header(description="`v1,` and base64, by each valid secret, separated by spaces; see docs.")
]


def _receive(
    message: WebhookMessage, webhook_id: _Id, webhook_timestamp: _Timestamp, webhook_signature: _Signature = None
) -> None:
    """Verify the signature over the bytes as they came, answer with a 2xx, and do the work afterwards."""


def _receive_about_batch(
    message: BatchMessage, webhook_id: _Id, webhook_timestamp: _Timestamp, webhook_signature: _Signature = None
) -> None:
    """Likewise. A message about the last job may come after this one."""
