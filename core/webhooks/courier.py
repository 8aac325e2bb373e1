"""Takes what is due out of the outbox and brings it to its receiver."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from core.batches import is_batch_id
from core.errors import AddressBlocked, BatchNotFound, HighSyncError, JobNotFound, UnsupportedUrl
from core.job_store import JobStore
from core.metrics import WEBHOOK_DELIVERIES, WEBHOOK_DELIVERY_SECONDS
from core.outgoing import FetchPolicy, PostAnswer, PostFailed, post_json
from core.private_urls import PrivateUrls
from core.spans import TraceContext
from core.tracing import span
from core.webhooks.outbox import Attempted, DueDelivery, Outbox, Outcome
from core.webhooks.secrets import WebhookSecrets
from core.webhooks.signing import signed_headers
from core.webhooks.subject import Subject, SubjectId, find_subject

RETRY_AFTER_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pauses after the first, second, … failed attempt, in seconds: the schedule that Standard Webhooks suggests."""

_LONGEST_PAUSE_S = 86_400.0
_AT_ONCE = 8
_HOLD_S = 60.0  # far longer than a delivery takes

log = structlog.get_logger(__name__)


class Post(Protocol):
    """`core.outgoing.post_json`, or a stand-in."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], policy: FetchPolicy, /) -> PostAnswer:
        """Send it."""


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers what is due. `present` makes the public view of a job or batch, the same that the API shows."""

    store: JobStore
    outbox: Outbox
    secrets: WebhookSecrets
    urls: PrivateUrls
    policy: FetchPolicy
    present: Callable[[Subject], Mapping[str, Any]]
    progress_pause_s: float = 10.0
    post: Post = field(default=post_json)

    def deliver_due(self) -> int:
        """One round, up to eight deliveries side by side; returns how many were tried. Raises QueueUnavailable."""
        due = self.outbox.take_due(_AT_ONCE, _HOLD_S, self.progress_pause_s)
        if due:
            with ThreadPoolExecutor(len(due), thread_name_prefix="webhook") as pool:
                list(pool.map(self._deliver, due))
        return len(due)

    def _deliver(self, due: DueDelivery) -> None:
        try:
            subject = find_subject(self.store, due.about)
        except (JobNotFound, BatchNotFound):
            return self.outbox.drop(due.about)
        facts = {_kind_of_id(due.about): due.about, "webhook_event": due.event}
        with span("webhook", parent=subject.traceparent, kind="producer", **facts) as step:
            attempted = self._attempt(subject, due, step.context)
            step.note({"outcome": attempted.outcome.value})
            self._tell(facts, due, attempted)
        self.outbox.record(due, attempted)

    def _tell(self, facts: Mapping[str, str], due: DueDelivery, attempted: Attempted) -> None:
        WEBHOOK_DELIVERIES.labels(attempted.outcome).inc()
        WEBHOOK_DELIVERY_SECONDS.labels(attempted.outcome).observe(attempted.duration_s)
        log.info(
            "webhook",
            **facts,
            attempt=due.attempt,
            outcome=attempted.outcome,
            status=attempted.status,
            next_attempt_in_s=attempted.pause_s,
        )

    def _attempt(self, subject: Subject, due: DueDelivery, trace: TraceContext) -> Attempted:
        """Send it once."""
        at, started = datetime.now(UTC), time.monotonic()
        outcome, answer = self._send(subject, due, trace)
        seconds = round(time.monotonic() - started, 3)
        pause_s = _pause_s(outcome, due.attempt, answer.retry_after_s if answer else None)
        return Attempted(at, outcome, answer.status if answer else None, seconds, pause_s)

    def _send(self, subject: Subject, due: DueDelivery, trace: TraceContext) -> tuple[Outcome, PostAnswer | None]:
        try:
            body = self._body(subject, due)
            secrets = self.secrets.valid(subject.tenant)
            headers = signed_headers(due.message_id, body, datetime.now(UTC), secrets) | {
                "traceparent": trace.traceparent
            }
            answer = self.post(self.urls.open(str(subject.webhook_url)), body, headers, self.policy)
        except PostFailed:
            return Outcome.UNREACHABLE, None
        except (AddressBlocked, UnsupportedUrl):
            return Outcome.BLOCKED, None
        except HighSyncError as error:  # the view needs the storage for its link, the signature needs the secret
            log.warning("webhook_not_made", about=due.about, code=error.code, reason=error.message)
            return Outcome.POSTPONED, None
        return _verdict(answer.status), answer

    def _body(self, subject: Subject, due: DueDelivery) -> bytes:
        """The job or batch is shown as it is now: what comes late never says less than what has come before."""
        event = {"type": due.event, "timestamp": due.happened_at.isoformat(), "data": self.present(subject)}
        return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()


def _kind_of_id(about: SubjectId) -> str:
    return "batch_id" if is_batch_id(about) else "job_id"


def _verdict(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.GONE if status == 410 else Outcome.REFUSED


def _pause_s(outcome: Outcome, attempt: int, wished_s: float | None) -> float | None:
    """The time to the next attempt, as the schedule or the receiver wants it; None: there is none."""
    is_final = outcome in (Outcome.DELIVERED, Outcome.GONE, Outcome.BLOCKED)
    if is_final or attempt > len(RETRY_AFTER_S):
        return None
    return min(max(RETRY_AFTER_S[attempt - 1], wished_s or 0.0), _LONGEST_PAUSE_S)
