"""The API over fakes: real endpoints and a real local storage, with job store and queue in memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from core.api_keys import MemoryKeyStore
from core.idempotency import MemoryIdempotencyKeys
from core.janitor import MemorySuspects
from core.job_store import MemoryJobStore
from core.outgoing import FetchPolicy
from core.queue import MemoryJobQueue
from core.settings import Settings
from core.storage import LocalStorage, make_storage
from core.uploads import MemoryUploadStore
from core.webhooks import MemoryOutbox, MemoryWebhookSecrets
from core.worker_presence import MemoryWorkerPresence
from service.app import create_app
from service.services import Services

SECRET = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"


@pytest.fixture(autouse=True)
def log() -> Iterator[list[EventDict]]:
    """What is logged. Also spares each test the drawing of tracebacks for a terminal."""
    with capture_logs() as events:
        yield events


def make_settings(folder: Path) -> Settings:
    """Settings for an API whose files lie in this folder."""
    return Settings(
        secret_key="a key for tests, long enough by far",
        storage_url=(folder / "storage").as_uri(),
        public_url="http://testserver",
        allow_unauthenticated=True,
        input_max_bytes=100_000,
        request_max_bytes=32 * 1024,
        webhook_secret=SECRET,
        reconcile_interval_s=0.05,
    )


def make_services(settings: Settings) -> Services:
    """Fakes, but for the local storage and the policy."""
    store = MemoryJobStore()
    storage = make_storage(settings)
    storage.prepare()
    return Services(
        settings=settings,
        keys=MemoryKeyStore(),
        store=store,
        queue=MemoryJobQueue(),
        storage=storage,
        uploads=MemoryUploadStore(),
        suspects=MemorySuspects(),
        outbox=MemoryOutbox(store),
        workers=MemoryWorkerPresence(),
        webhook_secrets=MemoryWebhookSecrets(settings.webhook_secret),
        idempotency_keys=MemoryIdempotencyKeys(),
        policy=FetchPolicy.from_settings(settings),
    )


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(make_settings(tmp_path))


@pytest.fixture
def storage(services: Services) -> LocalStorage:
    assert isinstance(services.storage, LocalStorage)
    return services.storage


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services.settings, services)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Without lifespan: nothing happens in the background."""
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture
def running_client(app: FastAPI) -> Iterator[TestClient]:
    """With lifespan: the reconciler and the webhooks work in the background."""
    with TestClient(app) as client:
        yield client


def with_changes(services: Services, **changes: object) -> TestClient:
    """A client of the same API with some of its services replaced."""
    changed = replace(services, **changes)  # type: ignore[arg-type]
    return TestClient(create_app(changed.settings, changed), raise_server_exceptions=False)
