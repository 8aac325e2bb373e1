"""
What the API does besides answering: it finds lost jobs, removes what nobody needs and delivers webhooks. All replicas
may do so; locks keep order.
"""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from core.batches import Batch
from core.errors import HighSyncError
from core.janitor import Janitor
from core.private_urls import PrivateUrls
from core.reconciler import reconcile
from core.tracing import close_tracing
from core.webhooks import Courier, Subject
from service.access import RevocationWatch
from service.batches.presenter import batch_view
from service.jobs.changes import change_watch_of
from service.jobs.presenter import JobPresenter
from service.services import Services

_WEBHOOK_INTERVAL_S = 1.0
_REVOCATION_INTERVAL_S = 2.0  # a revoked key is dead within five seconds, also for answers that last
_STOP_PATIENCE_S = 5.0

log = structlog.get_logger(__name__)


class Periodic:
    """Does something again and again in a thread of its own. A fault is logged and does not end it."""

    def __init__(self, name: str, action: Callable[[], object], interval_s: float) -> None:
        self._name = name
        self._action = action
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further round. What is under way is given a few seconds; all of it can be repeated."""
        self._stopping.set()
        self._thread.join(_STOP_PATIENCE_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._action()
            except HighSyncError as error:
                log.warning("background_round_failed", task=self._name, code=error.code, reason=error.message)
            except Exception:
                log.exception("background_round_broken", task=self._name)
            self._stopping.wait(self._interval_s)


def make_courier(services: Services) -> Courier:
    """A courier whose messages show jobs and batches as the API shows them."""
    presenter = JobPresenter(services.storage, services.settings)

    def present(subject: Subject) -> dict[str, Any]:
        if isinstance(subject, Batch):
            return batch_view(subject, services.settings).model_dump(mode="json")
        return presenter.view(subject).model_dump(mode="json")

    return Courier(
        services.store,
        services.outbox,
        services.webhook_secrets,
        PrivateUrls(services.settings.secret_key),
        services.policy,
        present,
        progress_pause_s=services.settings.webhook_progress_s,
    )


def make_janitor(services: Services) -> Janitor:
    """A janitor for this house."""
    return Janitor(
        services.store, services.uploads, services.storage, services.suspects, services.settings.orphan_grace_s
    )


@asynccontextmanager
async def background(app: FastAPI) -> AsyncIterator[None]:
    """The lifespan of the app: make the storage ready, then work in the background until the server stops."""
    services: Services = app.state.services
    await run_in_threadpool(services.storage.prepare)
    find_lost = partial(reconcile, services.store, services.queue, max_lost_attempts=services.settings.max_attempts)
    tasks = [
        Periodic("reconcile", find_lost, services.settings.reconcile_interval_s),
        Periodic("janitor", make_janitor(services).clean, services.settings.janitor_interval_s),
        Periodic("webhooks", make_courier(services).deliver_due, _WEBHOOK_INTERVAL_S),
    ]
    revocations = RevocationWatch(services.keys, change_watch_of(app).ring_all)
    tasks.append(Periodic("revocations", revocations.look, _REVOCATION_INTERVAL_S))
    for task in tasks:
        task.start()
    try:
        yield
    finally:
        for task in tasks:
            await run_in_threadpool(task.stop)
        await run_in_threadpool(close_tracing)
