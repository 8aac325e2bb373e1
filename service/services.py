"""What the endpoints work with, built once at the edge of the process."""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request

from core.api_keys import KeyStore, RedisKeyStore
from core.idempotency import IdempotencyKeys, RedisIdempotencyKeys
from core.janitor import RedisSuspects, Suspects
from core.job_store import JobStore, RedisJobStore
from core.outgoing import FetchPolicy
from core.queue import JobQueue, make_job_queue
from core.settings import Settings
from core.storage import Storage, make_storage
from core.uploads import RedisUploadStore, UploadStore
from core.webhooks import Outbox, RedisOutbox, RedisWebhookSecrets, WebhookSecrets
from core.worker_presence import RedisWorkerPresence, WorkerPresence


@dataclass(frozen=True, slots=True)
class Services:
    """The doors to the outside, and the settings. Tests put fakes in."""

    settings: Settings
    keys: KeyStore
    store: JobStore
    queue: JobQueue
    storage: Storage
    uploads: UploadStore
    suspects: Suspects
    outbox: Outbox
    workers: WorkerPresence
    webhook_secrets: WebhookSecrets
    idempotency_keys: IdempotencyKeys
    policy: FetchPolicy

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The real ones. Nothing is connected yet. SettingsError names a setting that cannot be read."""
        return cls(
            settings=settings,
            keys=RedisKeyStore.connect(settings.redis_url),
            store=RedisJobStore.connect(settings.redis_url, settings.lease_ttl_s),
            queue=make_job_queue(settings),
            storage=make_storage(settings, hurried=True),
            uploads=RedisUploadStore.connect(settings.redis_url),
            suspects=RedisSuspects.connect(settings.redis_url),
            outbox=RedisOutbox.connect(settings.redis_url),
            workers=RedisWorkerPresence.connect(settings.redis_url),
            webhook_secrets=RedisWebhookSecrets.from_settings(settings),
            idempotency_keys=RedisIdempotencyKeys.connect(settings.redis_url, settings.idempotency_ttl_s),
            policy=FetchPolicy.from_settings(settings),
        )


async def _services_of(request: Request) -> Services:  # async: FastAPI would send a plain function to a thread
    services: Services = request.app.state.services
    return services


Needed = Annotated[Services, Depends(_services_of)]
"""The parameter type by which an endpoint asks for the services."""
