"""`Idempotency-Key`: a request that comes again gets the answer of the first one, and makes nothing new."""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import structlog
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from core.errors import HighSyncError, QueueUnavailable
from core.idempotency import Claim
from core.jobs import JobId, new_job_id
from core.metrics import IDEMPOTENT_REPLAYS
from service.access import Submitter
from service.services import Needed, Services

REPLAYED = "Idempotency-Replayed"
REPLAYED_HEADER: dict[str, Any] = {
    REPLAYED: {
        "description": "`true`: this is the answer of an earlier request with this `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
"""For the `headers` of an answer in the OpenAPI document."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Yours, and new for each thing to be made; a UUID for instance. The same request with the same "
        "key makes nothing new and gets the first answer. Kept for a day unless the operator says otherwise.",
        examples=["8f14e45f-ceea-467f-a8d2-1c8a1b4d0f5e"],
    ),
]
View = TypeVar("View", bound=BaseModel)

log = structlog.get_logger(__name__)


class Once:
    """The `Idempotency-Key` of one request, if it has one. Each tenant has keys of its own."""

    def __init__(self, tenant: str, key: str | None, operation: str, services: Services, response: Response) -> None:
        self._tenant = tenant
        self._key = key
        self._operation = operation
        self._keys = services.idempotency_keys
        self._response = response

    def answer(self, kind: type[View], wanted: BaseModel, act: Callable[[JobId], View]) -> View:
        """
        The answer to this body: that of `act`, which is given the id of what it makes, or the first one again.

        `act` must be harmless when it is repeated with the same id. Raises what `act` does, IdempotencyKeyReused,
        IdempotencyKeyInUse and QueueUnavailable.
        """
        if self._key is None:
            return act(new_job_id())
        fingerprint = _fingerprint(self._operation, wanted)
        claim = self._keys.claim(self._tenant, self._key, fingerprint, new_job_id())
        if isinstance(claim, Claim):
            return self._act(claim, act)
        IDEMPOTENT_REPLAYS.inc()
        log.info("answer_replayed", operation=self._operation)
        self._response.headers[REPLAYED] = "true"
        return kind.model_validate_json(claim)

    def _act(self, claim: Claim, act: Callable[[JobId], View]) -> View:
        nothing_made = False
        view: View | None = None
        try:
            view = act(JobId(claim.reserved_id))
            return view
        except HighSyncError as error:
            nothing_made = error.spec.http_status < 500  # refused; a fault of ours may come after the deed
            raise
        finally:
            self._settle(claim, view, nothing_made)

    def _settle(self, claim: Claim, view: BaseModel | None, nothing_made: bool) -> None:
        try:
            if view is None:
                self._keys.give_up(claim, nothing_made=nothing_made)
            else:
                self._keys.keep(claim, view.model_dump_json())
        except QueueUnavailable as error:  # the claim runs out, and the next request goes on under the same id
            log.warning("idempotency_key_not_settled", reason=error.message)


def _fingerprint(operation: str, wanted: BaseModel) -> str:
    """The same for the same wish, however its JSON was written; and nobody can read the wish in it."""
    wish = json.dumps(wanted.model_dump(mode="json", exclude_unset=True), sort_keys=True)
    return hashlib.sha256(f"{operation}\n{wish}".encode()).hexdigest()


async def _once(caller: Submitter, request: Request, response: Response, services: Needed, key: Key = None) -> Once:
    return Once(caller.tenant, key, f"{request.method} {request.url.path}", services, response)


AtMostOnce = Annotated[Once, Depends(_once)]
"""The parameter type by which an endpoint takes the header."""
