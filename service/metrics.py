"""GET /metrics: requests by route, and the state of the queue."""

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_fastapi_instrumentator import Instrumentator

from core.metrics import service_registry
from core.webhooks import BacklogCollector
from service.services import Services

_NOT_TIMED = ["^/metrics$", "^/livez$", "^/readyz$", r"^/jobs/\{job_id\}/events$"]
"""The probes, and what lasts as long as a job does."""


def install_metrics(app: FastAPI, services: Services) -> None:
    """Count and time requests by their route's template; paths that match no route are one series."""
    registry = service_registry(services.store)
    registry.register(BacklogCollector(services.outbox))
    Instrumentator(registry=registry, excluded_handlers=_NOT_TIMED).instrument(app)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
