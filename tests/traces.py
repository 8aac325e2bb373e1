"""Spans kept in memory, by OpenTelemetry's own exporter."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from core.open_telemetry import OpenTelemetry
from core.tracing import Unkept, use_tracer

CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{CALLER_TRACE}-{CALLER_SPAN}-01"


class KeptSpans:
    """What was kept, in the order of its end."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """Every span."""
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """The name of every span."""
        return [span.name for span in self.all]

    def named(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (span,) = [span for span in self.all if span.name == name]
        return span

    def parent_of(self, name: str) -> str:
        """The span id, in hexadecimal, that the span of this name has as its parent."""
        parent = self.named(name).parent
        assert parent is not None
        return format_span_id(parent.span_id)

    def id_of(self, name: str) -> str:
        """The span id, in hexadecimal, of the span of this name."""
        return format_span_id(self.named(name).context.span_id)

    @property
    def trace_ids(self) -> set[str]:
        """The traces that the spans belong to."""
        return {format_trace_id(span.context.trace_id) for span in self.all}


@contextmanager
def spans_kept() -> Iterator[KeptSpans]:
    """Keep the spans of this process while the block runs."""
    kept = KeptSpans()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept._exporter))
    tracer = OpenTelemetry(provider)
    use_tracer(tracer)
    try:
        yield kept
    finally:
        use_tracer(Unkept())
        tracer.close()
