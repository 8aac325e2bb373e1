"""GET /metrics: requests by route, and the state of the queue."""

from collections.abc import Callable

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info, default

from core.metrics import service_registry
from core.webhooks import BacklogCollector
from service.services import Services

_NOT_TIMED = ["^/metrics$", "^/livez$", "^/readyz$", r"^/jobs/\{job_id\}/events$"]
"""The probes, and what lasts as long as a job does."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD = "other"


def install_metrics(app: FastAPI, services: Services) -> None:
    """Count and time requests by their route's template. Paths that match no route are one series, odd methods too."""
    registry = service_registry(services.store)
    registry.register(BacklogCollector(services.outbox))
    Instrumentator(registry=registry, excluded_handlers=_NOT_TIMED).add(_recorder(registry)).instrument(app)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _recorder(registry: CollectorRegistry) -> Callable[[Info], None]:
    """The usual metrics of a request. A method may be any word, as far as ASGI is concerned: no label takes it over."""
    record = default(registry=registry)

    def record_known(info: Info) -> None:
        if info.method not in _METHODS:
            info.method = _OTHER_METHOD
        if record is not None:
            record(info)

    return record_known
