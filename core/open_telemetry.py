"""Spans that OpenTelemetry's SDK keeps. Its packages are optional: imported when they are used."""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from core.spans import Attributes, Kind, Span, TraceContext

_KINDS: dict[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}


class _Kept:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        facts = span.get_span_context()
        self.context = TraceContext(
            trace.format_trace_id(facts.trace_id), trace.format_span_id(facts.span_id), facts.trace_flags.sampled
        )

    def rename(self, name: str) -> None:
        """See Span."""
        self._span.update_name(name)

    def note(self, attributes: Attributes) -> None:
        """See Span."""
        self._span.set_attributes(dict(attributes))

    def fail(self, error: BaseException) -> None:
        """See Span."""
        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self, end_ns: int) -> None:
        """See Span."""
        self._span.end(end_ns)


class OpenTelemetry:
    """A tracer on a provider of its own; nothing global is touched."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("highsync")

    def start(self, name: str, parent: TraceContext | None, kind: Kind, start_ns: int) -> Span:
        """See Tracer."""
        above = trace.set_span_in_context(_remote(parent)) if parent else None
        return _Kept(self._tracer.start_span(name, context=above, kind=_KINDS[kind], start_time=start_ns))

    def close(self) -> None:
        """See Tracer."""
        self._provider.shutdown()


def _remote(parent: TraceContext) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags))
