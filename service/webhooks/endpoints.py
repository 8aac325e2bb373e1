"""POST /webhooks/secret/rotate, GET /webhooks/deliveries, POST /webhooks/deliveries/{id}/replay."""

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query, Response

from core.batches import BATCH_ID_PATTERN, is_batch_id
from core.errors import BatchNotFound, DeliveryNotFound, ErrorCode, JobNotFound
from core.jobs import JOB_ID_PATTERN, JobId
from core.webhooks import Delivery, find_subject
from service.access import Admin, Reader, Submitter
from service.errors import problems
from service.services import Needed, Services
from service.webhooks.schemas import DeliveryList, DeliveryQuery, DeliveryView, ReplayView, SecretView

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

log = structlog.get_logger(__name__)


@router.post(
    "/secret/rotate",
    status_code=201,
    summary="Make a new webhook secret",
    responses=problems(ErrorCode.QUEUE_UNAVAILABLE),
)
def rotate_secret(caller: Admin, services: Needed, response: Response) -> SecretView:
    """From now on messages are signed with it, and for a while with the one before too. It is shown this once."""
    new = services.webhook_secrets.rotate(caller.tenant)
    log.info("webhook_key_rotated", tenant=caller.tenant, previous_until=new.previous_until)
    response.headers["Cache-Control"] = "no-store"
    return SecretView(secret=new.secret.get_secret_value(), previous_until=new.previous_until)


@router.get(
    "/deliveries",
    summary="List the deliveries of a job or batch",
    responses=problems(
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_OPTION,
        ErrorCode.JOB_NOT_FOUND,
        ErrorCode.BATCH_NOT_FOUND,
        ErrorCode.QUEUE_UNAVAILABLE,
    ),
)
def list_deliveries(caller: Reader, query: Annotated[DeliveryQuery, Query()], services: Needed) -> DeliveryList:
    """The last hundred attempts. They are forgotten with the job or batch."""
    subject = find_subject(services.store, query.about, caller.tenant)
    return DeliveryList(deliveries=[_view(delivery) for delivery in services.outbox.deliveries(subject.id)])


@router.post(
    "/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Send an event again",
    responses=problems(ErrorCode.DELIVERY_NOT_FOUND, ErrorCode.QUEUE_UNAVAILABLE),
)
def replay_delivery(
    caller: Submitter,
    delivery_id: Annotated[str, Path(description="The id of a delivery, from the list.")],
    services: Needed,
) -> ReplayView:
    """Whatever became of it, and although the receiver said it was gone. Its `webhook-id` stays the same."""
    delivery = _find(delivery_id, caller.tenant, services)
    services.outbox.replay(delivery)
    log.info("webhook_replayed", **_about(delivery), webhook_event=delivery.event)
    return ReplayView(**_about(delivery), event=delivery.event, message_id=delivery.message_id)


def _find(delivery_id: str, tenant: str, services: Services) -> Delivery:
    """The tenant's delivery of this id, which begins with its job's or batch's. DeliveryNotFound."""
    about = JobId(delivery_id.partition("-")[0])
    try:
        if re.fullmatch(f"{JOB_ID_PATTERN}|{BATCH_ID_PATTERN}", about) and find_subject(services.store, about, tenant):
            return next(delivery for delivery in services.outbox.deliveries(about) if delivery.id == delivery_id)
    except (JobNotFound, BatchNotFound, StopIteration):
        pass
    raise DeliveryNotFound("There is no delivery with this id.")


def _view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(**_about(delivery), **delivery.model_dump(exclude={"about", "number", "happened_at"}))


def _about(delivery: Delivery) -> dict[str, str | None]:
    is_batch = is_batch_id(delivery.about)
    return {"job_id": None if is_batch else delivery.about, "batch_id": delivery.about if is_batch else None}
