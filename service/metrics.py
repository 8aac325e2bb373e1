"""GET /metrics: requests by route, and the state of the queue."""

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import Scope

from core.metrics import HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS, service_registry
from core.webhooks import BacklogCollector
from service.services import Services

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD = "other"
_NO_ROUTE = "none"
_AS_LONG_AS_A_JOB = frozenset({"/jobs/{job_id}/events"})


def install_metrics(app: FastAPI, services: Services) -> None:
    """Serve them. `record_request` counts and times."""
    registry = service_registry(services.store)
    registry.register(BacklogCollector(services.outbox))

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def route_of(scope: Scope) -> str | None:
    """The template of the route that a request took; None if none knew its path."""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path


def record_request(scope: Scope, status: int, seconds: float) -> None:
    """
    Count and time a request that has been answered, by its route's template. Paths that match no route are one series,
    odd methods too: a method may be any word, as far as ASGI is concerned.
    """
    handler = route_of(scope) or _NO_ROUTE
    method = scope["method"] if scope["method"] in _METHODS else _OTHER_METHOD
    HTTP_REQUESTS.labels(handler, method, f"{status // 100}xx").inc()
    if handler not in _AS_LONG_AS_A_JOB:
        HTTP_REQUEST_DURATION_SECONDS.labels(handler, method).observe(seconds)
