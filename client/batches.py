"""Batches: many jobs in one request."""

import json
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from client.errors import WaitedTooLong
from client.models import Batch, BatchCheck
from client.wire import Wire

_LOOK_EVERY_S = 2.0


class Batches:
    """
    The batches of a service. A job is what `POST /jobs` takes, with URLs or the ids of uploads.

    Every method raises the classes of `client.errors`; InvalidBatch has all that is wrong in `errors`.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def check(self, jobs: Iterable[Mapping[str, Any]]) -> BatchCheck:
        """What would be refused. Nothing is made."""
        return BatchCheck.model_validate_json(self._post(jobs, {"dry_run": "true"}, {}).content)

    def submit(
        self,
        jobs: Iterable[Mapping[str, Any]],
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Post up to 1,000 jobs: all of them, or none and InvalidBatch. Under one key there is one batch."""
        query = {} if webhook_url is None else {"webhook_url": webhook_url}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Batch.model_validate_json(self._post(jobs, query, headers).content)

    def get(self, batch_id: str) -> Batch:
        """The batch as it is now. Raises BatchNotFound."""
        return Batch.model_validate_json(self._wire.ask("GET", _path(batch_id)).content)

    def cancel(self, batch_id: str) -> Batch:
        """Cancel all of its jobs that are not over; may be repeated. Running ones stop a moment later."""
        return Batch.model_validate_json(self._wire.ask("POST", f"{_path(batch_id)}/cancel").content)

    def wait(
        self, batch_id: str, timeout_s: float | None = None, on_change: Callable[[Batch], None] = lambda batch: None
    ) -> Batch:
        """The batch when all of its jobs are over, however they ended. Raises WaitedTooLong after `timeout_s`."""
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        batch = self.get(batch_id)
        on_change(batch)
        while batch.finished_at is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitedTooLong(f"batch {batch_id} is not over after {timeout_s:g} s")
            time.sleep(min(_LOOK_EVERY_S, left_s))
            before, batch = batch, self.get(batch_id)
            if batch != before:
                on_change(batch)
        return batch

    def _post(
        self, jobs: Iterable[Mapping[str, Any]], query: Mapping[str, str], headers: Mapping[str, str]
    ) -> httpx.Response:
        lines = b"\n".join(json.dumps(job).encode() for job in jobs)
        kind = {"Content-Type": "application/x-ndjson"}
        return self._wire.ask("POST", "/batches", content=lines, params=query, headers={**kind, **headers})


def _path(batch_id: str) -> str:
    return f"/batches/{quote(batch_id, safe='')}"
