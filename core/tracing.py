"""
Traces: which steps a request and its job went through, over all processes.

The context travels as a W3C `traceparent`: in by the request, along in the job's record, out with its webhooks. Its
trace id is in every log line of a span, whether spans are kept or not. They are when a collector is named: then they go
out as OpenTelemetry's OTLP over HTTP, in the background, and a collector that is away costs nothing but spans.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

from core import __version__
from core.settings import Settings, SettingsError
from core.spans import Attributes, Kind, Span, TraceContext, Tracer

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


class _Unkept:
    """A span of which nothing remains but its ids in the logs."""

    def __init__(self, context: TraceContext) -> None:
        self.context = context

    def rename(self, name: str) -> None:
        """See Span."""

    def note(self, attributes: Attributes) -> None:
        """See Span."""

    def fail(self, error: BaseException) -> None:
        """See Span."""

    def end(self, end_ns: int) -> None:
        """See Span."""


class Unkept:
    """Traces for the logs alone: contexts are made and passed on, spans are not kept."""

    def start(self, name: str, parent: TraceContext | None, kind: Kind, start_ns: int) -> Span:
        """See Tracer."""
        trace_id = parent.trace_id if parent else secrets.token_hex(16)
        return _Unkept(TraceContext(trace_id, secrets.token_hex(8), parent.sampled if parent else True))

    def close(self) -> None:
        """See Tracer."""


_current: ContextVar[TraceContext | None] = ContextVar("highsync_trace", default=None)
_tracer: Tracer = Unkept()


def use_tracer(tracer: Tracer) -> None:
    """Let this process' spans go there."""
    global _tracer  # noqa: PLW0603  like the root logger: one per process, set at its edge
    _tracer = tracer


def configure_tracing(settings: Settings, process: str) -> None:
    """
    Send the spans of this process, named `highsync-PROCESS`, to the configured collector; keep none without one.

    Starts a thread, so a process that forks calls it in its child. Raises SettingsError when spans are wanted and the
    packages for it are not installed.
    """
    endpoint = settings.otlp_endpoint or os.environ.get(ENDPOINT_VARIABLE)
    use_tracer(_exporting(endpoint, process) if endpoint else Unkept())


def close_tracing() -> None:
    """Hand over what is kept, before the process ends."""
    _tracer.close()


def current_trace() -> TraceContext | None:
    """The span that this thread or task is in."""
    return _current.get()


@contextmanager
def span(name: str, *, parent: str | None = None, kind: Kind = "internal", **attributes: str | int) -> Iterator[Span]:
    """
    A step: everything in the block belongs to it, logs included. An exception that leaves it marks it as failed.

    `parent` is the `traceparent` of a step elsewhere; without one, or with one that is none, the step of this thread
    or task is the parent.
    """
    above = (TraceContext.parse(parent) if parent else None) or current_trace()
    step = _tracer.start(name, above, kind, time.time_ns())
    step.note(attributes)
    token = _current.set(step.context)
    try:
        with structlog.contextvars.bound_contextvars(trace_id=step.context.trace_id):
            yield step
    except BaseException as error:
        step.fail(error)
        raise
    finally:
        _current.reset(token)
        step.end(time.time_ns())


def record_span(name: str, start_ns: int, end_ns: int, **attributes: str | int) -> None:
    """Keep a step of the current one that is over already. Times in ns since the epoch."""
    step = _tracer.start(name, current_trace(), "internal", start_ns)
    step.note(attributes)
    step.end(end_ns)


def _exporting(endpoint: str, process: str) -> Tracer:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        from core.open_telemetry import OpenTelemetry
    except ImportError as error:
        raise SettingsError(
            f"Traces are to go to {endpoint}, but {error.name} is missing: pip install 'highsync-service[tracing]'"
        ) from error
    resource = Resource.create({"service.name": f"highsync-{process}", "service.version": __version__})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    return OpenTelemetry(provider)
