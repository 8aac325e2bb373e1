"""
Traces: which steps a request and its job went through, over all processes.

The context travels as a W3C `traceparent`: in by the request, along in the job's record, out with its webhooks. Its
trace id is in every log line of a span, whether spans are kept or not. They are when a collector is named: then they go
out as OpenTelemetry's OTLP over HTTP, in the background, and a collector that is away costs nothing but spans.
"""

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import structlog

from core import __version__
from core.settings import Settings, SettingsError

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

Kind = Literal["server", "producer", "consumer", "internal"]
"""The place of a span between processes, in OpenTelemetry's words."""

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span, as others name it: the trace (32 hexadecimal digits), the span (16), and whether it is to be kept."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """The context of a `traceparent`; None when it is none, or one of all zeros, which the standard forbids."""
        found = _TRACEPARENT.fullmatch(header)
        if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
            return None
        if not (int(found[2], 16) and int(found[3], 16)):
            return None
        return cls(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))

    @property
    def traceparent(self) -> str:
        """The header that names this span to others."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Span(Protocol):
    """A step under way."""

    @property
    def context(self) -> TraceContext:
        """Who it is."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""

    def note(self, attributes: Attributes) -> None:
        """Add facts."""

    def fail(self, error: BaseException) -> None:
        """Say that it ended with this error. The message stays here: it may hold what is nobody's business."""

    def end(self, end_ns: int) -> None:
        """It is over, in ns since the epoch."""


class Tracer(Protocol):
    """Begins spans."""

    def start(self, name: str, parent: TraceContext | None, kind: Kind, start_ns: int) -> Span:
        """A span that began at `start_ns`, in ns since the epoch; a trace of its own without a parent."""

    def close(self) -> None:
        """Hand over what is kept. Takes a few seconds at most."""


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
