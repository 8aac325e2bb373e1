"""Both outboxes, each with a job store whose changes fill it, and a clock that can be moved."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from core.job_store import JobStore, Lease, MemoryJobStore, RedisJobStore
from core.job_store.scripts import PREFIX
from core.jobs import WEBHOOK_EVENTS_IN_ORDER, Job, JobId, Progress, WebhookEvent
from core.redis_client import connect
from core.webhooks import MemoryOutbox, Outbox, RedisOutbox
from tests.core.houses import claim, make_job

HOOK = "https://studio.example.com/hook"
LEASE_TTL_S = 60.0


@dataclass(frozen=True)
class Office:
    """A job store and its outbox. `later` lets time pass."""

    store: JobStore
    outbox: Outbox
    later: Callable[[float], None]

    def job(self, *events: WebhookEvent, webhook_url: str | None = HOOK) -> Job:
        """A new job whose receiver wants these events; none named: all."""
        job = make_job(webhook_url=webhook_url, webhook_events=events or WEBHOOK_EVENTS_IN_ORDER)
        self.store.create(job)
        return job

    def canceled_job(self, webhook_url: str | None = HOOK) -> JobId:
        """A job that is over at once, of a receiver who wants to know that only."""
        job = self.job(WebhookEvent.CANCELED, webhook_url=webhook_url)
        self.store.request_cancel(job.id)
        return job.id

    def running_job(self, *events: WebhookEvent) -> Lease:
        """A job that a worker has begun."""
        return claim(self.store, self.job(*events).id)

    def report(self, lease: Lease, fraction: float) -> None:
        """The worker says how far it is."""
        self.store.report_progress(lease, Progress(stage="denoise", fraction=fraction))


@pytest.fixture
def memory_office() -> Office:
    now = [time.time()]
    store = MemoryJobStore(LEASE_TTL_S, clock=lambda: now[0])
    return Office(store, MemoryOutbox(store, lambda: now[0]), lambda s: now.__setitem__(0, now[0] + s))


@pytest.fixture(params=["memory", "redis"])
def office(request: pytest.FixtureRequest) -> Office:
    if request.param == "memory":
        return request.getfixturevalue("memory_office")  # type: ignore[no-any-return]
    redis = connect(request.getfixturevalue("redis_url"))

    def later(seconds: float) -> None:
        for entry in redis.zrange(f"{PREFIX}webhooks:due", 0, -1):
            redis.zincrby(f"{PREFIX}webhooks:due", -seconds, entry)
        for key in redis.scan_iter(f"{PREFIX}webhooks:outbox:*"):
            if redis.hexists(key, "progress:not_before"):
                redis.hincrbyfloat(key, "progress:not_before", -seconds)

    return Office(RedisJobStore(redis, LEASE_TTL_S), RedisOutbox(redis), later)
